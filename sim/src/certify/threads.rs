//! The threads that make load.

use std::io;

use tokio::runtime::{Builder, Runtime};

use super::Options;

/// The lowest priority that Linux gives a thread beside others.
const LAST: i32 = 19;

/// Threads for a load.
///
/// Where latency is measured they stand back behind everything else on the machine: miners
/// elsewhere would not take processors from the gateway. In a flood each side waits for the other,
/// and nothing is gained by letting one wait longer.
pub(super) fn for_load(options: &Options) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if options.burst.is_none() {
        builder.on_thread_start(stand_back);
    }
    builder.enable_all().build()
}

/// Lowers the priority of this thread alone. A kernel that refuses costs precision and no more.
pub(super) fn stand_back() {
    let _ = rustix::process::nice(LAST);
}
