//! An apt of our own beside the machine's.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::loader::Target;
use super::{InstallError, create_dir, run_command, write};

/// The release that carries the node, in its backports, and the node's libraries.
const RELEASE: &str = "trixie";

/// The keys that sign Debian's archive, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The node and every library it loads, directly or not.
const PACKAGES: &[&str] = &[
    "bitcoin-knots",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libevent-core-2.1-7t64",
    "libevent-extra-2.1-7t64",
    "libevent-pthreads-2.1-7t64",
    "libsqlite3-0",
    "libzmq5",
    "libbsd0",
    "libmd0",
    "libsodium23",
    "libpgm-5.3-0t64",
    "libnorm1t64",
    "libgssapi-krb5-2",
    "libkrb5-3",
    "libk5crypto3",
    "libcom-err2",
    "libkrb5support0",
    "libkeyutils1",
];

/// apt with lists, status and cache in one folder and no installed package.
pub(super) struct PrivateApt {
    options: Vec<String>,
    downloads: PathBuf,
}

impl PrivateApt {
    /// Makes the folders and the list of sources under `staging`.
    pub(super) fn create(staging: &Path, target: &Target) -> Result<Self, InstallError> {
        let folder = staging.join("apt");
        for part in ["lists/partial", "cache/archives/partial", "no-parts"] {
            create_dir(&folder.join(part))?;
        }
        let downloads = staging.join("packages");
        create_dir(&downloads)?;
        write(&folder.join("status"), b"")?;
        let archive = machine_archive()?;
        write(&folder.join("sources.list"), sources(&archive, target.architecture).as_bytes())?;
        Ok(Self { options: options(&folder, target.architecture), downloads })
    }

    /// Fetches the package lists.
    pub(super) fn update(&self) -> Result<(), InstallError> {
        run_command(self.command().args(["-q", "update"])).map(drop)
    }

    /// Downloads the packages, checked against the signed lists; their files, sorted.
    pub(super) fn download(&self) -> Result<Vec<PathBuf>, InstallError> {
        let mut command = self.command();
        run_command(command.args(["-q", "download"]).args(PACKAGES))?;
        let listing = std::fs::read_dir(&self.downloads)
            .map_err(|source| InstallError::Write { path: self.downloads.clone(), source })?;
        let mut files: Vec<_> = listing.flatten().map(|entry| entry.path()).collect();
        files.sort();
        if files.len() == PACKAGES.len() {
            return Ok(files);
        }
        Err(InstallError::Answer(format!(
            "apt-get downloaded {} of {} packages",
            files.len(),
            PACKAGES.len()
        )))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.current_dir(&self.downloads).args(&self.options);
        command
    }
}

/// The archive this machine uses, as its apt says.
fn machine_archive() -> Result<String, InstallError> {
    // Where the lists were never fetched, apt names the archive only when not asked for what the
    // lists would say.
    for more in [&[][..], &["--no-release-info"][..]] {
        let answer = run_command(
            Command::new("apt-get")
                .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
                .args(more)
                .arg("Created-By: Packages"),
        )?;
        if let Some(archive) = main_archive(&answer) {
            return Ok(archive.to_owned());
        }
    }
    Err(InstallError::Answer(
        "`apt-get indextargets` names no Debian archive: the machine has no package source".into(),
    ))
}

/// The address of the first whole release in a list of `address release` lines: the suites with
/// a suffix (updates, security, backports) may live elsewhere.
fn main_archive(targets: &str) -> Option<&str> {
    let mut pairs = targets.lines().filter_map(|line| line.trim().split_once(' '));
    pairs.find(|(_, release)| !release.contains(['-', '/'])).map(|(address, _)| address)
}

fn sources(archive: &str, architecture: &str) -> String {
    [RELEASE.to_owned(), format!("{RELEASE}-backports")]
        .iter()
        .map(|suite| {
            format!("deb [arch={architecture} signed-by={KEYRING}] {archive} {suite} main\n")
        })
        .collect()
}

/// The machine's own settings stay in force (its proxy, say), but for what these replace.
fn options(folder: &Path, architecture: &str) -> Vec<String> {
    let at = |part: &str| folder.join(part).display().to_string();
    [
        ("Dir::State", at("")),
        ("Dir::State::lists", at("lists/")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache/")),
        ("Dir::Etc::sourcelist", at("sources.list")),
        ("Dir::Etc::sourceparts", at("no-parts/")),
        ("Dir::Etc::preferences", "/dev/null".into()),
        ("Dir::Etc::preferencesparts", at("no-parts/")),
        ("APT::Architecture", architecture.into()),
        ("APT::Architectures", architecture.into()),
        // Under root apt would read our private folder as another user, who may not.
        ("APT::Sandbox::User", "root".into()),
        ("Acquire::Languages", "none".into()),
        ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
    ]
    .into_iter()
    .flat_map(|(key, value)| ["-o".to_owned(), format!("{key}={value}")])
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_that_of_the_whole_release() {
        let answer = "http://security.example/ bookworm-security\n\
                      http://mirror.example/debian/ bookworm-updates\n\
                      http://mirror.example/debian/ bookworm\n";
        assert_eq!(main_archive(answer), Some("http://mirror.example/debian/"));
        assert_eq!(main_archive("http://security.example/ bullseye/updates\n"), None);
        assert_eq!(main_archive(""), None);
    }

    #[test]
    fn sources_are_signed_by_the_archive_keyring() {
        let text = sources("http://mirror.example/debian/", "amd64");
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            assert!(line.contains("signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"));
            assert!(line.contains("http://mirror.example/debian/ trixie"));
            assert!(!line.contains("trusted"));
        }
    }

    #[test]
    fn nothing_of_the_machine_is_written() {
        let options = options(Path::new("/private"), "amd64");
        for key in ["Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache"] {
            let wanted = format!("{key}=/private");
            assert!(options.iter().any(|option| option.starts_with(&wanted)), "{key}");
        }
    }
}
