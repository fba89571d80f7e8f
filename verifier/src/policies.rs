//! The policy in force, and how it is replaced.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use platform::Storage;
use policy::Policy;
use policy::table::Problem;

/// A policy with its content hash.
#[derive(Debug)]
pub(crate) struct Versioned {
    pub(crate) policy: Policy,
    pub(crate) hash: String,
}

impl Versioned {
    fn new(policy: Policy) -> Arc<Self> {
        let hash = policy.content_hash();
        Arc::new(Self { policy, hash })
    }
}

/// Holds the policy in force. A policy replaces another one only when it is valid as a whole.
pub(crate) struct Policies {
    storage: Arc<dyn Storage>,
    file: Option<PathBuf>,
    /// `Err` only until a first valid policy is loaded: everything is rejected meanwhile.
    current: RwLock<Result<Arc<Versioned>, String>>,
}

impl Policies {
    /// Loads the file, or takes the default policy where there is none.
    pub(crate) fn load(storage: Arc<dyn Storage>, file: Option<PathBuf>) -> Self {
        let current = read(storage.as_ref(), file.as_deref())
            .map(Versioned::new)
            .map_err(|problems| join(&problems));
        Self { storage, file, current: RwLock::new(current) }
    }

    /// The policy in force, or why there is none.
    pub(crate) fn current(&self) -> Result<Arc<Versioned>, String> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. The policy in force stays when the file has problems.
    pub(crate) fn reload(&self) -> Result<Arc<Versioned>, Vec<Problem>> {
        let policy = read(self.storage.as_ref(), self.file.as_deref())?;
        Ok(self.set(policy))
    }

    /// Takes the text as the new policy, and writes it to the file where there is one.
    pub(crate) fn replace(&self, text: &str) -> Result<Arc<Versioned>, Vec<Problem>> {
        let policy = Policy::from_toml(text)?;
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

    fn set(&self, policy: Policy) -> Arc<Versioned> {
        let versioned = Versioned::new(policy);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Ok(Arc::clone(&versioned));
        versioned
    }
}

/// Reads a policy file and reports all its problems.
///
/// # Errors
/// The file cannot be read, or its problems.
pub fn check_policy_file(storage: &dyn Storage, file: &Path) -> Result<Policy, Vec<Problem>> {
    read(storage, Some(file))
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
