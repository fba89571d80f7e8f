//! A network of one listener, in memory.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use platform::{Entropy, Env, Listener, Net, Offload, Stream, Tasks, Wall};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The wall clock when a test begins, in seconds.
const EPOCH: u64 = 1_790_000_000;
/// Bytes that a connection holds each way.
const BUFFER: usize = 1 << 16;
const WAITING: usize = 16;

/// An environment in which every connection leads to whoever listens.
pub(crate) fn env() -> Env {
    Env {
        net: Arc::new(OneListener { callers: Mutex::default() }),
        wall: Arc::new(Virtual(Instant::now())),
        rng: Arc::new(Counted(AtomicU64::new(1))),
        cpu: Arc::new(Inline),
        storage: Arc::new(platform::real::Disk),
        tasks: Tasks::new(),
    }
}

struct OneListener {
    callers: Mutex<Option<mpsc::Sender<Stream>>>,
}

#[async_trait]
impl Net for OneListener {
    async fn connect(&self, _: &str) -> io::Result<Stream> {
        let callers = self.callers.lock().unwrap().clone();
        let callers = callers.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (client, server) = tokio::io::duplex(BUFFER);
        callers.try_send(stream(server)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(stream(client))
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        let (callers, calls) = mpsc::channel(WAITING);
        *self.callers.lock().unwrap() = Some(callers);
        Ok(Box::new(Calls(calls)))
    }
}

struct Calls(mpsc::Receiver<Stream>);

#[async_trait]
impl Listener for Calls {
    async fn accept(&mut self) -> io::Result<Stream> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn local_addr(&self) -> SocketAddr {
        nowhere()
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3333))
}

fn stream(duplex: DuplexStream) -> Stream {
    let (read, write) = tokio::io::split(duplex);
    Stream { read: Box::new(read), write: Box::new(write), peer: nowhere(), local: nowhere() }
}

/// Goes with the tests' clock.
struct Virtual(Instant);

impl Wall for Virtual {
    fn unix_ms(&self) -> u64 {
        EPOCH * 1_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
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
