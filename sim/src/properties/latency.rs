//! Latencies between things that different actors saw, and judges of their percentiles.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::index::Answer;
use super::{Judged, Judgement, Record};
use crate::actors::observe::{LinkSeen, MinerSeen, NodeSeen, PoolSeen, ShareClass};
use crate::report::model::Latency;

/// Every latency that is measured:
/// block: share sent to block submitted at the node;
/// forward: share acknowledged to credited by the pool backend;
/// prevhash_to_miner: tip at the node to SetNewPrevHash at each miner;
/// share_ack: share sent to acknowledged;
/// verdict: template proposed to verdict handed on.
pub const LATENCY_METRICS: [&str; 5] =
    ["block", "forward", "prevhash_to_miner", "share_ack", "verdict"];

/// Latencies longer than this count as this long.
const LONGEST_US: u64 = 3_600_000_000;

/// The samples of a metric in order of time: when it ended, and how long it took.
pub(super) fn samples(metric: &str, record: &Record<'_>) -> Vec<(Duration, Duration)> {
    match metric {
        "block" => block(record),
        "forward" => forward(record),
        "prevhash_to_miner" => prevhash_to_miner(record),
        "share_ack" => share_ack(record),
        "verdict" => verdict(record),
        other => unreachable!("\"{other}\" is not in LATENCY_METRICS"),
    }
}

/// Percentiles of the samples.
pub(super) fn percentiles(samples: &[(Duration, Duration)]) -> Latency {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)
        .expect("the bounds and three digits are valid");
    for (_, took) in samples {
        histogram.saturating_record(took.as_micros() as u64);
    }
    if histogram.is_empty() {
        return Latency::default();
    }
    Latency {
        count: histogram.len(),
        min: histogram.min(),
        p50: histogram.value_at_quantile(0.50),
        p90: histogram.value_at_quantile(0.90),
        p95: histogram.value_at_quantile(0.95),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    }
}

/// Judges bounds on percentiles.
pub(super) fn judge(metric: &str, bounds: &[(u8, Duration)], record: &Record<'_>) -> Judgement {
    let samples = samples(metric, record);
    let found = percentiles(&samples);
    for (percentile, bound) in bounds {
        let value = match percentile {
            50 => found.p50,
            90 => found.p90,
            95 => found.p95,
            99 => found.p99,
            _ => found.max,
        };
        if Duration::from_micros(value) > *bound {
            let at =
                samples.iter().find(|(_, took)| took > bound).map_or(Duration::ZERO, |(at, _)| *at);
            let what = format!("p{percentile} is {value} us of at most {} us", bound.as_micros());
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(samples.len(), "samples"))
}

/// For each miner that was at work when the tip came; a miner that connects later is not late.
fn prevhash_to_miner(record: &Record<'_>) -> Vec<(Duration, Duration)> {
    let mut tips: BTreeMap<&str, Duration> = BTreeMap::new();
    for (at, tip) in record.tips() {
        // A tip that comes back after a reorganisation counts from its return.
        tips.insert(tip, at);
    }
    let mut since: BTreeMap<u32, Duration> = BTreeMap::new();
    let mut samples = Vec::new();
    for (at, miner, seen) in record.miners() {
        match seen {
            MinerSeen::PrevHash { prev_hash, .. } => {
                let working_since = since.entry(miner).or_insert(at);
                if let Some(tip) = tips.get(prev_hash.as_str())
                    && *working_since < *tip
                {
                    samples.push((at, at.saturating_sub(*tip)));
                }
            }
            MinerSeen::Closed { .. } => drop(since.remove(&miner)),
            _ => {}
        }
    }
    samples
}

fn share_ack(record: &Record<'_>) -> Vec<(Duration, Duration)> {
    let acked = |share: &super::index::Sent<'_>| match share.answer {
        Answer::Acked(at) => Some((at, at - share.at)),
        _ => None,
    };
    record.shares().iter().filter_map(acked).collect()
}

fn forward(record: &Record<'_>) -> Vec<(Duration, Duration)> {
    let mut acked: BTreeMap<&str, Duration> = BTreeMap::new();
    for share in record.shares() {
        if let Answer::Acked(at) = share.answer {
            acked.entry(share.share_id).or_insert(at);
        }
    }
    let mut samples = Vec::new();
    for (at, seen) in record.pool() {
        if let PoolSeen::Share { share_id, credited: true, .. } = seen
            && let Some(acked) = acked.get(share_id.as_str())
        {
            samples.push((at, at.saturating_sub(*acked)));
        }
    }
    samples
}

fn verdict(record: &Record<'_>) -> Vec<(Duration, Duration)> {
    let mut proposed = BTreeMap::new();
    let mut samples = Vec::new();
    for (at, seen) in record.link() {
        match seen {
            LinkSeen::Proposed { proposal_id, connection, .. } => {
                proposed.insert((*connection, *proposal_id), at);
            }
            LinkSeen::Verdict { proposal_id, connection, .. } => {
                if let Some(start) = proposed.remove(&(*connection, *proposal_id)) {
                    samples.push((at, at - start));
                }
            }
        }
    }
    samples
}

fn block(record: &Record<'_>) -> Vec<(Duration, Duration)> {
    let mut sent: BTreeMap<&str, Duration> = BTreeMap::new();
    for share in record.shares().iter().filter(|share| share.class == ShareClass::Block) {
        sent.insert(share.hash, share.at);
    }
    let mut samples = Vec::new();
    for (at, seen) in record.node() {
        if let NodeSeen::Submitted { hash, .. } = seen
            && let Some(start) = sent.remove(hash.as_str())
        {
            samples.push((at, at.saturating_sub(start)));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    #[test]
    fn bounds_are_held_against_percentiles() {
        let story = Story::new()
            .connected(0)
            .prev_hash(0, "aa", 1)
            .tip("bb")
            .later(30)
            .prev_hash(0, "bb", 2);
        let judged = |bound_ms| {
            let bounds = [(50, Duration::from_millis(bound_ms))];
            story.record(|record| judge("prevhash_to_miner", &bounds, record))
        };
        assert!(judged(50).is_ok());
        assert!(judged(10).unwrap_err().detail.contains("p50 is 32"));
    }

    #[test]
    fn each_metric_joins_its_two_ends() {
        let story = Story::new()
            .connected(0)
            .proposed(1, "aa")
            .verdict(1, true)
            .prev_hash(0, "aa", 1)
            .sent(0, 1, "s1", ShareClass::Block)
            .submitted("hash-s1", "null")
            .acked(0, 1)
            .credit("s1");
        for (metric, us) in
            [("verdict", 1000), ("block", 1000), ("share_ack", 2000), ("forward", 1000)]
        {
            let found = story.record(|record| percentiles(&samples(metric, record)));
            assert_eq!((found.count, found.max / 10), (1, us / 10), "{metric}");
        }
    }

    #[test]
    fn a_miner_that_comes_after_the_tip_is_not_late() {
        let story = Story::new().tip("aa").later(9_000).connected(0).prev_hash(0, "aa", 1);
        assert!(story.record(|record| samples("prevhash_to_miner", record)).is_empty());
    }
}
