//! The files that hold certificates and keys.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Identity, IdentityError, TlsClient};
use crate::Storage;

/// Where a server has its certificate. Both are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Where one end of a mutually authenticated link has its certificate, and whom it trusts. All are
/// PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualFiles {
    /// Our certificate chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The certificates that vouch for the other end, or that it shows itself.
    pub ca_file: PathBuf,
}

/// One of these files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// The certificate chain.
    Cert,
    /// The private key.
    Key,
    /// Who is trusted.
    Ca,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {said}; `gateway gen-tls` makes a pair", path.display())]
pub struct FileError {
    /// Which file.
    pub file: TlsFile,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub said: String,
}

impl ServerFiles {
    /// What the server shows.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn server(&self, storage: &dyn Storage) -> Result<Identity, FileError> {
        let chain = read(storage, TlsFile::Cert, &self.cert_file)?;
        let key = read(storage, TlsFile::Key, &self.key_file)?;
        Identity::from_pem(&chain, &key).map_err(|error| {
            let file = file_of(&error);
            let path = if file == TlsFile::Key { &self.key_file } else { &self.cert_file };
            unusable(file, path, error.to_string())
        })
    }
}

impl MutualFiles {
    /// The server's end.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn server(&self, storage: &dyn Storage) -> Result<Identity, FileError> {
        self.load(storage, Identity::mutual)
    }

    /// The client's end.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn client(&self, storage: &dyn Storage) -> Result<TlsClient, FileError> {
        self.load(storage, TlsClient::mutual)
    }

    fn load<T>(
        &self,
        storage: &dyn Storage,
        end: impl FnOnce(&[u8], &[u8], &[u8]) -> Result<T, IdentityError>,
    ) -> Result<T, FileError> {
        let chain = read(storage, TlsFile::Cert, &self.cert_file)?;
        let key = read(storage, TlsFile::Key, &self.key_file)?;
        let trusted = read(storage, TlsFile::Ca, &self.ca_file)?;
        end(&chain, &key, &trusted).map_err(|error| {
            let file = file_of(&error);
            let path = match file {
                TlsFile::Cert => &self.cert_file,
                TlsFile::Key => &self.key_file,
                TlsFile::Ca => &self.ca_file,
            };
            unusable(file, path, error.to_string())
        })
    }
}

fn read(
    storage: &dyn Storage,
    file: TlsFile,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let bytes = storage.read(path).map(Zeroizing::new);
    bytes.map_err(|error| unusable(file, path, format!("cannot be read: {error}")))
}

/// Whose fault it is.
fn file_of(error: &IdentityError) -> TlsFile {
    match error {
        IdentityError::Key(_) => TlsFile::Key,
        IdentityError::Trusted(_) => TlsFile::Ca,
        IdentityError::Chain(_) | IdentityError::Pair(_) => TlsFile::Cert,
    }
}

fn unusable(file: TlsFile, path: &Path, said: String) -> FileError {
    FileError { file, path: path.to_owned(), said }
}
