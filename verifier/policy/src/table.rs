//! Reads a TOML table key by key, and gathers every problem instead of stopping at the first.

use std::fmt;
use std::ops::RangeInclusive;

use toml::{Table, Value};

/// Something wrong with a key of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path (`policy.consensus.enforce`), or a place in the file (`line 3`).
    pub key: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl Problem {
    /// A problem with a key.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// Reads the text as one table.
///
/// # Errors
/// The place where the text stops being TOML.
pub fn parse(text: &str) -> Result<Table, Problem> {
    text.parse::<Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let (before, rest) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().count() + 1;
        let line = before.matches('\n').count() + 1;
        let line_end = start + rest.find('\n').unwrap_or(rest.len());
        let shown = text[line_start..line_end].trim();
        // A daemon's own configuration is read by this too.
        let may_hold_a_secret = shown.contains("password") || shown.contains("key");
        let shown = if may_hold_a_secret { "(the line may hold a secret)" } else { shown };
        let place = format!("line {line}, column {column}");
        Problem::new(place, format!("not TOML: {}, in: {shown}", error.message()))
    })
}

/// One table of the file. Each getter names a key that may be there and takes its value out;
/// [`TableReader::finish`] then refuses what is left.
pub struct TableReader {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl TableReader {
    /// The file's root table.
    pub fn root(table: Table) -> Self {
        Self { path: String::new(), table, known: Vec::new(), problems: Vec::new() }
    }

    /// A table within this one; empty when it is not there. Give it back to [`Self::absorb`].
    pub fn section(&mut self, key: &'static str) -> Self {
        let path = self.key_path(key);
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong_type(key, "a table", &other);
                Table::new()
            }
        };
        Self { path, table, known: Vec::new(), problems: Vec::new() }
    }

    /// A table within this one that need not be there. Give it back to [`Self::absorb`].
    pub fn optional_section(&mut self, key: &'static str) -> Option<Self> {
        if self.table.contains_key(key) {
            return Some(self.section(key));
        }
        self.known.push(key);
        None
    }

    /// Ends a section and takes over its problems.
    pub fn absorb(&mut self, section: Self) {
        self.problems.extend(section.finish());
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let value = match self.take(key) {
            None => return default,
            Some(Value::Integer(value)) => value,
            Some(other) => {
                self.wrong_type(key, "a whole number", &other);
                return default;
            }
        };
        match u64::try_from(value) {
            Ok(value) if range.contains(&value) => value,
            _ => {
                let (from, to) = range.into_inner();
                let text = match to {
                    u64::MAX => format!("{value} is out of range; use {from} or more"),
                    to => format!("{value} is out of range; use {from} to {to}"),
                };
                self.problem(key, text);
                default
            }
        }
    }

    /// A number within `range`.
    pub fn number(&mut self, key: &'static str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let value = match self.take(key) {
            None => return default,
            Some(Value::Float(value)) => value,
            #[allow(clippy::cast_precision_loss)] // Large numbers are out of every range here.
            Some(Value::Integer(value)) => value as f64,
            Some(other) => {
                self.wrong_type(key, "a number", &other);
                return default;
            }
        };
        if !range.contains(&value) {
            let (from, to) = range.into_inner();
            self.problem(key, format!("{value} is out of range; use {from} to {to}"));
            return default;
        }
        value
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(other) => {
                self.wrong_type(key, "true or false", &other);
                default
            }
        }
    }

    /// A text, `None` when it is not there.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(value) => Some(value),
            other => {
                self.wrong_type(key, "a text", &other);
                None
            }
        }
    }

    /// One of several names; the first is the default.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> T {
        let default = choices[0].1;
        let Some(found) = self.text(key) else { return default };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == found) {
            return *value;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.problem(key, format!("unknown value \"{found}\"; use {}", names.join(" or ")));
        default
    }

    /// A list of texts, empty when it is not there.
    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let list = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.wrong_type(key, "a list of texts", &other);
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for item in list {
            match item {
                Value::String(text) => texts.push(text),
                other => self.wrong_type(key, "a list of texts", &other),
            }
        }
        texts
    }

    /// Notes a problem with a key of this table.
    pub fn problem(&mut self, key: &'static str, text: impl Into<String>) {
        let key = self.key_path(key);
        self.problems.push(Problem::new(key, text));
    }

    /// Every problem found, keys that no getter asked for included.
    pub fn finish(mut self) -> Vec<Problem> {
        for key in self.table.keys() {
            let path =
                if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let text = match nearest(key, &self.known) {
                Some(known) => format!("unknown key; did you mean \"{known}\"?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.problems.push(Problem::new(path, text));
        }
        self.problems
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong_type(&mut self, key: &'static str, expected: &str, found: &Value) {
        self.problem(key, format!("expected {expected}, found {}", found.type_str()));
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|known| (strsim::jaro_winkler(key, known), *known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}
