//! Faults drawn at random, before the run: they are data, and can be printed, replayed and taken
//! away one by one.

use std::ops::Range;
use std::time::Duration;

use super::action::Action;
use super::draw::Draws;
use super::event::Event;
use super::kinds::{DiskMode, Hostility, Loss, NodeMode, PoolMode, VerifierMode};
use super::link::{Link, SECOND_VERIFIER};
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

/// Draws one fault, in a world of so many verifiers.
type Draw = fn(&mut Draws, u32) -> Action;

/// The families of faults that can be drawn.
const FAMILIES: [(&str, Draw); 41] = [
    ("attack", |draws, _| Action::Attack {
        kind: draws.pick(Hostility::CHOICES).1,
        count: draws.between(1, 3) as u32,
    }),
    ("backlog", |draws, verifiers| Action::Backlog {
        host: (*draws.pick(&with_second(&LISTENERS, verifiers))).to_owned(),
        connections: draws.between(0, 2) as u32,
    }),
    ("clock_jump", clock_jump),
    ("competing_tips", |_, _| Action::CompetingTips),
    ("corrupt", |draws, _| Action::Corrupt {
        // Only the miners' link can tell: the others trust TCP's checksum.
        link: between(("miners", "gateway"), draws),
        per_mille: draws.between(5, 200) as u32,
    }),
    ("crash", crash),
    ("cut", |draws, verifiers| Action::Cut(any_link(draws, verifiers))),
    ("disk_full", |_, _| gateway_disk(DiskMode::Full)),
    ("drain", |draws, verifiers| Action::Drain { host: daemon(draws, verifiers) }),
    ("fin", |draws, verifiers| Action::Fin(any_link(draws, verifiers))),
    // No fault, but what every fault must leave whole.
    ("find_block", |draws, _| Action::FindBlock { miner: draws.between(0, 9) as u32 }),
    ("half_open", |draws, verifiers| Action::HalfOpen(any_link(draws, verifiers))),
    ("machine_replaced", |draws, verifiers| Action::Crash {
        // A gateway's disk is what it promised: without it shares are gone.
        host: (*draws.pick(&with_second(&["templates", "verifier"], verifiers))).to_owned(),
        loss: Loss::Replaced,
    }),
    ("narrow", |draws, verifiers| Action::Narrow {
        link: any_link(draws, verifiers),
        bytes_per_second: draws.between(2_000, 50_000),
    }),
    ("node_down", |_, _| Action::NodeMode(NodeMode::Down)),
    ("node_empty_template", |_, _| Action::NodeMode(NodeMode::EmptyTemplate)),
    ("node_mempool", |draws, _| {
        Action::NodeMode(*draws.pick(&[NodeMode::BlindMempool, NodeMode::MempoolError]))
    }),
    ("node_stale_tip", |_, _| Action::NodeMode(NodeMode::StaleTip)),
    ("node_timeout", |_, _| Action::NodeMode(NodeMode::Timeout)),
    ("node_warming_up", |_, _| Action::NodeMode(NodeMode::WarmingUp)),
    ("node_zero_coinbase", |_, _| Action::NodeMode(NodeMode::ZeroCoinbase)),
    ("pool_429", |_, _| Action::PoolMode(PoolMode::TooMany)),
    ("pool_5xx", |_, _| Action::PoolMode(PoolMode::ServerError)),
    ("pool_down", |_, _| Action::PoolMode(PoolMode::Down)),
    ("pool_flapping", |_, _| Action::PoolMode(PoolMode::Flapping)),
    ("pool_reject", |_, _| Action::PoolMode(PoolMode::Reject)),
    ("pool_slow", pool_slow),
    ("pool_truncated", |_, _| Action::PoolMode(PoolMode::Truncated)),
    ("pool_wrong_secret", |_, _| Action::PoolMode(PoolMode::WrongSecret)),
    ("refused", |draws, verifiers| Action::Refuse(any_link(draws, verifiers))),
    ("reorg", |draws, _| Action::Reorg { depth: draws.between(1, 6) as u32 }),
    ("rst", |draws, verifiers| Action::Rst(any_link(draws, verifiers))),
    ("slow_link", |draws, verifiers| Action::Slow {
        link: any_link(draws, verifiers),
        by: Duration::from_micros(draws.between(1_000, 800_000)),
    }),
    ("slow_sync", |_, _| gateway_disk(DiskMode::SlowSync)),
    ("slow_verdict", |draws, _| Action::VerdictDelay {
        delay: Duration::from_micros(draws.between(1_000, 6_000_000)),
    }),
    ("stall", |draws, verifiers| Action::Stall(any_link(draws, verifiers))),
    ("syn_timeout", |draws, verifiers| Action::SynTimeout(any_link(draws, verifiers))),
    ("tip", |draws, _| Action::Mine { blocks: draws.between(1, 2) as u32 }),
    (TIP_STORM, |_, _| Action::Mine { blocks: 1 }),
    ("verifier_lies", verifier_lies),
    ("write_error", |draws, _| {
        gateway_disk(*draws.pick(&[DiskMode::WriteError, DiskMode::SyncError]))
    }),
];

/// The family whose one fault is many tips, one soon after the other.
const TIP_STORM: &str = "tip_storm";
/// How many tips a storm has, and the time between two.
const STORM_TIPS: (u64, u64) = (3, 10);
const STORM_TIP_US: (u64, u64) = (5_000, 400_000);

/// The names of the families, in the order of the alphabet.
pub fn families() -> Vec<&'static str> {
    FAMILIES.iter().map(|(name, _)| *name).collect()
}

/// Links that faults are drawn on: each has a side that must cope by itself.
const LINKS: [(&str, &str); 6] = [
    ("gateway", "verifier"),
    ("gateway", "templates"),
    ("gateway", "pool"),
    ("templates", "bitcoind"),
    ("verifier", "bitcoind"),
    ("miners", "gateway"),
];
/// The programs under test.
const DAEMONS: [&str; 3] = ["gateway", "verifier", "templates"];
/// Hosts that can die.
const MORTALS: [&str; 5] = ["gateway", "verifier", "templates", "pool", "bitcoind"];
/// Hosts whose listeners can have too many connections waiting.
const LISTENERS: [&str; 4] = ["gateway", "verifier", "templates", "pool"];

/// The shortest and the longest that a drawn fault lasts.
const FAULT_US: (u64, u64) = (20_000, 3_000_000);
/// The furthest that a clock is set wrong: what NTP mends within its first minutes.
const CLOCK_JUMP_MS: u64 = 5_000;

fn any_link(draws: &mut Draws, verifiers: u32) -> Link {
    let mut links = LINKS.to_vec();
    if verifiers > 1 {
        links.push(("gateway", SECOND_VERIFIER));
    }
    between(*draws.pick(&links), draws)
}

/// These hosts, and the second verifier where there is one.
fn with_second(hosts: &[&'static str], verifiers: u32) -> Vec<&'static str> {
    let second = (verifiers > 1).then_some(SECOND_VERIFIER);
    hosts.iter().copied().chain(second).collect()
}

/// The link in both directions, or now and then in one.
fn between((one, other): (&str, &str), draws: &mut Draws) -> Link {
    let (from, to) = if draws.unit() < 0.5 { (one, other) } else { (other, one) };
    Link { from: from.to_owned(), to: to.to_owned(), both: draws.unit() < 0.75 }
}

fn daemon(draws: &mut Draws, verifiers: u32) -> String {
    (*draws.pick(&with_second(&DAEMONS, verifiers))).to_owned()
}

fn gateway_disk(mode: DiskMode) -> Action {
    Action::DiskMode { host: "gateway".to_owned(), mode }
}

fn clock_jump(draws: &mut Draws, verifiers: u32) -> Action {
    let by_ms = draws.between(0, 2 * CLOCK_JUMP_MS) as i64 - CLOCK_JUMP_MS as i64;
    Action::ClockJump { host: daemon(draws, verifiers), by_ms }
}

fn crash(draws: &mut Draws, verifiers: u32) -> Action {
    let loss = if draws.unit() < 0.5 { Loss::Kill } else { Loss::PowerLoss };
    let host = (*draws.pick(&with_second(&MORTALS, verifiers))).to_owned();
    Action::Crash { host, loss }
}

fn pool_slow(draws: &mut Draws, _: u32) -> Action {
    Action::PoolMode(*draws.pick(&[PoolMode::Slow, PoolMode::SlowBody]))
}

fn verifier_lies(draws: &mut Draws, _: u32) -> Action {
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

    /// Faults of these families in this time, in order of time, each ended by its end. Of
    /// `verifiers` there is one, or two of which each may be hit.
    ///
    /// # Panics
    /// If a family is not one of [`families`].
    pub fn draw(
        &self,
        families: &[&'static str],
        time: Range<Duration>,
        verifiers: u32,
        draws: &mut Draws,
    ) -> Vec<Event> {
        let until = time.end;
        let mut events = Vec::new();
        if families.is_empty() || self.rate <= 0.0 {
            return events;
        }
        let mut at = time.start;
        loop {
            at += Duration::from_micros(draws.exponential_us(1e6 / self.rate));
            if at >= until {
                events.sort_by_key(|event: &Event| event.at);
                return events;
            }
            let family = *draws.pick::<&str>(families);
            let (_, draw) = FAMILIES
                .iter()
                .find(|(name, _)| *name == family)
                .unwrap_or_else(|| panic!("\"{family}\" is no family of faults"));
            if family == TIP_STORM {
                events.extend(tip_storm(at, until, draws));
                continue;
            }
            let action = draw(draws, verifiers);
            let ends = at + Duration::from_micros(draws.between(FAULT_US.0, FAULT_US.1));
            let until = action.undo().map(|_| ends.min(until));
            events.push(Event { at, until, action });
        }
    }
}

fn tip_storm(from: Duration, until: Duration, draws: &mut Draws) -> Vec<Event> {
    let mut at = from;
    let mut events = Vec::new();
    for _ in 0..draws.between(STORM_TIPS.0, STORM_TIPS.1) {
        events.push(Event { at, until: None, action: Action::Mine { blocks: 1 } });
        at += Duration::from_micros(draws.between(STORM_TIP_US.0, STORM_TIP_US.1));
    }
    events.retain(|event| event.at < until);
    events
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
            let events = chaos().draw(&[family], Duration::from_secs(1)..until, 2, &mut draws);
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

    /// Whether any fault of a long storm of these families is at the second verifier.
    fn hits_the_second(families: &[&'static str], verifiers: u32) -> bool {
        let time = Duration::ZERO..Duration::from_secs(200);
        let events = chaos().draw(families, time, verifiers, &mut Draws::new(5, "faults"));
        events.iter().any(|Event { action, .. }| {
            action.host() == Some(SECOND_VERIFIER)
                || action.link().is_some_and(|link| link.touches(SECOND_VERIFIER))
        })
    }

    #[test]
    fn the_second_verifier_is_hit_where_there_is_one() {
        for family in ["backlog", "clock_jump", "crash", "cut", "drain", "machine_replaced"] {
            assert!(hits_the_second(&[family], 2), "{family}");
        }
        assert!(!hits_the_second(&families(), 1));
    }

    #[test]
    fn no_gateway_is_replaced_and_every_host_can_die() {
        let time = Duration::ZERO..Duration::from_secs(200);
        let families = ["crash", "machine_replaced"];
        let events = chaos().draw(&families, time, 1, &mut Draws::new(5, "faults"));
        let died = |loss: Loss| -> BTreeSet<&str> {
            let crashes = events.iter().filter_map(|event| match &event.action {
                Action::Crash { host, loss: lost } if *lost == loss => Some(host.as_str()),
                _ => None,
            });
            crashes.collect()
        };
        assert_eq!(died(Loss::Kill), MORTALS.into());
        assert_eq!(died(Loss::PowerLoss), MORTALS.into());
        assert_eq!(died(Loss::Replaced), ["templates", "verifier"].into());
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
