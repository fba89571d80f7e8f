//! What the actors of a world saw, each moment with its virtual time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::scenario::Action;

/// Collects what actors see, in order. Clones share one record.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    keeper: Keeper,
}

#[derive(Clone)]
enum Keeper {
    /// Keeps everything.
    Record(Arc<Mutex<Vec<Observation>>>),
    /// Takes what it needs of each moment: a load has too many to keep.
    Sink(Arc<dyn Fn(Observation) + Send + Sync>),
}

impl Recorder {
    /// An empty record whose time begins now.
    pub fn new() -> Self {
        Self { start: Instant::now(), keeper: Keeper::Record(Arc::default()) }
    }

    /// A record that keeps nothing and hands each moment to `sink`.
    pub(crate) fn into_sink(sink: impl Fn(Observation) + Send + Sync + 'static) -> Self {
        Self { start: Instant::now(), keeper: Keeper::Sink(Arc::new(sink)) }
    }

    /// Writes down what was seen at this moment.
    pub fn record(&self, what: Seen) {
        let seen = Observation { at: self.elapsed(), what };
        match &self.keeper {
            Keeper::Record(record) => lock(record).push(seen),
            Keeper::Sink(sink) => sink(seen),
        }
    }

    /// Time since the record began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// When the record began.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Everything so far that was kept.
    pub fn observations(&self) -> Vec<Observation> {
        match &self.keeper {
            Keeper::Record(record) => lock(record).clone(),
            Keeper::Sink(_) => Vec::new(),
        }
    }

    /// How many moments `matches` among everything so far that was kept.
    pub fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        match &self.keeper {
            Keeper::Record(record) => {
                lock(record).iter().filter(|observation| matches(&observation.what)).count()
            }
            Keeper::Sink(_) => 0,
        }
    }
}

fn lock(record: &Mutex<Vec<Observation>>) -> MutexGuard<'_, Vec<Observation>> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// One moment.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Virtual time since the start of the run.
    pub at: Duration,
    /// What was seen.
    pub what: Seen,
}

/// What can be seen from outside the programs under test.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A line of the gateway's event stream.
    Event(Value),
    /// A miner's side of its connection.
    Miner {
        /// Its index.
        miner: u32,
        /// What it saw.
        what: MinerSeen,
    },
    /// The pool backend's side.
    Pool(PoolSeen),
    /// The node's side.
    Node(NodeSeen),
    /// The link between gateway and verifier.
    Link(LinkSeen),
    /// An attacker's connection ended.
    Hostile {
        /// Which attacker.
        name: String,
        /// How.
        ended: String,
    },
    /// A step of the scenario was done.
    Step(Action),
    /// A program began or ended.
    Host(HostSeen),
    /// The scenario is over and has settled: what must hold in the end holds now.
    Settled,
    /// Text that a program shows to the outside: its log, its pages.
    Output {
        /// Where.
        source: String,
        /// The text.
        text: String,
    },
}

/// What kind of share a miner sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShareClass {
    /// Meets the network target.
    Block,
    /// Meets its own target only.
    Share,
    /// Sent before.
    Replay,
    /// For a job of a tip that is gone.
    Stale,
    /// Above its target.
    LowDifficulty,
    /// Its time is before the job's minimum.
    BadNtime,
    /// It rolls version bits that it may not.
    BadVersionBits,
    /// Its job was never issued.
    UnknownJob,
    /// Its channel is not the miner's.
    UnknownChannel,
    /// Its extranonce is a byte too short.
    BadExtranonce,
    /// Good, for the job before the present one of the same tip.
    OldJob,
}

impl ShareClass {
    /// The name in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Share => "share",
            Self::Replay => "replay",
            Self::Stale => "stale",
            Self::LowDifficulty => "low_difficulty",
            Self::BadNtime => "bad_ntime",
            Self::BadVersionBits => "bad_version_bits",
            Self::UnknownJob => "unknown_job",
            Self::UnknownChannel => "unknown_channel",
            Self::BadExtranonce => "bad_extranonce",
            Self::OldJob => "old_job",
        }
    }

    /// The error code that the contract (section 3) answers it with; none for good shares.
    pub fn expected_code(self) -> Option<&'static str> {
        match self {
            Self::Block | Self::Share | Self::OldJob => None,
            Self::Replay => Some("duplicate-share"),
            Self::Stale => Some("stale-share"),
            Self::LowDifficulty => Some("difficulty-too-low"),
            Self::BadNtime => Some("ntime-out-of-range"),
            Self::BadVersionBits => Some("invalid-non-rollable-version-bit"),
            Self::UnknownJob => Some("invalid-job-id"),
            Self::UnknownChannel => Some("invalid-channel-id"),
            Self::BadExtranonce => Some("bad-extranonce-size"),
        }
    }
}

/// What a miner sees. Hashes are in display order, in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinerSeen {
    /// No connection.
    Refused {
        /// Why.
        error: String,
    },
    /// The handshake is done.
    Connected,
    /// The connection ended.
    Closed {
        /// How.
        error: String,
    },
    /// It has a channel.
    ChannelOpened {
        /// Its id.
        channel_id: u32,
    },
    /// SetupConnection or the channel was refused.
    OpenRejected {
        /// The error code.
        code: String,
    },
    /// A job came.
    Job {
        /// Its id.
        job_id: u32,
        /// Whether it waits for a SetNewPrevHash.
        future: bool,
    },
    /// SetNewPrevHash came.
    PrevHash {
        /// The new tip.
        prev_hash: String,
        /// The future job that it starts.
        job_id: u32,
    },
    /// It sent a share.
    Sent {
        /// Its number among all shares of this miner.
        share: u64,
        /// SHA-256 of the header.
        share_id: String,
        /// The hash of the header.
        hash: String,
        /// The job as sent.
        job_id: u32,
        /// The tip that the share builds on.
        prev_hash: String,
        /// What kind of share.
        class: ShareClass,
    },
    /// A share was acknowledged.
    Acked {
        /// Its number.
        share: u64,
    },
    /// The gateway broke the protocol in a way that does not end the connection.
    Breach {
        /// How.
        what: String,
    },
    /// A share was refused.
    Rejected {
        /// Its number.
        share: u64,
        /// The error code.
        code: String,
    },
}

/// What the pool backend sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSeen {
    /// A POST came.
    Request {
        /// What is wrong with its signature or headers, if anything.
        signature: Result<(), String>,
        /// The status of the answer.
        status: u16,
        /// How many shares are in it.
        shares: usize,
    },
    /// A share of a signed request was judged.
    Share {
        /// Its id.
        share_id: String,
        /// Joins it to the gateway's events.
        event_id: String,
        /// What re-hashing it came to.
        check: Result<(), String>,
        /// Whether it is credited now, for the first time.
        credited: bool,
        /// Names the tip and the merkle path of its job, as [`LinkSeen::Proposed`] does.
        work_id: String,
        /// The scripts that its coinbase pays, in hex, each with its satoshis.
        pays: Vec<(String, u64)>,
    },
}

/// What the node sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeSeen {
    /// It has a new tip.
    Tip {
        /// Its hash.
        hash: String,
        /// Its height.
        height: u32,
    },
    /// A block was submitted to it.
    Submitted {
        /// Its hash.
        hash: String,
        /// The answer; `null` for a new tip.
        result: String,
        /// The scripts that its coinbase pays, in hex, each with its satoshis.
        pays: Vec<(String, u64)>,
    },
}

/// What passes between gateway and verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSeen {
    /// A whole template was proposed.
    Proposed {
        /// Its number on this connection.
        proposal_id: u64,
        /// Which connection.
        connection: u64,
        /// The tip it builds on.
        prev_hash: String,
        /// Names tip and merkle path.
        work_id: String,
    },
    /// A verdict was handed on to the gateway.
    Verdict {
        /// The proposal's number.
        proposal_id: u64,
        /// Which connection.
        connection: u64,
        /// Whether it accepts.
        accepted: bool,
        /// Its code.
        code: String,
    },
}

/// What becomes of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSeen {
    /// It was started.
    Started {
        /// Where.
        host: String,
    },
    /// It was killed.
    Crashed {
        /// Where.
        host: String,
    },
    /// It ended by itself or after a drain.
    Ended {
        /// Where.
        host: String,
        /// Its error, where it did not drain cleanly.
        error: Option<String>,
        /// Tasks that it left behind.
        tasks: usize,
        /// Connections and listeners that it left behind.
        sockets: usize,
        /// Tasks of it that panicked.
        panics: u64,
    },
    /// What it holds at this moment.
    Load {
        /// Where.
        host: String,
        /// Tasks.
        tasks: usize,
        /// Connections and listeners.
        sockets: usize,
    },
    /// It was to start with a configuration that it refuses.
    Refused {
        /// Where.
        host: String,
        /// What is wrong with it.
        error: String,
    },
    /// It ended although nobody told it to.
    Died {
        /// Where.
        host: String,
        /// Why.
        error: String,
    },
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        write!(f, "{}.{:06} ", micros / 1_000_000, micros % 1_000_000)?;
        match &self.what {
            Seen::Event(line) => write!(f, "event {line}"),
            Seen::Miner { miner, what } => write!(f, "miner {miner} {what}"),
            Seen::Pool(what) => write!(f, "pool {what:?}"),
            Seen::Node(NodeSeen::Tip { hash, height }) => write!(f, "node tip {height} {hash}"),
            Seen::Node(NodeSeen::Submitted { hash, result, .. }) => {
                write!(f, "node submitted {hash} {result}")
            }
            Seen::Link(what) => write!(f, "link {what:?}"),
            Seen::Hostile { name, ended } => write!(f, "hostile {name} {ended}"),
            Seen::Step(action) => write!(f, "step {action}"),
            Seen::Host(what) => write!(f, "host {what:?}"),
            Seen::Settled => f.write_str("settled"),
            Seen::Output { source, text } => write!(f, "output {source} {} bytes", text.len()),
        }
    }
}

impl fmt::Display for MinerSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { error } => write!(f, "refused: {error}"),
            Self::Connected => f.write_str("connected"),
            Self::Closed { error } => write!(f, "closed: {error}"),
            Self::ChannelOpened { channel_id } => write!(f, "channel {channel_id}"),
            Self::OpenRejected { code } => write!(f, "open rejected {code}"),
            Self::Job { job_id, future } => {
                write!(f, "job {job_id}{}", if *future { " future" } else { "" })
            }
            Self::PrevHash { prev_hash, job_id } => write!(f, "prevhash {prev_hash} job {job_id}"),
            Self::Sent { share, share_id, hash, job_id, prev_hash, class } => write!(
                f,
                "sent {share} {} job {job_id} id {share_id} hash {hash} on {prev_hash}",
                class.as_str()
            ),
            Self::Breach { what } => write!(f, "breach: {what}"),
            Self::Acked { share } => write!(f, "acked {share}"),
            Self::Rejected { share, code } => write!(f, "rejected {share} {code}"),
        }
    }
}
