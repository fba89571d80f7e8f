//! What one seed makes of a scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draw::Draws;
use super::event::schedule;
use super::quantity::{Span, as_text, show_duration};
use super::{Behaviour, Event, MinerKind, Profile, Scenario, Step};

/// A scenario with every choice made.
///
/// A run depends on the scenario and its plan alone. Whoever changes a plan (takes away faults,
/// say, to see which of them matter) calls [`Plan::arrange`] afterwards; nothing else that the
/// seed decided moves. [`Plan::to_json`] and [`Plan::from_json`] keep one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed that made the choices.
    pub seed: u64,
    /// How long the run takes.
    #[serde(with = "as_text")]
    pub duration: Duration,
    /// When every fault is healed.
    #[serde(with = "as_text")]
    pub quiet_from: Duration,
    /// Blocks in the chain before the run begins.
    pub initial_blocks: u32,
    /// The miners in the order of their index.
    pub miners: Vec<Miner>,
    /// What the scenario file states, in its order.
    pub events: Vec<Event>,
    /// The faults that `[chaos]` drew, in order of time.
    pub faults: Vec<Event>,
    /// Every step of the events and the faults, in order of time; [`Plan::arrange`] makes it.
    #[serde(skip)]
    pub steps: Vec<Step>,
    /// Every choice, by its path in the file, for the report.
    pub parameters: BTreeMap<String, String>,
}

/// One miner of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Miner {
    /// What channel it opens.
    pub kind: MinerKind,
    /// The nominal hash rate it announces, in hashes a second.
    pub hashrate: f32,
    /// The mean time between two shares.
    #[serde(with = "as_text")]
    pub share_interval: Duration,
    /// What it does.
    pub behaviour: Behaviour,
    /// Which real device or proxy it is like.
    #[serde(default = "no_profile", skip_serializing_if = "Profile::is_none")]
    pub profile: Profile,
    /// When it first connects.
    #[serde(with = "as_text")]
    pub start: Duration,
}

fn no_profile() -> Profile {
    Profile::Assay
}

/// The number of miners of a file that names none.
const DEFAULT_MINERS: Span = Span::fixed(10);
/// Before this the programs find each other: no fault is drawn.
const CALM_START: Duration = Duration::from_secs(2);

impl Scenario {
    /// Draws every range and every fault.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut workload = Draws::new(seed, "workload");
        let duration = self.sim.duration.draw(&mut workload);
        let initial_blocks = self.sim.initial_blocks.draw(&mut workload) as u32;
        let miners = self.draw_miners(&mut workload);
        let events = self.events.iter().flat_map(|event| event.draw(&mut workload)).collect();
        let tail = self.chaos.as_ref().and_then(|chaos| chaos.quiet_tail);
        let quiet_from = duration.saturating_sub(tail.unwrap_or(self.sim.quiet_tail));

        let mut parameters = BTreeMap::new();
        let mut faults = Vec::new();
        if let Some(chaos) = &self.chaos {
            let mut draws = Draws::new(seed, "faults");
            let families = chaos.draw_families(&mut draws);
            faults = chaos.draw(&families, CALM_START..quiet_from, self.verifiers, &mut draws);
            parameters.insert("chaos.families".to_owned(), families.join(", "));
        }
        self.echo(&mut parameters, initial_blocks);
        let steps = Vec::new();
        let mut plan = Plan {
            seed,
            duration,
            quiet_from,
            initial_blocks,
            miners,
            events,
            faults,
            steps,
            parameters,
        };
        plan.arrange();
        plan
    }

    fn draw_miners(&self, draws: &mut Draws) -> Vec<Miner> {
        let all = self.miners.unwrap_or(DEFAULT_MINERS).draw(draws);
        let mut miners = Vec::new();
        for group in &self.groups {
            let rest = all.saturating_sub(miners.len() as u64);
            let count = group.count.map_or(rest, |count| count.draw(draws));
            for _ in 0..count {
                miners.push(Miner {
                    kind: group.kind,
                    hashrate: group.hashrate,
                    share_interval: group.share_interval.draw(draws),
                    behaviour: group.behaviour,
                    profile: group.profile,
                    start: group.start.draw(draws),
                });
            }
        }
        miners
    }

    fn echo(&self, parameters: &mut BTreeMap<String, String>, initial_blocks: u32) {
        let mut echo = |key: &str, value: String| parameters.insert(key.to_owned(), value);
        echo("sim.initial_blocks", initial_blocks.to_string());
        for (name, link) in &self.links {
            if let Some(latency) = &link.latency {
                echo(&format!("links.{name}.latency"), latency.to_string());
            }
            if let Some(chunk) = &link.chunk {
                let chunk = format!("{}..={}", chunk.low(), chunk.high());
                echo(&format!("links.{name}.chunk"), chunk);
            }
        }
        for (section, table) in &self.config {
            for (key, value) in table {
                echo(&format!("config.{section}.{key}"), value.to_string());
            }
        }
    }
}

impl Plan {
    /// Puts events and faults on the schedule, and echoes what there is now.
    pub fn arrange(&mut self) {
        self.steps = schedule(self.events.iter().chain(&self.faults));
        self.parameters.retain(|key, _| !key.starts_with("at.") && !key.starts_with("miners."));
        let mut echo = |key: String, value: String| self.parameters.insert(key, value);
        echo("sim.duration".to_owned(), show_duration(self.duration));
        echo("topology.miners".to_owned(), self.miners.len().to_string());
        for (name, behaviour) in Behaviour::CHOICES {
            let count = self.miners.iter().filter(|miner| miner.behaviour == *behaviour).count();
            if count > 0 {
                echo(format!("miners.{name}"), count.to_string());
            }
        }
        for (name, profile) in Profile::CHOICES.iter().filter(|(_, profile)| !profile.is_none()) {
            let count = self.miners.iter().filter(|miner| miner.profile == *profile).count();
            if count > 0 {
                echo(format!("miners.profile.{name}"), count.to_string());
            }
        }
        for (index, Step { at, action }) in self.steps.iter().enumerate() {
            echo(format!("at.{index:03}"), format!("{} {action}", show_duration(*at)));
        }
    }

    /// This plan with these faults instead of the drawn ones.
    pub fn with_faults(&self, faults: Vec<Event>) -> Self {
        let mut plan = Self { faults, ..self.clone() };
        plan.arrange();
        plan
    }

    /// The plan as JSON; its schedule follows from the rest.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan has text keys and finite numbers")
    }

    /// Reads what [`Plan::to_json`] wrote, and arranges it.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let mut plan: Self = serde_json::from_str(text)?;
        plan.arrange();
        Ok(plan)
    }

    /// When the named actions happen, in order.
    pub fn times_of(&self, name: &str) -> impl Iterator<Item = Duration> {
        self.steps.iter().filter(move |step| step.action.name() == name).map(|step| step.at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::families;
    use super::*;

    const TEXT: &str = r#"
schema = 1
name = "reorg"
doc = "d"
sim = { duration = "60s" }
topology = { miners = "10..50" }
chaos = { families = ["all"], rate = "1/s", quiet_tail = "15s" }
[[miners]]
kind = "standard"
share_interval = "500ms..2s"
[[at]]
t = "10s..12s"
do = "reorg"
depth = "1..=6"
[[at]]
t = "20s"
do = "crash"
host = "gateway"
for = "1s"
[[expect]]
always = "share_join"
"#;

    fn scenario() -> Scenario {
        Scenario::parse("reorg", "reorg", TEXT).unwrap()
    }

    #[test]
    fn a_seed_decides_everything_and_is_echoed() {
        let (one, same, other) = (scenario().plan(1), scenario().plan(1), scenario().plan(2));
        assert_eq!(one, same);
        assert_ne!(one.parameters, other.parameters);
        assert_eq!(one.parameters["topology.miners"], one.miners.len().to_string());
    }

    #[test]
    fn a_lasting_fault_is_followed_by_its_end() {
        let plan = scenario().plan(1).with_faults(Vec::new());
        assert!(plan.times_of("crash").eq([Duration::from_secs(20)]));
        assert!(plan.times_of("restart").eq([Duration::from_secs(21)]));
    }

    #[test]
    fn every_fault_ends_before_the_quiet_tail() {
        for seed in 0..20 {
            let plan = scenario().plan(seed);
            assert!(!plan.faults.is_empty());
            assert!(plan.steps.iter().all(|step| step.at <= plan.quiet_from));
            assert!(plan.steps.is_sorted_by_key(|step| step.at));
        }
    }

    #[test]
    fn a_kept_plan_is_the_plan() {
        // Long enough that every family is among the faults.
        let mut plan = scenario().plan(3);
        let chaos = scenario().chaos.unwrap();
        let (from, until) = (Duration::ZERO, Duration::from_secs(600));
        plan.faults = chaos.draw(&families(), from..until, 1, &mut Draws::new(1, "faults"));
        plan.arrange();
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    }

    #[test]
    fn faults_can_be_taken_away_one_by_one() {
        let plan = scenario().plan(4);
        let fewer = plan.with_faults(plan.faults[1..].to_vec());
        let gone: Vec<Step> = plan.faults[0].steps().collect();
        assert_eq!(fewer.steps.len() + gone.len(), plan.steps.len());
        assert!(fewer.steps.iter().all(|step| plan.steps.contains(step)));
        assert_eq!((fewer.miners, fewer.events), (plan.miners, plan.events));
    }
}
