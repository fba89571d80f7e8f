//! Both clocks at once.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use gateway_core::Moment;
use platform::Wall;
use tokio::time::{Instant, Sleep};

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

    /// For one who waits again and again, mostly in vain.
    pub(crate) fn alarm(&self) -> Alarm {
        let sleep = Box::pin(tokio::time::sleep_until(self.started));
        Alarm { started: self.started, armed: None, sleep }
    }
}

/// Waits for deadlines. A connection's mostly move away before they come, and a timer is dearer
/// to set than to let run: it is set anew only for an earlier deadline.
pub(crate) struct Alarm {
    started: Instant,
    /// When it rings.
    armed: Option<Duration>,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// Waits for a deadline on [`Moment::mono`]; for ever where there is none. Dropping the future
    /// loses nothing.
    pub(crate) async fn until(&mut self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        loop {
            let rings = match self.armed.filter(|rings| *rings <= deadline) {
                Some(rings) => rings,
                None => {
                    self.sleep.as_mut().reset(self.started + deadline);
                    self.armed = Some(deadline);
                    deadline
                }
            };
            self.sleep.as_mut().await;
            self.armed = None;
            if rings == deadline {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_at_the_deadline_however_often_that_moves() {
        struct Zero;
        impl Wall for Zero {
            fn unix_ms(&self) -> u64 {
                0
            }
        }
        let clock = Clock::start(Arc::new(Zero));
        let mut alarm = clock.alarm();
        let at = Duration::from_millis;
        for deadline in [500, 300, 900] {
            let waited = tokio::time::timeout(at(10), alarm.until(Some(at(deadline)))).await;
            assert!(waited.is_err(), "{deadline}");
        }
        alarm.until(Some(at(900))).await;
        assert_eq!(clock.now().mono, at(900));
        alarm.until(Some(at(400))).await;
        assert_eq!(clock.now().mono, at(900), "a deadline that is past rings at once");
    }
}
