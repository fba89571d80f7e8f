//! What all miners of a load share: what they measure and what they count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use platform::Env;
use platform::real::SocketsFrom;
use sv2_noise::AuthorityPublicKey;
use tokio::time::Instant;

use super::measure::{Measures, Metric};
use super::tips::{TipHash, Tips};

/// Miners on this machine connect from so many of its addresses, 127.0.0.2 and those behind it.
const SOURCES: u8 = 8;

/// What a load is, and what came of it so far.
pub(super) struct Load {
    /// The machine, as often as it has addresses to connect from; miners take turns.
    envs: Vec<Env>,
    /// Where miners connect.
    pub(super) address: String,
    pub(super) authority: Option<AuthorityPublicKey>,
    /// What miners' names begin with.
    pub(super) identity: String,
    pub(super) share_interval: Duration,
    /// Shares in one write of miners that send as many as are answered; others keep their rate.
    pub(super) burst: Option<u32>,
    state: Mutex<State>,
    /// Whether samples count.
    measuring: AtomicBool,
    /// Whether shares are sent.
    sending: AtomicBool,
    working: AtomicUsize,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct State {
    measures: Measures,
    tips: Tips,
    tally: Tally,
    last_failure: Option<String>,
}

/// What was counted while it was measured; connections over the whole load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Shares that were due.
    pub(super) due: u64,
    /// Due, but the miner had no connection or no work.
    pub(super) idle: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// Refused, by error code.
    pub(super) refused: BTreeMap<String, u64>,
    /// Refused as stale for a tip that came while the share was on its way.
    pub(super) overtaken: u64,
    /// Connections that failed before they had work.
    pub(super) failed_connects: u64,
    /// Connections that ended while they worked.
    pub(super) disconnects: u64,
}

/// This machine, connecting from one loopback address each.
pub(super) fn loopback_sources(env: &Env) -> Vec<Env> {
    let from = |last| Arc::new(SocketsFrom([127, 0, 0, last].into()));
    (2..2 + SOURCES).map(|last| Env { net: from(last), ..env.clone() }).collect()
}

impl Load {
    pub(super) fn new(
        envs: Vec<Env>,
        address: String,
        authority: Option<AuthorityPublicKey>,
        identity: String,
        share_interval: Duration,
        burst: Option<u32>,
        tips: Tips,
    ) -> Self {
        Self {
            envs,
            address,
            authority,
            identity,
            share_interval,
            burst,
            state: Mutex::new(State { tips, ..State::default() }),
            measuring: AtomicBool::new(false),
            sending: AtomicBool::new(false),
            working: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The machine of the miner of this number.
    pub(super) fn env(&self, index: u32) -> &Env {
        &self.envs[index as usize % self.envs.len()]
    }

    /// From here on miners send shares.
    pub(super) fn send(&self, sending: bool) {
        self.sending.store(sending, Ordering::Relaxed);
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// From here on samples of shares count, or no longer do.
    pub(super) fn measure(&self, measuring: bool) {
        self.measuring.store(measuring, Ordering::Relaxed);
    }

    pub(super) fn is_measuring(&self) -> bool {
        self.measuring.load(Ordering::Relaxed)
    }

    /// How many miners have work.
    pub(super) fn working(&self) -> usize {
        self.working.load(Ordering::Relaxed)
    }

    /// How many shares have no answer yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// One sample, whether shares are measured or not.
    pub(super) fn record(&self, metric: Metric, took: Duration) {
        self.state().measures.record(metric, took);
    }

    /// Counts something.
    pub(super) fn count(&self, with: impl FnOnce(&mut Tally)) {
        with(&mut self.state().tally);
    }

    /// A block goes to the node now.
    pub(super) fn begin_tip(&self, hash: TipHash, now: Instant) {
        let working = self.working();
        self.state().tips.begin(hash, now, working);
    }

    /// A working miner hears of a new tip.
    pub(super) fn tip_arrived(&self, hash: TipHash, now: Instant) {
        let (working, measuring) = (self.working(), self.is_measuring());
        if measuring {
            self.state().tips.arrived(hash, now, working);
        }
    }

    /// A connection ended, and why.
    pub(super) fn ended(&self, had_work: bool, why: String) {
        let mut state = self.state();
        if had_work {
            state.tally.disconnects += 1;
        } else {
            state.tally.failed_connects += 1;
        }
        state.last_failure = Some(why);
    }

    pub(super) fn last_failure(&self) -> Option<String> {
        self.state().last_failure.clone()
    }

    /// Takes what was measured.
    pub(super) fn take(&self) -> (Measures, Tips, Tally) {
        let state = std::mem::take(&mut *self.state());
        (state.measures, state.tips, state.tally)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one for as long as it lives.
pub(super) struct Counted<'a> {
    counter: &'a AtomicUsize,
    by: usize,
}

impl<'a> Counted<'a> {
    /// A miner that has work.
    pub(super) fn working(load: &'a Load) -> Self {
        Self::new(&load.working).plus_one()
    }

    /// The shares of a connection that wait for their answers.
    pub(super) fn waiting(load: &'a Load) -> Self {
        Self::new(&load.waiting)
    }

    fn new(counter: &'a AtomicUsize) -> Self {
        Self { counter, by: 0 }
    }

    fn plus_one(mut self) -> Self {
        self.set(1);
        self
    }

    /// What this one adds to the count.
    pub(super) fn set(&mut self, by: usize) {
        self.counter.fetch_add(by, Ordering::Relaxed);
        self.counter.fetch_sub(self.by, Ordering::Relaxed);
        self.by = by;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
