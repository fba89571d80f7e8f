//! The threads that make load.

use std::io;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::runtime::{Builder, Runtime};

use super::Options;

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

/// Lets this thread alone run only where nothing else would (`SCHED_IDLE` of sched(7)).
///
/// A low priority is not enough: to the kernel a core with such a thread is busy, so it leaves two
/// threads of the gateway one behind the other on the second core. A core that runs idle threads
/// only counts as free. A kernel that refuses costs precision and no more.
pub(super) fn stand_back() {
    let _ = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
    );
}
