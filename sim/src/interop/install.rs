//! Gets other people's programs from the Rust package registry into the cache folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::InteropError;

/// A program of a published package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The package.
    pub package: &'static str,
    /// Its version, exactly.
    pub version: &'static str,
    /// The program of it.
    pub program: &'static str,
    /// What its build cannot do without, minutes after it began.
    pub needs: &'static [&'static str],
}

/// A Stratum V1 to V2 proxy.
pub const TRANSLATOR: Published = Published {
    package: "translator_sv2",
    version: "0.6.0",
    program: "translator_sv2",
    needs: &[],
};
/// A CPU miner that speaks SV2.
pub const MINING_DEVICE: Published = Published {
    package: "integration_tests_sv2",
    version: "0.6.0",
    program: "mining_device",
    needs: &[],
};
/// The reference implementation's pool.
pub const POOL: Published =
    Published { package: "pool_sv2", version: "0.7.0", program: "pool_sv2", needs: &["capnp"] };

/// What makes the builds of programs that nobody measures take less time than their own settings.
const CHEAPER: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// The folder of the programs, after those of `wanted` that it lacks were built into it. Half an
/// hour for the first on two cores, less for each further one.
///
/// # Errors
/// There is no cache folder, or a program does not build; with what cargo said.
pub fn ensure(
    wanted: &[Published],
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, InteropError> {
    ensure_in("interop", wanted, &CHEAPER, progress)
}

/// The same of programs that are measured: built as their packages say.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_optimised(
    wanted: &[Published],
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, InteropError> {
    ensure_in("interop/optimised", wanted, &[], progress)
}

fn ensure_in(
    place: &str,
    wanted: &[Published],
    settings: &[(&str, &str)],
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, InteropError> {
    let cache = crate::node::cache_folder().ok_or(InteropError::NoCache)?.join(place);
    let folder = cache.join("bin");
    for published in wanted {
        if !folder.join(published.program).is_file() {
            build(published, &cache, settings, progress)?;
        }
    }
    Ok(folder)
}

fn build(
    published: &Published,
    cache: &Path,
    settings: &[(&str, &str)],
    progress: &mut dyn FnMut(&str),
) -> Result<(), InteropError> {
    let Published { package, version, program, needs } = published;
    if let Some(missing) = needs.iter().find(|tool| !starts(tool)) {
        let reason = format!("{missing} does not start");
        return Err(InteropError::NotInstalled { package, version, reason });
    }
    progress(&format!("building {program} of {package} {version}, which takes long"));
    let status = Command::new("cargo")
        .args(["install", package, "--version", version, "--bin", program, "--locked", "--quiet"])
        .arg("--root")
        .arg(cache)
        // The packages share most of what they depend on.
        .env("CARGO_TARGET_DIR", cache.join("target"))
        .envs(settings.iter().copied())
        .current_dir(std::env::temp_dir())
        .status();
    let reason = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("cargo ended with {status}; it says above why"),
        Err(error) => format!("cargo does not start: {error}"),
    };
    Err(InteropError::NotInstalled { package, version, reason })
}

fn starts(tool: &str) -> bool {
    Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok()
}
