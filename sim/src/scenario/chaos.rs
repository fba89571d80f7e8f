//! Faults drawn at random, before the run: they are data, and can be printed, replayed and taken
//! away one by one.

use std::time::Duration;

use super::action::Action;
use super::draw::Draws;
use super::event::Event;
use super::kinds::{DiskMode, Hostility, Loss, NodeMode, PoolMode, VerifierMode};
use super::link::Link;
use super::quantity::rate;
use super::reader::{Reader, unknown};

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

/// What `families` may say instead of naming each.
const EVERY_FAMILY: &str = "all";

/// Draws one fault.
type Draw = fn(&mut Draws) -> Action;

/// The families of faults that can be drawn.
const FAMILIES: [(&str, Draw); 31] = [
    ("attack", |draws| Action::Attack {
        kind: draws.pick(Hostility::CHOICES).1,
        count: draws.between(1, 3) as u32,
    }),
    ("clock_jump", clock_jump),
    ("competing_tips", |_| Action::CompetingTips),
    ("corrupt", |draws| Action::Corrupt {
        // Only the miners' link can tell: the others trust TCP's checksum.
        link: between(("miners", "gateway"), draws),
        per_mille: draws.between(5, 200) as u32,
    }),
    ("crash", crash),
    ("cut", |draws| Action::Cut(any_link(draws))),
    ("disk_full", |_| gateway_disk(DiskMode::Full)),
    ("drain", |draws| Action::Drain { host: daemon(draws) }),
    ("fin", |draws| Action::Fin(any_link(draws))),
    ("half_open", |draws| Action::HalfOpen(any_link(draws))),
    ("narrow", |draws| Action::Narrow {
        link: any_link(draws),
        bytes_per_second: draws.between(2_000, 50_000),
    }),
    ("node_down", |_| Action::NodeMode(NodeMode::Down)),
    ("node_timeout", |_| Action::NodeMode(NodeMode::Timeout)),
    ("node_warming_up", |_| Action::NodeMode(NodeMode::WarmingUp)),
    ("pool_429", |_| Action::PoolMode(PoolMode::TooMany)),
    ("pool_5xx", |_| Action::PoolMode(PoolMode::ServerError)),
    ("pool_down", |_| Action::PoolMode(PoolMode::Down)),
    ("pool_reject", |_| Action::PoolMode(PoolMode::Reject)),
    ("pool_slow", pool_slow),
    ("pool_truncated", |_| Action::PoolMode(PoolMode::Truncated)),
    ("refused", |draws| Action::Refuse(any_link(draws))),
    ("reorg", |draws| Action::Reorg { depth: draws.between(1, 3) as u32 }),
    ("rst", |draws| Action::Rst(any_link(draws))),
    ("slow_link", |draws| Action::Slow {
        link: any_link(draws),
        by: Duration::from_micros(draws.between(1_000, 800_000)),
    }),
    ("slow_sync", |_| gateway_disk(DiskMode::SlowSync)),
    ("slow_verdict", |draws| Action::VerdictDelay {
        delay: Duration::from_micros(draws.between(1_000, 6_000_000)),
    }),
    ("stall", |draws| Action::Stall(any_link(draws))),
    ("syn_timeout", |draws| Action::SynTimeout(any_link(draws))),
    ("tip", |draws| Action::Mine { blocks: draws.between(1, 2) as u32 }),
    ("verifier_lies", verifier_lies),
    ("write_error", |draws| {
        gateway_disk(*draws.pick(&[DiskMode::WriteError, DiskMode::SyncError]))
    }),
];

/// The names of the families, in the order of the alphabet.
pub fn families() -> Vec<&'static str> {
    FAMILIES.iter().map(|(name, _)| *name).collect()
}

/// Links that faults are drawn on: each has a side that must cope by itself.
const LINKS: [(&str, &str); 5] = [
    ("gateway", "verifier"),
    ("gateway", "templates"),
    ("gateway", "pool"),
    ("templates", "bitcoind"),
    ("miners", "gateway"),
];

/// The shortest and the longest that a drawn fault lasts.
const FAULT_US: (u64, u64) = (20_000, 3_000_000);
/// The furthest that a clock is set wrong: what NTP mends within its first minutes.
const CLOCK_JUMP_MS: u64 = 5_000;

fn any_link(draws: &mut Draws) -> Link {
    let ends = *draws.pick(&LINKS);
    between(ends, draws)
}

/// The link in both directions, or now and then in one.
fn between((one, other): (&str, &str), draws: &mut Draws) -> Link {
    let (from, to) = if draws.unit() < 0.5 { (one, other) } else { (other, one) };
    Link { from: from.to_owned(), to: to.to_owned(), both: draws.unit() < 0.75 }
}

fn daemon(draws: &mut Draws) -> String {
    (*draws.pick(&["gateway", "verifier", "templates"])).to_owned()
}

fn gateway_disk(mode: DiskMode) -> Action {
    Action::DiskMode { host: "gateway".to_owned(), mode }
}

fn clock_jump(draws: &mut Draws) -> Action {
    let by_ms = draws.between(0, 2 * CLOCK_JUMP_MS) as i64 - CLOCK_JUMP_MS as i64;
    Action::ClockJump { host: daemon(draws), by_ms }
}

fn crash(draws: &mut Draws) -> Action {
    let loss = if draws.unit() < 0.5 { Loss::Kill } else { Loss::PowerLoss };
    Action::Crash { host: daemon(draws), loss }
}

fn pool_slow(draws: &mut Draws) -> Action {
    Action::PoolMode(*draws.pick(&[PoolMode::Slow, PoolMode::SlowBody]))
}

fn verifier_lies(draws: &mut Draws) -> Action {
    let lies: Vec<_> = VerifierMode::CHOICES
        .iter()
        .map(|(_, mode)| *mode)
        .filter(|mode| *mode != VerifierMode::Honest)
        .collect();
    Action::VerifierMode(*draws.pick(&lies))
}

impl Chaos {
    pub(super) fn read(mut table: Reader<'_>) -> Self {
        let mut families = Vec::new();
        match table.value("families") {
            Some(toml::Value::Array(items)) => {
                for item in items {
                    families.extend(read_family(&table, item.as_str()));
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

    /// Any of all families, at this many faults a second.
    pub fn storm(rate: f64) -> Self {
        Self { families: families(), swarm: true, rate, quiet_tail: None }
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

    /// Faults of these families between `from` and `until`, in order of time, each ended by
    /// `until`.
    ///
    /// # Panics
    /// If a family is not one of [`families`].
    pub fn draw(
        &self,
        families: &[&'static str],
        from: Duration,
        until: Duration,
        draws: &mut Draws,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        if families.is_empty() || self.rate <= 0.0 {
            return events;
        }
        let mut at = from;
        loop {
            at += Duration::from_micros(draws.exponential_us(1e6 / self.rate));
            if at >= until {
                return events;
            }
            let family = *draws.pick::<&str>(families);
            let (_, draw) = FAMILIES
                .iter()
                .find(|(name, _)| *name == family)
                .unwrap_or_else(|| panic!("\"{family}\" is no family of faults"));
            let action = draw(draws);
            let ends = at + Duration::from_micros(draws.between(FAULT_US.0, FAULT_US.1));
            let until = action.undo().map(|_| ends.min(until));
            events.push(Event { at, until, action });
        }
    }
}

fn read_family(table: &Reader<'_>, name: Option<&str>) -> Vec<&'static str> {
    if name == Some(EVERY_FAMILY) {
        return families();
    }
    match FAMILIES.iter().find(|(family, _)| name == Some(family)) {
        Some((family, _)) => vec![family],
        None => {
            let name = name.unwrap_or("(not text)");
            let what = unknown(name, families().into_iter().chain([EVERY_FAMILY]));
            table.problem("families", format!("\"{name}\" {what}"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chaos() -> Chaos {
        Chaos { families: families(), swarm: false, rate: 5.0, quiet_tail: None }
    }

    #[test]
    fn every_family_makes_an_explicit_schedule_that_ends_in_time() {
        let until = Duration::from_secs(30);
        for family in families() {
            let mut draws = Draws::new(3, "faults");
            let events = chaos().draw(&[family], Duration::from_secs(1), until, &mut draws);
            assert!(events.len() > 50, "{family} has {} events", events.len());
            assert!(events.is_sorted_by_key(|event| event.at));
            for event in &events {
                let broken = event.action.undo().is_some();
                assert_eq!(event.until.is_some(), broken, "{family}: {}", event.action);
                assert!(event.until.unwrap_or(event.at) <= until);
                assert!(!event.action.is_cure(), "{family}: {}", event.action);
            }
        }
    }

    #[test]
    fn a_swarm_takes_some_of_its_families() {
        let chaos = Chaos { swarm: true, ..chaos() };
        let mut sizes = BTreeSet::new();
        for seed in 0..20 {
            sizes.insert(chaos.draw_families(&mut Draws::new(seed, "faults")).len());
        }
        assert!(sizes.len() > 3 && sizes.iter().all(|size| *size > 0), "{sizes:?}");
    }
}
