//! Every share by its id: acknowledged to a miner, accepted in the event stream, credited by the
//! pool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// SHA-256 of a share's header.
pub(in crate::walk) type ShareId = [u8; 32];

/// What the event stream and the pool tell of shares.
#[derive(Default)]
pub(super) struct Ledger {
    newest_seq: u64,
    /// Events that did not come, or came twice.
    gaps: u64,
    lagged: u64,
    /// Accepted shares without a result, by event id.
    open: BTreeMap<String, ShareId>,
    accepted: BTreeSet<ShareId>,
    forwarded: u64,
    /// Results that say that the pool does not have the share, by reason.
    lost: BTreeMap<String, u64>,
    /// Results for no accepted share, and second ones.
    stray: u64,
    credited: BTreeSet<ShareId>,
    /// What the pool found wrong.
    complaints: BTreeMap<String, u64>,
}

/// The ledger's three sides held against one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::walk) struct Joined {
    pub(in crate::walk) acknowledged: usize,
    pub(in crate::walk) accepted: usize,
    pub(in crate::walk) forwarded: u64,
    pub(in crate::walk) credited: usize,
    /// Acknowledged, and not in the log's event stream.
    pub(in crate::walk) not_durable: usize,
    /// What breaks the rule of one result for each accepted share; empty where it holds.
    pub(in crate::walk) breaks: Vec<String>,
}

impl Ledger {
    /// Every event has the number after the one before.
    pub(super) fn number(&mut self, line: &Value) {
        let seq = line["seq"].as_u64().unwrap_or_default();
        if line["event"] == "lagged" {
            self.lagged += line["missed"].as_u64().unwrap_or(1);
        } else if seq != self.newest_seq + 1 {
            self.gaps += 1;
        }
        self.newest_seq = seq;
    }

    pub(super) fn newest_seq(&self) -> u64 {
        self.newest_seq
    }

    pub(super) fn unresolved(&self) -> usize {
        self.open.len()
    }

    pub(super) fn accepted(&mut self, line: &Value) {
        let share_id = line["share_id"].as_str().and_then(id);
        let (Some(event_id), Some(share_id)) = (line["event_id"].as_str(), share_id) else {
            self.gaps += 1;
            return;
        };
        self.open.insert(event_id.to_owned(), share_id);
        self.accepted.insert(share_id);
    }

    pub(super) fn result(&mut self, line: &Value) {
        let share_id = line["event_id"].as_str().and_then(|id| self.open.remove(id));
        if share_id.is_none() || share_id != line["share_id"].as_str().and_then(id) {
            self.stray += 1;
        }
        match line["reason_code"].as_str() {
            None => self.forwarded += 1,
            Some(reason) => *self.lost.entry(reason.to_owned()).or_default() += 1,
        }
    }

    pub(super) fn pool(&mut self, share_id: &str, check: &Result<(), String>, credited: bool) {
        if let Err(why) = check {
            *self.complaints.entry(why.clone()).or_default() += 1;
        }
        if credited {
            self.credited.extend(id(share_id));
        }
    }

    pub(super) fn bad_request(&mut self, why: String) {
        *self.complaints.entry(why).or_default() += 1;
    }

    pub(super) fn join(&self, acknowledged: &BTreeSet<ShareId>) -> Joined {
        let mut breaks = Vec::new();
        let mut tell = |count: u64, what: &dyn fmt::Display| {
            if count > 0 {
                breaks.push(format!("{count} {what}"));
            }
        };
        tell(self.gaps, &"gaps in the numbers of events");
        tell(self.lagged, &"events that this reader was too slow for");
        tell(self.open.len() as u64, &"accepted shares without a result");
        tell(self.stray, &"results of no accepted share");
        for (reason, count) in &self.lost {
            tell(*count, &format_args!("results with {reason}"));
        }
        for (why, count) in &self.complaints {
            tell(*count, &format_args!("complaints of the pool: {why}"));
        }
        let uncredited = self.accepted.difference(&self.credited).count();
        tell(uncredited as u64, &"accepted shares that the pool did not credit");
        let unknown = self.credited.difference(&self.accepted).count();
        tell(unknown as u64, &"credited shares that no event accepts");
        Joined {
            acknowledged: acknowledged.len(),
            accepted: self.accepted.len(),
            forwarded: self.forwarded,
            credited: self.credited.len(),
            not_durable: acknowledged.difference(&self.accepted).count(),
            breaks,
        }
    }
}

/// A share's id from its text.
pub(super) fn id(text: &str) -> Option<ShareId> {
    const_hex::decode_to_array(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn share(n: u8) -> String {
        const_hex::encode([n; 32])
    }

    fn ledger(lines: &[Value], credited: &[u8]) -> Ledger {
        let mut ledger = Ledger::default();
        for (mut line, seq) in lines.iter().cloned().zip(1..) {
            line["seq"] = json!(seq);
            ledger.number(&line);
            match line["event"].as_str() {
                Some("share_accepted") => ledger.accepted(&line),
                _ => ledger.result(&line),
            }
        }
        for n in credited {
            ledger.pool(&share(*n), &Ok(()), true);
        }
        ledger
    }

    fn accepted(n: u8) -> Value {
        json!({ "event": "share_accepted", "event_id": n.to_string(), "share_id": share(n) })
    }

    fn result(n: u8) -> Value {
        json!({ "event": "share_forward_result", "event_id": n.to_string(), "share_id": share(n),
            "reason_code": null })
    }

    #[test]
    fn a_share_that_is_everywhere_breaks_nothing() {
        let joined = ledger(&[accepted(1), result(1)], &[1]).join(&BTreeSet::from([[1; 32]]));
        let expected =
            Joined { acknowledged: 1, accepted: 1, forwarded: 1, credited: 1, ..Joined::default() };
        assert_eq!(joined, expected);
    }

    #[test]
    fn each_way_to_lose_a_share_is_told() {
        let told = |lines: &[Value], credited: &[u8]| {
            ledger(lines, credited).join(&BTreeSet::new()).breaks.join("; ")
        };
        assert_eq!(told(&[accepted(1)], &[1]), "1 accepted shares without a result");
        assert_eq!(
            told(&[accepted(1), result(1), result(1)], &[1]),
            "1 results of no accepted share"
        );
        assert!(told(&[accepted(1), result(1)], &[]).contains("did not credit"));
        assert!(told(&[], &[1]).contains("no event accepts"));
        let mut lost = result(1);
        lost["reason_code"] = json!("share_forward_failed");
        assert!(told(&[accepted(1), lost], &[1]).contains("1 results with share_forward_failed"));
    }

    #[test]
    fn what_was_acknowledged_and_is_not_in_the_log_is_told() {
        let joined = ledger(&[], &[]).join(&BTreeSet::from([[9; 32]]));
        assert_eq!((joined.not_durable, joined.breaks.len()), (1, 0));
    }
}
