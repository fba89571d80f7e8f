//! The system clock, the operating system's randomness, and the blocking thread pool.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use crate::{Entropy, Offload, Wall};

/// The system clock.
pub struct SystemWall;

impl Wall for SystemWall {
    fn unix_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The operating system's random number generator.
pub struct OsEntropy(SystemRandom);

impl OsEntropy {
    /// The one generator there is.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer).expect("without the system's randomness no key is safe");
    }
}

/// Tokio's pool of threads for blocking work.
pub struct BlockingPool;

impl Offload for BlockingPool {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }
}
