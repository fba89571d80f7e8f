//! The files that a configuration names: judged before anything relies on them.

use std::path::Path;

use platform::Env;

use super::Config;
use super::raw::Raw;
use crate::noise_identity::{self, IdentityError};

/// Notes every file with which miners cannot be served.
pub(super) fn check(config: &Config, raw: &mut Raw<'_>, env: &Env) {
    type Judge = fn(&dyn platform::Storage, &Path) -> Result<(), IdentityError>;
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
