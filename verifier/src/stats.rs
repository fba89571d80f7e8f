//! Figures over the kept verdicts.

use std::collections::BTreeMap;

use serde::Serialize;
use verifier_protocol::CheckOutcome;

use crate::history::Entry;

/// What the kept verdicts add up to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    pub(crate) verdicts: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// When the first and the last of them were judged, in Unix milliseconds.
    pub(crate) from_ms: Option<u64>,
    pub(crate) to_ms: Option<u64>,
    pub(crate) by_reason: BTreeMap<&'static str, u64>,
    pub(crate) by_warning: BTreeMap<&'static str, u64>,
    pub(crate) by_fee_tier: BTreeMap<&'static str, u64>,
    pub(crate) by_policy: BTreeMap<String, u64>,
    pub(crate) by_gateway: BTreeMap<String, u64>,
    pub(crate) checks: BTreeMap<&'static str, Outcomes>,
    pub(crate) judged_in_us: Quantiles,
}

/// How often a check said what.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcomes {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// Nearest-rank quantiles; null without a verdict.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<u64>,
    pub(crate) p95: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) max: Option<u64>,
}

impl Stats {
    /// Adds up entries that are in the order of their seqs.
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut stats = Self::default();
        let mut times = Vec::new();
        for entry in entries {
            stats.add(entry);
            times.push(entry.verdict.judged_in_us);
        }
        stats.judged_in_us = Quantiles::of(times);
        stats
    }

    fn add(&mut self, entry: &Entry) {
        let verdict = &entry.verdict.verdict;
        self.verdicts += 1;
        *if verdict.accepted { &mut self.accepted } else { &mut self.rejected } += 1;
        self.from_ms.get_or_insert(entry.judged_at_ms);
        self.to_ms = Some(entry.judged_at_ms);
        *self.by_reason.entry(verdict.reason_code.as_str()).or_default() += 1;
        for warning in &verdict.warnings {
            *self.by_warning.entry(warning.as_str()).or_default() += 1;
        }
        if let Some(context) = verdict.policy_context {
            *self.by_fee_tier.entry(context.fee_tier.as_str()).or_default() += 1;
        }
        *self.by_policy.entry(entry.verdict.policy_hash.clone()).or_default() += 1;
        *self.by_gateway.entry(entry.gateway_instance_id.clone()).or_default() += 1;
        for (check, outcome) in [
            ("policy", verdict.checks.policy),
            ("consensus", verdict.checks.consensus),
            ("mempool", verdict.checks.mempool),
            ("node", verdict.checks.node),
        ] {
            let outcomes = self.checks.entry(check).or_default();
            *match outcome {
                CheckOutcome::Passed => &mut outcomes.passed,
                CheckOutcome::Failed => &mut outcomes.failed,
                CheckOutcome::Skipped => &mut outcomes.skipped,
            } += 1;
        }
    }
}

impl Quantiles {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied()
        };
        Self { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::entry;

    #[test]
    fn nothing_adds_up_to_nothing() {
        assert_eq!(Stats::of(&[]), Stats::default());
    }

    #[test]
    fn verdicts_are_counted_by_what_they_say() {
        let entries: Vec<Entry> = (1..=100).map(entry).collect();
        let stats = Stats::of(&entries);
        assert_eq!((stats.verdicts, stats.accepted, stats.rejected), (100, 0, 100));
        assert_eq!((stats.from_ms, stats.to_ms), (Some(1), Some(100)));
        assert_eq!(stats.by_reason["protocol_version_mismatch"], 100);
        assert_eq!(stats.checks["policy"].failed, 100);
        assert_eq!(stats.checks["node"].skipped, 100);
        let times = stats.judged_in_us;
        assert_eq!((times.p50, times.p95), (Some(5_000), Some(9_500)));
        assert_eq!((times.p99, times.max), (Some(9_900), Some(10_000)));
    }
}
