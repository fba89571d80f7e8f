//! TLS in front of a listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Listener, Stream, Tasks};

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once; more connections wait to be accepted.
const MAX_HANDSHAKES: usize = 64;

/// What a server shows its clients: a certificate chain and its key.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The chain's file holds no certificates.
    #[error("holds no certificate in PEM: {0}")]
    Chain(String),
    /// The key's file holds no private key.
    #[error("holds no private key in PEM: {0}")]
    Key(String),
    /// They do not fit each other, or nobody can use them.
    #[error("certificate and key cannot be used together: {0}")]
    Pair(String),
}

impl Identity {
    /// Takes a certificate chain, the server's own first, and its private key.
    ///
    /// # Errors
    /// What is wrong with them; no part of the key is told.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, PemError>>()
            .map_err(|error| IdentityError::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(IdentityError::Chain("no BEGIN CERTIFICATE".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        let pair = |error: tokio_rustls::rustls::Error| IdentityError::Pair(error.to_string());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        Ok(Self(Arc::new(config)))
    }
}

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
