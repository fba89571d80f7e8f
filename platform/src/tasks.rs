//! The tasks of one program.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::task::AbortHandle;

/// Spawns tasks, counts the live ones, and ends them together.
///
/// In production a program has one set and never aborts it; in the simulator each host has one,
/// and a crash aborts it.
#[derive(Clone, Default)]
pub struct Tasks {
    live: Arc<Mutex<Live>>,
}

#[derive(Default)]
struct Live {
    next_id: u64,
    closed: bool,
    panicked: u64,
    tasks: BTreeMap<u64, (&'static str, Option<AbortHandle>)>,
}

/// Waits for a task's value; dropping it leaves the task running.
pub struct TaskHandle<T>(tokio::task::JoinHandle<T>);

impl<T> TaskHandle<T> {
    /// Ends the task at its next suspension point.
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl<T> Future for TaskHandle<T> {
    /// `None` when the task was aborted or panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. `name` is for diagnostics, one name a kind of task.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let id = self.register(name);
        let guard = Guard { live: Arc::clone(&self.live), id };
        #[allow(clippy::disallowed_methods)] // This is the door.
        let handle = tokio::spawn(async move {
            let _guard = guard;
            future.await
        });
        let mut live = lock(&self.live);
        if let Some((_, abort)) = live.tasks.get_mut(&id) {
            *abort = Some(handle.abort_handle());
        }
        let closed = live.closed;
        drop(live);
        if closed {
            handle.abort();
        }
        TaskHandle(handle)
    }

    /// How many tasks are alive.
    pub fn live(&self) -> usize {
        lock(&self.live).tasks.len()
    }

    /// The names of the live tasks in the order of their start, for diagnostics.
    pub fn names(&self) -> Vec<&'static str> {
        lock(&self.live).tasks.values().map(|(name, _)| *name).collect()
    }

    /// How many tasks ended by panicking.
    pub fn panicked(&self) -> u64 {
        lock(&self.live).panicked
    }

    /// Ends every task at its next suspension point, and each later one as it starts.
    pub fn abort_all(&self) {
        let running: Vec<AbortHandle> = {
            let mut live = lock(&self.live);
            live.closed = true;
            live.tasks.values().filter_map(|(_, abort)| abort.clone()).collect()
        };
        // Not under the lock: on a runtime that is shutting down, aborting drops the task here
        // and now, and that takes the lock.
        for task in running {
            task.abort();
        }
    }

    fn register(&self, name: &'static str) -> u64 {
        let mut live = lock(&self.live);
        let id = live.next_id;
        live.next_id += 1;
        live.tasks.insert(id, (name, None));
        id
    }
}

/// Takes its task out of the set when the task ends, however it ends.
struct Guard {
    live: Arc<Mutex<Live>>,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut live = lock(&self.live);
        live.tasks.remove(&self.id);
        live.panicked += u64::from(std::thread::panicking());
    }
}

fn lock(live: &Mutex<Live>) -> std::sync::MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}
