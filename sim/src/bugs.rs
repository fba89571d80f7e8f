//! The bug base: every run that ever failed in a sweep, kept to be played again.
//!
//! `scenarios/bugs/<id>.json` in the source tree holds the plan as it was found and as it was shrunk. Both are
//! explicit, so a bug stays the same run when the draws of a scenario change. A sweep plays them
//! first; a bug that is mended stays as a test, and is removed by removing its file.
#![allow(clippy::disallowed_methods)] // The simulator's own files.

use std::io;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::scenario::Plan;
use crate::sweep::{Failure, Weather};

/// The version of the schema of bug files.
const SCHEMA: u32 = 1;

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bug {
    /// The version of the schema.
    schema: u32,
    /// Its name, which is its file's.
    pub id: String,
    /// The scenario it was found in.
    pub scenario: String,
    /// What the scenario was judged by.
    pub weather: Weather,
    /// How it failed as it is shrunk.
    pub failure: Failure,
    /// How it failed as it was found.
    pub found: Failure,
    /// The least plan that still failed.
    pub shrunk: Plan,
    /// The plan as it was drawn.
    pub expanded: Plan,
    /// Where `sim replay` finds it.
    #[serde(skip)]
    kept: Kept,
}

/// Where a bug is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// In the bug base of the source tree.
    #[default]
    InTheBase,
    /// In another.
    In(PathBuf),
    /// Nowhere: only its seed leads back to it.
    Nowhere,
}

/// Why the bug base cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BugError {
    /// A file of it cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is no bug.
    #[error("{path}: {error}; mend or remove the file")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
}

impl Bug {
    /// A bug as it was found; [`shrunk_to`](Self::shrunk_to) makes it smaller.
    pub fn new(scenario: &str, weather: Weather, plan: &Plan, found: &Failure) -> Self {
        Self {
            schema: SCHEMA,
            id: format!("{scenario}-{}-{}", plan.seed, fingerprint(weather, plan, found)),
            scenario: scenario.to_owned(),
            weather,
            failure: found.clone(),
            found: found.clone(),
            shrunk: plan.clone(),
            expanded: plan.clone(),
            kept: Kept::InTheBase,
        }
    }

    /// The same bug with a smaller plan.
    #[must_use]
    pub fn shrunk_to(self, plan: Plan, failure: Failure) -> Self {
        Self { shrunk: plan, failure, ..self }
    }

    /// The same bug, kept somewhere else.
    #[must_use]
    pub fn kept(self, kept: Kept) -> Self {
        Self { kept, ..self }
    }

    /// The same bug, failing in another way.
    #[must_use]
    pub fn failing_as(self, failure: Failure) -> Self {
        Self { failure, ..self }
    }

    /// The line that tells of it and how to see it again.
    pub fn line(&self) -> String {
        let all = faults(&self.expanded);
        let faults = match self.shrunk == self.expanded {
            true => all.to_string(),
            false => format!("{}/{all} (shrunk)", faults(&self.shrunk)),
        };
        let replay = match &self.kept {
            Kept::InTheBase if self.shrunk != self.expanded => self.id.clone(),
            Kept::In(folder) if self.shrunk != self.expanded => {
                format!("{} --bugs {}", self.id, folder.display())
            }
            _ => format!("{}@{}", self.expanded.seed, self.scenario),
        };
        fail_line(&self.failure, self.expanded.seed, &faults, &replay)
    }
}

/// Eight digits that differ where the plan, what judged it, or what failed does: when scenarios or
/// draws change, the same seed finds another bug, and must not take the place of the first.
fn fingerprint(weather: Weather, plan: &Plan, found: &Failure) -> String {
    let text = format!("{weather:?} {} {}", found.property, plan.to_json());
    const_hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..4])
}

/// How many faults a plan has: those that were drawn, and those that its scenario states.
pub fn faults(plan: &Plan) -> usize {
    let stated = plan.events.iter().filter(|event| event.action.undo().is_some());
    plan.faults.len() + stated.count()
}

/// One line for a violation: what, when, in which run, and how to see it again.
pub fn fail_line(failure: &Failure, seed: u64, faults: &str, replay: &str) -> String {
    let at =
        failure.at_ms.map_or_else(String::new, |ms| format!(" t={}.{:03}s", ms / 1000, ms % 1000));
    format!(
        "FAIL {}{at} seed={seed} faults={faults}  replay: sim replay {replay}",
        failure.property
    )
}

/// The file of a bug.
pub fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

/// Keeps a bug. The same bug is replaced, perhaps by one that is shrunk further.
///
/// # Errors
/// If the file cannot be written.
pub fn store(folder: &Path, bug: &Bug) -> Result<PathBuf, BugError> {
    let path = path(folder, &bug.id);
    let mut text =
        serde_json::to_string_pretty(bug).expect("a plan has text keys and finite numbers");
    text.push('\n');
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| BugError::File { path: path.clone(), error })?;
    Ok(path)
}

/// The bug of this name.
///
/// # Errors
/// If there is none, or its file is none.
pub fn load(folder: &Path, id: &str) -> Result<Bug, BugError> {
    read(&path(folder, id))
}

/// Every bug, in the order of their names; none where the folder does not exist.
///
/// # Errors
/// The first file that cannot be read.
pub fn all(folder: &Path) -> Result<Vec<Bug>, BugError> {
    let unreadable = |error| BugError::File { path: folder.to_owned(), error };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Bug, BugError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| BugError::File { path: path.to_owned(), error })?;
    let mut bug: Bug = serde_json::from_str(&text)
        .map_err(|error| BugError::Malformed { path: path.to_owned(), error })?;
    bug.shrunk.arrange();
    bug.expanded.arrange();
    Ok(bug)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::sweep::Case;

    const TEXT: &str = r#"
schema = 1
name = "smoke"
doc = "d"
sim = { duration = "60s" }
[[miners]]
kind = "standard"
[[expect]]
always = "share_join"
"#;

    fn bug() -> Bug {
        let scenario = Scenario::parse("smoke", "smoke", TEXT).unwrap();
        let case = (0..).map(|seed| Case::of(&scenario, seed));
        let case = case.into_iter().find(|case| case.plan.faults.len() > 3).unwrap();
        let failure = Failure {
            property: "share_join".to_owned(),
            at_ms: Some(41_207),
            detail: "two results".to_owned(),
        };
        Bug::new("smoke", case.weather, &case.plan, &failure)
    }

    #[test]
    fn a_bug_comes_back_as_it_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (bug, folder) = (bug(), folder.path().join("bugs"));
        assert!(all(&folder).unwrap().is_empty());
        store(&folder, &bug).unwrap();
        assert_eq!(load(&folder, &bug.id).unwrap(), bug);
        assert_eq!(all(&folder).unwrap(), [bug]);
        std::fs::write(folder.join("x.json"), "{}").unwrap();
        assert!(all(&folder).unwrap_err().to_string().contains("x.json"));
        assert!(load(&folder, "none").unwrap_err().to_string().contains("none.json"));
    }

    #[test]
    fn another_bug_of_the_same_seed_takes_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let bug = bug();
        let new = |plan: &Plan, failure: &Failure| Bug::new("smoke", bug.weather, plan, failure);
        let drawn_anew = bug.expanded.with_faults(bug.expanded.faults[1..].to_vec());
        let other_failure = Failure { property: "conservation".to_owned(), ..bug.failure.clone() };
        let bugs = [
            bug.clone(),
            new(&drawn_anew, &bug.failure),
            new(&bug.expanded, &other_failure),
            // The same once more, shrunk.
            new(&bug.expanded, &bug.failure).shrunk_to(drawn_anew, bug.failure.clone()),
        ];
        for bug in &bugs {
            store(folder.path(), bug).unwrap();
        }
        let mut kept = bugs[1..].to_vec();
        kept.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!(all(folder.path()).unwrap(), kept);
    }

    #[test]
    fn its_line_says_how_to_see_it_again() {
        let bug = bug();
        let (seed, all) = (bug.expanded.seed, bug.expanded.faults.len());
        assert_eq!(
            bug.line(),
            format!(
                "FAIL share_join t=41.207s seed={seed} faults={all}  replay: sim replay {seed}@smoke"
            )
        );
        let smaller = bug.expanded.with_faults(bug.expanded.faults[..2].to_vec());
        let failure = bug.failure.clone();
        let smaller = bug.shrunk_to(smaller, failure);
        let line = smaller.line();
        assert!(line.contains(&format!("faults=2/{all} (shrunk)")), "{line}");
        let id = smaller.id.clone();
        assert!(line.ends_with(&format!("sim replay {id}")), "{line}");
        let elsewhere = Bug { kept: Kept::In("dir".into()), ..smaller.clone() }.line();
        assert!(elsewhere.ends_with(&format!("sim replay {id} --bugs dir")), "{elsewhere}");
        let lost = Bug { kept: Kept::Nowhere, ..smaller }.line();
        assert!(lost.ends_with(&format!("sim replay {seed}@smoke")), "{lost}");
    }
}
