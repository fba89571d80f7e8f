//! How full the block is.

use verifier_protocol::VerdictCode;

use super::{Question, Rule};

/// The heaviest block there may be (BIP 141).
const MAX_BLOCK_WEIGHT: f64 = 4_000_000.0;

pub(super) const RATIO: Rule = Rule {
    code: VerdictCode::WeightRatioExceeded,
    objection: |on| {
        let (ratio, limit) = (ratio(on), on.rules.max_weight_ratio);
        (ratio > limit).then(|| format!("weight_ratio={ratio} > max_weight_ratio={limit}"))
    },
    input: |on| format!("weight_ratio={}", ratio(on)),
    limit: |on| format!("max_weight_ratio={}", on.rules.max_weight_ratio),
};

#[allow(clippy::cast_precision_loss)] // Exact up to 2^53, far above every block.
fn ratio(on: &Question<'_>) -> f64 {
    on.facts.weight as f64 / MAX_BLOCK_WEIGHT
}
