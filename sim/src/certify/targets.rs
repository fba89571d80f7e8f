//! Our own targets, each beside what was measured and what this kind of machine allows at best.

mod alone;
mod loads;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::CertifyError;
use super::certificate::number;

/// What was aimed at, measured and possible.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    id: &'static str,
    doc: &'static str,
    unit: &'static str,
    /// Whether more is better.
    at_least: bool,
    target: f64,
    measured: Option<f64>,
    /// By hand-written loops: of tips and answers on this machine, else one core without SHA-NI.
    limit: Option<f64>,
}

/// Every target.
#[derive(Clone, Debug, Serialize)]
pub struct Targets {
    machine: super::machine::Machine,
    targets: Vec<Target>,
    /// Why a phase could not be measured as it should.
    doubts: Vec<String>,
}

impl Target {
    const fn at_most(id: &'static str, doc: &'static str, unit: &'static str, target: f64) -> Self {
        Self { id, doc, unit, at_least: false, target, measured: None, limit: None }
    }

    const fn at_least(
        id: &'static str,
        doc: &'static str,
        unit: &'static str,
        target: f64,
    ) -> Self {
        Self { at_least: true, ..Self::at_most(id, doc, unit, target) }
    }

    const fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    fn measured(self, measured: Option<f64>) -> Self {
        Self { measured, ..self }
    }

    fn holds(&self) -> bool {
        self.measured.is_some_and(|measured| {
            if self.at_least { measured >= self.target } else { measured <= self.target }
        })
    }

    /// How many times worse than the best possible.
    fn ratio_to_limit(&self) -> Option<f64> {
        let (measured, limit) = (self.measured?, self.limit?);
        Some(if self.at_least { limit / measured } else { measured / limit })
    }
}

impl Targets {
    /// The table as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("the table has text keys and finite numbers")
    }

    /// Whether every target is reached.
    pub fn hold(&self) -> bool {
        self.targets.iter().all(Target::holds)
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<5} {:<60} {:>10} {:>10} {:>10} {:>8}",
            "", "", "measured", "target", "limit", "x limit"
        )?;
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        for target in &self.targets {
            let mark = if target.holds() { '✓' } else { '✗' };
            let doc = format!("{}, {}", target.doc, target.unit);
            writeln!(
                f,
                "{mark} {:<5} {doc:<60} {:>10} {:>10} {:>10} {:>8}",
                target.id,
                text(target.measured),
                number(target.target),
                text(target.limit),
                text(target.ratio_to_limit())
            )?;
        }
        for doubt in &self.doubts {
            writeln!(f, "doubt  {doubt}")?;
        }
        Ok(())
    }
}

/// Measures every target in turn, some minutes in all. Progress is told step by step.
///
/// # Errors
/// Where a load cannot be made.
pub fn measure(
    programs: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Targets, CertifyError> {
    let mut table = Targets {
        machine: super::machine::Machine::look(),
        targets: Vec::new(),
        doubts: Vec::new(),
    };
    loads::measure(programs, progress, &mut table)?;
    alone::measure(progress, &mut table)?;
    Ok(table)
}
