//! What a client has done on one connection, held against the rules that always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sv2_wire::common::SetupConnection;
use sv2_wire::mining::{SubmitSharesExtended, SubmitSharesStandard};
use sv2_wire::{DecodeError, MiningClientMessage, U256};
use tokio::time::Instant;

use super::channel::{Channel, Fault, Submission};
use crate::frames::Frame;

/// A client should gather its updates for so long.
const UPDATE_PAUSE: Duration = Duration::from_millis(950);

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Nothing has come.
    #[default]
    New,
    /// SetupConnection has come and was not answered.
    Asked,
    /// It was granted.
    Granted,
    /// It was refused.
    Refused,
}

/// What a client says of itself.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) protocol: u8,
    pub(super) min_version: u16,
    pub(super) max_version: u16,
    pub(super) flags: u32,
    pub(super) vendor: Vec<u8>,
}

/// A channel that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) request_id: u32,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: U256,
    /// Absent for a standard channel.
    pub(super) min_extranonce_size: Option<u16>,
}

/// A share, and the rule that it breaks.
#[derive(Clone, Debug)]
pub(super) struct ShareSeen {
    pub(super) channel_id: u32,
    pub(super) sequence_number: u32,
    pub(super) job_id: u32,
    pub(super) fault: Option<Fault>,
}

/// What a frame was.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Setup(Setup),
    Extensions {
        request_id: u16,
        wanted: Vec<u16>,
    },
    Opening(Opening),
    Update {
        channel_id: u32,
        maximum_target: U256,
    },
    Share(ShareSeen),
    /// Something that asks for nothing.
    Other,
    /// Nothing came in time.
    Quiet,
}

/// The record of one connection.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) stage: Stage,
    pub(super) channels: BTreeMap<u32, Channel>,
    pub(super) faults: Vec<Fault>,
    /// Jobs that were sent.
    pub(super) jobs: u32,
    requests: BTreeSet<u32>,
    has_negotiated: bool,
    /// Something other than RequestExtensions came after the set-up.
    has_begun: bool,
    last_update: Option<Instant>,
    updates: usize,
}

impl Watch {
    /// How a rule was broken, if it was.
    pub(super) fn fault(&self, rule: &str) -> Option<&str> {
        self.faults.iter().find(|(broken, _)| *broken == rule).map(|(_, how)| how.as_str())
    }

    /// What the client has not sent, so that `rule` could not be broken.
    pub(super) fn missing(&self, rule: &str) -> Option<&'static str> {
        match rule {
            "EX-02" if !self.has_negotiated => Some("no RequestExtensions"),
            "MP-40" if self.updates < 1 => Some("no UpdateChannel"),
            "MP-42" if self.updates < 2 => Some("no two UpdateChannels"),
            _ => None,
        }
    }

    fn blame(&mut self, rule: &'static str, how: impl Into<String>) {
        self.faults.push((rule, how.into()));
    }

    /// Takes a frame in.
    pub(super) fn note(&mut self, frame: &Frame) -> Seen {
        let decoded = match MiningClientMessage::decode(frame.header, &frame.payload) {
            Ok(decoded) => decoded,
            Err(DecodeError::UnknownExtension { .. }) => return Seen::Other,
            Err(error @ DecodeError::ChannelBit { .. }) => {
                self.blame("OV-07", error.to_string());
                return Seen::Other;
            }
            Err(error) => {
                self.blame("OV-16", error.to_string());
                return Seen::Other;
            }
        };
        let message = decoded.message;
        self.check_order(&message);
        match message {
            MiningClientMessage::SetupConnection(setup) => self.set_up(&setup),
            MiningClientMessage::RequestExtensions(request) => {
                if self.has_begun {
                    self.blame("EX-02", "RequestExtensions comes after other messages");
                }
                self.has_negotiated = true;
                let wanted = request.requested_extensions.iter().collect();
                Seen::Extensions { request_id: request.request_id, wanted }
            }
            MiningClientMessage::OpenStandardMiningChannel(open) => self.opening(Opening {
                request_id: open.request_id,
                nominal_hash_rate: open.nominal_hash_rate,
                max_target: open.max_target,
                min_extranonce_size: None,
            }),
            MiningClientMessage::OpenExtendedMiningChannel(open) => self.opening(Opening {
                request_id: open.request_id,
                nominal_hash_rate: open.nominal_hash_rate,
                max_target: open.max_target,
                min_extranonce_size: Some(open.min_extranonce_size),
            }),
            MiningClientMessage::UpdateChannel(update) => {
                let (channel_id, maximum_target) = (update.channel_id, update.maximum_target);
                self.update(channel_id, update.nominal_hash_rate);
                Seen::Update { channel_id, maximum_target }
            }
            MiningClientMessage::CloseChannel(close) => {
                self.channels.remove(&close.channel_id);
                Seen::Other
            }
            MiningClientMessage::SubmitSharesStandard(share) => self.share(&standard(&share)),
            MiningClientMessage::SubmitSharesExtended(share) => self.share(&extended(&share)),
            MiningClientMessage::SetCustomMiningJob(_)
            | MiningClientMessage::ChannelEndpointChanged(_) => Seen::Other,
        }
    }

    fn check_order(&mut self, message: &MiningClientMessage<'_>) {
        let name = message.name();
        let is_setup = matches!(message, MiningClientMessage::SetupConnection(_));
        match self.stage {
            Stage::New if !is_setup => self.blame("OV-30", format!("{name} comes first")),
            Stage::Asked => self.blame("OV-33", format!("{name} does not wait for the answer")),
            Stage::Refused => self.blame("OV-24", format!("{name} comes after the refusal")),
            Stage::Granted if is_setup => self.blame("OV-30", "SetupConnection comes twice"),
            Stage::New | Stage::Granted => {}
        }
        let is_request = matches!(message, MiningClientMessage::RequestExtensions(_));
        self.has_begun |= self.stage == Stage::Granted && !is_request;
    }

    fn set_up(&mut self, setup: &SetupConnection<'_>) -> Seen {
        if self.stage == Stage::New {
            self.stage = Stage::Asked;
        }
        Seen::Setup(Setup {
            protocol: setup.protocol,
            min_version: setup.min_version,
            max_version: setup.max_version,
            flags: setup.flags,
            vendor: setup.vendor.as_bytes().to_vec(),
        })
    }

    fn opening(&mut self, opening: Opening) -> Seen {
        if !self.requests.insert(opening.request_id) {
            self.blame("MP-31", format!("request_id {} is used twice", opening.request_id));
        }
        self.check_rate(opening.nominal_hash_rate);
        Seen::Opening(opening)
    }

    fn check_rate(&mut self, rate: f32) {
        if !(rate >= 0.0 && rate.is_finite()) {
            self.blame("MP-38", format!("nominal_hash_rate is {rate}"));
        }
    }

    fn update(&mut self, channel_id: u32, rate: f32) {
        self.check_rate(rate);
        self.updates += 1;
        if !self.channels.contains_key(&channel_id) {
            self.blame("MP-40", format!("UpdateChannel is for channel {channel_id}"));
        }
        let last = self.last_update.replace(Instant::now());
        if let Some(pause) = last.map(|last| last.elapsed()).filter(|pause| *pause < UPDATE_PAUSE) {
            self.blame("MP-42", format!("{} ms between two updates", pause.as_millis()));
        }
    }

    fn share(&mut self, share: &Submission) -> Seen {
        let (channel_id, sequence_number) = (share.channel_id, share.sequence_number);
        let fault = match self.channels.get_mut(&channel_id) {
            None => Some(("MP-50", format!("channel {channel_id} is none of its own"))),
            Some(channel) => channel.judge(share),
        };
        self.faults.extend(fault.clone());
        Seen::Share(ShareSeen { channel_id, sequence_number, job_id: share.job_id, fault })
    }
}

fn standard(share: &SubmitSharesStandard) -> Submission {
    Submission {
        channel_id: share.channel_id,
        sequence_number: share.sequence_number,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
        extranonce: None,
    }
}

fn extended(share: &SubmitSharesExtended<'_>) -> Submission {
    Submission {
        channel_id: share.channel_id,
        sequence_number: share.sequence_number,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
        extranonce: Some(share.extranonce.as_bytes().to_vec()),
    }
}
