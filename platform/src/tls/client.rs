//! TLS towards a server that knows us.

use std::io;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{HANDSHAKE_TIMEOUT, IdentityError, pair, provider, roots, unusable};
use crate::{Net, Stream};

/// Connects to servers that show a certificate we trust, and shows them ours.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl TlsClient {
    /// Takes a certificate chain, our own first, its private key, and the certificates that vouch
    /// for servers, or that servers show themselves.
    ///
    /// # Errors
    /// What is wrong with them; no part of the key is told.
    pub fn mutual(chain: &[u8], key: &[u8], trusted: &[u8]) -> Result<Self, IdentityError> {
        let roots = roots(trusted)?;
        let (chain, key) = pair(chain, key)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Connects to `host:port`; the server's certificate must name that host. A server that does
    /// not trust *our* certificate may be heard of only when something is read.
    ///
    /// # Errors
    /// There is no connection, or the server is not who it should be.
    pub async fn connect(&self, net: &dyn Net, address: &str) -> io::Result<Stream> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "names no valid host"))?;
        let stream = net.connect(address).await?;
        let (peer, local) = (stream.peer, stream.local);
        let shaken = timeout(HANDSHAKE_TIMEOUT, self.0.connect(name, stream)).await;
        let shaken = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (read, write) = tokio::io::split(shaken);
        Ok(Stream { read: Box::new(read), write: Box::new(write), peer, local })
    }
}
