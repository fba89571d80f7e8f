//! Many seeds of many scenarios: what each plays, and what they come to together.
//!
//! A seed of a sweep decides more than a seed of a plain run. Now and then the scenario is played
//! as it is written; mostly the seed adds weather of its own, faults of drawn families at a drawn
//! rate, and then every property is judged that holds whatever happens.

mod tally;
mod trial;
mod workers;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mutant::Mutant;
use serde::{Deserialize, Serialize};

pub use tally::{FailedRun, PropertyTally, ScenarioTally, Summary, Tally};
pub use trial::{Failure, Trial, play};
pub use workers::{Job, Order, over};

use crate::properties::{ALWAYS, EVENTUALLY};
use crate::scenario::{Action, Chaos, DiskMode, Draws, Expect, Plan, Scenario};

/// One run of a sweep.
#[derive(Clone)]
pub struct Case {
    /// The scenario with what this run is judged by.
    pub scenario: Scenario,
    /// Everything that is drawn.
    pub plan: Plan,
    /// Whether faults were added to what the file says.
    pub weather: Weather,
    /// The bug that is put into the programs, in a build that carries them.
    pub mutant: Option<Mutant>,
}

/// What a seed makes of a scenario's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weather {
    /// The file's own, judged by all that the file expects.
    AsWritten,
    /// More than the file's own, judged by what always holds.
    Storm,
}

/// The parameter that a plan has whose faults a sweep drew: its seed alone plays it only there.
pub const STORM: &str = "sweep.weather";
/// One in so many seeds plays the scenario as it is written.
const AS_WRITTEN: u64 = 4;
/// No fault is in force for so long before the end of a storm.
const QUIET_TAIL: Duration = Duration::from_secs(15);
/// Before this the programs find each other.
const CALM_START: Duration = Duration::from_secs(2);
/// Faults a second in the mildest and in the worst storm.
const RATES: (f64, f64) = (0.05, 0.6);

/// Scenarios that go on for longer are played by those who name them.
const LONGEST: Duration = Duration::from_secs(300);

/// Those of the scenarios that a sweep takes up: all of them, unless there are shorter ones.
pub fn sweepable<'a>(scenarios: &[&'a Scenario]) -> Vec<&'a Scenario> {
    let is_short = |scenario: &&&Scenario| scenario.sim.duration.longest() <= LONGEST;
    let short: Vec<_> = scenarios.iter().filter(is_short).copied().collect();
    if short.is_empty() { scenarios.to_vec() } else { short }
}

impl Case {
    /// What this seed plays: the same on every machine and in every sweep.
    pub fn of(scenario: &Scenario, seed: u64) -> Self {
        let mut draws = Draws::new(seed, "weather");
        let mut plan = scenario.plan(seed);
        if draws.between(1, AS_WRITTEN) == 1 {
            return Self::judged_in(scenario, plan, Weather::AsWritten);
        }
        let chaos = Chaos::storm(RATES.0 + draws.unit() * (RATES.1 - RATES.0));
        let families = chaos.draw_families(&mut draws);
        plan.quiet_from = plan.duration.saturating_sub(QUIET_TAIL).max(plan.duration / 2);
        let time = CALM_START..plan.quiet_from;
        let faults = chaos.draw(&families, time, scenario.verifiers, &mut draws);
        plan.faults.extend(faults);
        plan.faults.sort_by_key(|fault| fault.at);
        plan.arrange();
        plan.parameters.insert(STORM.to_owned(), "storm".to_owned());
        Self::judged_in(scenario, plan, Weather::Storm)
    }

    /// A plan that was kept, judged as it was.
    pub fn judged_in(scenario: &Scenario, plan: Plan, weather: Weather) -> Self {
        let scenario = match weather {
            Weather::AsWritten => scenario.clone(),
            Weather::Storm => {
                Scenario { expect: whatever_happens(scenario, &plan), ..scenario.clone() }
            }
        };
        Self { scenario, plan, weather, mutant: None }
    }

    /// The same with a bug in the programs.
    #[must_use]
    pub fn infected(self, mutant: Option<Mutant>) -> Self {
        Self { mutant, ..self }
    }

    /// The same with another plan.
    #[must_use]
    pub fn with(&self, plan: Plan) -> Self {
        Self { plan, ..self.clone() }
    }
}

/// What holds under any faults: every invariant, and of what the file expects in the end all that
/// is not about its own story. Where the file has a disk lie to the gateway, nobody but the file
/// can say which invariants are left.
fn whatever_happens(scenario: &Scenario, plan: &Plan) -> Vec<Expect> {
    let is_lie = |action: &Action| match action {
        Action::DiskMode { mode, .. } => {
            matches!(mode, DiskMode::LostSync | DiskMode::FlipOnRead | DiskMode::ReadError)
        }
        _ => false,
    };
    let disk_lies = plan.events.iter().any(|event| is_lie(&event.action));
    let always = ALWAYS.into_iter().map(Expect::Always);
    let always = always.filter(|expect| !disk_lies || scenario.expect.contains(expect));
    let eventually = EVENTUALLY.into_iter().map(Expect::Eventually);
    always.chain(eventually.filter(|expect| scenario.expect.contains(expect))).collect()
}

/// Names a run: `77@smoke`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedAt {
    /// The seed.
    pub seed: u64,
    /// The scenario.
    pub scenario: String,
}

impl FromStr for SeedAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no SEED@SCENARIO, such as 77@smoke");
        let (seed, scenario) = text.split_once('@').ok_or_else(wrong)?;
        let seed = seed.parse().map_err(|_| wrong())?;
        Ok(Self { seed, scenario: scenario.to_owned() })
    }
}

impl fmt::Display for SeedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.seed, self.scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
schema = 1
name = "smoke"
doc = "d"
sim = { duration = "60s" }
[[miners]]
kind = "standard"
[[expect]]
eventually = "all_miners_on_tip"
[[expect]]
sometimes = "closed:prevhash_switch_timeout"
"#;

    #[test]
    fn a_seed_plays_the_same_every_time_and_most_are_stormy() {
        let scenario = Scenario::parse("smoke", "smoke", TEXT).unwrap();
        let mut storms = 0;
        for seed in 0..40 {
            let case = Case::of(&scenario, seed);
            assert_eq!(case.plan, Case::of(&scenario, seed).plan);
            if case.weather == Weather::AsWritten {
                assert!(case.plan.faults.is_empty());
                assert_eq!(case.scenario.expect, scenario.expect);
                continue;
            }
            storms += 1;
            assert!(case.plan.steps.iter().all(|step| step.at <= case.plan.quiet_from));
            let judged = &case.scenario.expect;
            assert!(judged.contains(&Expect::Eventually("all_miners_on_tip")));
            assert!(!judged.contains(&Expect::Eventually("tasks_and_sockets_return")));
            assert!(!judged.iter().any(|expect| matches!(expect, Expect::Sometimes(_))));
        }
        assert!((20..40).contains(&storms), "{storms}");
    }

    #[test]
    fn a_run_has_a_name() {
        let named: SeedAt = "77@smoke".parse().unwrap();
        assert_eq!((named.seed, named.to_string().as_str()), (77, "77@smoke"));
        assert!("smoke".parse::<SeedAt>().is_err());
        assert!("x@smoke".parse::<SeedAt>().is_err());
    }
}
