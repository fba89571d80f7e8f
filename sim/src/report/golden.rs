//! What a scenario's report is expected to be: `golden/scenarios/<scenario>.json`.
//!
//! A golden holds for every kind of node, so the node's kind and version are left out of it; so
//! are the curves, which the digest of the trace stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use similar::TextDiff;

use super::model::Report;
use super::{files, markup};

/// How a report compares to its golden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Equal, byte for byte.
    Same,
    /// There is none at this path.
    Missing(PathBuf),
    /// The golden is for another seed than the run's, so it says nothing.
    OtherSeed {
        /// The golden's seed.
        golden: u64,
    },
    /// The run was not held against a golden.
    NotChecked,
    /// They differ.
    Different(Diff),
}

impl Check {
    /// Whether the golden speaks against the run. A missing golden does: what nobody has looked
    /// at is not yet right.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Different(_))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Missing(path) => write!(f, "missing: {} does not exist", path.display()),
            Self::OtherSeed { golden } => write!(f, "not compared: it is for seed {golden}"),
            Self::NotChecked => f.write_str("not compared"),
            Self::Different(diff) if diff.places() == 1 => f.write_str("different in one place"),
            Self::Different(diff) => write!(f, "different in {} places", diff.places()),
        }
    }
}

/// What differs between a golden and a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Each field that differs, in the order of their paths.
    pub changes: Vec<Change>,
    /// The timelines as a unified diff, where they differ.
    pub timeline: Option<String>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path, such as `properties[share_join].outcome`.
    pub path: String,
    /// What the golden has; `None`: the golden does not have the field.
    pub expected: Option<String>,
    /// What the report has; `None`: the report does not have the field.
    pub got: Option<String>,
}

impl Diff {
    /// In how many places the two differ; the timeline is one.
    pub fn places(&self) -> usize {
        self.changes.len() + usize::from(self.timeline.is_some())
    }
}

impl fmt::Display for Diff {
    /// For people: each field with both values under each other, then the timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let absent = || "(absent)".to_owned();
        for change in &self.changes {
            writeln!(f, "{}", change.path)?;
            writeln!(f, "  expected  {}", change.expected.clone().unwrap_or_else(absent))?;
            writeln!(f, "  got       {}", change.got.clone().unwrap_or_else(absent))?;
        }
        if let Some(timeline) = &self.timeline {
            writeln!(f, "timeline (- expected, + got)")?;
            f.write_str(timeline)?;
        }
        Ok(())
    }
}

/// Where a scenario's golden lies under the repository's root.
pub fn path(root: &Path, scenario: &str) -> PathBuf {
    root.join("golden/scenarios").join(format!("{scenario}.json"))
}

/// The report as its golden's text.
pub fn render(report: &Report) -> String {
    let mut value =
        serde_json::to_value(report.canonical()).expect("a report has text keys and numbers");
    if let Some(fields) = value.as_object_mut() {
        fields.remove("series");
        if let Some(header) = fields.get_mut("header").and_then(Value::as_object_mut) {
            header.remove("node");
        }
    }
    markup::canonical_json(value)
}

/// Holds a report against the golden in the repository at `root`.
///
/// # Errors
/// The golden exists and cannot be read.
pub fn check(root: &Path, report: &Report) -> io::Result<Check> {
    let path = path(root, &report.header.scenario);
    match files::read(&path) {
        Ok(golden) => Ok(compare(&golden, report)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Check::Missing(path)),
        Err(error) => Err(error),
    }
}

/// Writes the report as the new golden and returns what changed.
pub fn bless(root: &Path, report: &Report) -> io::Result<Check> {
    let before = check(root, report)?;
    if before != Check::Same {
        files::write(&path(root, &report.header.scenario), &render(report))?;
    }
    Ok(before)
}

fn compare(golden: &str, report: &Report) -> Check {
    let got = render(report);
    if golden == got {
        return Check::Same;
    }
    let whole = |problem: String| {
        let change = Change { path: "the file".to_owned(), expected: Some(problem), got: None };
        Check::Different(Diff { changes: vec![change], timeline: None })
    };
    let expected: Value = match serde_json::from_str(golden) {
        Ok(expected) => expected,
        Err(error) => return whole(format!("(no JSON: {error})")),
    };
    match expected.pointer("/header/seed").and_then(Value::as_u64) {
        Some(golden) if golden != report.header.seed => return Check::OtherSeed { golden },
        _ => {}
    }
    let got: Value = serde_json::from_str(&got).expect("it was written as JSON just now");
    let diff = diff(&expected, &got);
    if diff.places() == 0 {
        return whole("(the same values, written differently: bless it)".to_owned());
    }
    Check::Different(diff)
}

/// Compares two goldens field by field. Lists whose entries have names are compared by name, so
/// that one entry more is one change.
pub fn diff(expected: &Value, got: &Value) -> Diff {
    let mut diff = Diff::default();
    let timelines = [timeline(expected), timeline(got)];
    walk("", expected, got, &mut diff.changes);
    if timelines[0] != timelines[1] {
        let text = TextDiff::from_lines(timelines[0].as_str(), timelines[1].as_str());
        diff.timeline = Some(text.unified_diff().context_radius(2).to_string());
    }
    diff
}

fn walk(path: &str, expected: &Value, got: &Value, changes: &mut Vec<Change>) {
    if expected == got || path == "timeline" {
        return;
    }
    match (fields(path, expected), fields(path, got)) {
        (Some(expected), Some(got)) => {
            let keys: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
            for key in keys {
                match (expected.get(key), got.get(key)) {
                    (Some(expected), Some(got)) => walk(key, expected, got, changes),
                    (expected, got) => changes.push(Change {
                        path: key.clone(),
                        expected: expected.map(ToString::to_string),
                        got: got.map(ToString::to_string),
                    }),
                }
            }
        }
        _ => changes.push(Change {
            path: path.to_owned(),
            expected: Some(expected.to_string()),
            got: Some(got.to_string()),
        }),
    }
}

/// The parts of an object or list by their paths.
fn fields<'a>(path: &str, value: &'a Value) -> Option<BTreeMap<String, &'a Value>> {
    match value {
        Value::Object(map) => {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
            Some(map.iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect())
        }
        Value::Array(list) => {
            let mut fields = BTreeMap::new();
            for (index, value) in list.iter().enumerate() {
                let name = value.get("name").and_then(Value::as_str);
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                // One property may be asked for twice, with different bounds.
                let mut key = format!("{path}[{name}]");
                if fields.contains_key(&key) {
                    key = format!("{path}[{name} #{index}]");
                }
                fields.insert(key, value);
            }
            Some(fields)
        }
        _ => None,
    }
}

/// The timeline as lines for people.
fn timeline(golden: &Value) -> String {
    let mut text = String::new();
    for entry in golden.get("timeline").and_then(Value::as_array).into_iter().flatten() {
        let field = |name| entry.get(name).and_then(Value::as_str).unwrap_or("?");
        let t = entry
            .get("t_ms")
            .and_then(Value::as_u64)
            .map_or_else(|| "?".to_owned(), markup::seconds);
        text.push_str(&format!("{t:>10}  {:<8} {}\n", field("kind"), field("text")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // The files of the source tree.
    fn every_scenario_has_its_golden_and_every_golden_its_scenario() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let catalogue = crate::scenario::Catalogue::load(&root.join("scenarios")).unwrap();
        let names = catalogue.all().iter().map(|scenario| format!("{}.json", scenario.name));
        let goldens = std::fs::read_dir(root.join("golden/scenarios")).unwrap();
        let goldens = goldens.map(|file| file.unwrap().file_name().into_string().unwrap());
        let (names, goldens): (BTreeSet<_>, BTreeSet<_>) = (names.collect(), goldens.collect());
        assert_eq!(
            names.symmetric_difference(&goldens).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "bless what is missing (`sim golden bless NAME`), and remove what is left over"
        );
    }

    #[test]
    fn a_golden_holds_for_every_node() {
        let report = sample::passing();
        let mut other = report.clone();
        other.header.node.kind = "embedded".to_owned();
        other.header.node.version = "another".to_owned();
        assert_eq!(compare(&render(&other), &report), Check::Same);
        sample::snapshot("golden", &render(&report));
    }

    #[test]
    fn differences_are_named_by_field() {
        let expected = sample::passing();
        let got = sample::changed();
        let Check::Different(diff) = compare(&render(&expected), &got) else {
            panic!("they differ")
        };
        sample::snapshot("golden-diff", &diff.to_string());
    }

    #[test]
    fn one_changed_byte_is_never_the_same() {
        let report = sample::passing();
        let golden = render(&report);
        for index in (0..golden.len()).step_by(7) {
            let mut bytes = golden.clone().into_bytes();
            bytes[index] ^= 1;
            let changed = String::from_utf8_lossy(&bytes);
            let check = compare(&changed, &report);
            assert_ne!(check, Check::Same, "byte {index}");
        }
        let Check::Different(diff) = compare(&format!("{golden} "), &report) else {
            panic!("a space more is a difference")
        };
        assert!(diff.to_string().contains("written differently"), "{diff}");
    }

    #[test]
    fn blessing_makes_the_next_check_pass() {
        let root = tempfile::tempdir().unwrap();
        let report = sample::passing();
        let missing = check(root.path(), &report).unwrap();
        assert_eq!(missing, Check::Missing(path(root.path(), "prevhash-verifier-dark")));
        assert!(missing.is_failure());
        assert_eq!(bless(root.path(), &report).unwrap(), missing);
        assert_eq!(check(root.path(), &report).unwrap(), Check::Same);
        let mut other_seed = report;
        other_seed.header.seed += 1;
        let check = check(root.path(), &other_seed).unwrap();
        assert_eq!(check, Check::OtherSeed { golden: 77 });
        assert!(!check.is_failure());
    }
}
