//! What the transactions pay, by how full the mempool is.

use verifier_protocol::{FeeTier, PolicyContext, VerdictCode};

use crate::{AvgFeeUnit, Rejection, TemplateFacts, TemplateRules};

/// Weight units in a virtual byte (BIP 141).
const WEIGHT_PER_VBYTE: u64 = 4;

/// The tier for a mempool of `mempool_tx` transactions, `None` when nobody measured it.
pub fn fee_tier(rules: &TemplateRules, mempool_tx: Option<u64>) -> FeeTier {
    match mempool_tx {
        None if rules.unknown_mempool_as_high => FeeTier::High,
        None => FeeTier::Low,
        Some(count) if count <= rules.low_mempool_tx => FeeTier::Low,
        Some(count) if count < rules.high_mempool_tx => FeeTier::Mid,
        Some(_) => FeeTier::High,
    }
}

pub(crate) fn context(rules: &TemplateRules, mempool_tx: Option<u64>) -> PolicyContext {
    let fee_tier = fee_tier(rules, mempool_tx);
    let min_avg_fee_used = match fee_tier {
        FeeTier::Low => rules.min_avg_fee_lo,
        FeeTier::Mid => rules.min_avg_fee_mid,
        FeeTier::High => rules.min_avg_fee_hi,
    };
    PolicyContext { fee_tier, min_avg_fee_used }
}

pub(crate) fn judge(
    rules: &TemplateRules,
    facts: &TemplateFacts,
    context: PolicyContext,
) -> Result<(), Rejection> {
    if facts.total_fees < rules.min_total_fees {
        return Err(Rejection::new(
            VerdictCode::TotalFeesBelowMinimum,
            format!("total_fees={} < min_total_fees={}", facts.total_fees, rules.min_total_fees),
        ));
    }
    // An empty block that the policy allows has no average to be judged.
    if facts.tx_count == 0 {
        return Ok(());
    }
    let over = match rules.avg_fee_unit {
        AvgFeeUnit::Tx => u64::from(facts.tx_count),
        AvgFeeUnit::Vbyte => facts.weight.div_ceil(WEIGHT_PER_VBYTE).max(1),
    };
    let avg_fee = facts.total_fees / over;
    if avg_fee < context.min_avg_fee_used {
        return Err(Rejection::new(
            VerdictCode::AvgFeeBelowMinimum,
            format!("avg_fee={avg_fee} < min_avg_fee_used={}", context.min_avg_fee_used),
        ));
    }
    Ok(())
}
