//! A host: one machine of the world, on which programs run.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use platform::{Entropy, Env, Offload, Tasks, Wall};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use tokio::time::Instant;

use super::streams;
use crate::disk::{Disk, DiskFate};
use crate::net::{ConnectionFate, HostId, Network};

/// How a host dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// What becomes of its connections.
    pub connections: ConnectionFate,
    /// What becomes of its disk.
    pub disk: DiskFate,
}

impl Crash {
    /// The processes die (`kill -9`): sockets are closed by the kernel, written bytes stay.
    pub const KILL: Self = Self { connections: ConnectionFate::Closed, disk: DiskFate::Kept };
    /// The power goes: silence, and only synced bytes stay.
    pub const POWER_LOSS: Self =
        Self { connections: ConnectionFate::Vanished, disk: DiskFate::UnsyncedLost };
    /// The machine is replaced by one with an empty disk.
    pub const REPLACED: Self =
        Self { connections: ConnectionFate::Vanished, disk: DiskFate::Wiped };
}

/// One machine of the world. Clones are the same machine.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    seed: u64,
    start: Instant,
    id: HostId,
    network: Network,
    disk: Disk,
    clock_offset_ms: Arc<AtomicI64>,
    running: Mutex<Running>,
}

/// One boot of the host.
struct Running {
    boot: u32,
    env: Env,
    up: bool,
}

impl Host {
    pub(super) fn new(name: &str, seed: u64, start: Instant, network: &Network) -> Self {
        let id = network.add_host(name);
        let disk = Disk::new(streams::derive(seed, &format!("disk/{name}")));
        let clock_offset_ms = Arc::new(AtomicI64::new(0));
        let machine = Machine {
            name,
            seed,
            start,
            id,
            network,
            disk: &disk,
            clock_offset_ms: &clock_offset_ms,
        };
        let running = Mutex::new(Running { boot: 1, env: machine.env(1), up: true });
        Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                seed,
                start,
                id,
                network: network.clone(),
                disk,
                clock_offset_ms,
                running,
            }),
        }
    }

    /// Its name, by which others connect to it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.shared.network.ip(self.shared.id)
    }

    /// What its programs are given: an own network identity, tasks, disk, clock and randomness.
    pub fn env(&self) -> Env {
        self.running().env.clone()
    }

    /// Its disk, for faults and a look inside.
    pub fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    /// Whether it has not crashed, or was restarted since.
    pub fn is_up(&self) -> bool {
        self.running().up
    }

    /// Ends all its programs wherever they are waiting, with what that does to its connections
    /// and its disk. When this returns, no task of it is left.
    pub async fn crash(&self, crash: Crash) {
        let tasks = {
            let mut running = self.running();
            running.up = false;
            running.env.tasks.clone()
        };
        // Before the tasks' sockets are dropped: a dead host sends nothing of its own accord.
        self.shared.network.crash(self.shared.id, crash.connections);
        self.shared.disk.crash(crash.disk);
        tasks.end().await;
    }

    /// Starts it again after a crash: a fresh `Env` on the same disk.
    ///
    /// # Panics
    /// If it has not crashed.
    pub fn restart(&self) -> Env {
        let mut running = self.running();
        assert!(!running.up, "host {} is up; crash it before restarting it", self.shared.name);
        let Shared { name, seed, start, id, network, disk, clock_offset_ms, .. } = &*self.shared;
        running.boot += 1;
        running.up = true;
        let machine =
            Machine { name, seed: *seed, start: *start, id: *id, network, disk, clock_offset_ms };
        running.env = machine.env(running.boot);
        running.env.clone()
    }

    /// How many tasks its programs have.
    pub fn live_tasks(&self) -> usize {
        self.running().env.tasks.live()
    }

    /// The names of its programs' tasks in the order of their start.
    pub fn task_names(&self) -> Vec<&'static str> {
        self.running().env.tasks.names()
    }

    /// How many of its programs' tasks panicked since it was started last.
    pub fn panicked_tasks(&self) -> u64 {
        self.running().env.tasks.panicked()
    }

    /// How many sockets it has: listeners, and connections whose two halves are not both dropped.
    pub fn open_sockets(&self) -> usize {
        self.shared.network.open_sockets(self.shared.id)
    }

    /// Sets how many connections may wait in each of its listeners; more are left without an
    /// answer.
    pub fn set_backlog(&self, connections: usize) {
        self.shared.network.set_backlog(self.shared.id, connections);
    }

    /// Moves its wall clock by so many milliseconds, either way. Elapsed time is not touched.
    pub fn jump_clock(&self, by_ms: i64) {
        self.shared.clock_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Sets how far its wall clock is ahead of the world's, in milliseconds.
    pub fn set_clock_offset(&self, ahead_ms: i64) {
        self.shared.clock_offset_ms.store(ahead_ms, Ordering::Relaxed);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What outlives the boots of a host.
struct Machine<'a> {
    name: &'a str,
    seed: u64,
    start: Instant,
    id: HostId,
    network: &'a Network,
    disk: &'a Disk,
    clock_offset_ms: &'a Arc<AtomicI64>,
}

impl Machine<'_> {
    fn env(&self, boot: u32) -> Env {
        let randomness = streams::derive(self.seed, &format!("entropy/{}/{boot}", self.name));
        let offset_ms = Arc::clone(self.clock_offset_ms);
        Env {
            net: Arc::new(self.network.boot(self.id)),
            wall: Arc::new(VirtualWall { start: self.start, offset_ms }),
            rng: Arc::new(Seeded(Mutex::new(randomness))),
            cpu: Arc::new(Inline),
            storage: Arc::new(self.disk.clone()),
            tasks: Tasks::new(),
        }
    }
}

/// The world's clock as one host sees it.
struct VirtualWall {
    start: Instant,
    offset_ms: Arc<AtomicI64>,
}

impl Wall for VirtualWall {
    fn unix_ms(&self) -> u64 {
        let world = super::unix_ms(self.start);
        world.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

struct Seeded(Mutex<ChaCha8Rng>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}

/// Runs heavy work at once: in virtual time it takes none.
struct Inline;

impl Offload for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}
