//! The files that a configuration names: judged before anything relies on them.

use std::path::Path;

use platform::tls::{Identity, IdentityError, TlsFile};
use platform::{Env, Storage};

use super::raw::Raw;
use super::{Config, ConfigProblem};
use crate::noise_identity;

/// The files of the links to verifiers: certificate, key, whom to trust.
pub(super) const VERIFIER_TLS: [&str; 3] = [
    "gateway.verifier_tls_cert_file",
    "gateway.verifier_tls_key_file",
    "gateway.verifier_tls_ca_file",
];

/// Notes every file that cannot be used.
pub(super) fn check(config: &Config, raw: &mut Raw<'_>, env: &Env) {
    check_noise(config, raw, env);
    for key in
        ["gateway.http_tls_cert_file", "gateway.http_tls_key_file"].iter().chain(&VERIFIER_TLS)
    {
        if let Some(file) = raw.text(key).map(str::to_owned) {
            raw.note_content(key, &file);
        }
    }
    if let Err(problem) = tls_identity(config, env.storage.as_ref()) {
        raw.problem(&problem.key, problem.problem);
    }
    let links = config.gateway.verifier_tls.as_ref();
    if let Some(Err(error)) = links.map(|files| files.client(env.storage.as_ref())) {
        let [cert, key, ca] = VERIFIER_TLS;
        let file = match error.file {
            TlsFile::Cert => cert,
            TlsFile::Key => key,
            TlsFile::Ca => ca,
        };
        raw.problem(file, error.to_string());
    }
}

/// What HTTPS is served with; nothing where HTTP is.
///
/// # Errors
/// The key whose file cannot be used, and why.
pub(crate) fn tls_identity(
    config: &Config,
    storage: &dyn Storage,
) -> Result<Option<Identity>, ConfigProblem> {
    const CERT: &str = "gateway.http_tls_cert_file";
    const KEY: &str = "gateway.http_tls_key_file";
    let Some(files) = &config.gateway.http_tls else { return Ok(None) };
    let problem = |key: &str, file: &Path, said: String| {
        let problem = format!("{}: {said}; `gateway gen-tls` makes a pair", file.display());
        ConfigProblem { key: key.to_owned(), problem }
    };
    let read = |key, file: &Path| {
        let bytes = storage.read(file).map(zeroize::Zeroizing::new);
        bytes.map_err(|error| problem(key, file, format!("cannot be read: {error}")))
    };
    let (chain, key) = (read(CERT, &files.cert_file)?, read(KEY, &files.key_file)?);
    Identity::from_pem(&chain, &key).map(Some).map_err(|error| match error {
        IdentityError::Key(_) => problem(KEY, &files.key_file, error.to_string()),
        _ => problem(CERT, &files.cert_file, error.to_string()),
    })
}

/// Notes every file with which miners cannot be served.
fn check_noise(config: &Config, raw: &mut Raw<'_>, env: &Env) {
    type Judge = fn(&dyn Storage, &Path) -> Result<(), noise_identity::IdentityError>;
    let judges: [(&str, Judge); 4] = [
        ("noise.noise_key_file", |storage, path| noise_identity::key(storage, path).map(drop)),
        ("noise.noise_cert_file", |storage, path| {
            noise_identity::certificate(storage, path).map(drop)
        }),
        ("noise.authority_secret_key_file", |storage, path| {
            noise_identity::signer(storage, path).map(drop)
        }),
        ("noise.authority_public_key_file", |storage, path| {
            noise_identity::authority(storage, path).map(drop)
        }),
    ];
    let mut are_sound = true;
    for (key, judge) in judges {
        let Some(file) = raw.text(key).map(str::to_owned) else { continue };
        raw.note_content(key, &file);
        if let Err(error) = judge(env.storage.as_ref(), Path::new(&file)) {
            raw.problem(key, error.to_string());
            are_sound = false;
        }
    }
    let Some(noise) = config.noise.as_ref().filter(|_| are_sound) else { return };
    if let Err(error) = noise_identity::load(noise, env) {
        let is_signed = raw.is_sound("noise.noise_cert_file");
        let key =
            if is_signed { "noise.noise_cert_file" } else { "noise.authority_public_key_file" };
        raw.problem(key, error.to_string());
    }
}
