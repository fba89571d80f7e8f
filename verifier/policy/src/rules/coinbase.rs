//! What the block earns.

use verifier_protocol::VerdictCode;

use super::Rule;

pub(super) const VALUE: Rule = Rule {
    code: VerdictCode::CoinbaseValueZeroRejected,
    objection: |on| {
        let refused = on.rules.reject_coinbase_zero && on.facts.coinbase_value == 0;
        refused.then(|| "coinbase_value=0".to_owned())
    },
    input: |on| format!("coinbase_value={}", on.facts.coinbase_value),
    limit: |on| format!("reject_coinbase_zero={}", on.rules.reject_coinbase_zero),
};
