//! What goes into a session and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use sv2_wire::FrameHeader;

use crate::auth::Authenticator;
use crate::channel::ExtranonceSpace;
use crate::event::ShareAccepted;
use crate::forward::ForwardShare;
use crate::ids::{Receipt, ShareId, TemplateId, WorkerId};
use crate::mode::ValidationLevel;
use crate::prevhash::{Disconnect, Publication};
use crate::reason::ReasonCode;
use crate::target::Difficulty;
use crate::vardiff::Aim;

/// How sessions behave; shared by all of them and replaced as a whole on reload.
#[derive(Debug)]
pub struct Settings {
    /// Who may mine.
    pub auth: Authenticator,
    /// How deeply shares are checked.
    pub validation: ValidationLevel,
    /// Version bits that miners may roll (`gateway.version_rolling_mask`); zero forbids it.
    pub version_rolling_mask: u32,
    /// Whether extended channels may be opened (`gateway.extended_channels`).
    pub extended_channels: bool,
    /// Whether jobs for several channels of a connection are addressed to their group channel
    /// (`gateway.job_addressing`), where the client takes that.
    pub group_addressing: bool,
    /// This gateway's part of the search space (`gateway.extranonce_index`).
    pub extranonce_space: ExtranonceSpace,
    /// Where clients go when the gateway drains; absent, they are closed.
    pub reconnect: Option<ReconnectTo>,
    /// First difficulty of a channel and its bounds.
    pub difficulty: DifficultySettings,
    /// Which `ntime` a share may carry.
    pub ntime_window: NtimeWindow,
    /// Longest wait for SetupConnection.
    pub setup_timeout: Duration,
    /// Longest wait for the first channel after that. Some miners measure themselves for over 5 s.
    pub first_channel_timeout: Duration,
    /// Longest silence of a connection (`timing.channel_idle_timeout_ms`).
    pub idle_timeout: Duration,
    /// Channels that one connection may have (`limits.max_channels_per_connection`), fewer than
    /// 65536.
    pub max_channels: usize,
    /// Worker names that one channel may bring beside its own (`auth.max_workers_per_channel`).
    pub max_workers: usize,
    /// Longest payload taken (`limits.max_frame_bytes`).
    pub max_frame_bytes: usize,
    /// Messages a second, and burst (`limits.rate_limit_messages_per_sec`).
    pub messages_per_second: u32,
    /// Bytes a second, and burst (`limits.rate_limit_bytes_per_sec`).
    pub bytes_per_second: u32,
    /// Shares a second, and burst (`limits.shares_per_second`).
    pub shares_per_second: u32,
    /// Accepted shares that one SubmitShares.Success may gather (`share.ack_batch`), at least 1.
    pub ack_batch: u32,
    /// Longest that an accepted share waits for company (`share.ack_max_delay_ms`).
    pub ack_max_delay: Duration,
}

/// How far `ntime` may run ahead of the least that its job allows (`share.ntime_window`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtimeWindow {
    /// The letter of SV2 §5.3.11: no further than the time that has passed since the job was sent.
    Strict,
    /// What miners in the field do: beyond that, and beyond the gateway's own clock, by as much as
    /// this (`timing.nonce_expire_secs`), and by what clocks may differ
    /// ([`MINER_CLOCK_AHEAD`](crate::limits::MINER_CLOCK_AHEAD)). Consensus bears 7200 s.
    DeFacto(Duration),
}

/// Where clients are sent that are known to follow Reconnect (SV2 §3.6.5): elsewhere it is ignored
/// at best, and ends the client at worst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconnectTo {
    /// The host (`gateway.reconnect_addr`). It must have a certificate of the same authority.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The `vendor` of such clients (`gateway.reconnect_vendors`).
    pub vendors: Vec<String>,
}

/// How the target of a channel is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DifficultySettings {
    /// Where nothing better is known (`share.initial_difficulty`).
    pub initial: Difficulty,
    /// If set, the channel's nominal hash rate decides instead, and later what it really does, so
    /// that shares come as often as this says (`vardiff`).
    pub aim: Option<Aim>,
    /// Easiest difficulty granted (`vardiff.min_difficulty`).
    pub least: Difficulty,
    /// Hardest difficulty granted (`vardiff.max_difficulty`).
    pub most: Difficulty,
}

/// What a session is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A frame from the miner, decrypted. When the header announces more than
    /// [`Settings::max_frame_bytes`], hand it in at once with an empty payload: the session closes
    /// without anything being buffered.
    Frame {
        /// Its header.
        header: FrameHeader,
        /// Its payload, as long as the header says.
        payload: &'a [u8],
    },
    /// The switch published work. A new session gets the latest publication first of all.
    Work(Arc<Publication>),
    /// The switch wants sessions closed; the session knows whether it is meant.
    Disconnect(Disconnect),
    /// Every accepted share up to this receipt is in the log as `log.sync` asks.
    Durable(Receipt),
    /// The template source became reachable (true) or unreachable (false).
    Upstream(bool),
    /// The settings changed.
    Settings(Arc<Settings>),
    /// The gateway drains: close.
    Drain,
    /// A deadline has come.
    Tick,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Submit the block to every node at once, whatever else happens to the share.
    Block(FoundBlock),
    /// Write these whole frames, one behind the other, in one go; [`frames`](super::frames) divides
    /// them.
    Send(Vec<u8>),
    /// Log a valid share, forward it, and report back with [`Input::Durable`].
    Accepted(Box<AcceptedShare>),
    /// Record a share that was refused.
    Rejected(Box<ShareAccepted>),
    /// Something worth counting happened.
    Noticed(Notice),
    /// Write what is still to be written, then close the connection. Nothing follows.
    Close(Close),
}

/// A share on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedShare {
    /// To be reported back; receipts count upwards from 1 in each session.
    pub receipt: Receipt,
    /// The event.
    pub event: ShareAccepted,
    /// What the pool gets.
    pub forward: Arc<ForwardShare>,
}

/// A share that met the network target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// The block's hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The template it was built on.
    pub template_id: TemplateId,
    /// The share.
    pub share_id: ShareId,
    /// Whom it is credited to.
    pub worker_id: WorkerId,
    /// The whole block with witnesses, ready for submitblock.
    pub bytes: Vec<u8>,
}

/// The gateway ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub reason: ReasonCode,
    /// What happened, for people.
    pub detail: String,
}

/// What happens beside shares, each worth a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Notice {
    /// A message of an extension that is not spoken here was dropped.
    UnknownExtension,
    /// A message had the channel bit that it carried before May 2026.
    WrongChannelBit,
    /// A message had extension fields that were never negotiated; they were ignored.
    UnexpectedTlv,
    /// A share named no worker although that was agreed on; it counts for the channel's own.
    WorkerMissing,
    /// A share named one worker more than a channel may bring; it counts for the channel's own.
    WorkerOverCap,
    /// A channel was opened.
    ChannelOpened,
    /// A channel was closed.
    ChannelClosed,
    /// A channel was refused.
    OpenRefused(ReasonCode),
    /// An update of a channel was refused.
    UpdateRefused(ReasonCode),
    /// A custom job was refused.
    CustomJobRefused,
}
