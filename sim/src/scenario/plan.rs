//! What one seed makes of a scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use super::draw::Draws;
use super::quantity::{Span, show_duration};
use super::{Action, Behaviour, Scenario, Step};

/// A scenario with every choice made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed that made the choices.
    pub seed: u64,
    /// How long the run takes.
    pub duration: Duration,
    /// When every fault is healed.
    pub quiet_from: Duration,
    /// Blocks in the chain before the run begins.
    pub initial_blocks: u32,
    /// The miners in the order of their index.
    pub miners: Vec<Miner>,
    /// What is done to the world, in order of time.
    pub steps: Vec<Step>,
    /// How many of the steps are faults drawn by `[chaos]`.
    pub chaos_steps: usize,
    /// Every choice, by its path in the file, for the report.
    pub parameters: BTreeMap<String, String>,
}

/// One miner of a plan.
#[derive(Debug, Clone)]
pub struct Miner {
    /// The nominal hash rate it announces, in hashes a second.
    pub hashrate: f32,
    /// The mean time between two shares.
    pub share_interval: Duration,
    /// What it does.
    pub behaviour: Behaviour,
    /// When it first connects.
    pub start: Duration,
}

/// The number of miners of a file that names none.
const DEFAULT_MINERS: Span = Span::fixed(10);

impl Scenario {
    /// Draws every range and puts every fault on the schedule.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut workload = Draws::new(seed, "workload");
        let duration = self.sim.duration.draw(&mut workload);
        let initial_blocks = self.sim.initial_blocks.draw(&mut workload) as u32;
        let miners = self.draw_miners(&mut workload);
        let mut steps: Vec<_> =
            self.steps.iter().flat_map(|step| step.draw(&mut workload)).collect();
        let tail = self.chaos.as_ref().and_then(|chaos| chaos.quiet_tail);
        let quiet_from = duration.saturating_sub(tail.unwrap_or(self.sim.quiet_tail));

        let mut parameters = BTreeMap::new();
        let mut chaos_steps = 0;
        if let Some(chaos) = &self.chaos {
            let mut faults = Draws::new(seed, "faults");
            let families = chaos.draw_families(&mut faults);
            let drawn = chaos.draw(&families, Duration::from_secs(2), quiet_from, &mut faults);
            chaos_steps = drawn.len();
            steps.extend(drawn);
            parameters.insert("chaos.families".to_owned(), families.join(", "));
        }
        // A stable sort: what the file states first happens first at equal times.
        steps.sort_by_key(|step| step.at);
        self.echo(&mut parameters, duration, initial_blocks, &miners);
        echo_steps(&mut parameters, &steps);
        Plan { seed, duration, quiet_from, initial_blocks, miners, steps, chaos_steps, parameters }
    }

    fn draw_miners(&self, draws: &mut Draws) -> Vec<Miner> {
        let all = self.miners.unwrap_or(DEFAULT_MINERS).draw(draws);
        let mut miners = Vec::new();
        for group in &self.groups {
            let rest = all.saturating_sub(miners.len() as u64);
            let count = group.count.map_or(rest, |count| count.draw(draws));
            for _ in 0..count {
                miners.push(Miner {
                    hashrate: group.hashrate,
                    share_interval: group.share_interval.draw(draws),
                    behaviour: group.behaviour,
                    start: group.start.draw(draws),
                });
            }
        }
        miners
    }

    fn echo(
        &self,
        parameters: &mut BTreeMap<String, String>,
        duration: Duration,
        initial_blocks: u32,
        miners: &[Miner],
    ) {
        let mut echo = |key: &str, value: String| parameters.insert(key.to_owned(), value);
        echo("sim.duration", show_duration(duration));
        echo("sim.initial_blocks", initial_blocks.to_string());
        echo("topology.miners", miners.len().to_string());
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
        for (_, behaviour) in Behaviour::CHOICES {
            let count = miners.iter().filter(|miner| miner.behaviour == behaviour).count();
            if count > 0 {
                echo(&format!("miners.{}", behaviour.as_str()), count.to_string());
            }
        }
    }
}

fn echo_steps(parameters: &mut BTreeMap<String, String>, steps: &[Step]) {
    for (index, Step { at, action }) in steps.iter().enumerate() {
        let text = format!("{} {action}", show_duration(*at));
        parameters.insert(format!("at.{index:03}"), text);
    }
}

impl Plan {
    /// When the named actions happen, in order.
    pub fn times_of(&self, name: &str) -> impl Iterator<Item = Duration> {
        self.steps.iter().filter(move |step| step.action.name() == name).map(|step| step.at)
    }

    /// Whether any step is of this kind.
    pub fn has(&self, matches: impl Fn(&Action) -> bool) -> bool {
        self.steps.iter().any(|step| matches(&step.action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
schema = 1
name = "reorg"
doc = "d"
sim = { duration = "60s" }
topology = { miners = "10..50" }
chaos = { families = ["cut", "pool_5xx"], rate = "1/s", quiet_tail = "15s" }
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

    #[test]
    fn a_seed_decides_everything_and_is_echoed() {
        let scenario = Scenario::parse("reorg", "reorg", TEXT).unwrap();
        let (one, same, other) = (scenario.plan(1), scenario.plan(1), scenario.plan(2));
        assert_eq!(one.steps, same.steps);
        assert_eq!(one.parameters, same.parameters);
        assert_ne!(one.parameters, other.parameters);
        assert_eq!(one.parameters["topology.miners"], one.miners.len().to_string());
    }

    #[test]
    fn a_lasting_fault_is_followed_by_its_end() {
        let plan = Scenario::parse("reorg", "reorg", TEXT).unwrap().plan(1);
        assert!(plan.times_of("crash").eq([Duration::from_secs(20)]));
        assert!(plan.times_of("restart").eq([Duration::from_secs(21)]));
    }

    #[test]
    fn every_fault_ends_before_the_quiet_tail() {
        let scenario = Scenario::parse("reorg", "reorg", TEXT).unwrap();
        for seed in 0..20 {
            let plan = scenario.plan(seed);
            assert!(plan.chaos_steps > 0);
            assert!(plan.steps.iter().all(|step| step.at <= plan.quiet_from));
            assert!(plan.steps.is_sorted_by_key(|step| step.at));
        }
    }
}
