//! What many miners, the pool and the event stream showed: counted as it comes, because a load
//! has too much to keep.

mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;

pub(super) use self::ledger::{Joined, ShareId};
use self::ledger::{Ledger, id};
use crate::actors::observe::{MinerSeen, Observation, PoolSeen, Recorder, Seen, ShareClass};

/// How long a channel counts as new.
const NEW: Duration = Duration::from_secs(3);

/// Longer latencies count as this long.
const LONGEST_US: u64 = 600_000_000;

/// Everyone who is watched. Clones share it.
#[derive(Clone)]
pub(super) struct Crowd(Arc<Mutex<State>>);

/// What is known of one miner.
#[derive(Default)]
struct Miner {
    open: BTreeMap<u64, Sent>,
    tip: String,
    has_channel_since: Option<Duration>,
    is_on_tip: bool,
    accepted: [u64; 2],
    accepted_when_new: u64,
}

struct Sent {
    at: Duration,
    share_id: ShareId,
    class: ShareClass,
    prev_hash: String,
}

/// A part of the walk, by what is asked of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before anything is asked.
    Before = 0,
    /// What is judged.
    Judged = 1,
}

struct State {
    miners: Vec<Miner>,
    phase: Phase,
    latencies: [Histogram<u64>; 2],
    counts: Counts,
    acknowledged: BTreeSet<ShareId>,
    ledger: Ledger,
    /// Every event that is of no share, in order.
    rare: Vec<Value>,
}

/// What became of shares and connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    /// Good shares that were refused, by code.
    pub(super) refused: BTreeMap<String, u64>,
    /// Bad shares that were refused with the code that the contract has for them.
    pub(super) rightly_refused: u64,
    /// Bad shares that were refused with another code, or not at all.
    pub(super) wrongly_answered: BTreeMap<String, u64>,
    /// Good shares of a tip that was replaced while they were on their way.
    pub(super) overtaken: u64,
    /// Shares without an answer when their connection ended.
    pub(super) unanswered: u64,
    /// Ended connections of miners that had a channel.
    pub(super) disconnects: u64,
    /// Ways in which the gateway broke the protocol.
    pub(super) breaches: Vec<String>,
}

impl Crowd {
    pub(super) fn new(miners: u32) -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds and digits are valid")
        };
        Self(Arc::new(Mutex::new(State {
            miners: (0..miners).map(|_| Miner::default()).collect(),
            phase: Phase::Before,
            latencies: [histogram(), histogram()],
            counts: Counts::default(),
            acknowledged: BTreeSet::new(),
            ledger: Ledger::default(),
            rare: Vec::new(),
        })))
    }

    /// What miners and pool write to.
    pub(super) fn recorder(&self) -> Recorder {
        let crowd = self.clone();
        Recorder::into_sink(move |seen| crowd.state().take(seen))
    }

    /// Takes a line of the event stream.
    pub(super) fn event(&self, line: Value) {
        self.state().event(line);
    }

    /// From here on it is another part.
    pub(super) fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// How many miners have a channel and a tip.
    pub(super) fn at_work(&self) -> usize {
        self.state().miners.iter().filter(|miner| miner.is_on_tip).count()
    }

    /// How many miners were told of this tip last.
    pub(super) fn on_tip(&self, tip: &str) -> usize {
        self.state().miners.iter().filter(|miner| miner.tip == tip).count()
    }

    /// How many acknowledged shares each miner has in a part.
    pub(super) fn accepted(&self, phase: Phase) -> Vec<u64> {
        self.state().miners.iter().map(|miner| miner.accepted[phase as usize]).collect()
    }

    /// How many acknowledged shares a second each miner had when its channel was new.
    pub(super) fn rates_when_new(&self) -> Vec<f64> {
        let rate = |miner: &Miner| miner.accepted_when_new as f64 / NEW.as_secs_f64();
        self.state().miners.iter().map(rate).collect()
    }

    /// From sending to acknowledgement, in microseconds.
    pub(super) fn latencies(&self, phase: Phase) -> Histogram<u64> {
        self.state().latencies[phase as usize].clone()
    }

    /// Events of no share with this name.
    pub(super) fn events(&self, name: &str) -> Vec<Value> {
        let state = self.state();
        state.rare.iter().filter(|line| line["event"] == name).cloned().collect()
    }

    /// Shares without an answer.
    pub(super) fn open(&self) -> usize {
        self.state().miners.iter().map(|miner| miner.open.len()).sum()
    }

    /// Accepted shares whose result is still to come.
    pub(super) fn unresolved(&self) -> usize {
        self.state().ledger.unresolved()
    }

    /// The number of the newest event.
    pub(super) fn newest_seq(&self) -> u64 {
        self.state().ledger.newest_seq()
    }

    /// Holds what was acknowledged, what the events tell and what the pool has against one another.
    pub(super) fn join(&self) -> Joined {
        let state = self.state();
        state.ledger.join(&state.acknowledged)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, Observation { at, what }: Observation) {
        match what {
            Seen::Miner { miner, what } => self.miner(at, miner as usize, what),
            Seen::Pool(PoolSeen::Share { share_id, check, credited, .. }) => {
                self.ledger.pool(&share_id, &check, credited);
            }
            Seen::Pool(PoolSeen::Request { signature: Err(why), .. }) => {
                self.ledger.bad_request(why);
            }
            _ => {}
        }
    }

    fn event(&mut self, line: Value) {
        self.ledger.number(&line);
        match line["event"].as_str() {
            Some("share_accepted") if line["sv2_response"] == "success" => {
                self.ledger.accepted(&line);
            }
            Some("share_accepted") => {}
            Some("share_forward_result") => self.ledger.result(&line),
            _ => self.rare.push(line),
        }
    }

    fn miner(&mut self, at: Duration, index: usize, what: MinerSeen) {
        let Self { miners, counts, .. } = self;
        let miner = &mut miners[index];
        match what {
            MinerSeen::ChannelOpened { .. } => miner.has_channel_since = Some(at),
            MinerSeen::PrevHash { prev_hash, .. } => {
                miner.tip = prev_hash;
                miner.is_on_tip = true;
            }
            MinerSeen::Sent { share, share_id, class, prev_hash, .. } => {
                counts.sent += 1;
                let share_id = id(&share_id).unwrap_or_default();
                miner.open.insert(share, Sent { at, share_id, class, prev_hash });
            }
            MinerSeen::Acked { share } => self.acked(at, index, share),
            MinerSeen::Rejected { share, code } => self.rejected(index, share, code),
            MinerSeen::Closed { .. } => {
                counts.unanswered += miner.open.len() as u64;
                miner.open.clear();
                counts.disconnects += u64::from(miner.has_channel_since.take().is_some());
                miner.is_on_tip = false;
            }
            MinerSeen::Breach { what } => counts.breaches.push(what),
            _ => {}
        }
    }

    fn acked(&mut self, at: Duration, index: usize, share: u64) {
        let miner = &mut self.miners[index];
        let Some(sent) = miner.open.remove(&share) else { return };
        if let Some(code) = sent.class.expected_code() {
            let what = format!("{} was accepted, not {code}", sent.class.as_str());
            *self.counts.wrongly_answered.entry(what).or_default() += 1;
            return;
        }
        self.counts.acknowledged += 1;
        self.acknowledged.insert(sent.share_id);
        let phase = self.phase as usize;
        miner.accepted[phase] += 1;
        let is_new = miner.has_channel_since.is_some_and(|since| at.saturating_sub(since) < NEW);
        miner.accepted_when_new += u64::from(is_new);
        self.latencies[phase].saturating_record((at - sent.at).as_micros() as u64);
    }

    fn rejected(&mut self, index: usize, share: u64, code: String) {
        let (miner, counts) = (&mut self.miners[index], &mut self.counts);
        let Some(sent) = miner.open.remove(&share) else { return };
        match sent.class.expected_code() {
            Some(expected) if expected == code => counts.rightly_refused += 1,
            Some(_) => {
                let what = format!("{} was refused with {code}", sent.class.as_str());
                *counts.wrongly_answered.entry(what).or_default() += 1;
            }
            None if code == "stale-share" && sent.prev_hash != miner.tip => counts.overtaken += 1,
            None => *counts.refused.entry(code).or_default() += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(share: u64, class: ShareClass, tip: &str) -> MinerSeen {
        MinerSeen::Sent {
            share,
            share_id: const_hex::encode([share as u8; 32]),
            hash: String::new(),
            job_id: 1,
            prev_hash: tip.to_owned(),
            class,
        }
    }

    fn tip(hash: &str) -> MinerSeen {
        MinerSeen::PrevHash { prev_hash: hash.to_owned(), job_id: 1 }
    }

    fn rejected(share: u64, code: &str) -> MinerSeen {
        MinerSeen::Rejected { share, code: code.to_owned() }
    }

    #[test]
    fn each_answer_is_counted_as_what_it_is() {
        let crowd = Crowd::new(1);
        let recorder = crowd.recorder();
        let stories = [
            MinerSeen::ChannelOpened { channel_id: 1 },
            tip("aa"),
            sent(1, ShareClass::Share, "aa"),
            sent(2, ShareClass::Share, "aa"),
            sent(3, ShareClass::Replay, "aa"),
            sent(4, ShareClass::Replay, "aa"),
            sent(5, ShareClass::Share, "aa"),
            MinerSeen::Acked { share: 1 },
            rejected(2, "invalid-job-id"),
            rejected(3, "duplicate-share"),
            rejected(4, "stale-share"),
            tip("bb"),
            rejected(5, "stale-share"),
            sent(6, ShareClass::Share, "bb"),
            MinerSeen::Closed { error: String::new() },
        ];
        for what in stories {
            recorder.record(Seen::Miner { miner: 0, what });
        }
        let counts = crowd.counts();
        assert_eq!((counts.sent, counts.acknowledged, counts.overtaken), (6, 1, 1));
        assert_eq!((counts.rightly_refused, counts.unanswered, counts.disconnects), (1, 1, 1));
        assert_eq!(counts.refused, BTreeMap::from([("invalid-job-id".to_owned(), 1)]));
        assert_eq!(counts.wrongly_answered.len(), 1);
        assert_eq!((crowd.open(), crowd.at_work()), (0, 0));
        assert_eq!(crowd.accepted(Phase::Before), [1]);
    }
}
