//! Both clocks at once.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::Moment;
use platform::Wall;
use tokio::time::Instant;

/// Tells the moments that the cores reckon with.
#[derive(Clone)]
pub(crate) struct Clock {
    started: Instant,
    wall: Arc<dyn Wall>,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start(wall: Arc<dyn Wall>) -> Self {
        Self { started: Instant::now(), wall }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::new(self.started.elapsed(), self.wall.unix_ms())
    }

    /// Waits for a deadline on [`Moment::mono`]; for ever where there is none.
    pub(crate) async fn until(&self, deadline: Option<Duration>) {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(self.started + deadline).await,
            None => std::future::pending().await,
        }
    }
}
