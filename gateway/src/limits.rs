//! Every bound that is not a configuration key.

use std::time::Duration;

/// Batches of records that may wait for the log; whoever brings more waits.
pub const LOG_WAITING_BATCHES: usize = 1024;
/// Batches that one commit takes together.
pub const LOG_BATCHES_PER_COMMIT: usize = 512;
/// How long the log waits before it tries a failed write again.
pub const LOG_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Recent events kept in memory for the readers of the event stream.
pub const EVENT_RING_LINES: usize = 8192;
