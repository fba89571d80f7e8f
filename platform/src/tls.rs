//! TLS on the network's connections: in front of a listener, and towards a server.

mod client;
mod files;
mod listener;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore, ServerConfig};

pub use client::TlsClient;
pub use files::{FileError, MutualFiles, ServerFiles, TlsFile};
pub use listener::TlsListener;

/// How long the other end may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server shows its clients, a certificate chain and its key, and whom it asks for theirs.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

/// Who vouches for the servers of a client.
#[derive(Clone)]
pub struct Trust(Arc<RootCertStore>);

impl Trust {
    /// The public authorities (Mozilla's list).
    pub fn public() -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        Self(Arc::new(RootCertStore { roots }))
    }

    /// Those and the certificates in `pem`: authorities of one's own, or what a server shows itself.
    ///
    /// # Errors
    /// There is none in it.
    pub fn public_and(pem: &[u8]) -> Result<Self, IdentityError> {
        let mut all = roots(pem)?;
        all.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Self(Arc::new(all)))
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring offers the default versions")
            .with_root_certificates(Arc::clone(&self.0))
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.0.roots == other.0.roots
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.0.len())
    }
}

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
    /// The file of those who are trusted holds no certificates that could vouch for anybody.
    #[error("holds no certificate to trust in PEM: {0}")]
    Trusted(String),
}

impl Identity {
    /// Takes a certificate chain, the server's own first, and its private key.
    ///
    /// # Errors
    /// What is wrong with them; no part of the key is told.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::build(chain, key, WebPkiClientVerifier::no_client_auth())
    }

    /// The same, and serves only clients that one of the `trusted` certificates vouches for, or
    /// that show one of them.
    ///
    /// # Errors
    /// What is wrong with them; no part of the key is told.
    pub fn mutual(chain: &[u8], key: &[u8], trusted: &[u8]) -> Result<Self, IdentityError> {
        let roots = Arc::new(roots(trusted)?);
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        let clients = clients.map_err(|error| IdentityError::Trusted(error.to_string()))?;
        Self::build(chain, key, clients)
    }

    fn build(
        chain: &[u8],
        key: &[u8],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self, IdentityError> {
        let (chain, key) = pair(chain, key)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        Ok(Self(Arc::new(config)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn unusable(error: &TlsError) -> IdentityError {
    IdentityError::Pair(error.to_string())
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pair(chain: &[u8], key: &[u8]) -> Result<Pair, IdentityError> {
    let chain = certificates(chain).map_err(IdentityError::Chain)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| IdentityError::Key(error.to_string()))?;
    Ok((chain, key))
}

fn roots(trusted: &[u8]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted).map_err(IdentityError::Trusted)? {
        let added = roots.add(certificate);
        added.map_err(|error| IdentityError::Trusted(error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, PemError>>()
        .map_err(|error| error.to_string())?;
    match certificates.is_empty() {
        true => Err("no BEGIN CERTIFICATE".to_owned()),
        false => Ok(certificates),
    }
}
