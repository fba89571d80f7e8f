//! Which bitcoind this machine has.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the program, wherever it is.
const PROGRAM: &str = "bitcoind";

/// The ways to get a node, for whoever has none.
pub(crate) const WAYS: &str = "other ways to a node: a `bitcoind` on PATH, BITCOIND_EXE naming \
     one, or the release of Bitcoin Core unpacked where either finds it";

/// A bitcoind that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The program.
    pub exe: PathBuf,
    /// How it was found.
    pub origin: Origin,
    /// The first line it prints when asked for its version.
    pub version: String,
}

/// Where a node came from, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `BITCOIND_EXE` names it.
    Environment,
    /// It is on `PATH`.
    Path,
    /// `sim node install` fetched it.
    Fetched,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "BITCOIND_EXE",
            Self::Path => "PATH",
            Self::Fetched => "fetched by `sim node install`",
        })
    }
}

/// The node to use: `BITCOIND_EXE`, else `PATH`, else what [`install`](super::install) fetched.
///
/// A place that names a program that does not run ends the search with a warning: what was
/// chosen on purpose is never silently replaced by something else.
pub fn find() -> Option<Found> {
    let Candidate { exe, origin } = Places::of_this_process().candidate()?;
    match version(&exe) {
        Ok(version) => Some(Found { exe, origin, version }),
        Err(reason) => {
            tracing::warn!(exe = %exe.display(), %origin, reason, "this bitcoind does not run");
            None
        }
    }
}

/// What [`find`] finds, as text for people, one fact a line.
pub fn status() -> String {
    let places = Places::of_this_process();
    let Some(Candidate { exe, origin }) = places.candidate() else {
        return format!(
            "no bitcoind: `sim node install` fetches one on Debian; {WAYS}\nscenarios run on \
             recorded answers or on the embedded chain\n"
        );
    };
    match version(&exe) {
        Ok(version) => {
            format!("bitcoind: {}\norigin:   {origin}\nversion:  {version}\n", exe.display())
        }
        Err(reason) => {
            format!("{} ({origin}) does not run: {reason}\n{WAYS}\n", exe.display())
        }
    }
}

/// The folder for what is fetched once and kept: `ASSAY_CACHE`, `$XDG_CACHE_HOME/assay` or
/// `~/.cache/assay`. None where the environment has none of them.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    cache_folder_of(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

/// Where the fetched node is inside the cache folder.
pub(crate) fn fetched_exe(cache: &Path) -> PathBuf {
    cache.join("node").join("bin").join(PROGRAM)
}

/// Asks a program for its version; the answer's first line.
pub(crate) fn version(exe: &Path) -> Result<String, String> {
    let output = Command::new(exe).arg("-version").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(format!(
            "it ends with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

fn cache_folder_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable("ASSAY_CACHE") {
        return Some(folder.into());
    }
    if let Some(folder) = variable("XDG_CACHE_HOME") {
        return Some(Path::new(&folder).join("assay"));
    }
    variable("HOME").map(|home| Path::new(&home).join(".cache").join("assay"))
}

struct Candidate {
    exe: PathBuf,
    origin: Origin,
}

/// Everywhere a node may be.
struct Places {
    environment: Option<OsString>,
    path: Option<OsString>,
    cache: Option<PathBuf>,
}

impl Places {
    fn of_this_process() -> Self {
        Self {
            environment: std::env::var_os("BITCOIND_EXE").filter(|value| !value.is_empty()),
            path: std::env::var_os("PATH"),
            cache: cache_folder(),
        }
    }

    fn candidate(&self) -> Option<Candidate> {
        if let Some(exe) = &self.environment {
            return Some(Candidate { exe: exe.into(), origin: Origin::Environment });
        }
        let on_path = self.path.iter().flat_map(std::env::split_paths).map(|dir| dir.join(PROGRAM));
        if let Some(exe) = on_path.into_iter().find(|exe| exe.is_file()) {
            return Some(Candidate { exe, origin: Origin::Path });
        }
        let exe = fetched_exe(self.cache.as_deref()?);
        exe.is_file().then_some(Candidate { exe, origin: Origin::Fetched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_with(set: &[(&str, &str)]) -> Option<PathBuf> {
        cache_folder_of(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_folder_is_the_most_specific_one() {
        let all = [("ASSAY_CACHE", "/a"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(cache_with(&all), Some("/a".into()));
        assert_eq!(cache_with(&all[1..]), Some("/x/assay".into()));
        assert_eq!(cache_with(&all[2..]), Some("/h/.cache/assay".into()));
        assert_eq!(cache_with(&[]), None);
    }

    #[test]
    fn places_are_tried_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let on_path = dir.path().join("bin");
        let fetched = fetched_exe(dir.path());
        for exe in [on_path.join(PROGRAM), fetched.clone()] {
            std::fs::create_dir_all(exe.parent().unwrap()).unwrap();
            std::fs::write(&exe, "").unwrap();
        }
        let mut places = Places {
            environment: Some("/chosen/bitcoind".into()),
            path: Some(on_path.clone().into()),
            cache: Some(dir.path().into()),
        };
        let origins = |places: &Places| places.candidate().map(|found| (found.exe, found.origin));
        assert_eq!(origins(&places), Some(("/chosen/bitcoind".into(), Origin::Environment)));
        places.environment = None;
        assert_eq!(origins(&places), Some((on_path.join(PROGRAM), Origin::Path)));
        places.path = None;
        assert_eq!(origins(&places), Some((fetched, Origin::Fetched)));
        places.cache = None;
        assert_eq!(origins(&places), None);
    }

    #[test]
    fn a_program_that_fails_has_no_version() {
        assert!(version(Path::new("/nonexistent/bitcoind")).is_err());
        assert!(version(Path::new("/bin/false")).unwrap_err().contains("ends with"));
    }
}
