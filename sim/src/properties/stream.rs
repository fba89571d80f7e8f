//! Judges of a recorded event stream alone, such as that of a gateway in production.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_core::mode::Mode;
use serde_json::Value;

use super::shares::{accepted_once, results_explained};
use super::{
    DEFAULT_SHARES_PER_SECOND, DEFAULT_TEMPLATE_CACHE, Judged, Judgement, Record, Setting, ends,
    named, property,
};
use crate::actors::observe::{Observation, Seen};
use crate::report::model::{Property, PropertyKind};

/// Properties that a stream alone can show, all of them or in part.
pub const STREAM: [&str; 11] = [
    "block_not_lost",
    "conservation",
    "drop_policy",
    "every_reject_has_reason",
    "no_double_credit",
    "no_secret_in_output",
    "no_unverified_job",
    "observe_never_gates",
    "prevhash_switch",
    "shadow_opens_no_miner_port",
    "share_join",
];

/// In a part of a stream, a share may wait for its result for so long before the end.
const PENDING_MS: u64 = 300_000;

/// A recorded stream, and what its gateway was set up with.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The lines in their order.
    pub lines: Vec<Value>,
    /// Whether a full queue gives up its oldest share.
    pub drop_old: bool,
    /// `timing.prevhash_verdict_timeout_ms`.
    pub verdict_window: Duration,
    /// `timing.prevhash_stale_hold_ms`.
    pub stale_hold: Duration,
    /// Texts that must never be shown.
    pub secrets: Vec<String>,
}

impl Stream {
    /// Leaves out what began before the first line or has not ended with the last: for a part of
    /// a longer stream.
    #[must_use]
    pub fn without_loose_ends(mut self) -> Self {
        let is = |line: &Value, event: &str| line["event"] == event;
        let ids = |event: &str| -> BTreeSet<String> {
            let lines = self.lines.iter().filter(|line| is(line, event));
            lines.filter_map(|line| line["event_id"].as_str().map(ToOwned::to_owned)).collect()
        };
        let (begun, ended) = (ids("share_accepted"), ids("share_forward_result"));
        let last_ms = self.lines.iter().rev().find_map(unix_ms).unwrap_or_default();
        self.lines.retain(|line| {
            let id = line["event_id"].as_str().unwrap_or_default();
            if is(line, "share_forward_result") {
                return begun.contains(id);
            }
            let is_pending = is(line, "share_accepted")
                && line["sv2_response"] == "success"
                && !ended.contains(id)
                && unix_ms(line).is_some_and(|at| at + PENDING_MS > last_ms);
            !is_pending
        });
        self
    }
}

/// Judges the stream by every property of [`STREAM`]. Times are counted from its first line.
pub fn judge_stream(stream: Stream) -> Vec<Property> {
    let epoch_ms = stream.lines.iter().find_map(unix_ms).unwrap_or_default();
    let mode = first_mode(&stream.lines);
    let mut at = Duration::ZERO;
    let mut observations = Vec::new();
    for line in stream.lines {
        if let Some(unix_ms) = unix_ms(&line) {
            // The log's order is the truth; its wall clock may have been set back.
            at = at.max(Duration::from_millis(unix_ms.saturating_sub(epoch_ms)));
        }
        observations.push(Observation { at, what: Seen::Event(line) });
    }
    let setting = Setting {
        mode,
        miners: 0,
        verdict_window: stream.verdict_window,
        stale_hold: stream.stale_hold,
        transit: Duration::ZERO,
        epoch_ms,
        payouts: Vec::new(),
        drop_old: stream.drop_old,
        shares_per_second: DEFAULT_SHARES_PER_SECOND,
        template_cache: DEFAULT_TEMPLATE_CACHE,
        secrets: stream.secrets,
    };
    let record = Record { observations: &observations, setting: &setting };
    let judge = |name: &&str| property(PropertyKind::Always, name, in_stream(name, &record));
    STREAM.iter().map(judge).collect()
}

/// What the others judge by what actors saw is judged by the stream's own words.
fn in_stream(name: &str, record: &Record<'_>) -> Judgement {
    match name {
        "block_not_lost" => blocks_taken(record),
        "conservation" => results_explained(record),
        "no_double_credit" => accepted_once(record),
        "no_secret_in_output" if record.setting.secrets.is_empty() => {
            Ok(Judged::of(0, "secrets to look for"))
        }
        "no_secret_in_output" => ends::no_secret_in_output(record),
        "no_unverified_job" => switches_verified(record),
        "shadow_opens_no_miner_port" => nobody_in_shadow(record),
        _ => named(name, record),
    }
}

/// The mode that the stream begins in, by its first word of one.
fn first_mode(lines: &[Value]) -> Mode {
    let told = lines.iter().find_map(|line| match line["event"].as_str() {
        Some("mode_changed") => line["from"].as_str(),
        _ => line["mode"].as_str(),
    });
    told.and_then(|mode| mode.parse().ok()).unwrap_or(Mode::Inline)
}

fn unix_ms(line: &Value) -> Option<u64> {
    line["timestamp_ms"].as_u64()
}

/// Some node took each block that was found, or has it.
fn blocks_taken(record: &Record<'_>) -> Judgement {
    let mut blocks: BTreeMap<&str, (Duration, bool, String)> = BTreeMap::new();
    for (at, line) in record.events("block_found") {
        let hash = line["hash"].as_str().unwrap_or_default();
        let words: Vec<&str> =
            line["results"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let has_it = |word: &&str| word.ends_with("duplicate") || word.ends_with("inconclusive");
        let taken = line["accepted"] == true || words.iter().any(has_it);
        let block = blocks.entry(hash).or_default();
        *block = (at, block.1 || taken, words.join(", "));
    }
    match blocks.iter().find(|(_, (_, taken, _))| !taken) {
        Some((hash, (at, _, words))) if words.is_empty() => {
            Err(Judged::fail(*at, format!("no node answered for block {hash}")))
        }
        Some((hash, (at, _, words))) => {
            Err(Judged::fail(*at, format!("no node took block {hash}: {words}")))
        }
        None => Ok(Judged::of(blocks.len(), "blocks, each taken by a node")),
    }
}

/// Inline: a switch to a tip comes after an accepting verdict on it.
fn switches_verified(record: &Record<'_>) -> Judgement {
    let (mut accepted, mut count) = (BTreeSet::new(), 0);
    for (at, line) in record.all_events() {
        let tip = line["prev_hash"].as_str().unwrap_or_default();
        match line["event"].as_str() {
            Some("template_verdict") if line["accepted"] == true => drop(accepted.insert(tip)),
            Some("prevhash_switch")
                if line["mode"] == Mode::Inline.as_str() && line["outcome"] == "switched" =>
            {
                count += 1;
                if !accepted.contains(tip) {
                    let what = format!("a switch to {tip}, which no verdict accepts");
                    return Err(Judged::fail(at, what));
                }
            }
            _ => {}
        }
    }
    Ok(Judged::of(count, "switches, each after its accepting verdict"))
}

/// Shadow: no miner comes, and none leaves, but those that a change to it drains.
fn nobody_in_shadow(record: &Record<'_>) -> Judgement {
    let changes = record.events("mode_changed").next().is_some();
    if record.setting.mode != Mode::Shadow || changes {
        return Ok(Judged::of(0, "templates judged in shadow mode"));
    }
    let miners = ["share_accepted", "connection_closed", "block_found"];
    let trace =
        record.all_events().find(|(_, line)| miners.iter().any(|name| line["event"] == *name));
    if let Some((at, line)) = trace {
        return Err(Judged::fail(at, format!("{} in shadow mode", line["event"])));
    }
    Ok(Judged::of(record.events("template_verdict").count(), "templates judged in shadow mode"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{accepted, result};
    use super::*;
    use crate::report::model::Verdict;

    fn stream(lines: Vec<Value>) -> Stream {
        Stream {
            lines,
            drop_old: false,
            verdict_window: Duration::from_millis(50),
            stale_hold: Duration::from_secs(5),
            secrets: vec!["hunter2-secret".to_owned()],
        }
    }

    /// The names of what fails.
    #[track_caller]
    fn check(stream: Stream, failing: &[&str]) {
        let judged = judge_stream(stream);
        let failed = judged.iter().filter(|property| property.outcome == Verdict::Fail);
        assert_eq!(
            failed.map(|property| &property.name).collect::<Vec<_>>(),
            failing,
            "{judged:?}"
        );
    }

    fn verdict(tip: &str, accepted: bool) -> Value {
        json!({
            "event": "template_verdict", "mode": "inline", "prev_hash": tip, "accepted": accepted,
            "reason_code": "ok", "timestamp_ms": 1_000,
        })
    }

    fn switch(tip: &str) -> Value {
        json!({
            "event": "prevhash_switch", "mode": "inline", "prev_hash": tip, "outcome": "switched",
            "tip_seen_at_ms": 1_000, "timestamp_ms": 1_010,
        })
    }

    #[test]
    fn a_share_without_its_result_is_found_in_a_stream() {
        check(stream(vec![accepted("e1", "s1"), result("e1", "s1")]), &[]);
        check(stream(vec![accepted("e1", "s1")]), &["share_join"]);
    }

    #[test]
    fn a_part_of_a_stream_has_loose_ends() {
        let mut early = accepted("e2", "s2");
        early["timestamp_ms"] = 1_000.into();
        let mut late = accepted("e3", "s3");
        late["timestamp_ms"] = 900_000.into();
        let part = || stream(vec![result("e1", "s1"), early.clone(), late.clone()]);
        check(part(), &["share_join"]);
        // What has waited for too long has no excuse.
        check(part().without_loose_ends(), &["share_join"]);
        let mut part = part();
        part.lines.remove(1);
        check(part.without_loose_ends(), &[]);
    }

    #[test]
    fn a_result_must_be_delivered_or_explained() {
        let mut line = result("e1", "s1");
        line["upstream_accepted"] = Value::Null;
        check(stream(vec![accepted("e1", "s1"), line]), &["conservation"]);
    }

    #[test]
    fn a_switch_needs_its_verdict() {
        check(stream(vec![verdict("aa", true), switch("aa")]), &[]);
        check(stream(vec![verdict("aa", false), switch("aa")]), &["no_unverified_job"]);
        check(stream(vec![verdict("bb", true), switch("aa")]), &["no_unverified_job"]);
    }

    #[test]
    fn a_block_must_be_taken_in_the_end() {
        let found = |accepted: Value, words: &[&str]| json!({ "event": "block_found", "hash": "bb", "accepted": accepted, "results": words });
        let unanswered = || found(Value::Null, &[]);
        check(stream(vec![unanswered(), found(true.into(), &["node: accepted"])]), &[]);
        check(stream(vec![found(false.into(), &["node: duplicate"])]), &[]);
        check(stream(vec![unanswered()]), &["block_not_lost"]);
        check(stream(vec![found(false.into(), &["node: high-hash"])]), &["block_not_lost"]);
    }

    #[test]
    fn shadow_has_no_miners_and_no_stream_shows_a_secret() {
        let judged = json!({ "event": "template_verdict", "mode": "shadow", "prev_hash": "aa" });
        check(stream(vec![judged.clone()]), &[]);
        let closed = json!({ "event": "connection_closed", "detail": "pw=hunter2-secret" });
        let failing = ["no_secret_in_output", "shadow_opens_no_miner_port"];
        check(stream(vec![judged, closed]), &failing);
    }
}
