//! Scenario files: stories for the simulator to play.
//!
//! A [`Scenario`] is what a file says; a [`Plan`] is what one seed makes of it, with every range
//! drawn and every fault on a schedule, before anything runs.

mod action;
mod catalogue;
mod chaos;
mod choice;
mod draw;
mod event;
mod expect;
mod kinds;
mod link;
mod parse;
mod plan;
mod quantity;
mod reader;
mod step;

use std::collections::BTreeMap;
use std::time::Duration;

use choice::choices;

pub use action::Action;
pub use catalogue::{Catalogue, CatalogueError};
pub use chaos::{Chaos, families};
pub use draw::Draws;
pub use event::{Event, Step, schedule};
pub use expect::Expect;
pub use kinds::{DiskMode, Hostility, Loss, NodeMode, PoolMode, Tamper, VerifierMode};
pub use link::{HOSTS, Link, SECOND_VERIFIER};
pub use plan::{Miner, Plan};
pub use quantity::{Latency, Span, TimeSpan, duration as parse_duration, show_duration};
pub use reader::Problem;
pub(crate) use reader::unknown as unknown_name;
pub use step::PlannedEvent;

/// What a scenario file says.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The family: the folder of the file.
    pub family: String,
    /// The name: the file's name and the `name` in it, which agree.
    pub name: String,
    /// One sentence on what is played and expected.
    pub doc: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// `[sim]`.
    pub sim: Sim,
    /// `topology.miners`, where the groups of `[[miners]]` do not count themselves.
    pub miners: Option<Span>,
    /// `topology.verifiers`: 1, or 2 that the gateway asks side by side. What is done to verdicts
    /// is done to those of the first.
    pub verifiers: u32,
    /// `[links.…]` by link; the key `default` is for every other.
    pub links: BTreeMap<String, LinkQuality>,
    /// `[config.…]`: sections of the programs' own configuration, checked by the programs.
    pub config: BTreeMap<String, toml::Table>,
    /// `[[miners]]`.
    pub groups: Vec<MinerGroup>,
    /// `[[at]]`.
    pub events: Vec<PlannedEvent>,
    /// `[chaos]`.
    pub chaos: Option<Chaos>,
    /// `[[expect]]`.
    pub expect: Vec<Expect>,
}

/// The `[sim]` table.
#[derive(Debug, Clone)]
pub struct Sim {
    /// How long the run takes in virtual time, its quiet tail included.
    pub duration: TimeSpan,
    /// The seeds of a sweep of this scenario alone that names none; every other run takes the
    /// first of them unless it is told another.
    pub seeds: Option<Span>,
    /// Which node the scenario asks for.
    pub node: NodeChoice,
    /// Blocks in the chain before the run begins.
    pub initial_blocks: Span,
    /// Every fault is healed this long before the end.
    pub quiet_tail: Duration,
    /// How long TCP repeats unanswered bytes before it gives up; none is as long as Linux does.
    pub retransmission_limit: Option<Duration>,
    /// A harder proof-of-work limit than regtest's, in compact form; embedded chain only.
    pub bits: Option<u32>,
}

/// Which node plays bitcoind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeChoice {
    /// The best that is present.
    Auto,
    /// A real regtest node.
    Bitcoind,
    /// Recorded answers of a real one.
    Replay,
    /// The chain inside this program.
    Embedded,
}

impl Sim {
    /// The seed of a run that is told none.
    pub fn first_seed(&self) -> u64 {
        self.seeds.map_or(0, |seeds| seeds.low())
    }
}

impl NodeChoice {
    /// The names, as files and the command line write them.
    pub const CHOICES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("bitcoind", Self::Bitcoind),
        ("replay", Self::Replay),
        ("embedded", Self::Embedded),
    ];

    /// The name as files and the command line write it.
    pub fn as_str(self) -> &'static str {
        let named = Self::CHOICES.iter().find(|(_, choice)| *choice == self);
        named.expect("every choice is in the table").0
    }
}

/// One `[links.…]` table.
#[derive(Debug, Clone, Default)]
pub struct LinkQuality {
    /// How long a byte is under way.
    pub latency: Option<Latency>,
    /// How many bytes a read returns at most.
    pub chunk: Option<Span>,
    /// Bytes a second; none is without limit.
    pub bytes_per_second: Option<u64>,
    /// Bytes that may be under way and unread before a sender must wait.
    pub window: Option<u64>,
    /// Whether a read may return what several writes sent.
    pub coalesce: Option<bool>,
}

/// One `[[miners]]` table.
#[derive(Debug, Clone)]
pub struct MinerGroup {
    /// What channel each opens.
    pub kind: MinerKind,
    /// How many miners; none shares out `topology.miners`.
    pub count: Option<Span>,
    /// The nominal hash rate each announces, in hashes a second.
    pub hashrate: f32,
    /// The mean time between two shares of one miner.
    pub share_interval: TimeSpan,
    /// What they do.
    pub behaviour: Behaviour,
    /// Which real device or proxy they are like.
    pub profile: Profile,
    /// When they first connect.
    pub start: TimeSpan,
}

choices! {
    /// What channel a miner opens.
    MinerKind {
        /// A standard one.
        Standard = "standard",
        /// An extended one, whose extranonce it rolls.
        Extended = "extended",
    }
}

choices! {
    /// What a miner does with its work.
    Behaviour {
        /// Sends good shares only.
        Honest = "honest",
        /// Sends each share twice.
        Replay = "replay",
        /// Sends shares for jobs of a tip that is gone.
        Stale = "stale",
        /// Sends hashes above its target.
        LowDifficulty = "low_difficulty",
        /// Sends an ntime before the job's minimum.
        BadNtime = "bad_ntime",
        /// Sends version bits outside the mask.
        BadVersionBits = "bad_version_bits",
        /// Sends a job id that was never issued.
        UnknownJob = "unknown_job",
        /// Sends a channel id that it does not own.
        UnknownChannel = "unknown_channel",
        /// Sends an extranonce that is a byte too short; on extended channels.
        BadExtranonce = "bad_extranonce",
        /// Sends good shares for the job before the present one.
        OldJob = "old_job",
        /// Takes turns between all of these but the last two.
        Everything = "everything",
    }
}

choices! {
    /// Which real device or proxy a miner is like: what it says of itself, what it asks for, and
    /// what it would not survive.
    Profile {
        /// None: the bench's own.
        Assay = "assay",
        /// ESP-Miner, the firmware of Bitaxe: eight job slots, and its answers in turn.
        Bitaxe = "bitaxe",
        /// The reference implementation's CPU miner, which panics on whatever it does not expect.
        MiningDevice = "mining_device",
        /// The reference implementation's Stratum V1 proxy.
        Translator = "translator",
        /// Firmware as Braiins published it: no flags, answers in turn.
        Braiins = "braiins",
        /// A job declarator's client: asks for work selection, and does without where it is told to.
        Jdc = "jdc",
    }
}

impl Profile {
    /// The kind of channel that it opens, where it opens only one.
    pub fn only_kind(self) -> Option<MinerKind> {
        match self {
            Self::Assay | Self::Bitaxe => None,
            Self::MiningDevice | Self::Braiins => Some(MinerKind::Standard),
            Self::Translator | Self::Jdc => Some(MinerKind::Extended),
        }
    }

    /// For plans, which name a profile only where there is one.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::Assay
    }
}
