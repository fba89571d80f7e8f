//! Tasks that end together.

use std::time::Duration;

use platform::{Env, Tasks};

/// Tasks that a library starts for us (the connections of HTTP clients and servers). They end
/// with this value: at the program's end as well as when the program itself is cut off.
pub(super) struct TaskGroup(Tasks);

impl TaskGroup {
    pub(super) fn new(env: &Env) -> Self {
        Self(env.tasks.group())
    }

    pub(super) fn tasks(&self) -> Tasks {
        self.0.clone()
    }

    /// An environment whose tasks belong to the group.
    pub(super) fn env(&self, env: &Env) -> Env {
        Env { tasks: self.tasks(), ..env.clone() }
    }

    /// Lets the tasks end by themselves for a while.
    pub(super) async fn wind_down(&self, at_most: Duration) {
        // Whoever is left is aborted with the group.
        let _ = tokio::time::timeout(at_most, self.0.idle()).await;
    }

    /// Ends every task and waits until it has.
    pub(super) async fn end(self) {
        self.0.end().await;
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}
