//! What a scenario does to its world, and when.

use std::fmt;
use std::time::Duration;

use super::draw::Draws;
use super::quantity::{Span, TimeSpan, show_duration};
use super::reader::{Reader, unknown};

/// The hosts of a world. `miners` stands for every miner.
pub const HOSTS: [&str; 6] = ["bitcoind", "gateway", "miners", "pool", "templates", "verifier"];

/// A step of the schedule: drawn, so nothing of it is left to chance.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, since the start of the run.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// Something done to the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The node mines blocks on its tip.
    Mine {
        /// How many.
        blocks: u32,
    },
    /// The node replaces its last `depth` blocks by `depth + 1` others.
    Reorg {
        /// How many blocks are undone.
        depth: u32,
    },
    /// The node learns of a second block beside its tip.
    CompetingTips,
    /// The node's mempool gets transactions.
    Transactions {
        /// How many.
        count: u32,
    },
    /// No byte passes; they are kept for later, as TCP keeps them.
    Cut(Link),
    /// The link works again.
    Heal(Link),
    /// Every connection on the link is reset.
    Rst(Link),
    /// Verdicts reach the gateway later by this much; zero ends it.
    VerdictDelay {
        /// By how much.
        delay: Duration,
    },
    /// The pool backend changes how it answers.
    PoolMode(PoolMode),
    /// A host dies.
    Crash {
        /// Which.
        host: String,
        /// What becomes of its disk.
        loss: Loss,
    },
    /// A dead host starts again.
    Restart {
        /// Which.
        host: String,
    },
    /// A host is told to drain, as by SIGTERM.
    Drain {
        /// Which.
        host: String,
    },
    /// A miner finds a block next.
    FindBlock {
        /// Which, counted from 0.
        miner: u32,
    },
}

/// What a crash does to the disk of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process dies; what it wrote stays.
    Kill,
    /// The machine loses power; only what was synced stays.
    PowerLoss,
}

/// How the pool backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// At once.
    Ok,
    /// After a second and a half.
    Slow,
    /// With 503.
    ServerError,
    /// By turns with 503 and well.
    Flapping,
    /// With `accepted = false`.
    Reject,
    /// Not at all: it refuses connections.
    Down,
}

impl PoolMode {
    const CHOICES: [(&'static str, Self); 6] = [
        ("ok", Self::Ok),
        ("slow", Self::Slow),
        ("5xx", Self::ServerError),
        ("flapping", Self::Flapping),
        ("reject", Self::Reject),
        ("down", Self::Down),
    ];

    /// The name as scenario files write it.
    pub fn as_str(self) -> &'static str {
        let named = Self::CHOICES.iter().find(|(_, mode)| *mode == self);
        named.expect("every mode is in the table").0
    }
}

/// A link between hosts, in one direction or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// One end, where the bytes come from.
    pub from: String,
    /// The other end.
    pub to: String,
    /// Whether the opposite direction is meant as well.
    pub both: bool,
}

impl Link {
    /// Reads `gateway->verifier` or `gateway<->verifier`.
    ///
    /// # Errors
    /// Text that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (from, to, both) = if let Some((from, to)) = text.split_once("<->") {
            (from, to, true)
        } else if let Some((from, to)) = text.split_once("->") {
            (from, to, false)
        } else {
            return Err(format!("\"{text}\" is no link; write a->b or a<->b"));
        };
        for end in [from, to] {
            known_host(end)?;
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned(), both })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.both { "<->" } else { "->" };
        write!(f, "{}{arrow}{}", self.from, self.to)
    }
}

fn known_host(name: &str) -> Result<(), String> {
    if HOSTS.contains(&name) {
        Ok(())
    } else {
        Err(format!("host \"{name}\" {}", unknown(name, HOSTS.into_iter())))
    }
}

impl Action {
    /// The name that `do` gives it, and `within.after` finds it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mine { .. } => "mine",
            Self::Reorg { .. } => "reorg",
            Self::CompetingTips => "competing_tips",
            Self::Transactions { .. } => "transactions",
            Self::Cut(_) => "cut",
            Self::Heal(_) => "heal",
            Self::Rst(_) => "rst",
            Self::VerdictDelay { .. } => "verdict_delay",
            Self::PoolMode(_) => "pool_mode",
            Self::Crash { .. } => "crash",
            Self::Restart { .. } => "restart",
            Self::Drain { .. } => "drain",
            Self::FindBlock { .. } => "find_block",
        }
    }

    /// What makes the world whole again after it, where something does.
    pub fn undo(&self) -> Option<Self> {
        match self {
            Self::Cut(link) => Some(Self::Heal(link.clone())),
            Self::VerdictDelay { .. } => Some(Self::VerdictDelay { delay: Duration::ZERO }),
            Self::PoolMode(_) => Some(Self::PoolMode(PoolMode::Ok)),
            Self::Crash { host, .. } | Self::Drain { host } => {
                Some(Self::Restart { host: host.clone() })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mine { blocks } => write!(f, "mine {blocks}"),
            Self::Reorg { depth } => write!(f, "reorg of depth {depth}"),
            Self::CompetingTips => f.write_str("competing tips"),
            Self::Transactions { count } => write!(f, "{count} transactions"),
            Self::Cut(link) => write!(f, "cut {link}"),
            Self::Heal(link) => write!(f, "heal {link}"),
            Self::Rst(link) => write!(f, "reset {link}"),
            Self::VerdictDelay { delay } => write!(f, "verdicts {} late", show_duration(*delay)),
            Self::PoolMode(mode) => write!(f, "pool {}", mode.as_str()),
            Self::Crash { host, loss: Loss::Kill } => write!(f, "kill {host}"),
            Self::Crash { host, loss: Loss::PowerLoss } => write!(f, "power loss of {host}"),
            Self::Restart { host } => write!(f, "start {host}"),
            Self::Drain { host } => write!(f, "drain {host}"),
            Self::FindBlock { miner } => write!(f, "miner {miner} finds a block"),
        }
    }
}

/// A step as the file states it, its times and counts not yet drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    at: TimeSpan,
    lasting: Option<TimeSpan>,
    action: PlannedAction,
}

#[derive(Debug, Clone, PartialEq)]
enum PlannedAction {
    Fixed(Action),
    Mine(Span),
    Reorg(Span),
    Transactions(Span),
    VerdictDelay(TimeSpan),
    FindBlock(Span),
}

const DOES: [&str; 13] = [
    "mine",
    "reorg",
    "competing_tips",
    "transactions",
    "cut",
    "heal",
    "rst",
    "verdict_delay",
    "pool_mode",
    "crash",
    "restart",
    "drain",
    "find_block",
];

impl PlannedStep {
    /// Reads one `[[at]]` table.
    pub(super) fn read(mut table: Reader<'_>) -> Option<Self> {
        let at = table.times("t");
        let at = table.required("t", at);
        let does = table.text("do");
        let does = table.required("do", does);
        let action = does.and_then(|does| action(&mut table, does));
        let undoable = matches!(
            action,
            Some(
                PlannedAction::VerdictDelay(_)
                    | PlannedAction::Fixed(
                        Action::Cut(_)
                            | Action::PoolMode(_)
                            | Action::Crash { .. }
                            | Action::Drain { .. }
                    )
            )
        );
        let lasting = if undoable { table.times("for") } else { None };
        table.finish();
        Some(Self { at: at?, lasting, action: action? })
    }

    /// The latest it can begin.
    pub fn latest(&self) -> Duration {
        self.at.longest() + self.lasting.map_or(Duration::ZERO, |lasting| lasting.longest())
    }

    /// The step, and the one that ends it.
    pub fn draw(&self, draws: &mut Draws) -> Vec<Step> {
        let at = self.at.draw(draws);
        let action = match &self.action {
            PlannedAction::Fixed(action) => action.clone(),
            PlannedAction::Mine(blocks) => Action::Mine { blocks: blocks.draw(draws) as u32 },
            PlannedAction::Reorg(depth) => Action::Reorg { depth: depth.draw(draws) as u32 },
            PlannedAction::Transactions(count) => {
                Action::Transactions { count: count.draw(draws) as u32 }
            }
            PlannedAction::VerdictDelay(delay) => Action::VerdictDelay { delay: delay.draw(draws) },
            PlannedAction::FindBlock(miner) => {
                Action::FindBlock { miner: miner.draw(draws) as u32 }
            }
        };
        let mut steps = Vec::new();
        if let Some(lasting) = &self.lasting
            && let Some(undo) = action.undo()
        {
            steps.push(Step { at: at + lasting.draw(draws), action: undo });
        }
        steps.insert(0, Step { at, action });
        steps
    }
}

fn action(table: &mut Reader<'_>, does: &str) -> Option<PlannedAction> {
    Some(match does {
        "mine" => PlannedAction::Mine(table.span("blocks").unwrap_or(Span::fixed(1))),
        "reorg" => PlannedAction::Reorg(table.span("depth").unwrap_or(Span::fixed(1))),
        "competing_tips" => PlannedAction::Fixed(Action::CompetingTips),
        "transactions" => {
            let count = table.span("count");
            PlannedAction::Transactions(table.required("count", count)?)
        }
        "cut" => PlannedAction::Fixed(Action::Cut(link(table)?)),
        "heal" => PlannedAction::Fixed(Action::Heal(link(table)?)),
        "rst" => PlannedAction::Fixed(Action::Rst(link(table)?)),
        "verdict_delay" => {
            let delay = table.times("delay");
            PlannedAction::VerdictDelay(table.required("delay", delay)?)
        }
        "pool_mode" => {
            let mode = table.choice("mode", &PoolMode::CHOICES);
            PlannedAction::Fixed(Action::PoolMode(table.required("mode", mode)?))
        }
        "crash" => {
            let losses = [("kill", Loss::Kill), ("power_loss", Loss::PowerLoss)];
            let loss = table.choice("loss", &losses).unwrap_or(Loss::Kill);
            PlannedAction::Fixed(Action::Crash { host: host(table)?, loss })
        }
        "restart" => PlannedAction::Fixed(Action::Restart { host: host(table)? }),
        "drain" => PlannedAction::Fixed(Action::Drain { host: host(table)? }),
        "find_block" => PlannedAction::FindBlock(table.span("miner").unwrap_or(Span::fixed(0))),
        other => {
            table.problem("do", format!("\"{other}\" {}", unknown(other, DOES.into_iter())));
            return None;
        }
    })
}

fn link(table: &mut Reader<'_>) -> Option<Link> {
    let link = table.parsed("link", Link::parse);
    table.required("link", link)
}

fn host(table: &mut Reader<'_>) -> Option<String> {
    let host = table.parsed("host", |text| known_host(text).map(|()| text.to_owned()));
    table.required("host", host)
}
