//! The policy in force, how it is replaced, and the versions before it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use platform::Storage;
use policy::Policy;
use policy::table::Problem;

/// How many versions are kept.
const MAX_VERSIONS: usize = 256;
const ENDING: &str = ".toml";

/// A policy with its content hash.
#[derive(Debug)]
pub(crate) struct Versioned {
    pub(crate) policy: Policy,
    pub(crate) hash: String,
}

impl Versioned {
    pub(crate) fn new(policy: Policy) -> Arc<Self> {
        let hash = policy.content_hash();
        Arc::new(Self { policy, hash })
    }
}

/// Holds the policy in force. A policy replaces another one only when it is valid as a whole.
pub(crate) struct Policies {
    storage: Arc<dyn Storage>,
    /// Where the policy in force is read from and written to.
    file: Option<PathBuf>,
    /// The operator named the file, so that it must be there.
    file_is_required: bool,
    versions: Option<Versions>,
    /// One change at a time, so that the file and the policy in force are the same.
    changing: Mutex<()>,
    /// `Err` only until a first valid policy is loaded: everything is rejected meanwhile.
    current: RwLock<Result<Arc<Versioned>, String>>,
}

impl Policies {
    /// Loads the file; without one, what was last put in force by the API and is kept in
    /// `state_dir`; without that, the default policy.
    pub(crate) fn load(
        storage: Arc<dyn Storage>,
        file: Option<PathBuf>,
        state_dir: Option<&Path>,
    ) -> Self {
        let versions = state_dir.map(|directory| Versions::new(&storage, directory));
        let file_is_required = file.is_some();
        let file = file.or_else(|| state_dir.map(|directory| directory.join("policy.toml")));
        let current = RwLock::new(Err("not loaded yet".to_owned()));
        let changing = Mutex::new(());
        let policies = Self { storage, file, file_is_required, versions, changing, current };
        if let Err(problems) = policies.reload() {
            policies.put(Err(join(&problems)));
        }
        policies
    }

    /// The policy in force, or why there is none.
    pub(crate) fn current(&self) -> Result<Arc<Versioned>, String> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. The policy in force stays when the file has problems.
    pub(crate) fn reload(&self) -> Result<Arc<Versioned>, Vec<Problem>> {
        let _changing = self.change();
        let storage = self.storage.as_ref();
        let policy = match &self.file {
            Some(file) if !self.file_is_required => read_kept(storage, file)?,
            file => read(storage, file.as_deref())?,
        };
        Ok(self.set(policy))
    }

    /// Takes the text as the new policy, and writes it to the file where there is one.
    pub(crate) fn replace(&self, text: &str) -> Result<Arc<Versioned>, Vec<Problem>> {
        let policy = Policy::from_toml(text)?;
        let _changing = self.change();
        if let Some(file) = &self.file {
            self.storage.write_atomic(file, text.as_bytes()).map_err(|error| {
                vec![Problem::new(
                    "policy_file",
                    format!("{} not written: {error}", file.display()),
                )]
            })?;
        }
        Ok(self.set(policy))
    }

    /// Whether a policy that replaces another one outlives the process.
    pub(crate) fn are_written(&self) -> bool {
        self.file.is_some()
    }

    /// The policy of that hash: the one in force, or a kept version.
    pub(crate) fn find(&self, hash: &str) -> Option<Arc<Versioned>> {
        let current = self.current().ok().filter(|versioned| versioned.hash == hash);
        current.or_else(|| Some(Versioned::new(Policy::from_toml(&self.version(hash)?).ok()?)))
    }

    /// The text of a kept version.
    pub(crate) fn version(&self, hash: &str) -> Option<String> {
        self.versions.as_ref()?.text(hash)
    }

    /// The hashes of the kept versions, in the order in which they were last put in force.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.versions.as_ref().map(Versions::hashes).unwrap_or_default()
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, policy: Policy) -> Arc<Versioned> {
        let versioned = Versioned::new(policy);
        self.put(Ok(Arc::clone(&versioned)));
        if let Some(versions) = &self.versions
            && let Err(error) = versions.keep(&versioned)
        {
            tracing::warn!(%error, policy_hash = versioned.hash, "the policy's version is not kept");
        }
        versioned
    }

    fn put(&self, policy: Result<Arc<Versioned>, String>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}

/// Every policy that was in force, each as a file named by number and content hash.
struct Versions {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
}

impl Versions {
    fn new(storage: &Arc<dyn Storage>, state_dir: &Path) -> Self {
        let directory = state_dir.join("policies");
        Self { storage: Arc::clone(storage), directory }
    }

    /// Keeps a version as the latest; the oldest give way.
    fn keep(&self, versioned: &Versioned) -> std::io::Result<()> {
        self.storage.create_dir_all(&self.directory)?;
        let mut names = self.names();
        let number = names.last().and_then(|name| number(name)).map_or(1, |last| last + 1);
        let name = format!("{number:08}-{}{ENDING}", versioned.hash);
        let text = versioned.policy.to_toml();
        self.storage.write_atomic(&self.directory.join(&name), text.as_bytes())?;
        let (same, mut others): (Vec<_>, Vec<_>) =
            names.drain(..).partition(|name| hash(name) == Some(&versioned.hash));
        let over = (others.len() + 1).saturating_sub(MAX_VERSIONS);
        for name in same.into_iter().chain(others.drain(..over)) {
            self.storage.remove(&self.directory.join(name))?;
        }
        Ok(())
    }

    fn text(&self, wanted: &str) -> Option<String> {
        let name = self.names().into_iter().find(|name| hash(name) == Some(wanted))?;
        let bytes = self.storage.read(&self.directory.join(name)).ok()?;
        String::from_utf8(bytes).ok()
    }

    fn hashes(&self) -> Vec<String> {
        self.names().iter().filter_map(|name| hash(name)).map(str::to_owned).collect()
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.storage.list(&self.directory).unwrap_or_default();
        names.retain(|name| hash(name).is_some() && number(name).is_some());
        names
    }
}

fn number(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

fn hash(name: &str) -> Option<&str> {
    name.strip_suffix(ENDING)?.split_once('-').map(|(_, hash)| hash)
}

/// Reads a policy file and reports all its problems.
///
/// # Errors
/// The file cannot be read, or its problems.
pub fn check_policy_file(storage: &dyn Storage, file: &Path) -> Result<Policy, Vec<Problem>> {
    read(storage, Some(file))
}

/// Like [`read`], with the default policy for a file that was never written.
fn read_kept(storage: &dyn Storage, file: &Path) -> Result<Policy, Vec<Problem>> {
    match storage.read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Policy::default()),
        _ => read(storage, Some(file)),
    }
}

fn read(storage: &dyn Storage, file: Option<&Path>) -> Result<Policy, Vec<Problem>> {
    let Some(file) = file else { return Ok(Policy::default()) };
    let unreadable = |error: &dyn std::fmt::Display| {
        vec![Problem::new("policy_file", format!("{} cannot be read: {error}", file.display()))]
    };
    let bytes = storage.read(file).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    Policy::from_toml(&text)
}

pub(crate) fn join(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(state_dir: &Path) -> Policies {
        Policies::load(Arc::new(platform::real::Disk), None, Some(state_dir))
    }

    #[test]
    fn a_policy_from_the_api_outlives_the_process_with_its_predecessors() {
        let directory = tempfile::tempdir().unwrap();
        let first = policies(directory.path());
        let default = first.current().unwrap().hash.clone();
        let other = first.replace("[policy]\nmax_tx_count = 7\n").unwrap();
        assert_eq!(first.versions(), [default.clone(), other.hash.clone()]);

        let again = policies(directory.path());
        assert_eq!(again.current().unwrap().hash, other.hash);
        let text = again.version(&default).unwrap();
        assert_eq!(Policy::from_toml(&text), Ok(Policy::default()));
        assert_eq!(again.version("0a"), None);
        // Going back is a version's return, not another version.
        again.replace(&text).unwrap();
        assert_eq!(again.versions(), [other.hash.clone(), default]);
    }

    #[test]
    fn a_broken_file_in_the_state_directory_accepts_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let storage = platform::real::Disk;
        storage.write_atomic(&directory.path().join("policy.toml"), b"[polcy]").unwrap();
        let error = policies(directory.path()).current().unwrap_err();
        assert!(error.contains("did you mean \"policy\"?"), "{error}");
    }
}
