//! A network of one server, in memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use platform::{Entropy, Env, Listener, Net, Offload, Stream, Tasks, Wall};
use tokio::io::DuplexStream;

use crate::breakage::Breakage;
use crate::server::{Shared, serve};

/// The wall clock of the tests, in seconds.
pub(crate) const NOW: u64 = 1_790_000_000;
/// Bytes that a connection holds each way.
const BUFFER: usize = 1 << 18;

/// An environment in which every connection leads to one server, which gathers `batch` shares for
/// one acknowledgement.
pub(crate) fn env(breakage: Option<Breakage>, batch: u32) -> (Env, Arc<Shared>) {
    let rng = Arc::new(Counted(AtomicU64::new(1)));
    let shared = Arc::new(Shared::new(breakage, batch, rng.clone()));
    let tasks = Tasks::new();
    let net = Arc::new(OneServer { shared: Arc::clone(&shared), tasks: tasks.clone() });
    let env = Env {
        net,
        wall: Arc::new(Fixed),
        rng,
        cpu: Arc::new(Inline),
        storage: Arc::new(platform::real::Disk),
        tasks,
    };
    (env, shared)
}

struct OneServer {
    shared: Arc<Shared>,
    tasks: Tasks,
}

#[async_trait]
impl Net for OneServer {
    async fn connect(&self, _: &str) -> io::Result<Stream> {
        let (client, server) = tokio::io::duplex(BUFFER);
        drop(self.tasks.spawn("server", serve(stream(server), Arc::clone(&self.shared))));
        Ok(stream(client))
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn stream(duplex: DuplexStream) -> Stream {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 3333));
    let (read, write) = tokio::io::split(duplex);
    Stream { read: Box::new(read), write: Box::new(write), peer: nowhere, local: nowhere }
}

struct Fixed;

impl Wall for Fixed {
    fn unix_ms(&self) -> u64 {
        NOW * 1_000
    }
}

struct Inline;

impl Offload for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// Bytes that never repeat and are the same in every run.
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            // The finaliser of SplitMix64.
            let mut word =
                self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word ^= word >> 27;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}
