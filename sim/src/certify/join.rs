//! The gateway's event stream as it is read during a load: each accepted share has one result.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::measure::{Measures, Metric};

/// What the event stream told so far. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Join(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    measures: Measures,
    /// Accepted shares without a result, by `event_id`, with their time.
    open: BTreeMap<String, u64>,
    counts: JoinCounts,
}

/// What the event stream came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JoinCounts {
    pub(super) accepted: u64,
    pub(super) forwarded: u64,
    /// Results that say that the pool does not have the share, by reason.
    pub(super) lost: BTreeMap<String, u64>,
    /// Results for no accepted share, or second ones.
    pub(super) stray: u64,
    /// Accepted shares without a result.
    pub(super) open: u64,
    /// Lines that this reader was too slow for.
    pub(super) lagged: u64,
    pub(super) rejected_verdicts: u64,
}

impl Join {
    /// Takes a line of the stream.
    pub(super) fn take(&self, line: &Value) {
        let mut state = self.state();
        match line["event"].as_str() {
            Some("share_accepted") if line["sv2_response"] == "success" => state.accepted(line),
            Some("share_forward_result") => state.result(line),
            Some("template_verdict") => state.verdict(line),
            Some("lagged") => state.counts.lagged += 1,
            _ => {}
        }
    }

    /// Accepted shares without a result.
    pub(super) fn open(&self) -> usize {
        self.state().open.len()
    }

    /// What it came to, and what was measured.
    pub(super) fn finish(&self) -> (JoinCounts, Measures) {
        let state = self.state();
        let counts = JoinCounts { open: state.open.len() as u64, ..state.counts.clone() };
        (counts, state.measures.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn accepted(&mut self, line: &Value) {
        let (Some(id), Some(at)) = (line["event_id"].as_str(), line["timestamp_ms"].as_u64())
        else {
            return;
        };
        self.counts.accepted += 1;
        self.open.insert(id.to_owned(), at);
    }

    fn result(&mut self, line: &Value) {
        let at = line["timestamp_ms"].as_u64().unwrap_or_default();
        let Some(accepted_at) = line["event_id"].as_str().and_then(|id| self.open.remove(id))
        else {
            self.counts.stray += 1;
            return;
        };
        let took = Duration::from_millis(at.saturating_sub(accepted_at));
        self.measures.record(Metric::Forward, took);
        match line["reason_code"].as_str() {
            None => self.counts.forwarded += 1,
            Some(reason) => *self.counts.lost.entry(reason.to_owned()).or_default() += 1,
        }
    }

    fn verdict(&mut self, line: &Value) {
        if line["accepted"] == false {
            self.counts.rejected_verdicts += 1;
        }
        if let Some(ms) = line["latency_ms"].as_f64() {
            self.measures.record(Metric::Verdict, Duration::from_secs_f64(ms.max(0.0) / 1e3));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accepted(id: &str, at: u64) -> Value {
        json!({ "event": "share_accepted", "sv2_response": "success", "event_id": id, "timestamp_ms": at })
    }

    fn result(id: &str, at: u64, reason: Option<&str>) -> Value {
        json!({ "event": "share_forward_result", "event_id": id, "timestamp_ms": at, "reason_code": reason })
    }

    #[test]
    fn each_share_is_joined_with_its_one_result() {
        let join = Join::default();
        for line in [
            accepted("a", 10),
            accepted("b", 11),
            accepted("c", 12),
            json!({ "event": "share_accepted", "sv2_response": "error", "event_id": "x" }),
            result("a", 110, None),
            result("b", 120, Some("share_forward_failed")),
            result("a", 130, None),
            json!({ "event": "template_verdict", "accepted": true, "latency_ms": 2.5 }),
            json!("not an event"),
        ] {
            join.take(&line);
        }
        let (counts, measures) = join.finish();
        let lost = BTreeMap::from([("share_forward_failed".to_owned(), 1)]);
        let expect =
            JoinCounts { accepted: 3, forwarded: 1, lost, stray: 1, open: 1, ..Default::default() };
        assert_eq!(counts, expect);
        assert_eq!(measures.of(Metric::Forward).unwrap().len(), 2);
        assert_eq!(measures.of(Metric::Verdict).unwrap().max() / 100, 25);
    }
}
