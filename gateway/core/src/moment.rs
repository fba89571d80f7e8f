//! The time that every machine is told.

use std::time::Duration;

/// One instant as both clocks see it.
///
/// Deadlines and ages are reckoned on `mono`, which never jumps; `unix_ms` only labels events and
/// dates templates, so a step of the wall clock can neither fire a deadline nor delay one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Time since the process started.
    pub mono: Duration,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Moment {
    /// The moment at `mono` since process start, when the wall clock reads `unix_ms`.
    pub const fn new(mono: Duration, unix_ms: u64) -> Self {
        Self { mono, unix_ms }
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(&self, earlier: Self) -> Duration {
        self.mono.saturating_sub(earlier.mono)
    }
}
