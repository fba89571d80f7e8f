//! What counting needs beside Cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Metadata;

use super::baseline::Environment;

/// What of a processor Valgrind hands on to the program, and libraries choose their code by.
const FEATURES: [&str; 6] = ["sse4_2", "avx", "avx2", "bmi2", "rdrand", "rdseed"];

/// Installed programs.
pub(super) struct Tools {
    /// Runs a bench under Valgrind; of the same version as the library.
    pub(super) runner: PathBuf,
    valgrind: String,
}

impl Tools {
    /// Finds them, and installs what is missing where that is possible.
    pub(super) fn ready(metadata: &Metadata) -> Result<Self> {
        let valgrind = match version_of_valgrind() {
            Some(version) => version,
            None => install_valgrind()?,
        };
        let version = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == "gungraun")
            .map(|package| package.version.to_string())
            .context("no package depends on gungraun")?;
        let cache = metadata.target_directory.join("bench-tools").into_std_path_buf();
        let runner = cache.join(&version).join("bin/gungraun-runner");
        if !runner.exists() {
            install_runner(&cache.join(&version), &version)?;
        }
        Ok(Self { runner, valgrind })
    }

    /// What counts depend on beside the code.
    pub(super) fn environment(&self) -> Result<Environment> {
        let compiler = lines_of(Command::new("rustc").arg("-vV"), |line| {
            line.starts_with("release: ") || line.starts_with("host: ")
        })?;
        let libc = lines_of(Command::new("ldd").arg("--version"), |line| line.contains("ldd"))?;
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let has = |feature: &&str| flags.split_whitespace().any(|flag| flag == *feature);
        Ok(Environment {
            compiler,
            libc,
            processor: FEATURES.into_iter().filter(has).collect::<Vec<_>>().join(" "),
            valgrind: self.valgrind.clone(),
        })
    }
}

fn version_of_valgrind() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn install_valgrind() -> Result<String> {
    println!("ci: valgrind is not here; asking apt-get for it ...");
    let installed = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends", "valgrind"])
        .status()
        .is_ok_and(|status| status.success());
    match version_of_valgrind().filter(|_| installed) {
        Some(version) => Ok(version),
        None => bail!(
            "instructions are counted by valgrind, which is not installed and apt-get could not \
             install it; install the package `valgrind` of your system"
        ),
    }
}

fn install_runner(root: &Path, version: &str) -> Result<()> {
    println!("ci: gungraun-runner {version} is not here; installing it ...");
    let status = Command::new("cargo")
        .args(["install", "gungraun-runner", "--locked", "--quiet", "--version", version, "--root"])
        .arg(root)
        .status()
        .context("cargo does not start")?;
    if !status.success() {
        bail!(
            "gungraun-runner {version} cannot be installed ({status}); \
             `cargo install gungraun-runner --version {version} --root {}` shows why",
            root.display()
        );
    }
    Ok(())
}

/// The lines of a command's output that are of interest, as one.
fn lines_of(command: &mut Command, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().filter(|line| wanted(line)).collect();
    Ok(lines.join(", "))
}
