//! Fetches a node where the machine's package system has one.
//!
//! Debian has Bitcoin Knots in trixie's backports. It is taken with all its libraries into one
//! private folder, so it runs on older releases too and nothing of the machine changes: apt gets
//! lists, status and cache of its own, Debian's archive keyring, and the address of the archive
//! from the machine's own configuration. No root is needed.

mod apt;
mod loader;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bitcoin::hashes::{Hash, sha256};

use super::find::{self, Found, Origin, WAYS};
use apt::PrivateApt;
use loader::Target;

/// Why no node was installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is no way to fetch a node here.
    #[error("no node can be fetched here: {0}; {WAYS}")]
    Unsupported(String),
    /// A command of the package system failed.
    #[error("`{command}` failed: {detail}; {WAYS}")]
    Command {
        /// The program and its first argument.
        command: String,
        /// What it printed, or why it did not start.
        detail: String,
    },
    /// The package system's answer lacks something.
    #[error("{0}; {WAYS}")]
    Answer(String),
    /// The cache folder cannot be written.
    #[error("cannot write {path}: {source}; set ASSAY_CACHE to a folder that can be written")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Fetches a node into the cache folder, replacing an earlier one, and tells each step to
/// `progress`. The folder changes in one step at the end, or not at all.
///
/// # Errors
/// Whatever stops it, with the other ways to get a node.
pub fn run(progress: &mut dyn FnMut(&str)) -> Result<Found, InstallError> {
    let cache = find::cache_folder().ok_or_else(|| {
        InstallError::Unsupported("none of ASSAY_CACHE, XDG_CACHE_HOME and HOME is set".into())
    })?;
    let target = Target::of_this_machine()?;
    require_debian()?;
    let staging = Staging::create(&cache)?;
    let built = staging.path.join("node");
    let version = build(&staging.path, &built, &target, progress)?;
    replace(&built, &cache.join("node"), &staging.path.join("replaced"))?;
    let exe = find::fetched_exe(&cache);
    progress(&format!("installed {version} as {}", exe.display()));
    Ok(Found { exe, origin: Origin::Fetched, version })
}

/// Fills `built` with the program, its libraries, a wrapper and a record of what they are;
/// returns the version the wrapper reports.
fn build(
    staging: &Path,
    built: &Path,
    target: &Target,
    progress: &mut dyn FnMut(&str),
) -> Result<String, InstallError> {
    let apt = PrivateApt::create(staging, target)?;
    progress("reading the archive's package lists");
    apt.update()?;
    progress("downloading the node and its libraries");
    let packages = apt.download()?;
    progress(&format!("unpacking {} packages", packages.len()));
    let root = staging.join("root");
    for package in &packages {
        run_command(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root))?;
    }
    loader::assemble(&root, built, target)?;
    let version = find::version(&built.join("bin").join("bitcoind"))
        .map_err(|reason| InstallError::Answer(format!("the node does not run: {reason}")))?;
    write(&built.join("manifest.txt"), manifest(&version, built, &packages)?.as_bytes())?;
    Ok(version)
}

/// Debian derivatives have archives of their own, without the package.
fn require_debian() -> Result<(), InstallError> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    match os_id(&release) {
        Some("debian") => Ok(()),
        Some(other) => Err(InstallError::Unsupported(format!(
            "this is {other}, and only Debian's archive has a node"
        ))),
        None => Err(InstallError::Unsupported("this is not Debian".into())),
    }
}

/// The `ID` of an os-release file.
fn os_id(os_release: &str) -> Option<&str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(value.trim().trim_matches('"'))
}

/// What was installed: the version, then the SHA-256 of the program and of every package.
fn manifest(version: &str, built: &Path, packages: &[PathBuf]) -> Result<String, InstallError> {
    let mut text = format!("version {version}\n");
    let program = built.join("libexec").join("bitcoind");
    for file in std::iter::once(&program).chain(packages) {
        let bytes = std::fs::read(file)
            .map_err(|source| InstallError::Write { path: file.clone(), source })?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(text, "sha256 {:x} {name}", sha256::Hash::hash(&bytes))
            .expect("writing into a String does not fail");
    }
    Ok(text)
}

/// Puts `built` where `place` is, which moves to `aside`.
fn replace(built: &Path, place: &Path, aside: &Path) -> Result<(), InstallError> {
    if place.exists() {
        rename(place, aside)?;
    }
    rename(built, place)
}

fn rename(from: &Path, to: &Path) -> Result<(), InstallError> {
    std::fs::rename(from, to).map_err(|source| InstallError::Write { path: to.to_owned(), source })
}

fn create_dir(path: &Path) -> Result<(), InstallError> {
    std::fs::create_dir_all(path)
        .map_err(|source| InstallError::Write { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    std::fs::write(path, bytes)
        .map_err(|source| InstallError::Write { path: path.to_owned(), source })
}

/// Runs a command to its end; its standard output.
fn run_command(command: &mut Command) -> Result<String, InstallError> {
    // The answers are parsed, so they must be in no other language.
    let outcome = command.env("LC_ALL", "C").output();
    let failed = |detail: String| {
        let program = command.get_program().to_string_lossy().into_owned();
        // Options come first and say little; the verb is the first word without a dash.
        let verb = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
        let verb = verb.into_iter().find(|arg| !arg.starts_with('-') && !arg.contains("::"));
        InstallError::Command { command: format!("{program} {}", verb.unwrap_or_default()), detail }
    };
    match outcome {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A folder beside the final one, so that the last step is a rename; removed when dropped.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(cache: &Path) -> Result<Self, InstallError> {
        let path = cache.join(format!("node.partial-{}", std::process::id()));
        create_dir(&path)?;
        // apt is given paths while it stands in another folder.
        let path = path
            .canonicalize()
            .map_err(|source| InstallError::Write { path: path.clone(), source })?;
        Ok(Self { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "partial download left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_told_from_its_release_file() {
        assert_eq!(os_id("PRETTY_NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n"), Some("debian"));
        assert_eq!(os_id("ID=\"alpine\"\nID_LIKE=debian\n"), Some("alpine"));
        assert_eq!(os_id("NAME=none\n"), None);
    }

    #[test]
    fn replacing_keeps_the_new_and_moves_the_old_aside() {
        let dir = tempfile::tempdir().unwrap();
        let [built, place, aside] = ["built", "place", "aside"].map(|name| dir.path().join(name));
        for (folder, text) in [(&built, "new"), (&place, "old")] {
            create_dir(folder).unwrap();
            write(&folder.join("file"), text.as_bytes()).unwrap();
        }
        replace(&built, &place, &aside).unwrap();
        assert_eq!(std::fs::read_to_string(place.join("file")).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(aside.join("file")).unwrap(), "old");
        assert!(!built.exists());
    }

    #[test]
    fn a_failing_command_is_named_with_its_verb() {
        let error = run_command(Command::new("/bin/false").args(["-o", "verb"])).unwrap_err();
        assert!(error.to_string().starts_with("`/bin/false verb` failed"), "{error}");
        assert!(error.to_string().contains("BITCOIND_EXE"), "{error}");
    }

    #[test]
    fn the_manifest_names_the_version_and_every_sum() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(&dir.path().join("libexec")).unwrap();
        write(&dir.path().join("libexec").join("bitcoind"), b"abc").unwrap();
        let package = dir.path().join("a_1_amd64.deb");
        write(&package, b"").unwrap();
        assert_eq!(
            manifest("v1", dir.path(), &[package]).unwrap(),
            "version v1\n\
             sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad bitcoind\n\
             sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 a_1_amd64.deb\n"
        );
    }
}
