//! How many signature operations there are.

use verifier_protocol::VerdictCode;

use crate::{Rejection, TemplateFacts, TemplateRules};

pub(crate) fn judge(rules: &TemplateRules, facts: &TemplateFacts) -> Result<(), Rejection> {
    if facts.sigops_cost > rules.max_sigops_cost {
        return Err(Rejection::new(
            VerdictCode::SigopsBudgetExceeded,
            format!(
                "sigops_cost={} > max_sigops_cost={}",
                facts.sigops_cost, rules.max_sigops_cost
            ),
        ));
    }
    if facts.coinbase_sigops > rules.max_coinbase_sigops {
        return Err(Rejection::new(
            VerdictCode::CoinbaseSigopsExceeded,
            format!(
                "coinbase_sigops={} > max_coinbase_sigops={}",
                facts.coinbase_sigops, rules.max_coinbase_sigops
            ),
        ));
    }
    Ok(())
}

/// What is allowed but out of the ordinary.
pub(crate) fn warnings(rules: &TemplateRules, facts: &TemplateFacts) -> Vec<VerdictCode> {
    let mut warnings = Vec::new();
    #[allow(clippy::cast_precision_loss)] // At most 80 000.
    let warn_from = rules.max_sigops_cost as f64 * rules.warn_sigops_ratio;
    #[allow(clippy::cast_precision_loss)] // Not over max_sigops_cost, or it were rejected.
    if facts.sigops_cost > 0 && facts.sigops_cost as f64 >= warn_from {
        warnings.push(VerdictCode::SigopsBudgetWarning);
    }
    if facts.coinbase_sigops > rules.warn_coinbase_sigops {
        warnings.push(VerdictCode::CoinbaseSigopsAbnormal);
    }
    warnings
}
