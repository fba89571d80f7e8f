//! The files with which HTTPS is served.

use std::path::PathBuf;

use platform::Storage;
use platform::tls::{FileError, ServerFiles, TlsFile};

use super::reader::Reader;

const CERT: &str = "http_tls_cert_file";
const KEY: &str = "http_tls_key_file";

/// Reads the keys and judges the files that they name.
pub(super) fn read(from: &mut Reader<'_>, storage: &dyn Storage) -> Option<ServerFiles> {
    let [cert, key] = [CERT, KEY].map(|name| from.optional_text(name).map(PathBuf::from));
    let files = match (cert, key) {
        (None, None) => return None,
        (Some(cert_file), Some(key_file)) => ServerFiles { cert_file, key_file },
        (cert, _) => {
            let missing = if cert.is_some() { KEY } else { CERT };
            from.problem(missing, "is missing; HTTPS needs certificate and key".to_owned());
            return None;
        }
    };
    if let Err(error) = files.server(storage) {
        from.problem(key_of(&error), error.to_string());
    }
    Some(files)
}

/// The key whose file it is.
pub(crate) fn key_of(error: &FileError) -> &'static str {
    if error.file == TlsFile::Key { KEY } else { CERT }
}
