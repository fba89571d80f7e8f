//! Judges of a recorded event stream alone, such as that of a gateway in production.

use std::time::Duration;

use gateway_core::mode::Mode;
use serde_json::Value;

use super::{Record, Setting, judge};
use crate::actors::observe::{Observation, Seen};
use crate::report::model::Property;
use crate::scenario::Expect;

/// Properties that need nothing but the stream.
pub const STREAM: [&str; 5] =
    ["drop_policy", "every_reject_has_reason", "no_double_credit", "prevhash_switch", "share_join"];

/// A recorded stream, and what its gateway was set up with.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The lines in their order.
    pub lines: Vec<Value>,
    /// Whether a full queue gives up its oldest share.
    pub drop_old: bool,
    /// `timing.prevhash_stale_hold_ms`.
    pub stale_hold: Duration,
}

/// Judges the stream by every property of [`STREAM`]. Times are counted from its first line.
pub fn judge_stream(stream: Stream) -> Vec<Property> {
    let stamp = |line: &Value| line["timestamp_ms"].as_u64();
    let epoch_ms = stream.lines.iter().find_map(stamp).unwrap_or_default();
    let mut at = Duration::ZERO;
    let mut observations = Vec::new();
    for line in stream.lines {
        if let Some(unix_ms) = stamp(&line) {
            // The log's order is the truth; its wall clock may have been set back.
            at = at.max(Duration::from_millis(unix_ms.saturating_sub(epoch_ms)));
        }
        observations.push(Observation { at, what: Seen::Event(line) });
    }
    let setting = Setting {
        mode: Mode::Inline,
        miners: 0,
        verdict_window: Duration::ZERO,
        stale_hold: stream.stale_hold,
        transit: Duration::ZERO,
        epoch_ms,
        payouts: Vec::new(),
        drop_old: stream.drop_old,
        secrets: Vec::new(),
    };
    let record = Record { observations: &observations, setting: &setting };
    STREAM.iter().map(|name| judge(&Expect::Always(name), &record)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{accepted, result};
    use super::*;
    use crate::report::model::Verdict;

    fn judged(lines: Vec<Value>) -> Vec<(String, Verdict)> {
        let stream = Stream { lines, drop_old: false, stale_hold: Duration::from_secs(5) };
        judge_stream(stream).into_iter().map(|p| (p.name, p.outcome)).collect()
    }

    #[test]
    fn a_share_without_its_result_is_found_in_a_stream() {
        let whole = judged(vec![accepted("e1", "s1"), result("e1", "s1")]);
        assert!(whole.iter().all(|(_, outcome)| *outcome != Verdict::Fail), "{whole:?}");
        assert!(whole.contains(&("share_join".to_owned(), Verdict::Pass)), "{whole:?}");
        let short = judged(vec![accepted("e1", "s1")]);
        assert!(short.contains(&("share_join".to_owned(), Verdict::Fail)), "{short:?}");
    }
}
