//! `[[at]]`: what a scenario does to its world, and when.

use std::time::Duration;

use super::action::Action;
use super::draw::Draws;
use super::event::Event;
use super::kinds::{DiskMode, Hostility, Loss, NodeMode, PoolMode, Tamper, VerifierMode};
use super::link::{Link, known_host};
use super::quantity::{Span, TimeSpan};
use super::reader::{Reader, unknown};

/// An event as the file states it, its times and counts not yet drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedEvent {
    at: TimeSpan,
    lasting: Option<TimeSpan>,
    /// How often it happens, at least once.
    times: u32,
    /// From one time to the next.
    every: Duration,
    action: PlannedAction,
}

/// The most that one `[[at]]` table may repeat itself.
const MAX_TIMES: u64 = 10_000;

#[derive(Debug, Clone, PartialEq)]
enum PlannedAction {
    Fixed(Action),
    Mine(Span),
    Reorg(Span),
    Transactions(Span),
    VerdictDelay(TimeSpan),
    Slow(Link, TimeSpan),
    Narrow(Link, Span),
    Corrupt(Link, Span),
    FindBlock(Span),
    Attack(Hostility, Span),
}

impl PlannedEvent {
    /// Reads one `[[at]]` table.
    pub(super) fn read(mut table: Reader<'_>) -> Option<Self> {
        let at = table.times("t");
        let at = table.required("t", at);
        let does = table.text("do");
        let does = table.required("do", does);
        let action = does.and_then(|does| action(&mut table, does));
        let undoable = action.as_ref().is_some_and(PlannedAction::is_undoable);
        let lasting = if undoable { table.times("for") } else { None };
        let (every, times) = repetition(&mut table);
        table.finish();
        Some(Self { at: at?, lasting, times, every, action: action? })
    }

    /// The latest it can begin or end.
    pub fn latest(&self) -> Duration {
        let last = self.at.longest() + self.every * (self.times - 1);
        last + self.lasting.map_or(Duration::ZERO, |lasting| lasting.longest())
    }

    /// The event with its choices made, each time it happens.
    pub fn draw(&self, draws: &mut Draws) -> Vec<Event> {
        (0..self.times)
            .map(|time| {
                let at = self.at.draw(draws) + self.every * time;
                let action = self.action.draw(draws);
                let until = self.lasting.as_ref().map(|lasting| at + lasting.draw(draws));
                Event { at, until, action }
            })
            .collect()
    }
}

/// `every` and `times`, which stand together or not at all.
fn repetition(table: &mut Reader<'_>) -> (Duration, u32) {
    let (every, times) = (table.duration("every"), table.count("times"));
    match (every, times) {
        (Some(every), Some(times @ 1..=MAX_TIMES)) => return (every, times as u32),
        (_, Some(times)) if !(1..=MAX_TIMES).contains(&times) => {
            table.problem("times", format!("must be from 1 to {MAX_TIMES}"));
        }
        (Some(_), None) => table.problem("times", "is missing: how often it happens"),
        (None, Some(_)) => table.problem("every", "is missing: the time from one to the next"),
        _ => {}
    }
    (Duration::ZERO, 1)
}

impl PlannedAction {
    fn is_undoable(&self) -> bool {
        match self {
            Self::Fixed(action) => action.undo().is_some(),
            Self::VerdictDelay(_)
            | Self::Slow(..)
            | Self::Narrow(..)
            | Self::Corrupt(..)
            | Self::Attack(..) => true,
            Self::Mine(_) | Self::Reorg(_) | Self::Transactions(_) | Self::FindBlock(_) => false,
        }
    }

    fn draw(&self, draws: &mut Draws) -> Action {
        match self {
            Self::Fixed(action) => action.clone(),
            Self::Mine(blocks) => Action::Mine { blocks: blocks.draw(draws) as u32 },
            Self::Reorg(depth) => Action::Reorg { depth: depth.draw(draws) as u32 },
            Self::Transactions(count) => Action::Transactions { count: count.draw(draws) as u32 },
            Self::VerdictDelay(delay) => Action::VerdictDelay { delay: delay.draw(draws) },
            Self::Slow(link, by) => Action::Slow { link: link.clone(), by: by.draw(draws) },
            Self::Narrow(link, bytes) => {
                Action::Narrow { link: link.clone(), bytes_per_second: bytes.draw(draws) }
            }
            Self::Corrupt(link, per_mille) => {
                Action::Corrupt { link: link.clone(), per_mille: per_mille.draw(draws) as u32 }
            }
            Self::Attack(kind, count) => {
                Action::Attack { kind: *kind, count: count.draw(draws) as u32 }
            }
            Self::FindBlock(miner) => Action::FindBlock { miner: miner.draw(draws) as u32 },
        }
    }
}

fn action(table: &mut Reader<'_>, does: &str) -> Option<PlannedAction> {
    use PlannedAction::Fixed;
    Some(match does {
        "mine" => PlannedAction::Mine(table.span("blocks").unwrap_or(Span::fixed(1))),
        "reorg" => PlannedAction::Reorg(table.span("depth").unwrap_or(Span::fixed(1))),
        "competing_tips" => Fixed(Action::CompetingTips),
        "lose_resend_data" => Fixed(Action::LoseResendData),
        "transactions" => {
            let count = table.span("count");
            PlannedAction::Transactions(table.required("count", count)?)
        }
        "find_block" => PlannedAction::FindBlock(table.span("miner").unwrap_or(Span::fixed(0))),
        "backlog" | "crash" | "restart" | "drain" | "clock_jump" | "disk_mode" => {
            Fixed(host_action(table, does)?)
        }
        "verdict_delay" => {
            let delay = table.times("delay");
            PlannedAction::VerdictDelay(table.required("delay", delay)?)
        }
        "verifier_mode" => {
            Fixed(Action::VerifierMode(table.required_choice("mode", VerifierMode::CHOICES)?))
        }
        "pool_mode" => Fixed(Action::PoolMode(table.required_choice("mode", PoolMode::CHOICES)?)),
        "node_mode" => Fixed(Action::NodeMode(table.required_choice("mode", NodeMode::CHOICES)?)),
        "tamper" => Fixed(Action::Tamper(table.required_choice("what", Tamper::CHOICES)?)),
        "reload" => {
            let config = table.value("config").and_then(toml::Value::as_table);
            let config = table.required("config", config)?;
            Fixed(Action::Reload { config: config.to_string() })
        }
        "attack" => {
            let kind = table.required_choice("kind", Hostility::CHOICES);
            let count = table.span("count").unwrap_or(Span::fixed(1));
            PlannedAction::Attack(kind?, count)
        }
        _ => return link_action(table, does),
    })
}

fn host_action(table: &mut Reader<'_>, does: &str) -> Option<Action> {
    let host = table.parsed("host", |text| known_host(text).map(|()| text.to_owned()));
    let host = table.required("host", host);
    Some(match does {
        "backlog" => {
            let connections = table.count("connections");
            let connections = table.required("connections", connections)?.min(u32::MAX.into());
            Action::Backlog { connections: connections as u32, host: host? }
        }
        "crash" => {
            let loss = table.choice("loss", Loss::CHOICES).unwrap_or(Loss::Kill);
            Action::Crash { host: host?, loss }
        }
        "restart" => Action::Restart { host: host? },
        "drain" => Action::Drain { host: host? },
        "clock_jump" => {
            let by = table.integer("by_ms");
            Action::ClockJump { by_ms: table.required("by_ms", by)?, host: host? }
        }
        _ => {
            let mode = table.required_choice("mode", DiskMode::CHOICES)?;
            Action::DiskMode { host: host?, mode }
        }
    })
}

fn link_action(table: &mut Reader<'_>, does: &str) -> Option<PlannedAction> {
    use PlannedAction::Fixed;
    let simple: Option<fn(Link) -> Action> = match does {
        "cut" => Some(Action::Cut),
        "stall" => Some(Action::Stall),
        "refuse" => Some(Action::Refuse),
        "syn_timeout" => Some(Action::SynTimeout),
        "heal" => Some(Action::Heal),
        "rst" => Some(Action::Rst),
        "fin" => Some(Action::Fin),
        "half_open" => Some(Action::HalfOpen),
        "slow" | "narrow" | "corrupt" => None,
        other => {
            let what = unknown(other, Action::NAMES.into_iter());
            table.problem("do", format!("\"{other}\" {what}"));
            return None;
        }
    };
    let link = table.parsed("link", Link::parse);
    let link = table.required("link", link);
    Some(match (simple, does) {
        (Some(action), _) => Fixed(action(link?)),
        (None, "slow") => {
            let by = table.times("by");
            PlannedAction::Slow(link?, table.required("by", by)?)
        }
        (None, "narrow") => {
            let bytes = table.span("bytes_per_second");
            PlannedAction::Narrow(link?, table.required("bytes_per_second", bytes)?)
        }
        (None, _) => {
            let per_mille = table.span("per_mille");
            PlannedAction::Corrupt(link?, table.required("per_mille", per_mille)?)
        }
    })
}
