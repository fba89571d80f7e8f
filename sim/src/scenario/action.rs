//! What can be done to a world.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kinds::{DiskMode, Hostility, Loss, NodeMode, PoolMode, Tamper, VerifierMode};
use super::link::Link;
use super::quantity::{as_text, show_duration};
use crate::net::BACKLOG;

/// Something done to the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// No byte passes; they are kept for later, as TCP keeps them, and senders give up in the end.
    Cut(Link),
    /// No byte passes for a while, and none is lost: nobody gives up.
    Stall(Link),
    /// New connections are refused.
    Refuse(Link),
    /// New connections get no answer.
    SynTimeout(Link),
    /// Every byte takes longer.
    Slow {
        /// Which link.
        link: Link,
        /// By how much.
        #[serde(with = "as_text")]
        by: Duration,
    },
    /// Few bytes pass in a second.
    Narrow {
        /// Which link.
        link: Link,
        /// How many.
        bytes_per_second: u64,
    },
    /// Segments have bits flipped.
    Corrupt {
        /// Which link.
        link: Link,
        /// How many of a thousand.
        per_mille: u32,
    },
    /// Nothing is wrong with the link any more.
    Heal(Link),
    /// Every connection on the link is reset.
    Rst(Link),
    /// Every connection on the link ends in both directions, after what was sent.
    Fin(Link),
    /// Every connection on the link dies at the second-named host, and the first is not told.
    HalfOpen(Link),
    /// Verdicts reach the gateway later by this much; zero ends it.
    VerdictDelay {
        /// By how much.
        #[serde(with = "as_text")]
        delay: Duration,
    },
    /// The verifier's end of the link changes how it behaves.
    VerifierMode(VerifierMode),
    /// The pool backend changes how it answers.
    PoolMode(PoolMode),
    /// The node changes how it answers.
    NodeMode(NodeMode),
    /// Peers that mean harm are at the miners' port.
    Attack {
        /// What they do.
        kind: Hostility,
        /// How many; zero ends it.
        count: u32,
    },
    /// Proposals are altered on their way to the verifier.
    Tamper(Tamper),
    /// The log of the gateway loses what sends shares again, and keeps their events: what an
    /// incomplete backup brings back. The gateway must not be running.
    LoseResendData,
    /// Keys of the gateway's configuration file change, and it is told to read it again.
    Reload {
        /// Sections of the file as TOML, merged into what there is.
        config: String,
    },
    /// Something is wrong with the disk of a host.
    DiskMode {
        /// Which.
        host: String,
        /// What.
        mode: DiskMode,
    },
    /// The wall clock of a host jumps; elapsed time does not.
    ClockJump {
        /// Which.
        host: String,
        /// By how many milliseconds, either way.
        by_ms: i64,
    },
    /// A host holds fewer connections that nobody has accepted yet; further ones get no answer.
    Backlog {
        /// Which.
        host: String,
        /// How many.
        connections: u32,
    },
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

impl Action {
    /// The names that `do` gives actions, in the order of the alphabet.
    pub const NAMES: [&'static str; 30] = [
        "attack",
        "backlog",
        "clock_jump",
        "competing_tips",
        "corrupt",
        "crash",
        "cut",
        "disk_mode",
        "drain",
        "fin",
        "find_block",
        "half_open",
        "heal",
        "lose_resend_data",
        "mine",
        "narrow",
        "node_mode",
        "pool_mode",
        "refuse",
        "reload",
        "reorg",
        "restart",
        "rst",
        "slow",
        "stall",
        "syn_timeout",
        "tamper",
        "transactions",
        "verdict_delay",
        "verifier_mode",
    ];

    /// The name that `do` gives it, and `within.after` finds it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mine { .. } => "mine",
            Self::Reorg { .. } => "reorg",
            Self::CompetingTips => "competing_tips",
            Self::Transactions { .. } => "transactions",
            Self::Cut(_) => "cut",
            Self::Stall(_) => "stall",
            Self::Refuse(_) => "refuse",
            Self::SynTimeout(_) => "syn_timeout",
            Self::Slow { .. } => "slow",
            Self::Narrow { .. } => "narrow",
            Self::Corrupt { .. } => "corrupt",
            Self::Heal(_) => "heal",
            Self::Rst(_) => "rst",
            Self::Fin(_) => "fin",
            Self::HalfOpen(_) => "half_open",
            Self::VerdictDelay { .. } => "verdict_delay",
            Self::VerifierMode(_) => "verifier_mode",
            Self::PoolMode(_) => "pool_mode",
            Self::NodeMode(_) => "node_mode",
            Self::Attack { .. } => "attack",
            Self::Tamper(_) => "tamper",
            Self::Reload { .. } => "reload",
            Self::LoseResendData => "lose_resend_data",
            Self::DiskMode { .. } => "disk_mode",
            Self::ClockJump { .. } => "clock_jump",
            Self::Backlog { .. } => "backlog",
            Self::Crash { .. } => "crash",
            Self::Restart { .. } => "restart",
            Self::Drain { .. } => "drain",
            Self::FindBlock { .. } => "find_block",
        }
    }

    /// What makes the world whole again after it; none where nothing needs to.
    pub fn undo(&self) -> Option<Self> {
        Some(match self {
            Self::Cut(link)
            | Self::Stall(link)
            | Self::Refuse(link)
            | Self::SynTimeout(link)
            | Self::Slow { link, .. }
            | Self::Narrow { link, .. }
            | Self::Corrupt { link, .. } => Self::Heal(link.clone()),
            Self::VerdictDelay { .. } => Self::VerdictDelay { delay: Duration::ZERO },
            Self::VerifierMode(_) => Self::VerifierMode(VerifierMode::Honest),
            Self::PoolMode(_) => Self::PoolMode(PoolMode::Ok),
            Self::NodeMode(_) => Self::NodeMode(NodeMode::Ok),
            Self::Attack { kind, .. } => Self::Attack { kind: *kind, count: 0 },
            Self::Tamper(_) => Self::Tamper(Tamper::None),
            Self::DiskMode { host, .. } => {
                Self::DiskMode { host: host.clone(), mode: DiskMode::Ok }
            }
            Self::ClockJump { host, by_ms } => {
                Self::ClockJump { host: host.clone(), by_ms: -by_ms }
            }
            Self::Backlog { host, .. } => {
                Self::Backlog { host: host.clone(), connections: BACKLOG as u32 }
            }
            Self::Crash { host, .. } | Self::Drain { host } => Self::Restart { host: host.clone() },
            _ => return None,
        })
    }

    /// Whether it makes something whole that was broken before.
    pub fn is_cure(&self) -> bool {
        match self {
            Self::Heal(_) | Self::Restart { .. } => true,
            Self::VerdictDelay { delay } => delay.is_zero(),
            Self::VerifierMode(mode) => *mode == VerifierMode::Honest,
            Self::PoolMode(mode) => *mode == PoolMode::Ok,
            Self::NodeMode(mode) => *mode == NodeMode::Ok,
            Self::Attack { count, .. } => *count == 0,
            Self::Tamper(tamper) => *tamper == Tamper::None,
            Self::DiskMode { mode, .. } => *mode == DiskMode::Ok,
            Self::Backlog { connections, .. } => *connections >= BACKLOG as u32,
            _ => false,
        }
    }

    /// The link that it is done to.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Cut(link)
            | Self::Stall(link)
            | Self::Refuse(link)
            | Self::SynTimeout(link)
            | Self::Slow { link, .. }
            | Self::Narrow { link, .. }
            | Self::Corrupt { link, .. }
            | Self::Heal(link)
            | Self::Rst(link)
            | Self::Fin(link)
            | Self::HalfOpen(link) => Some(link),
            _ => None,
        }
    }

    /// The host that it is done to.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::DiskMode { host, .. }
            | Self::ClockJump { host, .. }
            | Self::Backlog { host, .. }
            | Self::Crash { host, .. }
            | Self::Restart { host }
            | Self::Drain { host } => Some(host),
            Self::NodeMode(_) => Some("bitcoind"),
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
            Self::Stall(link) => write!(f, "stall {link}"),
            Self::Refuse(link) => write!(f, "refuse connections {link}"),
            Self::SynTimeout(link) => write!(f, "ignore connections {link}"),
            Self::Slow { link, by } => write!(f, "slow {link} by {}", show_duration(*by)),
            Self::Narrow { link, bytes_per_second } => {
                write!(f, "narrow {link} to {bytes_per_second} bytes a second")
            }
            Self::Corrupt { link, per_mille } => write!(f, "corrupt {per_mille} ‰ of {link}"),
            Self::Heal(link) => write!(f, "heal {link}"),
            Self::Rst(link) => write!(f, "reset {link}"),
            Self::Fin(link) => write!(f, "end connections {link}"),
            Self::HalfOpen(link) => write!(f, "half open {link}"),
            Self::VerdictDelay { delay } => write!(f, "verdicts {} late", show_duration(*delay)),
            Self::VerifierMode(mode) => write!(f, "verifier {}", mode.as_str()),
            Self::PoolMode(mode) => write!(f, "pool {}", mode.as_str()),
            Self::NodeMode(mode) => write!(f, "node {}", mode.as_str()),
            Self::Attack { kind, count } => write!(f, "{count} attackers: {}", kind.as_str()),
            Self::LoseResendData => f.write_str("the log loses what sends shares again"),
            Self::Reload { config } => {
                write!(f, "reload with {}", config.trim().replace('\n', " "))
            }
            Self::Tamper(tamper) => write!(f, "tamper with {}", tamper.as_str()),
            Self::DiskMode { host, mode } => write!(f, "disk of {host} {}", mode.as_str()),
            Self::ClockJump { host, by_ms } => write!(f, "clock of {host} jumps {by_ms} ms"),
            Self::Backlog { host, connections } => {
                write!(f, "backlog of {host} {connections}")
            }
            Self::Crash { host, loss: Loss::Replaced } => write!(f, "replace {host}"),
            Self::Crash { host, loss: Loss::Kill } => write!(f, "kill {host}"),
            Self::Crash { host, loss: Loss::PowerLoss } => write!(f, "power loss of {host}"),
            Self::Restart { host } => write!(f, "start {host}"),
            Self::Drain { host } => write!(f, "drain {host}"),
            Self::FindBlock { miner } => write!(f, "miner {miner} finds a block"),
        }
    }
}
