//! What was promised, and whether it holds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::certificate::Counts;
use super::measure::{Measures, Metric, quantile};

/// A published promise must hold with so much room: it was measured beside its own load
/// generator, on one machine, for minutes.
const HEADROOM: f64 = 3.0;

/// Where a promise comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Published for this kind of gateway; a certificate asks for three times the room.
    Published,
    /// Our own; it is said how near it is.
    Own,
}

/// One promise and what was measured of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// Its short name.
    pub id: &'static str,
    /// What is promised.
    pub doc: String,
    /// Whose promise it is.
    pub origin: Origin,
    /// `ms`, `KiB` or a count.
    pub unit: &'static str,
    /// What was promised at most.
    pub target: f64,
    /// What was measured; none where nothing of the kind happened.
    pub measured: Option<f64>,
    /// Said where the measured value is not the promised quantile, for want of samples.
    pub note: Option<String>,
    /// What physics and this protocol allow, where it is known.
    pub limit: Option<f64>,
    /// Target by measured.
    pub headroom: Option<f64>,
    /// Whether it holds; none where it was not measured.
    pub holds: Option<bool>,
}

/// What a load is judged by beside its latencies.
pub(super) struct Facts<'a> {
    pub(super) measures: &'a Measures,
    pub(super) counts: &'a Counts,
    pub(super) miners: u32,
    /// Bytes of the gateway's memory for each miner.
    pub(super) bytes_per_miner: Option<f64>,
    /// The least time in which this machine can write a tip to so many miners.
    pub(super) fan_out_ms: Option<f64>,
    /// The sync of the log, where it is known.
    pub(super) log_sync: Option<&'a str>,
}

/// Every promise.
pub(super) fn judge(facts: &Facts<'_>) -> Vec<Promise> {
    let mut promises = Vec::new();
    for (id, share, name, ms) in [
        ("tip_p50", 0.5, "p50", 50.0),
        ("tip_p95", 0.95, "p95", 150.0),
        ("tip_p99", 0.99, "p99", 300.0),
    ] {
        let doc = format!("new tip to SetNewPrevHash at a miner, {name}");
        promises.push(latency(facts, id, doc, Origin::Published, Metric::Tip, share, ms));
    }
    let verdict = "CL-01: verdict of a template, p99".to_owned();
    promises.push(latency(
        facts,
        "verdict",
        verdict,
        Origin::Published,
        Metric::Verdict,
        0.99,
        100.0,
    ));
    promises.extend(losses(facts.counts));
    promises.extend(own(facts));
    promises
}

/// CL-02, and what it means here: nothing good is refused, closed or left without its result.
fn losses(counts: &Counts) -> Vec<Promise> {
    let sum = |by_code: &BTreeMap<String, u64>| by_code.values().sum::<u64>();
    let mut losses = vec![
        ("refused", "good shares that were refused", sum(&counts.refused)),
        ("unanswered", "shares without an answer", counts.unanswered),
        ("disconnects", "miners that were closed while they worked", counts.disconnects),
        ("failed_connects", "connections that never had work", counts.failed_connects),
        ("missed_tips", "working miners that did not hear of a tip", counts.missed_tips),
    ];
    if let Some(join) = &counts.events {
        losses.push(("lost", "accepted shares that the pool does not have", sum(&join.lost)));
        losses.push(("open", "accepted shares without a result", join.open));
        losses.push(("stray", "results without their share, or second ones", join.stray));
    }
    losses
        .into_iter()
        .map(|(id, doc, count)| Promise {
            id,
            doc: format!("CL-02: {doc}"),
            origin: Origin::Published,
            unit: "",
            target: 0.0,
            measured: Some(count as f64),
            note: None,
            limit: None,
            headroom: None,
            holds: Some(count == 0),
        })
        .collect()
}

fn own(facts: &Facts<'_>) -> Vec<Promise> {
    let scale = (f64::from(facts.miners) / 1000.0).max(1.0);
    let mut promises = vec![
        Promise {
            limit: facts.fan_out_ms,
            ..latency(
                facts,
                "tip_last",
                format!("new tip to the last of {} miners, verdict included, median", facts.miners),
                Origin::Own,
                Metric::TipLast,
                0.5,
                15.0 * scale,
            )
        },
        latency(
            facts,
            "tip_first",
            "new tip to the first miner, verdict included, median".to_owned(),
            Origin::Own,
            Metric::TipFirst,
            0.5,
            15.0,
        ),
    ];
    // In group mode an answer waits for an fdatasync, whose time is the disk's.
    if facts.log_sync == Some("write") {
        for (id, share, name, ms) in [("ack_p50", 0.5, "p50", 0.1), ("ack_p99", 0.99, "p99", 1.0)] {
            let doc = format!("share sent to its answer, {name}, log.sync = write");
            promises.push(latency(facts, id, doc, Origin::Own, Metric::ShareAckSent, share, ms));
        }
    }
    if let Some(bytes) = facts.bytes_per_miner {
        let doc = "the gateway's memory for each miner".to_owned();
        promises.push(bound("memory", doc, Origin::Own, "KiB", 16.0, Some(bytes / 1024.0)));
    }
    promises
}

/// A quantile, or where too few samples lie beyond it the largest sample, which is no smaller.
fn latency(
    facts: &Facts<'_>,
    id: &'static str,
    doc: String,
    origin: Origin,
    metric: Metric,
    share: f64,
    target_ms: f64,
) -> Promise {
    let samples = facts.measures.of(metric);
    let found = samples.and_then(|samples| quantile(samples, share));
    let measured = match (found, samples) {
        (Some(quantile), _) => Some(quantile.us),
        (None, Some(samples)) if share <= 0.5 => Some(samples.value_at_quantile(share)),
        (None, samples) => samples.map(hdrhistogram::Histogram::max),
    };
    let measured_ms = measured.map(|us| us as f64 / 1e3);
    let note = match (found, samples) {
        (None, Some(samples)) if share > 0.5 => {
            Some(format!("the largest of {} samples", samples.len()))
        }
        (None, Some(samples)) => Some(format!("of {} samples", samples.len())),
        _ => None,
    };
    Promise { note, ..bound(id, doc, origin, "ms", target_ms, measured_ms) }
}

fn bound(
    id: &'static str,
    doc: String,
    origin: Origin,
    unit: &'static str,
    target: f64,
    measured: Option<f64>,
) -> Promise {
    let headroom = measured.map(|measured| target / measured.max(f64::MIN_POSITIVE));
    let needed = if origin == Origin::Published { HEADROOM } else { 1.0 };
    let holds = headroom.map(|headroom| headroom >= needed);
    Promise { id, doc, origin, unit, target, measured, note: None, limit: None, headroom, holds }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::*;

    fn judged(tip_ms: u64, samples: usize, counts: &Counts) -> Vec<Promise> {
        let mut measures = Measures::default();
        for _ in 0..samples {
            measures.record(Metric::Tip, Duration::from_millis(tip_ms));
        }
        let facts = Facts {
            measures: &measures,
            counts,
            miners: 1000,
            bytes_per_miner: Some(10_240.0),
            fan_out_ms: Some(7.5),
            log_sync: Some("write"),
        };
        judge(&facts)
    }

    fn find<'a>(promises: &'a [Promise], id: &str) -> &'a Promise {
        promises.iter().find(|promise| promise.id == id).unwrap()
    }

    #[rstest]
    #[case(10, Some(true))]
    #[case(16, Some(true))]
    #[case(17, Some(false))]
    #[case(60, Some(false))]
    fn a_published_promise_needs_three_times_the_room(
        #[case] tip_ms: u64,
        #[case] holds: Option<bool>,
    ) {
        let promises = judged(tip_ms, 20_000, &Counts::default());
        assert_eq!(find(&promises, "tip_p50").holds, holds);
    }

    #[test]
    fn too_few_samples_are_judged_by_the_largest() {
        let promises = judged(10, 300, &Counts::default());
        let p99 = find(&promises, "tip_p99");
        assert_eq!(p99.note.as_deref(), Some("the largest of 300 samples"));
        assert_eq!(p99.holds, Some(true));
        assert_eq!(find(&promises, "verdict").holds, None);
    }

    #[test]
    fn every_loss_breaks_its_promise() {
        let mut counts = Counts { unanswered: 1, ..Counts::default() };
        counts.refused.insert("duplicate-share".to_owned(), 2);
        let promises = judged(10, 300, &counts);
        for (id, holds) in [("refused", false), ("unanswered", false), ("disconnects", true)] {
            assert_eq!(find(&promises, id).holds, Some(holds), "{id}");
        }
        assert_eq!(find(&promises, "memory").holds, Some(true));
    }
}
