//! What a program is given of the outside world.

use std::sync::Arc;

use crate::{Entropy, Net, Offload, Storage, Tasks, Wall};

/// Everything outside the process, handed to a program's entry point once and passed down.
#[derive(Clone)]
pub struct Env {
    /// Connections and listeners.
    pub net: Arc<dyn Net>,
    /// The wall clock (elapsed time is `tokio::time`).
    pub wall: Arc<dyn Wall>,
    /// Randomness, cryptographic in production and seeded in the simulator.
    pub rng: Arc<dyn Entropy>,
    /// Where work that would hold up the event loop is sent.
    pub cpu: Arc<dyn Offload>,
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// The tasks of this program: counted, and ended together with it.
    pub tasks: Tasks,
}
