//! Counts, curves and the timeline of a record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_core::reason::ReasonCode;
use ring::digest::{Context, SHA256};
use serde_json::Value;

use super::Record;
use super::index::Answer;
use super::latency::{self, LATENCY_METRICS};
use crate::actors::observe::{HostSeen, NodeSeen, Observation, PoolSeen, Seen, ShareClass};
use crate::report::model::{Latency, Point, Shares, TimelineEntry, TimelineKind};
use crate::scenario::Action;

/// What a report says beside its header and its properties.
#[derive(Debug, Clone)]
pub struct Summary {
    /// How often each gateway reason code occurred.
    pub reason_codes: BTreeMap<String, u64>,
    /// How often each verdict code occurred.
    pub verdict_codes: BTreeMap<String, u64>,
    /// Where the shares went.
    pub shares: Shares,
    /// Percentiles by metric; only of those with samples.
    pub latencies: BTreeMap<String, Latency>,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
    /// Curves by name.
    pub series: BTreeMap<String, Vec<Point>>,
}

/// The most points of a curve.
const CURVE_POINTS: u32 = 60;

/// Sums up a record.
pub fn summarise(record: &Record<'_>) -> Summary {
    let (reason_codes, verdict_codes) = codes(record);
    let mut latencies = BTreeMap::new();
    for metric in LATENCY_METRICS {
        let samples = latency::samples(metric, record);
        if !samples.is_empty() {
            latencies.insert(metric.to_owned(), latency::percentiles(&samples));
        }
    }
    Summary {
        reason_codes,
        verdict_codes,
        shares: shares(record),
        latencies,
        timeline: timeline(record),
        series: series(record),
    }
}

/// How often each reason code and each verdict code occurred. What has no event of its own (an
/// internal link's faults, refused channels) is counted on the page of metrics.
fn codes(record: &Record<'_>) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut reasons, mut verdicts) = (BTreeMap::new(), BTreeMap::new());
    for (_, line) in record.all_events() {
        let is_verdict = line["event"] == "template_verdict";
        let codes = if is_verdict { &mut verdicts } else { &mut reasons };
        let warnings = [&line["warnings"], &line["verdict"]["warnings"]];
        let warnings = warnings.into_iter().filter_map(Value::as_array).flatten();
        for code in code_of(line).into_iter().chain(warnings.filter_map(Value::as_str)) {
            *codes.entry(code.to_owned()).or_insert(0) += 1;
        }
    }
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for seen in record.observations {
        if let Seen::Output { source, text } = &seen.what
            && source == "gateway /metrics"
        {
            for (code, count) in counted_reasons(text) {
                // A gateway that started again counts from zero.
                let most = counted.entry(code).or_default();
                *most = count.max(*most);
            }
        }
    }
    for (code, count) in counted {
        reasons.entry(code).or_insert(count);
    }
    (reasons, verdicts)
}

/// Reason codes among the labels of a page of metrics.
pub(super) fn counted_reasons(page: &str) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for line in page.lines() {
        let Some((name, count)) = line.rsplit_once(' ') else { continue };
        let Some((_, label)) = name.trim_end_matches("\"}").rsplit_once('"') else { continue };
        // Notices name their reason behind what they are about.
        let code = label.rsplit_once(':').map_or(label, |(_, code)| code);
        let is_code = ReasonCode::ALL.iter().any(|known| known.as_str() == code);
        if let (true, Ok(count)) = (is_code, count.parse::<u64>()) {
            *counted.entry(code.to_owned()).or_insert(0) += count;
        }
    }
    counted
}

/// The lines of the trace, and SHA-256 over them.
pub fn trace(observations: &[Observation]) -> (Vec<String>, String) {
    let lines: Vec<String> = observations.iter().map(ToString::to_string).collect();
    let mut context = Context::new(&SHA256);
    for line in &lines {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    (lines, const_hex::encode(context.finish()))
}

/// The code of a line, or of the verdict in it.
fn code_of(line: &Value) -> Option<&str> {
    line["reason_code"].as_str().or_else(|| line["verdict"]["reason_code"].as_str())
}

fn shares(record: &Record<'_>) -> Shares {
    let mut shares = Shares::default();
    for share in record.shares() {
        shares.submitted += 1;
        shares.blocks += u64::from(share.class == ShareClass::Block);
        match share.answer {
            Answer::Acked(_) => shares.accepted += 1,
            Answer::Rejected(..) => shares.rejected += 1,
            Answer::ConnectionLost(_) | Answer::None => shares.unanswered += 1,
        }
    }
    let mut credited = BTreeSet::new();
    for (_, seen) in record.pool() {
        if let PoolSeen::Share { share_id, credited: true, .. } = seen {
            credited.insert(share_id);
        }
    }
    shares.forwarded = credited.len() as u64;
    for (_, line) in record.events("share_forward_result") {
        if line["upstream_accepted"] == false {
            shares.upstream_rejected += 1;
        } else if line["upstream_accepted"] != true {
            shares.undelivered += 1;
        }
    }
    shares
}

fn timeline(record: &Record<'_>) -> Vec<TimelineEntry> {
    let mut timeline: Vec<TimelineEntry> = Vec::new();
    for seen in record.observations {
        let Some((kind, text)) = entry(&seen.what) else { continue };
        let t_ms = seen.at.as_millis() as u64;
        // Fifty connections that are closed at one moment are one entry.
        if kind == TimelineKind::Close
            && let Some(last) = timeline.last_mut()
            && last.kind == kind
            && last.t_ms.abs_diff(t_ms) <= 5
            && let Some(count) = repeated(&last.text, &text)
        {
            last.text = format!("{text} ({count} connections)");
            continue;
        }
        timeline.push(TimelineEntry { t_ms, kind, text });
    }
    timeline
}

/// How many there are with this one, if `last` speaks of the same.
fn repeated(last: &str, text: &str) -> Option<u64> {
    let rest = last.strip_prefix(text)?;
    if rest.is_empty() {
        return Some(2);
    }
    let count = rest.strip_prefix(" (")?.strip_suffix(" connections)")?;
    count.parse::<u64>().ok().map(|count| count + 1)
}

fn entry(seen: &Seen) -> Option<(TimelineKind, String)> {
    Some(match seen {
        Seen::Node(NodeSeen::Tip { hash, height }) => {
            (TimelineKind::Tip, format!("height {height} {}", short(hash)))
        }
        Seen::Step(action) => (kind_of(action), action.to_string()),
        Seen::Host(HostSeen::Started { host }) => (TimelineKind::Start, format!("{host} started")),
        Seen::Host(HostSeen::Died { host, error }) => {
            (TimelineKind::Crash, format!("{host} ended by itself: {error}"))
        }
        Seen::Host(HostSeen::Crashed { host }) => (TimelineKind::Crash, format!("{host} died")),
        Seen::Host(HostSeen::Ended { host, .. }) => (TimelineKind::Step, format!("{host} ended")),
        Seen::Event(line) => event_entry(line)?,
        _ => return None,
    })
}

fn event_entry(line: &Value) -> Option<(TimelineKind, String)> {
    let text = |field: &str| line[field].as_str().unwrap_or_default();
    let hash = |field: &str| short(text(field));
    Some(match text("event") {
        "prevhash_switch" => {
            let outcome = text("outcome");
            (TimelineKind::Switch, format!("{outcome} {}", hash("prev_hash")))
        }
        "template_verdict" => {
            let code = code_of(line)?;
            if code == "ok" {
                return None;
            }
            (TimelineKind::Verdict, format!("{code} on {}", hash("prev_hash")))
        }
        "connection_closed" => (
            TimelineKind::Close,
            line["reason_code"].as_str().unwrap_or("left by the miner").to_owned(),
        ),
        "block_found" => {
            (TimelineKind::Block, format!("height {} {}", line["height"], hash("hash")))
        }
        "mode_changed" => (TimelineKind::Step, format!("mode {} to {}", text("from"), text("to"))),
        _ => return None,
    })
}

fn kind_of(action: &Action) -> TimelineKind {
    match action {
        Action::Crash { .. } => TimelineKind::Crash,
        Action::Restart { .. } => TimelineKind::Start,
        Action::Drain { .. }
        | Action::FindBlock { .. }
        | Action::Reload { .. }
        | Action::Mine { .. }
        | Action::Reorg { .. }
        | Action::CompetingTips
        | Action::Transactions { .. } => TimelineKind::Step,
        cure if cure.is_cure() => TimelineKind::Heal,
        _ => TimelineKind::Fault,
    }
}

/// Enough of a hash to tell it from others: its zeros come first, so its end.
fn short(hash: &str) -> &str {
    hash.get(hash.len().saturating_sub(12)..).unwrap_or(hash)
}

fn series(record: &Record<'_>) -> BTreeMap<String, Vec<Point>> {
    let end = record.observations.last().map_or(Duration::ZERO, |seen| seen.at);
    let bucket = (end / CURVE_POINTS).max(Duration::from_millis(1));
    let mut series = BTreeMap::new();
    let mut add = |name: &str, times: Vec<Duration>| {
        if !times.is_empty() {
            series.insert(name.to_owned(), curve(&times, bucket, end));
        }
    };
    let shares = record.shares();
    add("shares_submitted", shares.iter().map(|share| share.at).collect());
    add(
        "shares_accepted",
        shares
            .iter()
            .filter_map(|share| match share.answer {
                Answer::Acked(at) => Some(at),
                _ => None,
            })
            .collect(),
    );
    add(
        "shares_rejected",
        shares
            .iter()
            .filter_map(|share| match share.answer {
                Answer::Rejected(at, _) => Some(at),
                _ => None,
            })
            .collect(),
    );
    let credited = |(at, seen): (Duration, &PoolSeen)| {
        matches!(seen, PoolSeen::Share { credited: true, .. }).then_some(at)
    };
    add("shares_forwarded", record.pool().filter_map(credited).collect());
    for metric in LATENCY_METRICS {
        let samples = latency::samples(metric, record);
        for (name, points) in latency_curves(metric, &samples, bucket, end) {
            series.insert(name, points);
        }
    }
    series
}

/// How many of the moments were before the end of each bucket.
fn curve(times: &[Duration], bucket: Duration, end: Duration) -> Vec<Point> {
    let mut points = Vec::new();
    let mut until = bucket;
    while until <= end + bucket {
        let count = times.iter().filter(|at| **at < until).count();
        points.push(Point { t_ms: until.as_millis() as u64, value: count as f64 });
        until += bucket;
    }
    points
}

/// Median and 99th percentile of the samples in each bucket that has any, in milliseconds.
fn latency_curves(
    metric: &str,
    samples: &[(Duration, Duration)],
    bucket: Duration,
    end: Duration,
) -> Vec<(String, Vec<Point>)> {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    let mut from = Duration::ZERO;
    while from <= end {
        let inside: Vec<_> =
            samples.iter().filter(|(at, _)| *at >= from && *at < from + bucket).copied().collect();
        from += bucket;
        if inside.is_empty() {
            continue;
        }
        let found = latency::percentiles(&inside);
        let t_ms = from.as_millis() as u64;
        p50.push(Point { t_ms, value: found.p50 as f64 / 1e3 });
        p99.push(Point { t_ms, value: found.p99 as f64 / 1e3 });
    }
    if p50.is_empty() {
        return Vec::new();
    }
    vec![(format!("{metric}_p50_ms"), p50), (format!("{metric}_p99_ms"), p99)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Story, accepted, refused, result};
    use super::*;

    #[test]
    fn shares_are_counted_by_what_became_of_them() {
        let summary = Story::new()
            .connected(0)
            .sent(0, 1, "s1", ShareClass::Share)
            .sent(0, 2, "s2", ShareClass::Block)
            .sent(0, 3, "s3", ShareClass::Share)
            .acked(0, 1)
            .rejected(0, 2, "stale-share")
            .closed(0)
            .event(accepted("e1", "s1"))
            .event(result("e1", "s1"))
            .event(refused("stale_job_submission"))
            .credit("s1")
            .record(summarise);
        let expected = Shares {
            submitted: 3,
            accepted: 1,
            rejected: 1,
            unanswered: 1,
            forwarded: 1,
            upstream_rejected: 0,
            undelivered: 0,
            blocks: 1,
        };
        assert_eq!(summary.shares, expected);
        assert_eq!(summary.reason_codes["stale_job_submission"], 1);
        assert_eq!(summary.series["shares_submitted"].last().unwrap().value, 3.0);
    }

    #[test]
    fn what_has_no_event_is_counted_on_the_page() {
        let page = "gateway_link_faults_total{reason=\"internal_line_too_large\"} 2\n\
                    gateway_session_notices_total{notice=\"open_refused:miner_unauthorized\"} 3\n\
                    gateway_shares_total{answer=\"stale_job_submission\"} 7\n\
                    gateway_connections 4\n";
        let page = Seen::Output { source: "gateway /metrics".to_owned(), text: page.to_owned() };
        let warned = json!({
            "event": "template_verdict", "reason_code": "ok",
            "warnings": ["sigops_budget_warning"],
        });
        let summary = Story::new()
            .event(refused("stale_job_submission"))
            .event(warned)
            .see(page)
            .record(summarise);
        // An event counts itself; the page is for the others.
        assert_eq!(summary.reason_codes["stale_job_submission"], 1);
        assert_eq!(summary.reason_codes["internal_line_too_large"], 2);
        assert_eq!(summary.reason_codes["miner_unauthorized"], 3);
        assert_eq!(summary.verdict_codes["sigops_budget_warning"], 1);
    }

    #[test]
    fn closings_at_one_moment_are_one_entry() {
        let closed = json!({ "event": "connection_closed", "reason_code": "shutdown_drain" });
        let summary = Story::new()
            .event(closed.clone())
            .event(closed.clone())
            .event(closed)
            .record(summarise);
        assert_eq!(summary.timeline.len(), 1);
        assert_eq!(summary.timeline[0].text, "shutdown_drain (3 connections)");
    }

    #[test]
    fn the_digest_changes_with_any_line() {
        let digest = |tip| Story::new().tip(tip).record(|record| trace(record.observations).1);
        assert_eq!(digest("aa"), digest("aa"));
        assert_ne!(digest("aa"), digest("bb"));
    }
}
