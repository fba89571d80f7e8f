//! The keys with which miners are served.

use std::path::Path;

use platform::{Env, Storage};
use sv2_noise::{
    AuthorityPublicKey, AuthoritySecretKey, Certificate, CertificateError, KeyError, StaticKey,
    Validity,
};

use crate::config::{CertificateSource, NoiseConfig};

/// What every handshake needs.
pub(crate) struct NoiseIdentity {
    pub(crate) key: StaticKey,
    pub(crate) certificate: Certificate,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}; make the keys with `gateway gen-keys`")]
    Read {
        /// The file.
        path: String,
        /// What the disk answered.
        source: std::io::Error,
    },
    /// A file holds no key.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A file holds no certificate.
    #[error("{path}: {source}; make a certificate with `gateway gen-keys`")]
    Form {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// The certificate does not fit the keys or the time.
    #[error("the certificate does not fit the keys: {0}; make a new one with `gateway gen-keys`")]
    Certificate(#[from] CertificateError),
}

/// Loads the keys and makes sure that a miner will accept them.
pub(crate) fn load(config: &NoiseConfig, env: &Env) -> Result<NoiseIdentity, IdentityError> {
    let storage = env.storage.as_ref();
    let now = env.wall.unix_ms() / 1000;
    let key = key(storage, &config.key_file)?;
    let authority = authority(storage, &config.authority_public_key_file)?;
    let certificate = match &config.certificate {
        CertificateSource::File(path) => certificate(storage, path)?,
        CertificateSource::Mint { authority_secret_key_file, validity, backdate } => {
            let signer = signer(storage, authority_secret_key_file)?;
            let validity = Validity {
                valid_from: seconds(now.saturating_sub(backdate.as_secs())),
                not_valid_after: seconds(now.saturating_add(validity.as_secs())),
            };
            mint(&signer, &key, validity, env)
        }
    };
    certificate.verify(&key.public(), &authority, now)?;
    Ok(NoiseIdentity { key, certificate })
}

/// The gateway's secret key in a file.
pub(crate) fn key(storage: &dyn Storage, path: &Path) -> Result<StaticKey, IdentityError> {
    StaticKey::parse(&text(storage, path)?).map_err(in_file(path))
}

/// The authority's public key in a file.
pub(crate) fn authority(
    storage: &dyn Storage,
    path: &Path,
) -> Result<AuthorityPublicKey, IdentityError> {
    text(storage, path)?.trim().parse().map_err(in_file(path))
}

/// The authority's secret key in a file.
pub(crate) fn signer(
    storage: &dyn Storage,
    path: &Path,
) -> Result<AuthoritySecretKey, IdentityError> {
    AuthoritySecretKey::parse(&text(storage, path)?).map_err(in_file(path))
}

/// The certificate in a file.
pub(crate) fn certificate(
    storage: &dyn Storage,
    path: &Path,
) -> Result<Certificate, IdentityError> {
    let form = |source| IdentityError::Form { path: path.display().to_string(), source };
    text(storage, path)?.trim().parse().map_err(form)
}

/// Signs a certificate for `key`.
pub(crate) fn mint(
    signer: &AuthoritySecretKey,
    key: &StaticKey,
    validity: Validity,
    env: &Env,
) -> Certificate {
    let rng = env.rng.as_ref();
    Certificate::mint(signer, &key.public(), validity, &mut |bytes: &mut [u8]| rng.fill(bytes))
}

/// A point of time as certificates carry it.
pub(crate) fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX)
}

fn text(storage: &dyn Storage, path: &Path) -> Result<zeroize::Zeroizing<String>, IdentityError> {
    let read = storage.read(path).and_then(|bytes| {
        String::from_utf8(bytes)
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "not a text"))
    });
    read.map(zeroize::Zeroizing::new)
        .map_err(|source| IdentityError::Read { path: path.display().to_string(), source })
}

fn in_file(path: &Path) -> impl FnOnce(KeyError) -> IdentityError {
    let path = path.display().to_string();
    move |source| IdentityError::Key { path, source }
}
