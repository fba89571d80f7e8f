//! TLS in front of a listener.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::{HANDSHAKE_TIMEOUT, Identity};
use crate::{Listener, Stream, Tasks};

/// Handshakes under way at once; more connections wait to be accepted.
const MAX_HANDSHAKES: usize = 64;

/// Accepts connections of a listener once their handshakes are done, so that a client that is slow
/// to shake hands holds up nobody.
pub struct TlsListener {
    inner: Box<dyn Listener>,
    /// What the next client is shown; without one it is served in plaintext.
    identity: watch::Receiver<Option<Identity>>,
    tasks: Tasks,
    done: mpsc::Sender<Option<Stream>>,
    shaken: mpsc::Receiver<Option<Stream>>,
    under_way: usize,
}

impl TlsListener {
    /// Handshakes are tasks of `tasks`.
    pub fn new(
        inner: Box<dyn Listener>,
        identity: watch::Receiver<Option<Identity>>,
        tasks: Tasks,
    ) -> Self {
        let (done, shaken) = mpsc::channel(MAX_HANDSHAKES);
        Self { inner, identity, tasks, done, shaken, under_way: 0 }
    }

    fn shake(&mut self, stream: Stream, identity: Identity) {
        self.under_way += 1;
        let done = self.done.clone();
        drop(self.tasks.spawn("tls_handshake", async move {
            let (peer, local) = (stream.peer, stream.local);
            let accept = TlsAcceptor::from(identity.0).accept(stream);
            let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, accept).await {
                Ok(Ok(stream)) => {
                    let (read, write) = tokio::io::split(stream);
                    Some(Stream { read: Box::new(read), write: Box::new(write), peer, local })
                }
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    None
                }
                Err(_) => {
                    tracing::debug!(%peer, "TLS handshake not finished in time");
                    None
                }
            };
            // The listener may be gone.
            let _ = done.send(stream).await;
        }));
    }
}

#[async_trait]
impl Listener for TlsListener {
    async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            let accepted = tokio::select! {
                biased;
                Some(shaken) = self.shaken.recv() => {
                    self.under_way -= 1;
                    match shaken {
                        Some(stream) => return Ok(stream),
                        None => continue,
                    }
                }
                accepted = self.inner.accept(), if self.under_way < MAX_HANDSHAKES => accepted?,
            };
            let identity = self.identity.borrow().clone();
            match identity {
                Some(identity) => self.shake(accepted, identity),
                None => return Ok(accepted),
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }
}
