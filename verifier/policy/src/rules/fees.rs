//! What the transactions pay, by how full the mempool is.

use verifier_protocol::{FeeTier, PolicyContext, VerdictCode};

use super::{Question, Rule};
use crate::{AvgFeeUnit, TemplateRules};

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

pub(super) const TOTAL: Rule = Rule {
    code: VerdictCode::TotalFeesBelowMinimum,
    objection: |on| {
        let (fees, limit) = (on.facts.total_fees, on.rules.min_total_fees);
        (fees < limit).then(|| format!("total_fees={fees} < min_total_fees={limit}"))
    },
    input: |on| format!("total_fees={}", on.facts.total_fees),
    limit: |on| format!("min_total_fees={}", on.rules.min_total_fees),
};

pub(super) const AVERAGE: Rule = Rule {
    code: VerdictCode::AvgFeeBelowMinimum,
    objection: |on| {
        let (fee, limit) = (average(on)?, on.context.min_avg_fee_used);
        (fee < limit).then(|| format!("avg_fee={fee} < min_avg_fee_used={limit}"))
    },
    input: |on| match average(on) {
        Some(fee) => format!("avg_fee={fee}"),
        None => "no transactions".to_owned(),
    },
    limit: |on| {
        let PolicyContext { fee_tier, min_avg_fee_used } = on.context;
        let (tier, unit) = (fee_tier.as_str(), on.rules.avg_fee_unit.as_str());
        format!("min_avg_fee_used={min_avg_fee_used} (tier {tier}, per {unit})")
    },
};

/// An empty block that the policy allows has no average to be judged.
fn average(on: &Question<'_>) -> Option<u64> {
    if on.facts.tx_count == 0 {
        return None;
    }
    let over = match on.rules.avg_fee_unit {
        AvgFeeUnit::Tx => u64::from(on.facts.tx_count),
        AvgFeeUnit::Vbyte => on.facts.weight.div_ceil(WEIGHT_PER_VBYTE).max(1),
    };
    Some(on.facts.total_fees / over)
}
