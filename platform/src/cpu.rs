//! Processor-heavy work, away from the event loop.

use std::sync::Arc;

use tokio::sync::oneshot;

/// Runs closures that take longer than an event loop should wait (a block's hashes, say).
pub trait Offload: Send + Sync {
    /// Runs the work to its end, now or later, on this thread or another.
    fn run(&self, work: Box<dyn FnOnce() + Send>);
}

/// Runs `work` through `cpu` and waits for its value.
///
/// # Panics
/// If the work itself panicked.
pub async fn offload<T: Send + 'static>(
    cpu: &Arc<dyn Offload>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = oneshot::channel();
    cpu.run(Box::new(move || {
        // A caller that went away no longer wants the value.
        let _ = sender.send(work());
    }));
    receiver.await.expect("offloaded work drops its sender only by panicking")
}
