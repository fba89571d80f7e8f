//! Values as they were set: from the file, the environment, or the table of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use platform::Storage;
use ring::digest::{Context, Digest, SHA256, digest};
use secrecy::SecretString;
use toml::{Table, Value};

use super::keys::{KEYS, Key, Kind, Presence, SECTIONS};
use super::{ConfigProblem, ContentDigest, Origin, Setting};
use crate::limits::VERIFIERS;

const PREFIX: &str = "GATEWAY__";
const FILE_SUFFIX: &str = "_file";

/// Every value that was set, each of its key's kind, and what is wrong with the others.
pub(super) struct Raw<'a> {
    values: BTreeMap<String, (Value, Origin)>,
    /// Keys that were set to something impossible: neither missing nor to be judged further.
    faulty: BTreeSet<String>,
    /// Digests of the files that values name.
    contents: BTreeMap<String, Digest>,
    storage: &'a dyn Storage,
    problems: Vec<ConfigProblem>,
}

impl<'a> Raw<'a> {
    /// Gathers values; a later layer replaces an earlier one key by key.
    pub(super) fn gather(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &'a dyn Storage,
    ) -> Self {
        let (values, faulty) = (BTreeMap::new(), BTreeSet::new());
        let (contents, problems) = (BTreeMap::new(), Vec::new());
        let mut raw = Self { values, faulty, contents, storage, problems };
        raw.read_defaults();
        match toml::from_str::<Table>(text) {
            Ok(table) => raw.read_file(table),
            Err(error) => {
                let (place, problem) = syntax_problem(text, &error);
                raw.problem(&place, problem);
                // What the rest of the file says is not known.
                raw.faulty.extend(KEYS.iter().map(|key| key.path.to_owned()));
            }
        }
        for (name, value) in environment {
            if let Some(path) = name.strip_prefix(PREFIX) {
                raw.read_variable(name, path, value);
            }
        }
        raw.require();
        raw
    }

    /// Notes a problem; only the first of one key counts, for the others follow from it.
    pub(super) fn problem(&mut self, key: &str, problem: String) {
        if !self.faulty.contains(key) && self.problems.iter().all(|earlier| earlier.key != key) {
            self.problems.push(ConfigProblem { key: key.to_owned(), problem });
        }
    }

    /// Whether the key holds a value of its kind.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// Notes a value that follows from others, so that it is shown.
    pub(super) fn derive(&mut self, path: &str, value: &str) {
        let value = Value::String(value.to_owned());
        self.values.entry(path.to_owned()).or_insert((value, Origin::Default));
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.value(path)?.as_str()
    }

    pub(super) fn whole(&self, path: &str) -> Option<u64> {
        self.value(path)?.as_integer().and_then(|number| u64::try_from(number).ok())
    }

    pub(super) fn real(&self, path: &str) -> Option<f64> {
        as_real(self.value(path)?)
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        self.value(path).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn entries(&self, path: &str) -> Vec<Table> {
        let list = self.value(path).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|entry| entry.as_table().cloned()).collect()
    }

    /// A secret, from the key itself or from the file that its `_file` companion names.
    pub(super) fn secret(&mut self, path: &str) -> Option<SecretString> {
        let in_place = self.text(path).map(SecretString::from);
        let file_key = format!("{path}{FILE_SUFFIX}");
        let Some(file) = self.text(&file_key).map(str::to_owned) else { return in_place };
        if in_place.is_some() {
            self.problem(&file_key, format!("is set beside {path}; keep one of them"));
            return None;
        }
        self.secret_file(&file_key, &file)
    }

    /// A secret from a file: its content without the line end.
    pub(super) fn secret_file(&mut self, key: &str, file: &str) -> Option<SecretString> {
        let text = self.read(key, file).and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| format!("cannot read {file:?}: the file is not UTF-8"))
        });
        match text {
            Ok(text) if !text.trim().is_empty() => Some(SecretString::from(text.trim())),
            Ok(_) => {
                self.problem(key, format!("{file:?} is empty; put the secret into it"));
                None
            }
            Err(problem) => {
                self.problem(key, problem);
                None
            }
        }
    }

    /// What the file that `key` names holds, noted as [`Self::note_content`] does.
    ///
    /// # Errors
    /// The problem with it, in words.
    pub(super) fn read(&mut self, key: &str, file: &str) -> Result<Vec<u8>, String> {
        self.note_content(key, file);
        let read = self.storage.read(Path::new(file));
        read.map_err(|error| format!("cannot read {file:?}: {error}"))
    }

    /// Remembers what the file that `key` names holds now, so that a change of it is one of the key.
    pub(super) fn note_content(&mut self, key: &str, file: &str) {
        // A file that cannot be read is a problem of its own.
        if let Ok(bytes) = self.storage.read(Path::new(file)) {
            self.contents.insert(key.to_owned(), digest(&SHA256, &bytes));
        }
    }

    /// What is wrong, or every effective value in the order of the table.
    pub(super) fn finish(self) -> Result<Vec<Setting>, Vec<ConfigProblem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut settings = Vec::new();
        for key in KEYS {
            for path in [key.path.to_owned(), format!("{}{FILE_SUFFIX}", key.path)] {
                let Some((value, origin)) = self.values.get(&path) else { continue };
                let shown = if path == key.path { redact(key, value) } else { value.to_string() };
                let content = self.content(&path, value);
                settings.push(Setting { key: path, value: shown, origin: *origin, content });
            }
        }
        Ok(settings)
    }

    /// Of the value and of every file that it names.
    fn content(&self, path: &str, value: &Value) -> ContentDigest {
        let mut context = Context::new(&SHA256);
        context.update(value.to_string().as_bytes());
        let within = |key: &str| key.split('[').next() == Some(path);
        for (_, content) in self.contents.iter().filter(|(key, _)| within(key)) {
            context.update(content.as_ref());
        }
        ContentDigest(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    fn value(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|(value, _)| value)
    }

    fn read_defaults(&mut self) {
        for key in KEYS {
            if let Presence::Default(text) = key.presence {
                let value = parse_toml(text).expect("the table's defaults are TOML");
                self.values.insert(key.path.to_owned(), (value, Origin::Default));
            }
        }
    }

    fn read_file(&mut self, table: Table) {
        for (section, value) in table {
            if !SECTIONS.contains(&section.as_str()) {
                let known = nearest(&section, SECTIONS.into_iter());
                self.problem(&section, format!("is not a known section; did you mean {known}?"));
                continue;
            }
            let Value::Table(keys) = value else {
                self.problem(&section, format!("is no table; write [{section}]"));
                continue;
            };
            for (name, value) in keys {
                self.set(format!("{section}.{name}"), None, value, Origin::File);
            }
        }
    }

    fn read_variable(&mut self, variable: &str, path: &str, text: &str) {
        let path = path.to_lowercase().replacen("__", ".", 1);
        let value = match find(&path) {
            Some((key, false)) => from_text(key.kind, text),
            _ => Value::String(text.to_owned()),
        };
        self.set(path, Some(variable), value, Origin::Environment);
    }

    fn set(&mut self, path: String, variable: Option<&str>, value: Value, origin: Origin) {
        let shown = variable.unwrap_or(&path).to_owned();
        let Some((key, is_file)) = find(&path) else {
            let advice = nearest_key(&path);
            return self.problem(&shown, format!("is not a known key; did you mean {advice}?"));
        };
        let kind = if is_file { Kind::Path } else { key.kind };
        match fault(kind, &value) {
            Some(fault) => {
                self.values.remove(&path);
                self.problem(&shown, fault);
                self.faulty.insert(path);
            }
            None => {
                self.values.insert(path, (value, origin));
            }
        }
    }

    fn require(&mut self) {
        for key in KEYS.iter().filter(|key| key.presence == Presence::Required) {
            let has = |path: &str| self.values.contains_key(path);
            let from_file = key.kind == Kind::Secret && has(&format!("{}{FILE_SUFFIX}", key.path));
            if !has(key.path) && !from_file {
                let hint = match key.kind {
                    Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
                    Kind::Secret => format!("it, or {}{FILE_SUFFIX}", key.path),
                    _ => key.doc.to_owned(),
                };
                self.problem(key.path, format!("is missing; set {hint}"));
            }
        }
    }
}

/// Where the text stops being TOML and why, with the line itself unless it may hold a secret.
fn syntax_problem(text: &str, error: &toml::de::Error) -> (String, String) {
    let start = error.span().map_or(0, |span| span.start);
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (line, column) =
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
    let shown = text[line_start..].lines().next().unwrap_or_default().trim();
    let may_hold_a_secret =
        ["secret", "password", "key"].iter().any(|word| shown.to_lowercase().contains(word));
    let shown = if may_hold_a_secret { "(the line may hold a secret)" } else { shown };
    let said = error.message();
    (format!("line {line}, column {column}"), format!("{said}, in: {shown}"))
}

/// The key at `path`, and whether `path` is the `_file` companion of a secret.
fn find(path: &str) -> Option<(&'static Key, bool)> {
    let exact = |path: &str| KEYS.iter().find(|key| key.path == path);
    if let Some(key) = exact(path) {
        return Some((key, false));
    }
    let key = exact(path.strip_suffix(FILE_SUFFIX)?)?;
    (key.kind == Kind::Secret).then_some((key, true))
}

/// The key that was most likely meant: the same name in another section, or the nearest spelling.
fn nearest_key(path: &str) -> &'static str {
    let name = path.split_once('.').map_or(path, |(_, name)| name);
    match KEYS.iter().find(|key| key.name() == name) {
        Some(key) => key.path,
        None => nearest(path, KEYS.iter().map(|key| key.path)),
    }
}

pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> &'n str {
    known
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)))
        .unwrap_or_default()
}

/// A variable's text as a value of this kind; texts that are none stay texts, to be refused later.
fn from_text(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Whole(..) | Kind::Real(..) | Kind::Flag | Kind::Entries(_) => {
            parse_toml(text).unwrap_or_else(|| Value::String(text.to_owned()))
        }
        _ => Value::String(text.to_owned()),
    }
}

fn parse_toml(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

fn as_real(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// What is wrong with a value of this kind, if anything.
fn fault(kind: Kind, value: &Value) -> Option<String> {
    let text = value.as_str();
    let shown = shown(value);
    match kind {
        Kind::Secret if text.is_none() => Some("is no text; write it in quotes".to_owned()),
        Kind::Secret if text == Some("") => Some("is empty; set a secret".to_owned()),
        Kind::Secret => None,
        Kind::Text | Kind::Path => text.is_none().then(|| format!("{shown} is no text")),
        Kind::Address => (!text.is_some_and(is_address))
            .then(|| format!("{shown} is no host:port; write it like \"127.0.0.1:3333\"")),
        Kind::Addresses => (!text.is_some_and(are_addresses)).then(|| {
            format!("{shown} is no host:port; write it like \"127.0.0.1:5001\", of several verifiers (at most {VERIFIERS}) with commas between")
        }),
        Kind::Url => url_fault(text.unwrap_or_default(), &shown),
        Kind::Choice(choices) => (!text.is_some_and(|text| choices.contains(&text)))
            .then(|| format!("{shown} is none of {}", choices.join(", "))),
        Kind::Whole(least, most) => {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            (!number.is_some_and(|number| (least..=most).contains(&number)))
                .then(|| format!("{shown} is no whole number from {least} to {most}"))
        }
        Kind::Real(least, most) => (!as_real(value)
            .is_some_and(|number| (least..=most).contains(&number)))
        .then(|| format!("{shown} is no number from {least} to {most}")),
        Kind::Flag => {
            value.as_bool().is_none().then(|| format!("{shown} is neither true nor false"))
        }
        Kind::Entries(members) => {
            let list = value.as_array().is_some_and(|list| list.iter().all(Value::is_table));
            let members = members.join(", ").replace('!', "");
            (!list).then(|| format!("is no list of tables with {members}"))
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Table(_) => format!("a {}", value.type_str()),
        _ => value.to_string(),
    }
}

fn is_address(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn are_addresses(addresses: &str) -> bool {
    addresses.split(',').count() <= VERIFIERS
        && addresses.split(',').all(|address| is_address(address.trim()))
}

fn url_fault(url: &str, shown: &str) -> Option<String> {
    let uri = url.parse::<http::Uri>().ok().filter(|uri| uri.authority().is_some());
    let Some(uri) = uri else {
        return Some(format!("{shown} is no URL; write it like \"http://127.0.0.1:8082\""));
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // The text is not repeated: it holds a secret.
        return Some("holds credentials; they have no place in a URL".to_owned());
    }
    (!matches!(uri.scheme_str(), Some("http" | "https")))
        .then(|| format!("{shown} is neither http:// nor https://"))
}

/// A value as `--print-config` shows it.
fn redact(key: &Key, value: &Value) -> String {
    const REDACTED: &str = "(redacted)";
    match (key.kind, value) {
        (Kind::Secret, _) => format!("{REDACTED:?}"),
        (Kind::Entries(members), Value::Array(entries)) => {
            let mut entries = entries.clone();
            for entry in entries.iter_mut().filter_map(Value::as_table_mut) {
                for member in members.iter().filter_map(|member| member.strip_suffix('!')) {
                    if entry.contains_key(member) {
                        entry.insert(member.to_owned(), Value::String(REDACTED.to_owned()));
                    }
                }
            }
            Value::Array(entries).to_string()
        }
        _ => value.to_string(),
    }
}
