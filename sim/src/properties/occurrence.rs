//! Things that can happen, as scenario files name them, and judges of whether and when they did.

use std::fmt;
use std::time::Duration;

use gateway_core::reason::ReasonCode;
use serde_json::Value;
use verifier_protocol::VerdictCode;

use super::summary::counted_reasons;
use super::{Judged, Judgement, Record};
use crate::actors::observe::{MinerSeen, NodeSeen, Observation, Seen};
use crate::scenario::{Action, unknown_name};

/// Something that can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    text: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A step of the scenario.
    Step(&'static str),
    /// A new tip at the node.
    Tip,
    /// A block submitted to the node.
    Block,
    /// A miner got SetNewPrevHash.
    MinerSwitched,
    /// A miner's connection ended.
    MinerClosed,
    /// A line of the stream.
    Event(&'static str),
    /// A line of the stream with a field of this value.
    EventWith(&'static str, &'static str, String),
    /// Any line with this reason code.
    Reason(String),
    /// Any line with this reason code, or a count of it on the page of metrics.
    Code(String),
}

const EVENTS: [&str; 8] = [
    "block_found",
    "config_reloaded",
    "connection_closed",
    "mode_changed",
    "prevhash_switch",
    "share_accepted",
    "share_forward_result",
    "template_verdict",
];

const PREFIXES: [&str; 7] = ["closed", "code", "reason", "rejected", "result", "switch", "verdict"];
const SWITCHES: [&str; 4] = ["disconnected", "rejected", "superseded", "switched"];

impl Occurrence {
    /// Reads `cut`, `tip`, `block_found`, `closed:REASON`, `rejected:REASON`, `result:REASON`,
    /// `reason:REASON`, `code:REASON`, `switch:OUTCOME`, `verdict:CODE` and the like.
    ///
    /// # Errors
    /// Text that names the nearest thing that there is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let what = match text.split_once(':') {
            Some((prefix, value)) => qualified(text, prefix, value)?,
            None => plain(text)?,
        };
        Ok(Self { text: text.to_owned(), what })
    }

    fn is(&self, observation: &Observation) -> bool {
        match (&self.what, &observation.what) {
            (What::Step(name), Seen::Step(action)) => action.name() == *name,
            (What::Tip, Seen::Node(NodeSeen::Tip { .. }))
            | (What::Block, Seen::Node(NodeSeen::Submitted { .. }))
            | (What::MinerSwitched, Seen::Miner { what: MinerSeen::PrevHash { .. }, .. })
            | (What::MinerClosed, Seen::Miner { what: MinerSeen::Closed { .. }, .. }) => true,
            (What::Event(name), Seen::Event(line)) => line["event"] == *name,
            (What::EventWith(name, field, value), Seen::Event(line)) => {
                line["event"] == *name && has(line, field, value)
            }
            (What::Code(code), Seen::Output { source, text }) => {
                source == "gateway /metrics" && counted_reasons(text).contains_key(code)
            }
            (What::Reason(code) | What::Code(code), Seen::Event(line)) => {
                has(line, "reason_code", code)
            }
            _ => false,
        }
    }
}

/// Whether the line, or the verdict in it, has this value.
fn has(line: &Value, field: &str, value: &str) -> bool {
    line[field] == value || line["verdict"][field] == value
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn plain(text: &str) -> Result<What, String> {
    let find = |names: &[&'static str]| names.iter().find(|name| **name == text).copied();
    Ok(match text {
        "tip" => What::Tip,
        "block_submitted" => What::Block,
        "miner_switched" => What::MinerSwitched,
        "miner_closed" => What::MinerClosed,
        _ => match (find(&Action::NAMES), find(&EVENTS)) {
            (Some(step), _) => What::Step(step),
            (None, Some(event)) => What::Event(event),
            (None, None) => {
                let others = ["tip", "block_submitted", "miner_switched", "miner_closed"];
                let names = Action::NAMES.into_iter().chain(EVENTS).chain(others);
                return Err(format!("occurrence \"{text}\" {}", unknown_name(text, names)));
            }
        },
    })
}

fn qualified(text: &str, prefix: &str, value: &str) -> Result<What, String> {
    let reason = || known(text, value, ReasonCode::ALL.iter().map(|code| code.as_str()));
    Ok(match prefix {
        "closed" => What::EventWith("connection_closed", "reason_code", reason()?),
        "rejected" => What::EventWith("share_accepted", "reason_code", reason()?),
        "result" => What::EventWith("share_forward_result", "reason_code", reason()?),
        "code" => What::Code(reason()?),
        "reason" => What::Reason(reason()?),
        "switch" => {
            let outcome = known(text, value, SWITCHES.into_iter())?;
            What::EventWith("prevhash_switch", "outcome", outcome)
        }
        "verdict" => {
            let code = known(text, value, VerdictCode::ALL.iter().map(|code| code.as_str()))?;
            What::EventWith("template_verdict", "reason_code", code)
        }
        other => {
            let what = unknown_name(other, PREFIXES.into_iter());
            return Err(format!("occurrence \"{text}\": \"{other}\" {what}"));
        }
    })
}

fn known<'a>(
    text: &str,
    value: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<String, String> {
    if names.clone().any(|name| name == value) {
        return Ok(value.to_owned());
    }
    let what = unknown_name(value, names);
    Err(format!("occurrence \"{text}\": \"{value}\" {what}"))
}

/// At least once before the end.
pub(super) fn sometimes(occurrence: &Occurrence, record: &Record<'_>) -> Judgement {
    let count = record.observations.iter().filter(|seen| occurrence.is(seen)).count();
    if count == 0 {
        return Err(Judged::fail(record.settled_at(), "never happened"));
    }
    Ok(Judged::of(count, "times"))
}

/// Not before the end.
pub(super) fn never(occurrence: &Occurrence, record: &Record<'_>) -> Judgement {
    let mut before = record.observations.iter().take_while(|seen| seen.at <= record.settled_at());
    match before.find(|seen| occurrence.is(seen)) {
        Some(seen) => Err(Judged::fail(seen.at, "happened")),
        None => Ok(Judged::of(record.observations.len(), "observations, none of them it")),
    }
}

/// Inside a window after each time that `after` happens.
pub(super) fn within(
    after: &Occurrence,
    event: &Occurrence,
    min: Duration,
    max: Duration,
    record: &Record<'_>,
) -> Judgement {
    let mut count = 0;
    let at = |seen: &Observation| match &seen.what {
        // It may have been read late.
        Seen::Event(line) => record.told_at(seen.at, line),
        _ => seen.at,
    };
    for start in record.observations.iter().filter(|seen| after.is(seen)) {
        let from = at(start);
        let follows = |seen: &&Observation| {
            seen.at >= start.at && !std::ptr::eq(*seen, start) && event.is(seen) && at(seen) >= from
        };
        let Some(next) = record.observations.iter().find(follows) else {
            let what = format!("no {event} after {after}");
            return Err(Judged::fail(from + max, what));
        };
        let took = at(next) - from;
        if took < min || took > max {
            let what = format!("{event} came {} ms after {after}", took.as_micros() as f64 / 1e3);
            return Err(Judged::fail(at(next), what));
        }
        count += 1;
    }
    Ok(Judged::of(count, "times"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::super::testing::Story;
    use super::*;

    #[rstest]
    #[case("closed:prevhash_switch_timeouts", "did you mean \"prevhash_switch_timeout\"?")]
    #[case("verdict:okay", "did you mean \"ok\"?")]
    #[case("switch:switches", "did you mean \"switched\"?")]
    #[case("clsed:shutdown_drain", "did you mean \"closed\"?")]
    #[case("block_foundd", "did you mean \"block_found\"?")]
    fn unknown_names_are_refused_with_the_nearest(#[case] text: &str, #[case] advice: &str) {
        let error = Occurrence::parse(text).unwrap_err();
        assert!(error.contains(advice), "{error}");
    }

    #[rstest]
    #[case("closed:shutdown_drain", json!({"event": "connection_closed", "reason_code": "shutdown_drain"}))]
    #[case("rejected:share_replay_detected", json!({"event": "share_accepted", "reason_code": "share_replay_detected"}))]
    #[case("reason:shutdown_drain", json!({"event": "connection_closed", "reason_code": "shutdown_drain"}))]
    #[case("verdict:ok", json!({"event": "template_verdict", "verdict": {"reason_code": "ok"}}))]
    #[case("verdict:ok", json!({"event": "template_verdict", "reason_code": "ok"}))]
    #[case("switch:switched", json!({"event": "prevhash_switch", "outcome": "switched"}))]
    #[case("mode_changed", json!({"event": "mode_changed"}))]
    fn an_occurrence_finds_its_line(#[case] text: &str, #[case] line: Value) {
        let occurrence = Occurrence::parse(text).unwrap();
        let judged = |story: Story| story.record(|record| sometimes(&occurrence, record));
        let never = |story: Story| story.record(|record| never(&occurrence, record));
        assert!(never(Story::new().event(json!({"event": "other"}))).is_ok());
        assert!(never(Story::new().event(line.clone())).is_err());
        assert!(judged(Story::new().event(line)).is_ok());
        assert!(judged(Story::new().event(json!({"event": "other"}))).is_err());
    }

    #[test]
    fn a_window_has_two_sides() {
        let [after, event] = ["mine", "tip"].map(|text| Occurrence::parse(text).unwrap());
        let story = Story::new().see(Seen::Step(Action::Mine { blocks: 1 })).later(99).tip("aa");
        let judged = |min, max| {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
            story.record(|record| within(&after, &event, min, max, record))
        };
        assert!(judged(50, 150).is_ok());
        assert!(judged(101, 150).unwrap_err().detail.contains("100 ms after mine"));
        assert!(judged(0, 99).is_err());
        let never = Story::new().see(Seen::Step(Action::Mine { blocks: 1 }));
        let judged = never.record(|record| {
            within(&after, &event, Duration::ZERO, Duration::from_secs(1), record)
        });
        assert!(judged.unwrap_err().detail.contains("no tip after mine"));
    }
}
