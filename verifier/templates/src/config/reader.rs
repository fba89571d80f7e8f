//! Takes values out of the file and the environment, and gathers what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use platform::Storage;
use secrecy::SecretString;
use serde::Serialize;
use toml::{Table, Value};

use super::keys::{KEYS, Key, NODE_KEYS};
use super::{ConfigProblem, Setting};

const PREFIX: &str = "TEMPLATES__";

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// The HTTP interface, while the program runs.
    Api,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Api => "api",
        })
    }
}

pub(super) struct Reader<'a> {
    top: Table,
    nodes: Vec<Table>,
    environment: BTreeMap<String, String>,
    storage: &'a dyn Storage,
    node: Option<usize>,
    problems: Vec<ConfigProblem>,
    settings: Vec<Setting>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &'a dyn Storage,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut top: Table =
            toml::from_str(text).map_err(|error| vec![syntax_problem(text, &error)])?;
        let mut problems = Vec::new();
        let nodes = match top.remove("nodes") {
            None => Vec::new(),
            Some(value) => value.try_into().unwrap_or_else(|_| {
                let problem = "is no list of tables; write [[nodes]]".to_owned();
                problems.push(ConfigProblem { key: "nodes".to_owned(), problem });
                Vec::new()
            }),
        };
        let environment = environment
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(PREFIX)?.to_owned(), value.clone()))
            })
            .collect();
        Ok(Self { top, nodes, environment, storage, node: None, problems, settings: Vec::new() })
    }

    /// How many nodes the file and the environment tell of.
    pub(super) fn node_count(&mut self) -> usize {
        let named: BTreeSet<usize> = self
            .environment
            .keys()
            .filter_map(|name| name.strip_prefix("NODES__")?.split_once("__")?.0.parse().ok())
            .collect();
        // Only as many as follow each other: a lone high number is reported as unknown.
        while named.contains(&self.nodes.len()) {
            self.nodes.push(Table::new());
        }
        self.nodes.len()
    }

    /// The keys that follow are those of this node.
    pub(super) fn enter_node(&mut self, index: usize) {
        self.node = Some(index);
    }

    pub(super) fn leave_node(&mut self) {
        self.node = None;
    }

    /// Notes a problem; only the first of one key counts, for the others follow from it.
    pub(super) fn problem(&mut self, name: &str, problem: String) {
        let key = self.path(name);
        if self.problems.iter().all(|earlier| earlier.key != key) {
            self.problems.push(ConfigProblem { key, problem });
        }
    }

    /// A text; a missing one without default is a problem.
    pub(super) fn text(&mut self, keys: &[Key], name: &str) -> String {
        let default = keys.iter().find(|key| key.name == name).and_then(|key| key.default);
        match (self.optional_text(name), default) {
            (Some(text), _) => text,
            (None, Some(default)) => {
                self.set(name, default.to_owned(), Origin::Default);
                default.trim_matches('"').to_owned()
            }
            (None, None) => {
                self.problem(name, "is missing".to_owned());
                String::new()
            }
        }
    }

    pub(super) fn optional_text(&mut self, name: &str) -> Option<String> {
        let (value, origin) = self.take(name)?;
        match value {
            Value::String(text) => {
                self.set(name, Value::String(text.clone()).to_string(), origin);
                Some(text)
            }
            other => {
                self.problem(name, format!("is {}; a text is wanted", kind(&other)));
                None
            }
        }
    }

    /// A duration in whole milliseconds. Its default stands in the table of keys.
    pub(super) fn millis(&mut self, name: &str, range: RangeInclusive<u64>) -> Duration {
        let default = KEYS.iter().find(|key| key.name == name).and_then(|key| key.default);
        let default: u64 =
            default.and_then(|text| text.parse().ok()).expect("the table has a number");
        let Some((value, origin)) = self.take(name) else {
            self.set(name, default.to_string(), Origin::Default);
            return Duration::from_millis(default);
        };
        let number = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) if origin == Origin::Environment => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => {
                self.set(name, number.to_string(), origin);
                Duration::from_millis(number)
            }
            _ => {
                let (low, high) = (range.start(), range.end());
                self.problem(
                    name,
                    format!("{value} is no whole number of milliseconds from {low} to {high}"),
                );
                Duration::from_millis(default)
            }
        }
    }

    /// A secret, given itself or as the path of the file that holds it.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        let file_key = format!("{name}_file");
        let direct = self.take(name);
        let file = self.optional_text(&file_key);
        let secret = match (direct, file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.problem(name, format!("stands beside {file_key}; use one or the other"));
                return None;
            }
            (Some((Value::String(text), origin)), None) => {
                self.set(name, "\"(redacted)\"".to_owned(), origin);
                text
            }
            (Some((other, _)), None) => {
                self.problem(name, format!("is {}; a text is wanted", kind(&other)));
                return None;
            }
            (None, Some(path)) => match self.storage.read(Path::new(&path)) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).trim_end().to_owned(),
                Err(error) => {
                    self.problem(&file_key, format!("{path}: {error}"));
                    return None;
                }
            },
        };
        if secret.is_empty() {
            self.problem(name, "is empty; set it or leave it out".to_owned());
            return None;
        }
        Some(SecretString::from(secret))
    }

    /// The effective settings, or everything that is wrong, unknown keys included.
    pub(super) fn finish(mut self) -> Result<Vec<Setting>, Vec<ConfigProblem>> {
        for name in self.top.keys() {
            self.problems.push(unknown(name, name, &KEYS, &["nodes"]));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for name in node.keys() {
                self.problems.push(unknown(
                    &format!("nodes[{index}].{name}"),
                    name,
                    &NODE_KEYS,
                    &[],
                ));
            }
        }
        for name in self.environment.keys() {
            let last = name.rsplit("__").next().unwrap_or(name).to_ascii_lowercase();
            let keys = if name.starts_with("NODES__") { &NODE_KEYS[..] } else { &KEYS[..] };
            self.problems.push(unknown(&format!("{PREFIX}{name}"), &last, keys, &[]));
        }
        if self.problems.is_empty() { Ok(self.settings) } else { Err(self.problems) }
    }

    /// Removes a value, so that what remains at the end is unknown. The environment wins.
    fn take(&mut self, name: &str) -> Option<(Value, Origin)> {
        let upper = name.to_ascii_uppercase();
        let variable = match self.node {
            Some(index) => format!("NODES__{index}__{upper}"),
            None => upper,
        };
        let table = match self.node {
            Some(index) => &mut self.nodes[index],
            None => &mut self.top,
        };
        let in_file = table.remove(name);
        match self.environment.remove(&variable) {
            Some(text) => Some((Value::String(text), Origin::Environment)),
            None => Some((in_file?, Origin::File)),
        }
    }

    fn set(&mut self, name: &str, value: String, origin: Origin) {
        let key = self.path(name);
        self.settings.push(Setting { key, value, origin });
    }

    fn path(&self, name: &str) -> String {
        match self.node {
            Some(index) => format!("nodes[{index}].{name}"),
            None => name.to_owned(),
        }
    }
}

fn unknown(path: &str, name: &str, keys: &[Key], more: &[&str]) -> ConfigProblem {
    let mut names: Vec<String> = more.iter().map(|&name| name.to_owned()).collect();
    for key in keys {
        names.push(key.name.to_owned());
        if key.secret {
            names.push(format!("{}_file", key.name));
        }
    }
    let nearest = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let problem = match nearest {
        Some((_, known)) => format!("is not a known key; did you mean {known}?"),
        None => format!("is not a known key; the known ones are {}", names.join(", ")),
    };
    ConfigProblem { key: path.to_owned(), problem }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Where the text stops being TOML and why, with the line itself unless it may hold a secret.
fn syntax_problem(text: &str, error: &toml::de::Error) -> ConfigProblem {
    let start = error.span().map_or(0, |span| span.start);
    let (before, rest) = text.split_at(start);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[line_start..].chars().count() + 1;
    let line = before.matches('\n').count() + 1;
    let line_end = start + rest.find('\n').unwrap_or(rest.len());
    let shown = text[line_start..line_end].trim();
    let may_hold_a_secret = shown.contains("password") || shown.contains("key");
    let shown = if may_hold_a_secret { "(the line may hold a secret)" } else { shown };
    let problem = format!("{}, in: {shown}", error.message());
    ConfigProblem { key: format!("line {line}, column {column}"), problem }
}
