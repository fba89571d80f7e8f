//! Connections in memory.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use platform::{Listener, Net, Stream};
use tokio::sync::mpsc;

/// Bytes that wait in each direction.
const BUFFER_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct MemoryNet {
    listeners: Mutex<BTreeMap<String, mpsc::UnboundedSender<Stream>>>,
}

#[async_trait]
impl Net for MemoryNet {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listeners = self.listeners.lock().unwrap();
        let listener = listeners.get(address).ok_or_else(refused)?;
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        listener.send(stream(theirs)).map_err(|_| refused())?;
        Ok(stream(ours))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let (sender, accepted) = mpsc::unbounded_channel();
        self.listeners.lock().unwrap().insert(address.to_owned(), sender);
        let local = address.parse().map_err(io::Error::other)?;
        Ok(Box::new(MemoryListener { accepted, local }))
    }
}

struct MemoryListener {
    accepted: mpsc::UnboundedReceiver<Stream>,
    local: SocketAddr,
}

#[async_trait]
impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<Stream> {
        Ok(self.accepted.recv().await.expect("the network outlives its listeners"))
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

fn stream(half: tokio::io::DuplexStream) -> Stream {
    let (read, write) = tokio::io::split(half);
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 40_000));
    Stream { read: Box::new(read), write: Box::new(write), peer: anywhere, local: anywhere }
}
