//! A world: a virtual machine room in virtual time, in which one seed always means the same run.
//!
//! [`run`] gives each world a fresh thread with its own tokio runtime. Its clock stands still
//! while anything has work to do, and jumps to the next timer when nothing has. Everything
//! random comes from streams that are derived from the seed by name: the network's, the faults',
//! each host's, those of the workload ([`World::stream`]), and what `getrandom` answers on that
//! thread.

mod getrandom;
mod host;
pub(crate) mod streams;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use tokio::runtime::{Builder, RngSeed};
use tokio::time::Instant;

use crate::net::Network;
pub use host::{Crash, Host};
pub use streams::{below, unit};

/// What the world's wall clock shows when a world begins: 2026-01-01 00:00:00 UTC.
pub const EPOCH_UNIX_MS: u64 = 1_767_225_600_000;

/// A world in which nothing has happened for so long is stuck.
const TIME_LIMIT: Duration = Duration::from_secs(60 * 24 * 3600);

/// A test's main thread has 2 MiB of stack; debug builds of deep futures want more.
const STACK_BYTES: usize = 16 << 20;

/// The machine room. Clones are the same one.
#[derive(Clone)]
pub struct World {
    seed: u64,
    start: Instant,
    network: Network,
    hosts: Arc<Mutex<BTreeMap<String, Host>>>,
}

/// Runs a world from its seed to the end of `story`, and returns what that returns. Whatever is
/// still running on the hosts then is dropped.
///
/// # Panics
/// If the story panics, or lasts longer than 60 virtual days, as one does that waits for what
/// never comes.
pub fn run<T, F>(seed: u64, story: impl FnOnce(World) -> F + Send) -> T
where
    F: Future<Output = T>,
    T: Send,
{
    let mutant = mutant::armed();
    let live = move || {
        mutant::arm(mutant);
        // First: the thread's first hash map takes its keys from here.
        getrandom::install(streams::derive(seed, "getrandom"));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&streams::key(seed, "tokio")))
            .build()
            .expect("a runtime without I/O needs nothing from the system");
        runtime.block_on(async {
            let world = World::new(seed);
            let outcome = tokio::time::timeout(TIME_LIMIT, story(world.clone())).await;
            world.end();
            match outcome {
                Ok(value) => value,
                Err(_) => panic!("the world of seed {seed} waits for what never comes"),
            }
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(format!("world-{seed}"))
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, live)
            .expect("a thread can be started");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl World {
    fn new(seed: u64) -> Self {
        let start = Instant::now();
        let network = Network::new(seed, start);
        Self { seed, start, network, hosts: Arc::default() }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The host of that name, which is made (and started) when it is first asked for. The order
    /// in which hosts are made decides their addresses.
    pub fn host(&self, name: &str) -> Host {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return host.clone();
        }
        let host = Host::new(name, self.seed, self.start, &self.network);
        hosts.insert(name.to_owned(), host.clone());
        host
    }

    /// All hosts, by name.
    pub fn hosts(&self) -> Vec<Host> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.values().cloned().collect()
    }

    /// The network, to set it up and to break it.
    pub fn net(&self) -> &Network {
        &self.network
    }

    /// A random stream of its own, the same for each call with that name.
    pub fn stream(&self, name: &str) -> ChaCha8Rng {
        streams::derive(self.seed, &format!("stream/{name}"))
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock that no skew touches, in milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        unix_ms(self.start)
    }

    /// Waits for virtual time to pass.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// How many sockets a host has; see [`Host::open_sockets`].
    pub fn open_sockets(&self, host: &str) -> usize {
        self.host(host).open_sockets()
    }

    /// Ends every program, so that none outlives the world through a circle of references.
    fn end(&self) {
        for host in self.hosts() {
            host.env().tasks.abort_all();
        }
    }
}

fn unix_ms(start: Instant) -> u64 {
    EPOCH_UNIX_MS + u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
