//! The simulated network: TCP as programs see it, between hosts that have names, over links that
//! can be slow, narrow, cut or worse.
//!
//! A connection is two [`flow`]s; what sockets do to them is worked out in [`state`], which has
//! no I/O and no clock; [`socket`] adds the waiting. Nothing runs in the background: a reader
//! sleeps until the arrival of what is under way to it, so a dropped stream leaves no timer and
//! no task.

mod control;
mod flow;
mod link;
mod names;
mod socket;
mod state;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use control::ConnectionFate;
pub use link::{Disturbance, Latency, LinkConfig};
pub use names::{LinkError, LinkName};

use link::Moment;
pub(crate) use names::HostId;
pub(crate) use socket::HostNet;
pub(crate) use state::BACKLOG;
use state::NetState;

/// The network of a world, and the hand that breaks it.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<NetState>>,
    start: Instant,
}

impl Network {
    pub(crate) fn new(seed: u64, start: Instant) -> Self {
        Self { state: Arc::new(Mutex::new(NetState::new(seed))), start }
    }

    fn with<T>(&self, operation: impl FnOnce(&mut NetState, Moment) -> T) -> T {
        let now = Instant::now().saturating_duration_since(self.start);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = operation(&mut state, now);
        let wakers = std::mem::take(&mut state.wakers);
        // Waking may run code that takes the lock.
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        value
    }

    fn instant(&self, moment: Moment) -> Instant {
        /// As long as tokio's timers reach, or so.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.start + moment.min(FAR)
    }
}
