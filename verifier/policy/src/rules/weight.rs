//! How full the block is.

use verifier_protocol::VerdictCode;

use crate::{Rejection, TemplateFacts, TemplateRules};

/// The heaviest block there may be (BIP 141).
const MAX_BLOCK_WEIGHT: f64 = 4_000_000.0;

pub(crate) fn judge(rules: &TemplateRules, facts: &TemplateFacts) -> Result<(), Rejection> {
    #[allow(clippy::cast_precision_loss)] // Exact up to 2^53, far above every block.
    let ratio = facts.weight as f64 / MAX_BLOCK_WEIGHT;
    if ratio > rules.max_weight_ratio {
        return Err(Rejection::new(
            VerdictCode::WeightRatioExceeded,
            format!("weight_ratio={ratio} > max_weight_ratio={}", rules.max_weight_ratio),
        ));
    }
    Ok(())
}
