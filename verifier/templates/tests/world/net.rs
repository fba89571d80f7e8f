//! Connections without sockets.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use platform::{Listener, Net, Stream};
use tokio::sync::mpsc;

/// Connects to whoever listens under the same text.
#[derive(Default)]
pub(crate) struct MemoryNet {
    listeners: Mutex<BTreeMap<String, mpsc::Sender<Stream>>>,
}

struct MemoryListener(mpsc::Receiver<Stream>);

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn stream(end: tokio::io::DuplexStream) -> Stream {
    let (read, write) = tokio::io::split(end);
    Stream { read: Box::new(read), write: Box::new(write), peer: local(), local: local() }
}

#[async_trait]
impl Net for MemoryNet {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let listener = self.listeners.lock().unwrap().get(address).cloned();
        let (near, far) = tokio::io::duplex(64 * 1024);
        match listener {
            Some(listener) if listener.send(stream(far)).await.is_ok() => Ok(stream(near)),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let mut listeners = self.listeners.lock().unwrap();
        if listeners.get(address).is_some_and(|listener| !listener.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, receiver) = mpsc::channel(16);
        listeners.insert(address.to_owned(), sender);
        Ok(Box::new(MemoryListener(receiver)))
    }
}

#[async_trait]
impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<Stream> {
        match self.0.recv().await {
            Some(stream) => Ok(stream),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> SocketAddr {
        local()
    }
}
