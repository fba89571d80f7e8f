//! What the block earns.

use verifier_protocol::VerdictCode;

use crate::{Rejection, TemplateFacts, TemplateRules};

pub(crate) fn judge(rules: &TemplateRules, facts: &TemplateFacts) -> Result<(), Rejection> {
    if rules.reject_coinbase_zero && facts.coinbase_value == 0 {
        return Err(Rejection::new(
            VerdictCode::CoinbaseValueZeroRejected,
            "coinbase_value=0".to_owned(),
        ));
    }
    Ok(())
}
