//! Which scenario provokes which code.

use std::collections::BTreeMap;
use std::fmt;

use gateway_core::reason::ReasonCode;
use serde::Deserialize;
use serde_json::json;
use verifier_protocol::VerdictCode;

use super::markup;

/// How many scenarios a line of the table names.
const NAMED: usize = 3;

/// How often each code occurs in each scenario.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    scenarios: Vec<String>,
    reasons: Counts,
    verdicts: Counts,
}

/// What a report or a golden holds of codes; the rest of it is of no account here.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Codes {
    /// How often each reason code occurred.
    pub reason_codes: BTreeMap<String, u64>,
    /// How often each verdict code occurred.
    pub verdict_codes: BTreeMap<String, u64>,
}

/// Counts by code and scenario.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

impl Coverage {
    /// Counts the codes of a scenario.
    pub fn add(&mut self, scenario: &str, codes: &Codes) {
        self.scenarios.push(scenario.to_owned());
        let tables =
            [(&mut self.reasons, &codes.reason_codes), (&mut self.verdicts, &codes.verdict_codes)];
        for (counts, found) in tables {
            for (code, count) in found {
                *counts.entry(code.clone()).or_default().entry(scenario.to_owned()).or_default() +=
                    count;
            }
        }
    }

    /// Whether each code occurs in some scenario.
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// The codes that no scenario provokes.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        let reasons = reasons().filter(|code| !self.reasons.contains_key(*code));
        reasons.chain(verdicts().filter(|code| !self.verdicts.contains_key(*code)))
    }

    /// The whole matrix: for each code the scenarios with their counts.
    pub fn to_json(&self) -> String {
        let whole =
            |codes: Vec<&str>, counts: &Counts| -> BTreeMap<String, BTreeMap<String, u64>> {
                let of = |code: &str| counts.get(code).cloned().unwrap_or_default();
                codes.into_iter().map(|code| (code.to_owned(), of(code))).collect()
            };
        markup::canonical_json(json!({
            "schema": 1,
            "scenarios": self.scenarios,
            "reason_codes": whole(reasons().collect(), &self.reasons),
            "verdict_codes": whole(verdicts().collect(), &self.verdicts),
            "missing": self.missing().collect::<Vec<_>>(),
        }))
    }
}

fn reasons() -> impl Iterator<Item = &'static str> {
    ReasonCode::ALL.iter().map(|code| code.as_str())
}

fn verdicts() -> impl Iterator<Item = &'static str> {
    VerdictCode::ALL.iter().map(|code| code.as_str())
}

impl fmt::Display for Coverage {
    /// A line a code, and the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(f, "reason codes of the gateway", reasons(), &self.reasons)?;
        section(f, "verdict codes", verdicts(), &self.verdicts)?;
        let missing: Vec<_> = self.missing().collect();
        let of = |codes: usize, counts: &Counts, all: &mut dyn Iterator<Item = &'static str>| {
            format!("{}/{codes}", all.filter(|code| counts.contains_key(*code)).count())
        };
        writeln!(
            f,
            "{} scenarios provoke {} reason codes and {} verdict codes",
            self.scenarios.len(),
            of(ReasonCode::ALL.len(), &self.reasons, &mut reasons()),
            of(VerdictCode::ALL.len(), &self.verdicts, &mut verdicts()),
        )?;
        if !missing.is_empty() {
            writeln!(f, "provoked by none: {}", missing.join(", "))?;
        }
        Ok(())
    }
}

fn section(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    codes: impl Iterator<Item = &'static str>,
    counts: &Counts,
) -> fmt::Result {
    writeln!(f, "{title}")?;
    for code in codes {
        let Some(scenarios) = counts.get(code) else {
            writeln!(f, "  {code:<40} {:>9}  -", "NONE")?;
            continue;
        };
        let total: u64 = scenarios.values().sum();
        let mut most: Vec<_> = scenarios.iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named: Vec<_> =
            most.iter().take(NAMED).map(|(name, count)| format!("{name} {count}")).collect();
        let more = match scenarios.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", {more} more"),
        };
        writeln!(f, "  {code:<40} {total:>9}  {}{more}", named.join(", "))?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_no_scenario_provokes_is_named() {
        let mut coverage = Coverage::default();
        let mut codes = Codes::default();
        coverage.add("empty", &codes);
        assert!(!coverage.is_complete());
        assert_eq!(coverage.missing().count(), ReasonCode::ALL.len() + VerdictCode::ALL.len());
        codes.reason_codes = reasons().map(|code| (code.to_owned(), 2)).collect();
        coverage.add("reasons", &codes);
        assert!(coverage.to_string().contains("36/36 reason codes and 0/"), "{coverage}");
        codes.verdict_codes = verdicts().map(|code| (code.to_owned(), 1)).collect();
        coverage.add("verdicts", &codes);
        assert!(coverage.is_complete());
        assert!(coverage.to_string().contains("shutdown_drain"), "{coverage}");
        assert!(coverage.to_json().contains("\"reasons\": 2"), "{}", coverage.to_json());
    }
}
