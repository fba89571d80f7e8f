//! The files with which the verifier proves who it is, to gateways and to operators.

use std::path::PathBuf;

use platform::Storage;
use platform::tls::{FileError, MutualFiles, ServerFiles, TlsFile};
use policy::table::TableReader;

const CERT: &str = "tls_cert_file";
const KEY: &str = "tls_key_file";
const CLIENTS: &str = "tls_client_ca_file";
const HTTP_CERT: &str = "http_tls_cert_file";
const HTTP_KEY: &str = "http_tls_key_file";

/// Reads the keys and judges the files that they name; all three stand together.
pub(super) fn read(from: &mut TableReader, storage: &dyn Storage) -> Option<MutualFiles> {
    let [cert, key, clients] = [CERT, KEY, CLIENTS].map(|name| from.text(name).map(PathBuf::from));
    let files = match (cert, key, clients) {
        (None, None, None) => return None,
        (Some(cert_file), Some(key_file), Some(ca_file)) => {
            MutualFiles { cert_file, key_file, ca_file }
        }
        (cert, key, clients) => {
            for (name, file) in [(CERT, cert), (KEY, key), (CLIENTS, clients)] {
                if file.is_none() {
                    let needed = format!("{CERT}, {KEY} and {CLIENTS}");
                    let text = format!("is missing; a link with certificates needs {needed}");
                    from.problem(name, text);
                }
            }
            return None;
        }
    };
    if let Err(error) = files.server(storage) {
        from.problem(key_of(&error), error.to_string());
    }
    Some(files)
}

/// The same of HTTPS.
pub(super) fn read_http(from: &mut TableReader, storage: &dyn Storage) -> Option<ServerFiles> {
    let [cert, key] = [HTTP_CERT, HTTP_KEY].map(|name| from.text(name).map(PathBuf::from));
    let files = match (cert, key) {
        (None, None) => return None,
        (Some(cert_file), Some(key_file)) => ServerFiles { cert_file, key_file },
        (cert, _) => {
            let missing = if cert.is_some() { HTTP_KEY } else { HTTP_CERT };
            from.problem(missing, "is missing; HTTPS needs certificate and key");
            return None;
        }
    };
    if let Err(error) = files.server(storage) {
        from.problem(http_key_of(&error), error.to_string());
    }
    Some(files)
}

/// The key of HTTPS whose file it is.
pub(crate) fn http_key_of(error: &FileError) -> &'static str {
    if error.file == TlsFile::Key { HTTP_KEY } else { HTTP_CERT }
}

/// The key of the link whose file it is.
pub(crate) fn key_of(error: &FileError) -> &'static str {
    match error.file {
        TlsFile::Cert => CERT,
        TlsFile::Key => KEY,
        TlsFile::Ca => CLIENTS,
    }
}

/// The keys of HTTPS with their values as TOML.
pub(super) fn http_lines(files: &ServerFiles) -> [(&'static str, String); 2] {
    let paths = [(HTTP_CERT, &files.cert_file), (HTTP_KEY, &files.key_file)];
    paths.map(|(key, path)| (key, super::quoted(&path.to_string_lossy())))
}

/// The keys of the link with their values as TOML.
pub(super) fn lines(files: &MutualFiles) -> [(&'static str, String); 3] {
    let paths = [(CERT, &files.cert_file), (KEY, &files.key_file), (CLIENTS, &files.ca_file)];
    paths.map(|(key, path)| (key, super::quoted(&path.to_string_lossy())))
}
