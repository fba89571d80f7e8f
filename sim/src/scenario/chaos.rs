//! Faults drawn at random, before the run: they are data, and can be printed and replayed.

use std::time::Duration;

use super::draw::Draws;
use super::quantity::rate;
use super::reader::{Reader, unknown};
use super::step::{Action, Link, Loss, PoolMode, Step};

/// The `[chaos]` table.
#[derive(Debug, Clone, PartialEq)]
pub struct Chaos {
    families: Vec<&'static str>,
    swarm: bool,
    /// Faults a second.
    rate: f64,
    /// How long no fault is active before the end.
    pub quiet_tail: Option<Duration>,
}

/// The families of faults that can be drawn.
pub const FAMILIES: [&str; 6] = ["crash", "cut", "pool_5xx", "pool_slow", "rst", "slow_verdict"];

/// Links that faults are drawn on: each has a side that must cope by itself.
const LINKS: [(&str, &str); 5] = [
    ("gateway", "verifier"),
    ("gateway", "templates"),
    ("gateway", "pool"),
    ("templates", "bitcoind"),
    ("miners", "gateway"),
];

/// The longest a drawn fault lasts.
const LONGEST_FAULT_US: u64 = 3_000_000;

impl Chaos {
    pub(super) fn read(mut table: Reader<'_>) -> Self {
        let mut families = Vec::new();
        match table.value("families") {
            Some(toml::Value::Array(items)) => {
                for item in items {
                    match FAMILIES.iter().find(|family| item.as_str() == Some(family)) {
                        Some(family) => families.push(*family),
                        None => {
                            let name = item.as_str().unwrap_or("(not text)");
                            let what = unknown(name, FAMILIES.into_iter());
                            table.problem("families", format!("\"{name}\" {what}"));
                        }
                    }
                }
            }
            Some(value) => table.wrong_type("families", value, "an array of names"),
            None => table.problem("families", "is missing"),
        }
        families.sort_unstable();
        families.dedup();
        let chaos = Self {
            families,
            swarm: table.flag("swarm").unwrap_or(false),
            rate: table.parsed("rate", rate).unwrap_or(0.2),
            quiet_tail: table.duration("quiet_tail"),
        };
        table.finish();
        chaos
    }

    /// The families this seed plays: all of them, or with `swarm` each with even odds.
    pub fn draw_families(&self, draws: &mut Draws) -> Vec<&'static str> {
        let chosen: Vec<_> = if self.swarm {
            self.families.iter().copied().filter(|_| draws.unit() < 0.5).collect()
        } else {
            self.families.clone()
        };
        if chosen.is_empty() { self.families.clone() } else { chosen }
    }

    /// Faults between `from` and `until`, each ended by `until`.
    pub fn draw(
        &self,
        families: &[&'static str],
        from: Duration,
        until: Duration,
        draws: &mut Draws,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        if families.is_empty() || self.rate <= 0.0 {
            return steps;
        }
        let mut at = from;
        loop {
            at += Duration::from_micros(draws.exponential_us(1e6 / self.rate));
            if at >= until {
                return steps;
            }
            let action = fault(draws.pick::<&str>(families), draws);
            let lasting = Duration::from_micros(draws.between(20_000, LONGEST_FAULT_US));
            if let Some(undo) = action.undo() {
                steps.push(Step { at: (at + lasting).min(until), action: undo });
            }
            steps.push(Step { at, action });
        }
    }
}

fn fault(family: &str, draws: &mut Draws) -> Action {
    let (from, to) = *draws.pick(&LINKS);
    let link = Link { from: from.to_owned(), to: to.to_owned(), both: true };
    match family {
        "cut" => Action::Cut(link),
        "rst" => Action::Rst(link),
        "slow_verdict" => {
            Action::VerdictDelay { delay: Duration::from_micros(draws.between(1_000, 6_000_000)) }
        }
        "pool_5xx" => Action::PoolMode(PoolMode::ServerError),
        "pool_slow" => Action::PoolMode(PoolMode::Slow),
        "crash" => Action::Crash {
            host: (*draws.pick(&["gateway", "verifier", "templates"])).to_owned(),
            loss: if draws.unit() < 0.5 { Loss::Kill } else { Loss::PowerLoss },
        },
        other => unreachable!("\"{other}\" is not in FAMILIES"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_drawn_and_every_fault_ends_in_time() {
        let chaos =
            Chaos { families: FAMILIES.to_vec(), swarm: false, rate: 5.0, quiet_tail: None };
        let mut draws = Draws::new(3, "faults");
        let until = Duration::from_secs(60);
        let steps = chaos.draw(&FAMILIES, Duration::from_secs(1), until, &mut draws);
        assert!(steps.iter().all(|step| step.at <= until));
        for name in ["cut", "heal", "rst", "verdict_delay", "pool_mode", "crash", "restart"] {
            assert!(steps.iter().any(|step| step.action.name() == name), "{name} is missing");
        }
    }
}
