//! Plays seeds with a bug armed until it is caught.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mutant, prey};
use crate::report::model::Verdict;
use crate::report::progress::Clock;
use crate::scenario::{Catalogue, CatalogueError, Scenario};
use crate::sweep::{Case, Failure, Job, Order, play, sweepable};

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
    /// How many runs were played again without the bug: each that seemed to catch it.
    pub control_runs: u64,
    /// What was violated in them. Where it is the property itself, the run caught nothing.
    pub control_failures: Vec<String>,
}

/// Every bug.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// The bugs.
    pub rows: Vec<Row>,
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
        self.rows.iter().all(Row::is_caught) && self.control_failures().next().is_none()
    }

    /// How many runs were played again without a bug.
    pub fn control_runs(&self) -> u64 {
        self.rows.iter().map(|row| row.control_runs).sum()
    }

    /// A line for each violation in them: a defect, or a false alarm.
    pub fn control_failures(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| row.control_failures.iter().map(String::as_str))
    }
}

/// Hunts one bug. A run that violates its property is played again without the bug: only where the
/// property holds then, the bug was caught.
///
/// # Errors
/// If a scenario it is hunted in does not exist.
pub fn hunt(catalogue: &Catalogue, mutant: Mutant, hunt: Hunt) -> Result<Row, CatalogueError> {
    let scenarios = scenarios_of(catalogue, mutant)?;
    Ok(hunt_in(&scenarios, mutant, hunt, failures_with))
}

/// Hunts a bug in these scenarios; `failures` plays a run and says what is violated in it.
fn hunt_in(
    scenarios: &[&Scenario],
    mutant: Mutant,
    hunt: Hunt,
    failures: impl Fn(Job<'_>, Option<Mutant>) -> Vec<Failure>,
) -> Row {
    let property = prey(mutant).property;
    let mut row = Row {
        mutant: mutant.as_str().to_owned(),
        doc: mutant.doc().to_owned(),
        property: property.to_owned(),
        trials: Vec::new(),
        others: BTreeMap::new(),
        control_runs: 0,
        control_failures: Vec::new(),
    };
    for trial in 0..u64::from(hunt.trials) {
        let first = hunt.first + trial * hunt.seeds;
        let order = Order { scenarios, first, count: Some(hunt.seeds) };
        let jobs = (0..hunt.seeds).map_while(|index| Some((index + 1, order.job(index)?)));
        let caught = jobs.into_iter().find_map(|(seeds, job)| {
            let mut of_it = None;
            for failure in failures(job, Some(mutant)) {
                if failure.property == property {
                    of_it = Some(failure);
                } else {
                    *row.others.entry(failure.property).or_default() += 1;
                }
            }
            let (failure, without) = (of_it?, failures(job, None));
            let is_real = without.iter().all(|failure| failure.property != property);
            row.control_runs += 1;
            row.control_failures.extend(without.iter().map(|failure| in_words(job, failure)));
            let scenario = job.scenario.name.clone();
            is_real.then_some(Caught { seeds, seed: job.seed, scenario, failure })
        });
        row.trials.push(caught);
    }
    row
}

fn in_words(job: Job<'_>, Failure { property, detail, .. }: &Failure) -> String {
    format!("{property} in {}@{}: {detail}", job.seed, job.scenario.name)
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
        Row {
            mutant: text(),
            doc: text(),
            property: text(),
            trials,
            others: BTreeMap::new(),
            control_runs: 0,
            control_failures: Vec::new(),
        }
    }

    #[test]
    fn every_bug_is_hunted_where_there_is_something_to_play() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let catalogue = Catalogue::load(&folder).unwrap();
        for mutant in Mutant::ALL {
            let prey = prey(*mutant);
            let scenarios = scenarios_of(&catalogue, *mutant).unwrap();
            let expects = |scenario: &&Scenario| {
                scenario.expect.iter().any(|expect| expect.name() == prey.property)
            };
            let known = ALWAYS.contains(&prey.property)
                || EVENTUALLY.contains(&prey.property)
                || scenarios.iter().any(expects);
            assert!(!scenarios.is_empty());
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
        let board = |rows| Board { rows };
        assert!(board(vec![row(vec![caught(1)])]).is_proven());
        let red = Row { control_failures: vec!["x".to_owned()], ..row(vec![caught(1)]) };
        assert!(!board(vec![red]).is_proven());
        assert!(!board(vec![row(vec![None])]).is_proven());
    }

    #[test]
    fn what_is_violated_without_the_bug_too_catches_nothing() {
        let text = "schema = 1\nname = \"smoke\"\ndoc = \"d\"\nsim = { duration = \"9s\" }\n\
                    [[expect]]\nalways = \"share_join\"\n";
        let scenario = Scenario::parse("smoke", "smoke", text).unwrap();
        let failure = |property: &str| Failure {
            property: property.to_owned(),
            at_ms: None,
            detail: "seen".to_owned(),
        };
        // The first two seeds cry wolf, the third does not.
        let play = |job: Job<'_>, bug: Option<Mutant>| match (bug, job.seed) {
            (Some(_), _) => vec![failure("conservation"), failure("stale_work")],
            (None, 7 | 8) => vec![failure("conservation")],
            (None, _) => Vec::new(),
        };
        let hunt = Hunt { first: 7, trials: 1, seeds: 5 };
        let row = hunt_in(&[&scenario], Mutant::Canary, hunt, play);
        let caught = row.trials[0].as_ref().unwrap();
        assert_eq!((caught.seed, caught.seeds), (9, 3));
        assert_eq!((row.control_runs, row.others["stale_work"]), (3, 3));
        let alarms = ["conservation in 7@smoke: seen", "conservation in 8@smoke: seen"];
        assert_eq!(row.control_failures, alarms);
        let board = Board { rows: vec![row] };
        assert!(!board.is_proven());
    }
}
