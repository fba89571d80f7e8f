//! The production implementations.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // This is the door.

mod clock;
mod disk;
mod service_manager;
mod sockets;

use std::sync::Arc;

pub use clock::{BlockingPool, OsEntropy, SystemWall};
pub use disk::Disk;
pub use service_manager::ServiceManager;
pub use sockets::{Sockets, SocketsFrom};

use crate::{Env, Tasks};

/// The machine this process runs on. Call it inside a tokio runtime.
pub fn env() -> Env {
    Env {
        net: Arc::new(Sockets),
        wall: Arc::new(SystemWall),
        rng: Arc::new(OsEntropy::new()),
        cpu: Arc::new(BlockingPool),
        storage: Arc::new(Disk),
        tasks: Tasks::new(),
    }
}
