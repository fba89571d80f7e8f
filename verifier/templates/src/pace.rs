//! How often nodes are asked, as an operator may change it while the program runs.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// What `poll_interval_ms` may be.
pub(crate) const POLL_INTERVAL_MS: RangeInclusive<u64> = 50..=60_000;
/// What `refresh_interval_ms` may be.
pub(crate) const REFRESH_INTERVAL_MS: RangeInclusive<u64> = 1_000..=600_000;

/// The intervals in force, and the call to ask every node now.
pub(crate) struct Pace {
    rpc_timeout: Duration,
    intervals: Mutex<Intervals>,
    /// Counts the calls to ask now.
    calls: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    pub(crate) poll: Duration,
    pub(crate) refresh: Duration,
}

impl Pace {
    pub(crate) fn new(intervals: Intervals, rpc_timeout: Duration) -> Self {
        let intervals = Mutex::new(intervals);
        Self { rpc_timeout, intervals, calls: watch::Sender::new(0) }
    }

    /// Wait between two plain polls of a node.
    pub(crate) fn poll_interval(&self) -> Duration {
        self.lock().poll
    }

    /// How old an unchanged template grows before it is announced anew.
    pub(crate) fn refresh_interval(&self) -> Duration {
        self.lock().refresh
    }

    /// A node that has answered nothing for so long yields to any other, and a template that none
    /// has confirmed for so long is given to nobody: three polls in a row were missed.
    pub(crate) fn fresh_for(&self) -> Duration {
        3 * self.poll_interval() + self.rpc_timeout
    }

    /// Takes new intervals, from the next poll on, which is at once.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Intervals)) {
        change(&mut self.lock());
        self.call();
    }

    /// Asks every node now: its tip may have moved.
    pub(crate) fn call(&self) {
        self.calls.send_modify(|calls| *calls += 1);
    }

    /// Sees the calls from now on.
    pub(crate) fn calls(&self) -> watch::Receiver<u64> {
        self.calls.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Intervals> {
        self.intervals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
