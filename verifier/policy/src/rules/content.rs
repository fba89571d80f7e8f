//! How many transactions there are.

use verifier_protocol::VerdictCode;

use crate::{Rejection, TemplateFacts, TemplateRules};

pub(crate) fn judge(rules: &TemplateRules, facts: &TemplateFacts) -> Result<(), Rejection> {
    if rules.reject_empty_templates && facts.tx_count == 0 {
        return Err(Rejection::new(VerdictCode::EmptyTemplateRejected, "tx_count=0".to_owned()));
    }
    if facts.tx_count > rules.max_tx_count {
        return Err(Rejection::new(
            VerdictCode::TxCountExceeded,
            format!("tx_count={} > max_tx_count={}", facts.tx_count, rules.max_tx_count),
        ));
    }
    Ok(())
}
