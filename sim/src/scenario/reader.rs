//! Reads a TOML table key by key, gathers every problem, and refuses keys nobody asked for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use toml::Value;

use super::quantity::{self, Span, TimeSpan};

/// What is wrong with a scenario file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, e.g. `links.default.latency`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// A table of the file, and the problems found in it so far.
pub(super) struct Reader<'a> {
    path: String,
    table: &'a toml::Table,
    asked: BTreeSet<&'static str>,
    problems: Rc<RefCell<Vec<Problem>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(table: &'a toml::Table) -> Self {
        Self { path: String::new(), table, asked: BTreeSet::new(), problems: Rc::default() }
    }

    /// A reader of a table inside this one.
    pub(super) fn inner(&self, path: &str, table: &'a toml::Table) -> Self {
        Self {
            path: self.key(path),
            table,
            asked: BTreeSet::new(),
            problems: Rc::clone(&self.problems),
        }
    }

    pub(super) fn problem(&self, key: &str, what: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { key: self.key(key), what: what.into() });
    }

    /// Refuses every key that was not asked for, and tells every problem of the whole file.
    pub(super) fn finish_all(self) -> Result<(), Vec<Problem>> {
        let problems = Rc::clone(&self.problems);
        self.finish();
        let problems = problems.borrow().clone();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Refuses every key that was not asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            if !self.asked.contains(key.as_str()) {
                self.problem(key, unknown(key, self.asked.iter().copied()));
            }
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.keys().map(String::as_str)
    }

    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.insert(name);
        self.table.get(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.value(name)?;
        let text = value.as_str();
        if text.is_none() {
            self.wrong_type(name, value, "text");
        }
        text
    }

    /// Text that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(text).map_err(|what| self.problem(name, what)).ok()
    }

    /// One of `choices` by its name.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.parsed(name, |text| {
            choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value).ok_or_else(
                || {
                    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                    format!("\"{text}\" is none of {}", names.join(", "))
                },
            )
        })
    }

    /// One of `choices`, which must be there.
    pub(super) fn required_choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let choice = self.choice(name, choices);
        self.required(name, choice)
    }

    /// A whole number of either sign.
    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        let value = self.value(name)?;
        let whole = value.as_integer();
        if whole.is_none() {
            self.wrong_type(name, value, "a whole number");
        }
        whole
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong_type(name, value, "true or false");
        }
        flag
    }

    pub(super) fn float(&mut self, name: &'static str) -> Option<f64> {
        let value = self.value(name)?;
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        if number.is_none() {
            self.wrong_type(name, value, "a number");
        }
        number
    }

    /// A whole number or a range of them, written as text.
    pub(super) fn span(&mut self, name: &'static str) -> Option<Span> {
        match self.value(name)? {
            Value::Integer(whole) => match u64::try_from(*whole) {
                Ok(whole) => Some(Span::fixed(whole)),
                Err(_) => {
                    self.problem(name, format!("{whole} is negative"));
                    None
                }
            },
            Value::String(_) => self.parsed(name, |text| Span::parse(text, quantity::count)),
            value => {
                self.wrong_type(name, value, "a whole number or a range such as \"10..50\"");
                None
            }
        }
    }

    pub(super) fn count(&mut self, name: &'static str) -> Option<u64> {
        let value = self.value(name)?;
        let whole = value.as_integer().and_then(|whole| u64::try_from(whole).ok());
        if whole.is_none() {
            self.wrong_type(name, value, "a whole number");
        }
        whole
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.parsed(name, quantity::duration)
    }

    /// A duration or a range of them.
    pub(super) fn times(&mut self, name: &'static str) -> Option<TimeSpan> {
        self.parsed(name, TimeSpan::parse)
    }

    pub(super) fn table(&mut self, name: &'static str) -> Option<Self> {
        match self.value(name)? {
            Value::Table(table) => Some(self.inner(name, table)),
            value => {
                self.wrong_type(name, value, "a table");
                None
            }
        }
    }

    /// The value of a key whose name the file chose.
    pub(super) fn named_value(&self, name: &str) -> &'a Value {
        &self.table[name]
    }

    /// The table of a key whose name the file chose.
    pub(super) fn named_table(&self, name: &str) -> Option<Self> {
        match self.named_value(name) {
            Value::Table(table) => Some(self.inner(name, table)),
            value => {
                self.wrong_type(name, value, "a table");
                None
            }
        }
    }

    /// The tables of `[[name]]`, each with its index in its path.
    pub(super) fn tables(&mut self, name: &'static str) -> Vec<Self> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Value::Array(items) = value else {
            self.wrong_type(name, value, &format!("an array of tables: [[{name}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item {
                Value::Table(table) => tables.push(self.inner(&format!("{name}[{index}]"), table)),
                value => self.wrong_type(name, value, "an array of tables"),
            }
        }
        tables
    }

    /// What a key must hold; a problem where it is missing.
    pub(super) fn required<T>(&self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.table.contains_key(name) {
            self.problem(name, "is missing");
        }
        value
    }

    pub(super) fn wrong_type(&self, name: &str, value: &Value, wanted: &str) {
        self.problem(name, format!("is {}, must be {wanted}", value.type_str()));
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// What to say of a name that is not known.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = known
        .clone()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= 1 + name.len() / 3 => {
            format!("is not known; did you mean \"{nearest}\"?")
        }
        _ => format!("is not known; known here: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
