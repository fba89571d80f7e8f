//! What the gateway tells the world about itself: the domain side of the event stream.
//!
//! Field names are those of the published stream; the JSON form belongs to the daemon.

use std::time::Duration;

use bitcoin::BlockHash;

use crate::ids::{
    ChannelId, ConnectionId, EventId, InstanceId, JobId, ShareId, TemplateId, WorkerId,
};
use crate::mode::{Mode, ValidationLevel};
use crate::prevhash::Verdict;
use crate::reason::ReasonCode;
use crate::target::Difficulty;

/// One event of the stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A submission was answered.
    ShareAccepted(ShareAccepted),
    /// An accepted share reached its end.
    ShareForwardResult(ShareForwardResult),
    /// A template was judged.
    TemplateVerdict(TemplateVerdict),
    /// A change of tip ended, one way or another.
    PrevhashSwitch(PrevhashSwitch),
    /// A miner connection ended.
    ConnectionClosed(ConnectionClosed),
    /// A share met the network target, and the nodes answered.
    BlockFound(BlockFound),
    /// The configuration was read again.
    ConfigReloaded(ConfigReloaded),
    /// The mode changed while running.
    ModeChanged(ModeChanged),
    /// The log takes records again.
    LogRecovered(LogRecovered),
}

impl Event {
    /// The value of the field `event`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ShareAccepted(_) => "share_accepted",
            Self::ShareForwardResult(_) => "share_forward_result",
            Self::TemplateVerdict(_) => "template_verdict",
            Self::PrevhashSwitch(_) => "prevhash_switch",
            Self::ConnectionClosed(_) => "connection_closed",
            Self::BlockFound(_) => "block_found",
            Self::ConfigReloaded(_) => "config_reloaded",
            Self::ModeChanged(_) => "mode_changed",
            Self::LogRecovered(_) => "log_recovered",
        }
    }
}

/// What the miner was told about a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sv2Response {
    /// Counted into a SubmitShares.Success.
    Success,
    /// SubmitShares.Error, for this reason.
    Error(ReasonCode),
}

impl Sv2Response {
    /// The value of the field `sv2_response`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) => "error",
        }
    }

    /// The value of the field `reason_code`, where there is one.
    pub const fn reason_code(self) -> Option<ReasonCode> {
        match self {
            Self::Success => None,
            Self::Error(reason) => Some(reason),
        }
    }
}

/// `share_accepted`: one for each submission, whatever the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareAccepted {
    /// Absent when no header could be rebuilt: unknown channel or job, or over the share rate.
    pub share_id: Option<ShareId>,
    /// Joins this event to its result.
    pub event_id: EventId,
    /// As submitted.
    pub channel_id: ChannelId,
    /// As submitted.
    pub job_id: JobId,
    /// Absent when the connection owns no such channel.
    pub worker_id: Option<WorkerId>,
    /// The connection.
    pub miner_id: ConnectionId,
    /// How deeply the share was checked.
    pub validation_level: ValidationLevel,
    /// The answer; holds `reason_code` as well.
    pub sv2_response: Sv2Response,
    /// The tier that the verifier judged the template in, where it has.
    pub fee_tier: Option<&'static str>,
    /// Difficulty of the target the job was issued with; absent when there is no such job.
    pub difficulty_target: Option<Difficulty>,
    /// When it was answered.
    pub timestamp_ms: u64,
    /// This gateway.
    pub gateway_instance_id: InstanceId,
}

/// `share_forward_result`: exactly one for each `share_accepted` with `success`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareForwardResult {
    /// The share.
    pub share_id: ShareId,
    /// That of the `share_accepted`.
    pub event_id: EventId,
    /// Whether the pool has answered for this share.
    pub forwarded: bool,
    /// The pool's judgement, where it gave one.
    pub upstream_accepted: Option<bool>,
    /// The last HTTP status, where there was one.
    pub upstream_http_status: Option<u16>,
    /// The pool's own words about the share.
    pub upstream_error: Option<String>,
    /// What went wrong on the way.
    pub error_detail: Option<String>,
    /// Absent when the pool accepted the share.
    pub reason_code: Option<ReasonCode>,
    /// When the result was known.
    pub timestamp_ms: u64,
    /// How often the share was sent.
    pub attempts: u32,
}

/// `template_verdict`: what the verifier, or the gateway itself, made of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateVerdict {
    /// The template.
    pub template_id: TemplateId,
    /// Its height.
    pub height: u32,
    /// The tip it builds on.
    pub prev_hash: BlockHash,
    /// The mode it was judged in.
    pub mode: Mode,
    /// The judgement.
    pub verdict: Verdict,
    /// From proposal to verdict.
    pub latency: Duration,
    /// When it was known.
    pub timestamp_ms: u64,
}

/// How a change of tip ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwitchOutcome {
    /// Work on the tip was published.
    Switched,
    /// The verifier rejected a template on it; the next one is awaited, so another outcome follows.
    Rejected,
    /// A newer tip took its place before any work on it was published.
    Superseded,
    /// The hold ran out; the miners of the old tip were closed.
    Disconnected,
}

impl SwitchOutcome {
    /// The value of the field `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Switched => "switched",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Disconnected => "disconnected",
        }
    }
}

/// `prevhash_switch`: one for each way a tip ended. Stage times count from the moment the tip's
/// first template reached the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrevhashSwitch {
    /// The new tip.
    pub prev_hash: BlockHash,
    /// The tip that miners worked on until then; absent before the first.
    pub previous_prev_hash: Option<BlockHash>,
    /// Height of the block being mined on the new tip.
    pub height: u32,
    /// The template that was published, or else the last one pending.
    pub template_id: Option<TemplateId>,
    /// The mode at the end.
    pub mode: Mode,
    /// How it ended.
    pub outcome: SwitchOutcome,
    /// Why it ended badly.
    pub reason_code: Option<ReasonCode>,
    /// When the template source saw the tip, Unix milliseconds.
    pub observed_at_ms: u64,
    /// When the tip's first template reached the gateway, Unix milliseconds.
    pub tip_seen_at_ms: u64,
    /// First accepting verdict, where there was one.
    pub verdict_after: Option<Duration>,
    /// Start of the hold, where there was one.
    pub held_after: Option<Duration>,
    /// The end.
    pub ended_after: Duration,
    /// When it ended, Unix milliseconds.
    pub timestamp_ms: u64,
}

/// `connection_closed`: once for each miner connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionClosed {
    /// The connection.
    pub miner_id: ConnectionId,
    /// Absent when the miner left of its own accord.
    pub reason_code: Option<ReasonCode>,
    /// What happened, for people.
    pub detail: String,
    /// The tip it was working on, where it had work.
    pub prev_hash: Option<BlockHash>,
    /// How long it lasted.
    pub duration: Duration,
    /// When it ended.
    pub timestamp_ms: u64,
}

/// `block_found`: a share met the network target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFound {
    /// The block.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The share that made it.
    pub share_id: ShareId,
    /// Whom it is credited to.
    pub worker_id: WorkerId,
    /// Whether some node took it; absent when none could be asked.
    pub accepted: Option<bool>,
    /// Each node's answer in words, `node: answer`.
    pub results: Vec<String>,
    /// When the answers were in.
    pub timestamp_ms: u64,
}

/// `config_reloaded`: the configuration was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigReloaded {
    /// Whether the new configuration is in force.
    pub applied: bool,
    /// Keys whose value changed.
    pub changed: Vec<String>,
    /// Those among them that keep their old value until the gateway is started again.
    pub restart_required: Vec<String>,
    /// What was wrong with it.
    pub problems: Vec<String>,
    /// When.
    pub timestamp_ms: u64,
}

/// `mode_changed`: the operator chose another mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeChanged {
    /// Before.
    pub from: Mode,
    /// From now on.
    pub to: Mode,
    /// When.
    pub timestamp_ms: u64,
}

/// Why the log takes no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogFault {
    /// The disk, a quota or a limit on the size of files leaves no room.
    DiskFull,
    /// The disk refuses for another reason.
    IoError,
}

impl LogFault {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::DiskFull, Self::IoError];

    /// The word in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::IoError => "io_error",
        }
    }
}

/// `log_recovered`: the log could not be written for a while, and no share was acknowledged
/// meanwhile. It is written once it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecovered {
    /// Why it could not.
    pub cause: LogFault,
    /// The disk's last answer.
    pub error: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// When it ended.
    pub timestamp_ms: u64,
}
