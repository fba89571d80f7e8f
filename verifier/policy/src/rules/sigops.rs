//! How many signature operations there are.

use verifier_protocol::VerdictCode;

use super::{Question, Rule};

pub(super) const BUDGET: Rule = Rule {
    code: VerdictCode::SigopsBudgetExceeded,
    objection: |on| {
        let (cost, limit) = (on.facts.sigops_cost, on.rules.max_sigops_cost);
        (cost > limit).then(|| format!("sigops_cost={cost} > max_sigops_cost={limit}"))
    },
    input: |on| format!("sigops_cost={}", on.facts.sigops_cost),
    limit: |on| format!("max_sigops_cost={}", on.rules.max_sigops_cost),
};

pub(super) const COINBASE: Rule = Rule {
    code: VerdictCode::CoinbaseSigopsExceeded,
    objection: |on| {
        let (count, limit) = (on.facts.coinbase_sigops, on.rules.max_coinbase_sigops);
        (count > limit).then(|| format!("coinbase_sigops={count} > max_coinbase_sigops={limit}"))
    },
    input: |on| format!("coinbase_sigops={}", on.facts.coinbase_sigops),
    limit: |on| format!("max_coinbase_sigops={}", on.rules.max_coinbase_sigops),
};

pub(super) const BUDGET_ADVICE: Rule = Rule {
    code: VerdictCode::SigopsBudgetWarning,
    objection: |on| {
        let (cost, from) = (on.facts.sigops_cost, warn_from(on));
        #[allow(clippy::cast_precision_loss)] // Exact up to 2^53, far above every block.
        let abnormal = cost > 0 && cost as f64 >= from;
        abnormal.then(|| format!("sigops_cost={cost} >= {from}"))
    },
    input: |on| format!("sigops_cost={}", on.facts.sigops_cost),
    limit: |on| format!("warn_sigops_ratio={}", on.rules.warn_sigops_ratio),
};

pub(super) const COINBASE_ADVICE: Rule = Rule {
    code: VerdictCode::CoinbaseSigopsAbnormal,
    objection: |on| {
        let (count, limit) = (on.facts.coinbase_sigops, on.rules.warn_coinbase_sigops);
        (count > limit).then(|| format!("coinbase_sigops={count} > warn_coinbase_sigops={limit}"))
    },
    input: |on| format!("coinbase_sigops={}", on.facts.coinbase_sigops),
    limit: |on| format!("warn_coinbase_sigops={}", on.rules.warn_coinbase_sigops),
};

#[allow(clippy::cast_precision_loss)] // At most 80 000.
fn warn_from(on: &Question<'_>) -> f64 {
    on.rules.max_sigops_cost as f64 * on.rules.warn_sigops_ratio
}
