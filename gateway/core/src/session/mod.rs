//! One miner connection, frame by frame.
//!
//! `AwaitSetup → AwaitChannel → Serving`: each phase is a struct that a message consumes. What the
//! gateway answers, and when it ends the connection, is all here; sockets, encryption and the log
//! are not.

mod context;
mod frames;
mod io;
mod opening;
mod peer;
mod phase;
mod rate;
mod reload;
mod serving;

mod submit;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use sv2_wire::common::Reconnect;
use sv2_wire::{DecodeError, Decoded, FrameHeader, MiningClientMessage, Str0255};

use self::context::{Context, Quotas};
pub use self::frames::frames;
pub use self::io::{
    AcceptedShare, Close, DifficultySettings, FoundBlock, Input, Notice, NtimeWindow, Output,
    ReconnectTo, Settings,
};
use self::peer::Peer;
use self::phase::{AwaitSetup, Phase};
use crate::ids::ConnectionId;
use crate::moment::Moment;
use crate::prevhash::Disconnect;
use crate::reason::ReasonCode;
use crate::shared::SharedState;

/// The gateway's side of one connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    context: Context,
}

impl Session {
    /// A session on a connection whose handshake has just ended. Give it the latest publication, if
    /// there is one, before its first frame.
    pub fn new(
        connection_id: ConnectionId,
        settings: Arc<Settings>,
        shared: Arc<SharedState>,
        now: Moment,
    ) -> Self {
        let deadline = now.mono + settings.setup_timeout;
        let quotas = Quotas::new(&settings, now.mono);
        Self {
            phase: Phase::AwaitSetup(AwaitSetup { deadline }),
            context: Context {
                connection_id,
                shared,
                settings,
                work: None,
                upstream_available: true,
                peer: Peer::default(),
                names_workers: false,
                outputs: VecDeque::new(),
                quotas,
            },
        }
    }

    /// Takes one input. Drain [`poll`](Self::poll) after it. After [`Output::Close`] every input is
    /// ignored.
    pub fn handle(&mut self, input: Input<'_>, now: Moment) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match input {
            Input::Frame { header, payload } => self.frame(header, payload, now),
            Input::Work(publication) => {
                self.context.work = Some(publication);
                if let Phase::Serving(serving) = &mut self.phase {
                    serving.offer_work(&mut self.context, now);
                }
            }
            Input::Disconnect(disconnect) => self.disconnect(disconnect, now),
            Input::Durable(up_to) => {
                if let Phase::Serving(serving) = &mut self.phase {
                    serving.durable(up_to, now);
                }
            }
            Input::Upstream(available) => self.context.upstream_available = available,
            Input::Settings(settings) => self.adopt(settings, now),
            Input::Drain => self.drain(now),
            Input::Tick => {
                if let Phase::Serving(serving) = &mut self.phase {
                    serving.maintain(&mut self.context, now);
                }
            }
        }
        self.expire(now);
    }

    /// The next thing to do, until there is nothing left.
    pub fn poll(&mut self) -> Option<Output> {
        // A buffer that was asked for and never filled is nothing to do.
        loop {
            match self.context.outputs.pop_front() {
                Some(Output::Send(bytes)) if bytes.is_empty() => {}
                output => return output,
            }
        }
    }

    /// When to send an [`Input::Tick`], on the clock of [`Moment::mono`].
    pub fn next_deadline(&self) -> Option<Duration> {
        let settings = &self.context.settings;
        match &self.phase {
            Phase::AwaitSetup(phase) => Some(phase.deadline),
            Phase::AwaitChannel(phase) => Some(phase.deadline),
            Phase::Serving(serving) => {
                let idle = Some(serving.idle_at(settings.idle_timeout));
                let ack = serving.next_ack(settings.ack_max_delay);
                let maintenance = serving.next_maintenance(&self.context);
                [idle, ack, maintenance].into_iter().flatten().min()
            }
            Phase::Closed => None,
        }
    }

    /// The tip that the miner works on; absent before its first job and after the end.
    pub fn tip(&self) -> Option<BlockHash> {
        match &self.phase {
            Phase::Serving(serving) => serving.tip(),
            _ => None,
        }
    }

    /// Channels open now.
    pub fn channels(&self) -> usize {
        match &self.phase {
            Phase::Serving(serving) => serving.channels.len(),
            _ => 0,
        }
    }

    /// Whether nothing was heard of the miner yet.
    pub fn awaits_setup(&self) -> bool {
        matches!(self.phase, Phase::AwaitSetup(_))
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn frame(&mut self, header: FrameHeader, payload: &[u8], now: Moment) {
        let len = header.msg_length.to_len();
        let most = self.context.settings.max_frame_bytes;
        if len > most {
            let detail = format!("a frame of {len} bytes exceeds limits.max_frame_bytes={most}");
            return self.close(ReasonCode::FrameTooLarge, detail);
        }
        if !self.context.quotas.take_frame(FrameHeader::LEN + len, now) {
            let detail = "the connection sends more than limits allow in a second";
            return self.close(ReasonCode::PeerQuotaExceeded, detail);
        }
        match MiningClientMessage::decode(header, payload) {
            Ok(decoded) => self.message(decoded, now),
            // SV2 §3.2: to be dropped in silence, unless it stands where SetupConnection must.
            Err(DecodeError::UnknownExtension { .. })
                if !matches!(self.phase, Phase::AwaitSetup(_)) =>
            {
                self.context.notice(Notice::UnknownExtension);
            }
            Err(error) => self.close(ReasonCode::FrameDecodeError, error.to_string()),
        }
    }

    fn message(&mut self, decoded: Decoded<'_, MiningClientMessage<'_>>, now: Moment) {
        if decoded.wrong_channel_bit {
            self.context.notice(Notice::WrongChannelBit);
        }
        let takes_tlvs = self.context.names_workers
            && matches!(decoded.message, MiningClientMessage::SubmitSharesExtended(_));
        if !decoded.tlvs.is_empty() && !takes_tlvs {
            self.context.notice(Notice::UnexpectedTlv);
        }
        let context = &mut self.context;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AwaitSetup(phase) => phase.message(decoded.message, context, now),
            Phase::AwaitChannel(phase) => phase.message(decoded.message, context, now),
            Phase::Serving(phase) => phase.message(decoded.message, decoded.tlvs, context, now),
            Phase::Closed => Phase::Closed,
        };
    }

    /// Follows changed settings, with the channels that are open as well.
    fn adopt(&mut self, settings: Arc<Settings>, now: Moment) {
        self.context.quotas.set_rates(&settings);
        let addressed_group = self.context.addresses_group();
        self.context.settings = settings;
        let Phase::Serving(serving) = &mut self.phase else { return };
        serving.set_aim(&self.context.settings.difficulty);
        if let Err(reason) = serving.close_disallowed(&mut self.context, now) {
            return self.close(reason, "a channel is no longer allowed");
        }
        if !addressed_group {
            serving.announce_group(&mut self.context);
        }
        serving.move_extranonces(&mut self.context, now);
    }

    /// Ends the session because the gateway ends. A client known to follow is sent elsewhere.
    fn drain(&mut self, now: Moment) {
        let settings = Arc::clone(&self.context.settings);
        let to = settings.reconnect.as_ref().filter(|to| self.context.peer.is_of(&to.vendors));
        let Some(to) = to else {
            return self.leave(ReasonCode::ShutdownDrain, "the gateway is draining", now);
        };
        if let Phase::Serving(serving) = &mut self.phase {
            serving.acknowledge(true, &mut self.context, now);
        }
        let new_host = Str0255::new(to.host.as_bytes()).expect("host names are short");
        self.context.send(&Reconnect { new_host, new_port: to.port });
        let detail = format!("the gateway is draining; sent to {}:{}", to.host, to.port);
        self.close(ReasonCode::ShutdownDrain, detail);
    }

    fn disconnect(&mut self, disconnect: Disconnect, now: Moment) {
        let Some(lost) = disconnect.tip else {
            self.context.work = None;
            return self.leave(disconnect.reason, "every miner is disconnected", now);
        };
        if self.context.work.as_ref().is_some_and(|held| held.work.prev_hash() == lost) {
            self.context.work = None;
        }
        if self.tip() == Some(lost) {
            self.leave(disconnect.reason, format!("work on tip {lost} has ended"), now);
        }
    }

    /// Ends the session in good order: acknowledgements, then a word to each channel.
    fn leave(&mut self, reason: ReasonCode, detail: impl Into<String>, now: Moment) {
        if let Phase::Serving(serving) = &mut self.phase {
            serving.take_leave(reason, &mut self.context, now);
        }
        self.close(reason, detail);
    }

    fn close(&mut self, reason: ReasonCode, detail: impl Into<String>) {
        self.phase = self.context.close(reason, detail);
    }

    fn expire(&mut self, now: Moment) {
        let overdue = match &mut self.phase {
            Phase::AwaitSetup(phase) if phase.deadline <= now.mono => {
                "no SetupConnection came in time"
            }
            Phase::AwaitChannel(phase) if phase.deadline <= now.mono => {
                "no channel was opened in time"
            }
            Phase::Serving(serving) => {
                serving.acknowledge(false, &mut self.context, now);
                if serving.idle_at(self.context.settings.idle_timeout) > now.mono {
                    return;
                }
                "nothing was heard within timing.channel_idle_timeout_ms"
            }
            _ => return,
        };
        self.close(ReasonCode::PeerQuotaExceeded, overdue);
    }
}
