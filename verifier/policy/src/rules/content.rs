//! How many transactions there are.

use verifier_protocol::VerdictCode;

use super::Rule;

pub(super) const EMPTY: Rule = Rule {
    code: VerdictCode::EmptyTemplateRejected,
    objection: |on| {
        let refused = on.rules.reject_empty_templates && on.facts.tx_count == 0;
        refused.then(|| "tx_count=0".to_owned())
    },
    input: |on| format!("tx_count={}", on.facts.tx_count),
    limit: |on| format!("reject_empty_templates={}", on.rules.reject_empty_templates),
};

pub(super) const COUNT: Rule = Rule {
    code: VerdictCode::TxCountExceeded,
    objection: |on| {
        let (count, limit) = (on.facts.tx_count, on.rules.max_tx_count);
        (count > limit).then(|| format!("tx_count={count} > max_tx_count={limit}"))
    },
    input: |on| format!("tx_count={}", on.facts.tx_count),
    limit: |on| format!("max_tx_count={}", on.rules.max_tx_count),
};
