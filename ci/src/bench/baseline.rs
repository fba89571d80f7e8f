//! The counts that were accepted, and how those of today compare.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Where the baseline lies.
pub(super) const FILE: &str = "golden/instructions.json";

/// How much a count may grow, in percent.
const MOST_GROWTH: f64 = 2.0;

/// Counts by bench: `package::function::case`.
pub(super) type Counts = BTreeMap<String, u64>;

/// What counts depend on beside the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Version and host.
    pub(super) compiler: String,
    /// The C library.
    pub(super) libc: String,
    /// Instruction sets that libraries choose by.
    pub(super) processor: String,
    /// Its version.
    pub(super) valgrind: String,
}

/// The counts that were accepted.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    pub(super) measured_with: Environment,
    counts: Counts,
}

impl Environment {
    fn fields(&self) -> [(&'static str, &str); 4] {
        [
            ("compiler", &self.compiler),
            ("libc", &self.libc),
            ("processor", &self.processor),
            ("valgrind", &self.valgrind),
        ]
    }
}

impl Baseline {
    /// The one in the tree; an empty one where there is none.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let Ok(text) = std::fs::read_to_string(root.join(FILE)) else { return Ok(Self::default()) };
        let file: Value = serde_json::from_str(&text).context(FILE)?;
        let with =
            |field: &str| file["measured_with"][field].as_str().unwrap_or_default().to_owned();
        let counts = file["instructions"].as_object().into_iter().flatten();
        Ok(Self {
            measured_with: Environment {
                compiler: with("compiler"),
                libc: with("libc"),
                processor: with("processor"),
                valgrind: with("valgrind"),
            },
            counts: counts
                .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
                .collect(),
        })
    }

    /// Whether counts measured here can stand beside those that it has.
    pub(super) fn goes_with(&self, here: &Environment) -> bool {
        self.counts.is_empty() || self.measured_with == *here
    }

    /// Puts new counts in the place of those of these packages.
    pub(super) fn take(&mut self, here: Environment, counts: Counts, packages: &[String]) {
        self.measured_with = here;
        self.counts.retain(|name, _| !is_of(name, packages));
        self.counts.extend(counts);
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let with: BTreeMap<_, _> = self.measured_with.fields().into_iter().collect();
        let file = json!({ "measured_with": with, "instructions": self.counts });
        std::fs::write(root.join(FILE), format!("{file:#}\n")).context(FILE)?;
        println!("ci: {FILE} written");
        Ok(())
    }
}

fn is_of(name: &str, packages: &[String]) -> bool {
    name.split_once("::").is_some_and(|(package, _)| packages.iter().any(|known| known == package))
}

/// Today's counts beside the baseline.
pub(super) struct Comparison {
    rows: Vec<Row>,
    /// What the baseline was measured with, where that was something else.
    elsewhere: Option<(Environment, Environment)>,
}

struct Row {
    name: String,
    before: Option<u64>,
    now: Option<u64>,
}

impl Row {
    /// Growth in percent.
    fn growth(&self) -> Option<f64> {
        let (before, now) = (self.before? as f64, self.now? as f64);
        Some((now - before) / before.max(1.0) * 100.0)
    }

    fn is_breach(&self) -> bool {
        self.growth().is_none_or(|growth| growth > MOST_GROWTH)
    }
}

impl Comparison {
    pub(super) fn new(
        baseline: &Baseline,
        here: &Environment,
        counts: &Counts,
        packages: &[String],
    ) -> Self {
        let known = baseline.counts.keys().filter(|name| is_of(name, packages));
        let mut names: Vec<&String> = counts.keys().chain(known).collect();
        names.sort();
        names.dedup();
        let row = |name: &String| Row {
            name: name.clone(),
            before: baseline.counts.get(name).copied(),
            now: counts.get(name).copied(),
        };
        let is_elsewhere = !baseline.goes_with(here);
        Self {
            rows: names.into_iter().map(row).collect(),
            elsewhere: is_elsewhere.then(|| (baseline.measured_with.clone(), here.clone())),
        }
    }

    /// Counts that grew, came or went. Nothing can be said where another compiler or processor
    /// counts.
    pub(super) fn breaches(&self) -> usize {
        if self.elsewhere.is_some() {
            return 0;
        }
        self.rows.iter().filter(|row| row.is_breach()).count()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        writeln!(f, "  {:<width$} {:>14} {:>14} {:>9}", "instructions", "baseline", "now", "")?;
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |n| n.to_string());
        for row in &self.rows {
            let mark = if self.elsewhere.is_none() && row.is_breach() { '✗' } else { ' ' };
            let change = match (row.growth(), row.before) {
                (Some(growth), _) => format!("{growth:+.2} %"),
                (None, None) => "new".to_owned(),
                (None, Some(_)) => "gone".to_owned(),
            };
            let (before, now) = (count(row.before), count(row.now));
            writeln!(f, "{mark} {:<width$} {before:>14} {now:>14} {change:>9}", row.name)?;
        }
        let Some((there, here)) = &self.elsewhere else { return Ok(()) };
        writeln!(f, "ci: told, not judged: the baseline was measured with something else")?;
        for ((field, there), (_, here)) in there.fields().into_iter().zip(here.fields()) {
            if there != here {
                writeln!(f, "ci:   {field}: baseline {there:?}, here {here:?}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn compare(before: &[(&str, u64)], now: &[(&str, u64)], here: &Environment) -> Comparison {
        let baseline = Baseline { counts: counts(before), ..Baseline::default() };
        Comparison::new(&baseline, here, &counts(now), &["core".to_owned()])
    }

    #[test]
    fn growth_beyond_the_limit_and_what_came_or_went_are_breaches() {
        let here = Environment::default();
        let before = [("core::a", 1000), ("core::b", 1000), ("core::c", 1000), ("wire::d", 1)];
        let now = [("core::a", 1020), ("core::b", 1021), ("core::e", 5)];
        let comparison = compare(&before, &now, &here);
        assert_eq!(comparison.breaches(), 3);
        let text = comparison.to_string();
        assert!(text.contains("✗ core::b"), "{text}");
        assert!(text.contains("  core::a"), "{text}");
        assert!(!text.contains("wire::d"), "{text}");
    }

    #[test]
    fn another_compiler_is_told_and_not_judged() {
        let here = Environment { compiler: "2".to_owned(), ..Environment::default() };
        let comparison = compare(&[("core::a", 1000)], &[("core::a", 2000)], &here);
        assert_eq!(comparison.breaches(), 0);
        assert!(comparison.to_string().contains("compiler: baseline \"\", here \"2\""));
    }
}
