//! What goes into the forward queue and what comes out.

use std::sync::Arc;
use std::time::Duration;

use crate::event::ShareForwardResult;
use crate::ids::{BatchId, ChannelId, EventId, ShareId, WorkerId};
use crate::job::JobData;
use crate::limits::EXTRANONCE_BYTES;
use crate::target::Difficulty;

/// How the queue behaves; every size is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Shares that may wait (`share.share_forward_queue_size`).
    pub queue_size: usize,
    /// Who gives way when it is full (`share.share_forward_queue_drop_policy`).
    pub drop_policy: DropPolicy,
    /// Shares in one request (`share.share_batch_max`).
    pub batch_max: usize,
    /// How long the first share of a batch waits for company (`share.share_batch_interval_ms`).
    pub batch_interval: Duration,
    /// Batches sent and not yet done with, those waiting for a retry among them
    /// (`share.share_forward_max_in_flight`).
    pub max_in_flight: usize,
    /// Attempts after the first (`share.share_upstream_retries`).
    pub retries: u32,
    /// Upper end of the wait before the first retry; doubles each time.
    pub backoff_base: Duration,
    /// Upper end of the wait before any retry.
    pub backoff_max: Duration,
}

/// Who gives way when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropPolicy {
    /// The share that comes.
    DropNew,
    /// The share that has waited longest.
    DropOld,
}

impl DropPolicy {
    /// The name used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DropNew => "drop_new",
            Self::DropOld => "drop_old",
        }
    }
}

/// An accepted share with all that a pool needs to check it alone.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardShare {
    /// The share.
    pub share_id: ShareId,
    /// Joins the result to its `share_accepted`.
    pub event_id: EventId,
    /// The work it was found on.
    pub job: Arc<JobData>,
    /// The channel it came by.
    pub channel_id: ChannelId,
    /// Whom it is credited to.
    pub worker_id: WorkerId,
    /// Header field.
    pub version: u32,
    /// Header field, Unix seconds.
    pub ntime: u32,
    /// Header field.
    pub nonce: u32,
    /// The full extranonce: the channel's prefix and what the miner rolled.
    pub extranonce: [u8; EXTRANONCE_BYTES],
    /// Difficulty of the target the job was issued with.
    pub difficulty: Difficulty,
    /// When it was accepted, Unix milliseconds.
    pub timestamp_ms: u64,
    /// The 80 bytes that the miner hashed.
    pub header: [u8; 80],
}

/// What the queue is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A share is in the log and may be sent.
    Share(Arc<ForwardShare>),
    /// A request ended.
    Answer {
        /// The batch that was sent.
        batch_id: BatchId,
        /// How it ended.
        answer: Answer,
    },
    /// The settings changed. What waits already stays, also where it is more than may wait now.
    Settings(Settings),
    /// The gateway drains: send what waits without waiting for company.
    Drain,
    /// A deadline has come.
    Tick,
}

/// How one request to the pool ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Status 200 and a body that could be read.
    Results(Vec<ShareAnswer>),
    /// Another status, or a body that could not be read.
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After` in seconds, where the pool sent one.
        retry_after_secs: Option<u64>,
        /// The answer or the defect in words.
        detail: String,
    },
    /// No answer: refused, cut off or timed out.
    Transport(String),
}

/// The pool's word on one share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareAnswer {
    /// The share.
    pub share_id: ShareId,
    /// Whether it counts.
    pub accepted: bool,
    /// Why not.
    pub error: Option<String>,
}

/// What the queue wants done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send these shares in one request and report its [`Answer`].
    Post(Batch),
    /// A share reached its end: exactly one for each share put in.
    Result(ShareForwardResult),
}

/// Shares that travel together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Names the request in its [`Input::Answer`].
    pub batch_id: BatchId,
    /// 1 for the first time.
    pub attempt: u32,
    /// Never empty.
    pub shares: Vec<Arc<ForwardShare>>,
}

impl Batch {
    /// The `Idempotency-Key`: the share id for a batch of one, else SHA-256 over the share ids in
    /// hex.
    pub fn idempotency_key(&self) -> String {
        match self.shares.as_slice() {
            [share] => share.share_id.to_string(),
            shares => {
                let ids: String = shares.iter().map(|share| share.share_id.to_string()).collect();
                const_hex::encode(crate::ids::sha256(&[ids.as_bytes()]))
            }
        }
    }
}
