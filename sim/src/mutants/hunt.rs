//! Plays seeds with a bug armed until it is caught.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mutant, prey};
use crate::report::model::Verdict;
use crate::report::progress::Clock;
use crate::scenario::{Catalogue, CatalogueError, Scenario};
use crate::sweep::{Case, Failure, Job, Order, over, play, sweepable};

/// How bugs are hunted.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The first seed of the first trial.
    pub first: u64,
    /// Trials of each bug, each with seeds of its own: their median is what the board shows.
    pub trials: u32,
    /// A trial gives up after so many seeds.
    pub seeds: u64,
}

/// One trial's catch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caught {
    /// How many seeds it took, the one that caught it included.
    pub seeds: u64,
    /// The run that caught it.
    pub seed: u64,
    /// Its scenario.
    pub scenario: String,
    /// What was violated.
    pub failure: Failure,
}

/// What came of one bug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The bug.
    pub mutant: String,
    /// What is wrong.
    pub doc: String,
    /// The property that must be violated.
    pub property: String,
    /// Each trial, in order; `None` where it gave up.
    pub trials: Vec<Option<Caught>>,
    /// How often other properties were violated in runs before and with the catch.
    pub others: BTreeMap<String, u64>,
}

/// Every bug, and the runs without any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// The bugs.
    pub rows: Vec<Row>,
    /// Runs without a bug, on the seeds of the first trials.
    pub control_runs: u64,
    /// What failed in them.
    pub control_failures: Vec<String>,
}

impl Row {
    /// Whether every trial caught it.
    pub fn is_caught(&self) -> bool {
        !self.trials.is_empty() && self.trials.iter().all(Option::is_some)
    }

    /// The median of the seeds it took; `None` where half of the trials gave up.
    pub fn median(&self) -> Option<u64> {
        let mut seeds: Vec<u64> = self
            .trials
            .iter()
            .map(|caught| caught.as_ref().map_or(u64::MAX, |caught| caught.seeds))
            .collect();
        seeds.sort_unstable();
        seeds.get(seeds.len().saturating_sub(1) / 2).copied().filter(|seeds| *seeds < u64::MAX)
    }
}

impl Board {
    /// Whether every bug was caught, the canary among them, and nothing failed without one.
    pub fn is_proven(&self) -> bool {
        self.rows.iter().all(Row::is_caught) && self.control_failures.is_empty()
    }
}

/// Hunts one bug.
///
/// # Errors
/// If a scenario it is hunted in does not exist.
pub fn hunt(catalogue: &Catalogue, mutant: Mutant, hunt: Hunt) -> Result<Row, CatalogueError> {
    let prey = prey(mutant);
    let scenarios = scenarios_of(catalogue, mutant)?;
    let mut others = BTreeMap::new();
    let trials = (0..u64::from(hunt.trials)).map(|trial| {
        let first = hunt.first + trial * hunt.seeds;
        let order = Order { scenarios: &scenarios, first, count: Some(hunt.seeds) };
        (0..hunt.seeds).map_while(|index| Some((index, order.job(index)?))).find_map(
            |(index, job)| {
                let failures = failures_with(job, Some(mutant));
                for failure in failures.iter().filter(|failure| failure.property != prey.property) {
                    *others.entry(failure.property.clone()).or_default() += 1;
                }
                let failure =
                    failures.into_iter().find(|failure| failure.property == prey.property)?;
                let scenario = job.scenario.name.clone();
                Some(Caught { seeds: index + 1, seed: job.seed, scenario, failure })
            },
        )
    });
    let trials = trials.collect();
    let (name, doc, property) = (mutant.as_str(), mutant.doc(), prey.property);
    let (mutant, doc, property) = (name.to_owned(), doc.to_owned(), property.to_owned());
    Ok(Row { mutant, doc, property, trials, others })
}

/// Plays what the first trials played, without any bug; how many runs there were, and a line for
/// each that failed.
pub fn control(catalogue: &Catalogue, rows: &[Row], first: u64, jobs: usize) -> (u64, Vec<String>) {
    let most = |row: &Row| row.trials.first()?.as_ref().map(|caught| caught.seeds);
    let scenarios = sweepable(&catalogue.all().iter().collect::<Vec<_>>());
    let seeds = rows.iter().filter_map(most).max().unwrap_or(1).max(scenarios.len() as u64);
    let order = Order { scenarios: &scenarios, first, count: Some(seeds) };
    let mut failed = Vec::new();
    over(
        order,
        jobs,
        |job| failures_with(job, None),
        |job, failures| {
            for Failure { property, detail, .. } in failures {
                failed.push(format!("{property} in {}@{}: {detail}", job.seed, job.scenario.name));
            }
            true
        },
    );
    failed.sort();
    (seeds, failed)
}

fn scenarios_of(catalogue: &Catalogue, mutant: Mutant) -> Result<Vec<&Scenario>, CatalogueError> {
    let mut scenarios = Vec::new();
    for name in prey(mutant).scenarios {
        scenarios.extend(catalogue.select(name)?);
    }
    Ok(sweepable(&scenarios))
}

/// Everything that is violated with a bug in the programs.
fn failures_with(job: Job<'_>, bug: Option<Mutant>) -> Vec<Failure> {
    let case = Case::of(job.scenario, job.seed).infected(bug);
    let trial = play(&case, &Clock::default());
    match &trial.finished {
        None => trial.failure.into_iter().collect(),
        Some(finished) => {
            let report = &finished.outcome.report;
            let failed = report.properties.iter().filter(|one| one.outcome == Verdict::Fail);
            failed.filter_map(|one| Failure::named(report, &one.name)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::properties::{ALWAYS, EVENTUALLY};

    fn caught(seeds: u64) -> Option<Caught> {
        let failure = Failure { property: "p".to_owned(), at_ms: None, detail: String::new() };
        Some(Caught { seeds, seed: 1, scenario: "smoke".to_owned(), failure })
    }

    fn row(trials: Vec<Option<Caught>>) -> Row {
        let text = || "x".to_owned();
        Row { mutant: text(), doc: text(), property: text(), trials, others: BTreeMap::new() }
    }

    #[test]
    fn every_bug_is_hunted_where_there_is_something_to_play() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let catalogue = Catalogue::load(&folder).unwrap();
        for mutant in Mutant::ALL {
            let prey = prey(*mutant);
            assert!(!scenarios_of(&catalogue, *mutant).unwrap().is_empty());
            let known = ALWAYS.contains(&prey.property) || EVENTUALLY.contains(&prey.property);
            assert!(known, "{} is no property", prey.property);
        }
    }

    #[test]
    fn a_bug_is_caught_when_every_trial_caught_it() {
        let all = row(vec![caught(9), caught(1), caught(4)]);
        assert!(all.is_caught());
        assert_eq!(all.median(), Some(4));
        let some = row(vec![caught(1), None, caught(2)]);
        assert!(!some.is_caught());
        assert_eq!(some.median(), Some(2));
        assert_eq!(row(vec![None, None, caught(1)]).median(), None);
        assert!(!row(Vec::new()).is_caught());
    }

    #[test]
    fn a_board_needs_every_bug_and_a_green_control() {
        let board = Board { rows: vec![row(vec![caught(1)])], ..Board::default() };
        assert!(board.is_proven());
        let red = Board { control_failures: vec!["x".to_owned()], ..board.clone() };
        assert!(!red.is_proven());
        let missed = Board { rows: vec![row(vec![None])], ..board };
        assert!(!missed.is_proven());
    }
}
