//! What the runs of a sweep come to together.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_core::reason::ReasonCode;
use serde::{Deserialize, Serialize};
use verifier_protocol::VerdictCode;

use super::{Case, Failure, Trial, Weather};
use crate::bugs::Bug;
use crate::report::model::{Report, Shares, Verdict};

/// Counts while a sweep goes on.
#[derive(Debug, Default)]
pub struct Tally {
    summary: Summary,
}

/// What a sweep came to: the data of its page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was swept, as the command line named it.
    pub of: String,
    /// The first seed.
    pub first_seed: u64,
    /// Runs.
    pub runs: u64,
    /// Runs with faults beyond those of their scenario.
    pub storms: u64,
    /// Runs in which something failed.
    pub failed: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Virtual seconds of all runs.
    pub virtual_seconds: f64,
    /// How many ran at once.
    pub jobs: usize,
    /// Shares of all runs.
    pub shares: Shares,
    /// By scenario.
    pub scenarios: BTreeMap<String, ScenarioTally>,
    /// How often each kind of fault was in a plan.
    pub faults: BTreeMap<String, u64>,
    /// How often each gateway reason code occurred.
    pub reason_codes: BTreeMap<String, u64>,
    /// How often each verdict code occurred.
    pub verdict_codes: BTreeMap<String, u64>,
    /// How each property was judged.
    pub properties: BTreeMap<String, PropertyTally>,
    /// Each failing run in a line.
    pub failures: Vec<FailedRun>,
}

/// The runs of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioTally {
    /// Runs.
    pub runs: u64,
    /// Runs in which something failed.
    pub failed: u64,
    /// How often each gateway reason code occurred.
    pub reason_codes: BTreeMap<String, u64>,
}

/// How often a property was judged how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyTally {
    /// It held.
    pub held: u64,
    /// It did not.
    pub failed: u64,
    /// Nothing happened that it speaks of.
    pub idle: u64,
}

/// A run in which something failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Its scenario.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// What failed.
    pub failure: Failure,
    /// The line that tells of it.
    pub line: String,
    /// The steps that are left after shrinking, in order.
    pub steps: Vec<String>,
}

impl FailedRun {
    /// The run that a bug was found in.
    pub fn of(bug: &Bug) -> Self {
        Self {
            scenario: bug.scenario.clone(),
            seed: bug.expanded.seed,
            failure: bug.failure.clone(),
            line: bug.line(),
            steps: bug
                .shrunk
                .steps
                .iter()
                .map(|step| format!("{:.3}s {}", step.at.as_secs_f64(), step.action))
                .collect(),
        }
    }
}

impl Tally {
    /// Nothing yet.
    pub fn new(of: &str, first_seed: u64, jobs: usize) -> Self {
        Self { summary: Summary { of: of.to_owned(), first_seed, jobs, ..Summary::default() } }
    }

    /// Counts a run.
    pub fn add(&mut self, case: &Case, trial: &Trial) {
        let summary = &mut self.summary;
        summary.runs += 1;
        summary.storms += u64::from(case.weather == Weather::Storm);
        summary.failed += u64::from(trial.failure.is_some());
        summary.virtual_seconds += case.plan.duration.as_secs_f64();
        for fault in &case.plan.faults {
            *summary.faults.entry(fault.action.name().to_owned()).or_default() += 1;
        }
        let of_scenario = summary.scenarios.entry(case.scenario.name.clone()).or_default();
        of_scenario.runs += 1;
        of_scenario.failed += u64::from(trial.failure.is_some());
        let Some(finished) = &trial.finished else { return };
        let report = &finished.outcome.report;
        add_counts(&mut of_scenario.reason_codes, &report.reason_codes);
        self.add_report(report);
    }

    fn add_report(&mut self, report: &Report) {
        let summary = &mut self.summary;
        add_counts(&mut summary.reason_codes, &report.reason_codes);
        add_counts(&mut summary.verdict_codes, &report.verdict_codes);
        summary.shares.submitted += report.shares.submitted;
        summary.shares.accepted += report.shares.accepted;
        summary.shares.rejected += report.shares.rejected;
        summary.shares.unanswered += report.shares.unanswered;
        summary.shares.forwarded += report.shares.forwarded;
        summary.shares.upstream_rejected += report.shares.upstream_rejected;
        summary.shares.undelivered += report.shares.undelivered;
        summary.shares.blocks += report.shares.blocks;
        for property in &report.properties {
            let tally = summary.properties.entry(property.name.clone()).or_default();
            match property.outcome {
                Verdict::Pass => tally.held += 1,
                Verdict::Fail => tally.failed += 1,
                Verdict::NotExercised => tally.idle += 1,
            }
        }
    }

    /// Remembers a failing run.
    pub fn failed(&mut self, run: FailedRun) {
        self.summary.failures.push(run);
    }

    /// What it comes to so far.
    pub fn summary(&self, took: Duration) -> Summary {
        Summary { seconds: took.as_secs_f64(), ..self.summary.clone() }
    }

    /// Where it stands, in a line.
    pub fn line(&self, took: Duration) -> String {
        let summary = &self.summary;
        let failed = match summary.failed {
            0 => "none failed".to_owned(),
            failed => format!("{failed} FAILED"),
        };
        let (reasons, verdicts) = (summary.reason_codes.len(), summary.verdict_codes.len());
        format!(
            "{} seeds · {:.1} seeds/s · {failed} · reason codes {reasons}/{} · verdict codes \
             {verdicts}/{}",
            summary.runs,
            summary.runs as f64 / took.as_secs_f64().max(0.001),
            ReasonCode::ALL.len(),
            VerdictCode::ALL.len(),
        )
    }
}

fn add_counts(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (code, count) in from {
        *to.entry(code.clone()).or_default() += count;
    }
}
