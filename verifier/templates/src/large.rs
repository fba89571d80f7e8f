//! Templates of megabytes, away from the event loop.

use std::sync::Arc;

use platform::{Offload, offload};

/// From here on reading or writing a text takes longer than handing it to another thread and back.
const LARGE_BYTES: usize = 64 * 1024;

/// Does `work` on a text of so many bytes: elsewhere if that is large, and here otherwise.
pub(crate) async fn work<T: Send + 'static>(
    cpu: &Arc<dyn Offload>,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes < LARGE_BYTES { work() } else { offload(cpu, work).await }
}
