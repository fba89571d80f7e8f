//! The tasks of one program.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Spawns tasks, counts the live ones, and ends them together.
///
/// In production a program has one set and never aborts it; in the simulator each host has one,
/// and a crash aborts it. A part of a program whose tasks end before the others' takes a
/// [`group`](Self::group).
#[derive(Clone, Default)]
pub struct Tasks {
    set: Arc<Set>,
}

#[derive(Default)]
struct Set {
    parent: Option<Arc<Self>>,
    live: Mutex<Live>,
    /// Told whenever the last live task ends.
    idle: Notify,
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

    /// A set within this one: its tasks count here too and end with these, and can also be ended
    /// by themselves.
    pub fn group(&self) -> Self {
        let set = Set { parent: Some(Arc::clone(&self.set)), ..Set::default() };
        Self { set: Arc::new(set) }
    }

    /// Starts a task. `name` is for diagnostics, one name a kind of task.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let guard = Guard::register(&self.set, name);
        let places = guard.places.clone();
        #[allow(clippy::disallowed_methods)] // This is the door.
        let handle = tokio::spawn(async move {
            let _guard = guard;
            future.await
        });
        let mut closed = false;
        for (set, id) in &places {
            let mut live = set.live();
            if let Some((_, abort)) = live.tasks.get_mut(id) {
                *abort = Some(handle.abort_handle());
            }
            closed |= live.closed;
        }
        if closed {
            handle.abort();
        }
        TaskHandle(handle)
    }

    /// How many tasks are alive.
    pub fn live(&self) -> usize {
        self.set.live().tasks.len()
    }

    /// The names of the live tasks in the order of their start, for diagnostics.
    pub fn names(&self) -> Vec<&'static str> {
        self.set.live().tasks.values().map(|(name, _)| *name).collect()
    }

    /// How many tasks ended by panicking.
    pub fn panicked(&self) -> u64 {
        self.set.live().panicked
    }

    /// Ends every task at its next suspension point, and each later one as it starts.
    pub fn abort_all(&self) {
        let running: Vec<AbortHandle> = {
            let mut live = self.set.live();
            live.closed = true;
            live.tasks.values().filter_map(|(_, abort)| abort.clone()).collect()
        };
        // Not under the lock: on a runtime that is shutting down, aborting drops the task here
        // and now, and that takes the lock.
        for task in running {
            task.abort();
        }
    }

    /// Waits until no task is alive. A task of the set must not wait for that.
    pub async fn idle(&self) {
        loop {
            // Enlisted before the count is read, so that no end is missed in between.
            let mut told = std::pin::pin!(self.set.idle.notified());
            told.as_mut().enable();
            if self.live() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Ends every task and waits until they are gone. A task of the set must not wait for that.
    pub async fn end(&self) {
        self.abort_all();
        self.idle().await;
    }
}

impl Set {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes its task out of the sets when the task ends, however it ends.
struct Guard {
    places: Vec<(Arc<Set>, u64)>,
}

impl Guard {
    fn register(innermost: &Arc<Set>, name: &'static str) -> Self {
        let mut places = Vec::with_capacity(2);
        let mut next = Some(innermost);
        while let Some(set) = next {
            let mut live = set.live();
            let id = live.next_id;
            live.next_id += 1;
            live.tasks.insert(id, (name, None));
            drop(live);
            places.push((Arc::clone(set), id));
            next = set.parent.as_ref();
        }
        Self { places }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        for (set, id) in &self.places {
            let mut live = set.live();
            live.tasks.remove(id);
            live.panicked += u64::from(std::thread::panicking());
            if live.tasks.is_empty() {
                set.idle.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_counted_and_named_until_they_end() {
        let tasks = Tasks::new();
        assert_eq!(tasks.spawn("short", async { 7 }).await, Some(7));
        let _waiting = tasks.spawn("waits", std::future::pending::<()>());
        assert_eq!(tasks.names(), ["waits"]);
        tasks.end().await;
        assert_eq!(tasks.live(), 0);
        assert_eq!(tasks.spawn("late", std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_group_ends_alone_and_with_its_parent() {
        let tasks = Tasks::new();
        let (one, other) = (tasks.group(), tasks.group());
        for set in [&tasks, &one, &other] {
            drop(set.spawn("waits", std::future::pending::<()>()));
        }
        assert_eq!((tasks.live(), one.live()), (3, 1));
        one.end().await;
        assert_eq!((tasks.live(), one.live(), other.live()), (2, 0, 1));
        tasks.end().await;
        assert_eq!(other.live(), 0);
        assert_eq!(other.spawn("late", std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_takes_only_its_task() {
        let tasks = Tasks::new();
        assert_eq!(tasks.group().spawn("breaks", async { panic!("as it must") }).await, None::<()>);
        assert_eq!((tasks.live(), tasks.panicked()), (0, 1));
    }
}
