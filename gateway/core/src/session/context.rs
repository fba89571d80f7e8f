//! What a session has in every phase.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sv2_wire::extensions::{
    EXTENSIONS_NEGOTIATION, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
};
use sv2_wire::mining::OpenMiningChannelError;
use sv2_wire::{Message, Seq064K, Str0255, Tlvs, WorkerIdentity};

use super::io::{Close, Notice, Output, Settings};
use super::peer::Peer;
use super::phase::Phase;
use super::rate::TokenBucket;
use crate::ids::ConnectionId;
use crate::job::Work;
use crate::moment::Moment;
use crate::prevhash::Publication;
use crate::reason::{ReasonCode, WireError};
use crate::shared::SharedState;

/// The negotiation itself and the workers' names.
const SUPPORTED_EXTENSIONS: [u16; 2] = [EXTENSIONS_NEGOTIATION, WorkerIdentity::EXTENSION_TYPE];

#[derive(Debug)]
pub(super) struct Context {
    pub(super) connection_id: ConnectionId,
    pub(super) shared: Arc<SharedState>,
    pub(super) settings: Arc<Settings>,
    pub(super) work: Option<Arc<Publication>>,
    pub(super) upstream_available: bool,
    pub(super) peer: Peer,
    /// Extension 0x0002 is agreed on: shares of extended channels name their worker.
    pub(super) names_workers: bool,
    pub(super) outputs: VecDeque<Output>,
    pub(super) quotas: Quotas,
}

/// What the peer may still do.
#[derive(Debug)]
pub(super) struct Quotas {
    messages: TokenBucket,
    bytes: TokenBucket,
    shares: TokenBucket,
}

impl Quotas {
    pub(super) fn new(settings: &Settings, now: Duration) -> Self {
        Self {
            messages: TokenBucket::full(settings.messages_per_second, now),
            bytes: TokenBucket::full(settings.bytes_per_second, now),
            shares: TokenBucket::full(
                mutant::pick!(ShareRateOfOne, 1, settings.shares_per_second),
                now,
            ),
        }
    }

    pub(super) fn set_rates(&mut self, settings: &Settings) {
        self.messages.set_rate(settings.messages_per_second);
        self.bytes.set_rate(settings.bytes_per_second);
        self.shares.set_rate(settings.shares_per_second);
    }

    pub(super) fn take_frame(&mut self, frame_len: usize, now: Moment) -> bool {
        self.messages.take(1, now.mono) && self.bytes.take(frame_len as u64, now.mono)
    }

    pub(super) fn take_share(&mut self, now: Moment) -> bool {
        self.shares.take(1, now.mono)
    }
}

impl Context {
    /// Sends a message; messages sent one after the other share one buffer.
    pub(super) fn send<'a>(&mut self, message: &impl Message<'a>) {
        message.encode_frame(self.out());
    }

    /// The buffer that goes out next.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        if !matches!(self.outputs.back(), Some(Output::Send(_))) {
            self.outputs.push_back(Output::Send(Vec::new()));
        }
        match self.outputs.back_mut() {
            Some(Output::Send(bytes)) => bytes,
            _ => unreachable!("a buffer was just put there"),
        }
    }

    /// The latest work, unless a newer tip awaits its verdict: then nothing of the old one goes out.
    pub(super) fn sendable_work(&self) -> Option<Arc<Work>> {
        let publication = self.work.as_ref().filter(|_| !self.shared.work_is_withheld())?;
        Some(Arc::clone(&publication.work))
    }

    /// Whether jobs go to the group channel where they can.
    pub(super) fn addresses_group(&self) -> bool {
        self.settings.group_addressing && self.peer.takes_group_jobs()
    }

    /// The worker that a share of an extended channel names; `None` where that is not agreed on.
    ///
    /// # Errors
    /// What is wrong with the field: then the whole message is (SV2 §3.4.3).
    pub(super) fn worker_name<'a>(&mut self, tlvs: Tlvs<'a>) -> Result<Option<&'a str>, String> {
        if !self.names_workers {
            return Ok(None);
        }
        let found = WorkerIdentity::find(tlvs).map_err(|error| error.to_string())?;
        match found.map(|identity| identity.as_str()).filter(|name| !name.is_empty()) {
            None => {
                self.notice(Notice::WorkerMissing);
                Ok(None)
            }
            Some(name) if name.chars().any(char::is_control) => {
                Err("the worker identity of a share holds control characters".to_owned())
            }
            name => Ok(name),
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Noticed(notice));
    }

    pub(super) fn close(&mut self, reason: ReasonCode, detail: impl Into<String>) -> Phase {
        self.outputs.push_back(Output::Close(Close { reason, detail: detail.into() }));
        Phase::Closed
    }

    /// Ends the session over a message that does not belong to the phase.
    pub(super) fn close_unexpected(&mut self, message: &str, awaited: &str) -> Phase {
        let detail = format!("{message} came while {awaited} was awaited");
        self.close(ReasonCode::FrameDecodeError, detail)
    }

    pub(super) fn refuse_channel(&mut self, request_id: u32, error: WireError) {
        self.send(&OpenMiningChannelError { request_id, error_code: code(error) });
        self.notice(Notice::OpenRefused(error.reason()));
    }

    /// Grants what is supported of the extensions asked for.
    pub(super) fn answer_extensions(&mut self, request: RequestExtensions<'_>) {
        let request_id = request.request_id;
        let (supported, unsupported): (Vec<u16>, Vec<u16>) = request
            .requested_extensions
            .iter()
            .partition(|extension| SUPPORTED_EXTENSIONS.contains(extension));
        self.names_workers = supported.contains(&WorkerIdentity::EXTENSION_TYPE);
        if supported.is_empty() && !unsupported.is_empty() {
            self.send(&RequestExtensionsError {
                request_id,
                unsupported_extensions: fits(&unsupported),
                required_extensions: fits(&[]),
            });
        } else {
            self.send(&RequestExtensionsSuccess {
                request_id,
                supported_extensions: fits(&supported),
            });
        }
    }
}

fn fits(extensions: &[u16]) -> Seq064K<'_, u16> {
    Seq064K::new(extensions).expect("no more than the peer sent in a field of the same type")
}

/// An error code for the wire.
pub(super) fn code(error: WireError) -> Str0255<'static> {
    Str0255::new(error.code().as_bytes()).expect("codes are short")
}
