//! The tests' server: messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use sv2_wire::common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use sv2_wire::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use sv2_wire::mining::{
    CloseChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SetGroupChannel, SetTarget, UpdateChannel, UpdateChannelError,
};
use sv2_wire::{
    B032, DecodeError, FrameHeader, Message, MiningClientMessage, Seq064K, Str0255, U24, U256,
    WorkerIdentity,
};

use crate::breakage::Breakage;
use crate::server::Shared;
use crate::work::{Channel, EASIEST, HARDEST};

/// Flags that this server does not serve: work selection and all that are not defined.
const REFUSED_FLAGS: u32 = !0b101;
/// Bytes that a client rolls on an extended channel.
const ROLLED: u16 = 16;

/// A SubmitSharesStandard that lacks one byte.
const CUT_SHARE_LEN: usize = 23;

/// One connection after the handshake.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) out: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) standard_jobs: bool,
    is_set_up: bool,
    /// Shares may name workers.
    names_workers: bool,
    /// Came before SetupConnection.
    kept: Vec<(FrameHeader, Vec<u8>)>,
    pub(crate) channels: BTreeMap<u32, Channel>,
    next_id: u32,
    pub(crate) next_job: u32,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            out: Vec::new(),
            ended: false,
            standard_jobs: false,
            is_set_up: false,
            names_workers: false,
            kept: Vec::new(),
            channels: BTreeMap::new(),
            next_id: 2,
            next_job: 1,
        }
    }

    pub(crate) fn is(&self, breakage: Breakage) -> bool {
        self.shared.is(breakage)
    }

    pub(crate) fn has_channels(&self) -> bool {
        !self.channels.is_empty()
    }

    pub(crate) fn start(&mut self) {
        if self.is(Breakage::SuccessUnasked) {
            self.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        }
        self.is_set_up = self.is(Breakage::ServesBeforeSetup);
    }

    pub(crate) fn send<'m>(&mut self, message: &impl Message<'m>) {
        message.encode_frame(&mut self.out);
    }

    pub(crate) fn frame(&mut self, header: FrameHeader, payload: &[u8]) {
        let is_opening = matches!(header.msg_type, 0x10 | 0x13);
        let is_cut_share = header.msg_type == 0x1a && payload.len() == CUT_SHARE_LEN;
        match MiningClientMessage::decode(header, payload) {
            Ok(_) if !self.is_set_up && is_opening && self.is(Breakage::KeepsFirstMessages) => {
                self.kept.push((header, payload.to_vec()));
            }
            Ok(decoded) if decoded.wrong_channel_bit && self.is(Breakage::OldBitFatal) => {
                self.ended = true;
            }
            Ok(decoded) => {
                let is_known = self.names_workers || decoded.tlvs.is_empty();
                if !is_known && self.is(Breakage::UnknownTlvFatal) {
                    self.ended = true;
                    return;
                }
                let is_clean = WorkerIdentity::find(decoded.tlvs).is_ok();
                match self.names_workers && !is_clean && !self.is(Breakage::LongWorkers) {
                    true => self.ended = true,
                    false => self.message(decoded.message),
                }
            }
            Err(_) if is_opening && self.is(Breakage::SilentOnMalformed) => {}
            Err(DecodeError::UnknownExtension { .. })
                if self.is_set_up && !self.is(Breakage::UnknownExtensionFatal) => {}
            Err(DecodeError::Tail { .. }) if self.is(Breakage::TrailingBytes) => {
                let len = payload.len() - 1;
                let msg_length = U24::from_len(len).unwrap();
                self.frame(FrameHeader { msg_length, ..header }, &payload[..len]);
            }
            Err(_) if self.is(Breakage::CutShares) && is_cut_share => {
                // What is missing is the top of the version.
                let whole = [payload, &[0x20]].concat();
                let msg_length = U24::from_len(whole.len()).unwrap();
                self.frame(FrameHeader { msg_length, ..header }, &whole);
            }
            Err(_) => self.ended = true,
        }
    }

    fn message(&mut self, message: MiningClientMessage<'_>) {
        match message {
            MiningClientMessage::SetupConnection(setup) => self.set_up(&setup),
            _ if !self.is_set_up => self.ended = true,
            MiningClientMessage::RequestExtensions(request) => self.extensions(&request),
            MiningClientMessage::OpenStandardMiningChannel(open) => {
                let rate = open.nominal_hash_rate;
                self.open(open.request_id, rate, open.max_target, None);
            }
            MiningClientMessage::OpenExtendedMiningChannel(open) => {
                let (rate, size) = (open.nominal_hash_rate, open.min_extranonce_size);
                self.open(open.request_id, rate, open.max_target, Some(size));
            }
            MiningClientMessage::UpdateChannel(update) => self.update(&update),
            MiningClientMessage::CloseChannel(close) => self.close(&close),
            MiningClientMessage::SubmitSharesStandard(share) => self.standard_share(&share),
            MiningClientMessage::SubmitSharesExtended(share) => self.extended_share(&share),
            MiningClientMessage::SetCustomMiningJob(job) => self.custom_job(&job),
            MiningClientMessage::ChannelEndpointChanged(_) => {}
        }
    }

    fn set_up(&mut self, setup: &SetupConnection<'_>) {
        if self.is(Breakage::OtherProtocolsUnheard) && [1, 2].contains(&setup.protocol) {
            self.ended = true;
            return;
        }
        let device = [setup.hardware_version, setup.firmware, setup.device_id];
        let is_anonymous = device.iter().any(|text| text.as_bytes().is_empty());
        let is_anonymous = is_anonymous || setup.vendor.as_bytes().is_empty();
        let is_long = setup.vendor.as_bytes().len() > 100;
        let dishonest = self.is(Breakage::FlagsDishonest);
        let refused_flags = if dishonest { u32::MAX } else { REFUSED_FLAGS };
        let speaks_two = (setup.min_version..=setup.max_version).contains(&2);
        let refused = if setup.protocol != 0 && !self.is(Breakage::AnyProtocol) {
            Some((0, "unsupported-protocol"))
        } else if !speaks_two && !self.is(Breakage::AnyVersion) {
            Some((0, "protocol-version-mismatch"))
        } else if is_anonymous && self.is(Breakage::AnonymousRefused) {
            Some((0, "who-are-you"))
        } else if is_long && self.is(Breakage::LongTextsRefused) {
            Some((0, "too-long"))
        } else if setup.flags & refused_flags != 0 {
            Some((REFUSED_FLAGS, "unsupported-feature-flags"))
        } else {
            None
        };
        if self.is_set_up && self.is(Breakage::SecondSetupUnheard) {
            // Passed over.
        } else if self.is_set_up && !self.is(Breakage::ServesBeforeSetup) {
            self.ended = true;
        } else if let Some((flags, code)) = refused {
            let flags = match self.shared.breakage {
                Some(Breakage::FlagsOneByOne) => flags & setup.flags,
                Some(Breakage::FlagsAlways) => REFUSED_FLAGS,
                Some(Breakage::FlagsUntold) => 0,
                Some(Breakage::FlagsVary) => flags ^ ((self.shared.next_prefix() & 1) << 31),
                _ => flags,
            };
            let code = if self.is(Breakage::ControlCharacters) { "bad\nversion" } else { code };
            self.send(&SetupConnectionError { flags, error_code: text(code) });
            self.ended = true;
        } else {
            let used_version = if self.is(Breakage::UsedVersion) { 3 } else { 2 };
            let flags = match self.shared.breakage {
                Some(Breakage::UndefinedFlags) => 1 << 9,
                Some(Breakage::FixedVersionFlag) => 1,
                _ => 0,
            };
            self.send(&SetupConnectionSuccess { used_version, flags });
            if self.is(Breakage::ExtensionUnasked) {
                let supported_extensions = Seq064K::default();
                self.send(&RequestExtensionsSuccess { request_id: 0, supported_extensions });
            }
            self.is_set_up = true;
            self.standard_jobs = setup.flags & 1 != 0;
            for (header, payload) in std::mem::take(&mut self.kept) {
                self.frame(header, &payload);
            }
        }
    }

    fn extensions(&mut self, request: &RequestExtensions<'_>) {
        let all = self.is(Breakage::GrantsAnyExtension);
        let (granted, refused): (Vec<u16>, Vec<u16>) =
            request.requested_extensions.iter().partition(|id| all || [1, 2].contains(id));
        self.names_workers = granted.contains(&2);
        let lost = self.is(Breakage::ExtensionRequestIdLost);
        let request_id = if lost { 0 } else { request.request_id };
        let required = match self.shared.breakage {
            Some(Breakage::RequiresWhatWasAsked) => refused.clone(),
            Some(Breakage::RequiresInVain) => vec![2],
            _ => vec![],
        };
        if granted.is_empty() && !refused.is_empty() {
            self.send(&RequestExtensionsError {
                request_id,
                unsupported_extensions: Seq064K::new(&refused).unwrap(),
                required_extensions: Seq064K::new(&required).unwrap(),
            });
        } else {
            let supported_extensions = Seq064K::new(&granted).unwrap();
            self.send(&RequestExtensionsSuccess { request_id, supported_extensions });
        }
    }

    fn open(&mut self, request_id: u32, rate: f32, max_target: U256, rolled: Option<u16>) {
        let request_id = if self.is(Breakage::RequestIdLost) { 0 } else { request_id };
        let refused = if rolled.is_some_and(|size| size > ROLLED) {
            Some("min-extranonce-size-too-large")
        } else if rolled.is_some() && self.is(Breakage::NoExtended) {
            Some("extended-channel-unsupported")
        } else if rolled.is_some() && self.standard_jobs && !self.is(Breakage::ExtendedInSpite) {
            Some("standard-jobs-required")
        } else if max_target < HARDEST {
            Some("max-target-out-of-range")
        } else if !(rate >= 0.0 && rate.is_finite()) {
            Some("invalid-nominal-hashrate")
        } else {
            None
        };
        if rate == 0.0 && self.is(Breakage::ZeroHashRateFatal) {
            self.ended = true;
            return;
        }
        if let Some(code) = refused {
            self.send(&OpenMiningChannelError { request_id, error_code: text(code) });
            return;
        }
        let channel_id = self.next_id;
        if !self.is(Breakage::ChannelIdReused) {
            self.next_id += 1;
        }
        let group_channel_id = if self.is(Breakage::GroupIsChannel) { 2 } else { 1 };
        let above = self.is(Breakage::TargetAboveMax);
        let target = if above { U256::MAX } else { EASIEST.min(max_target) };
        let mut prefix = self.shared.next_prefix().to_be_bytes().to_vec();
        if rolled.is_none() {
            prefix.extend([0; ROLLED as usize]);
        }
        if rolled.is_none() && self.is(Breakage::EmptyPrefix) {
            prefix.clear();
        }
        let extranonce_prefix = B032::new(&prefix).unwrap();
        let small = self.is(Breakage::ExtranonceTooSmall);
        let size = rolled.map(|_| if small { 2 } else { ROLLED });
        match size {
            None => self.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix,
                group_channel_id,
            }),
            Some(extranonce_size) => self.send(&OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_size,
                extranonce_prefix,
                group_channel_id,
            }),
        }
        self.channels.insert(channel_id, Channel::new(channel_id, target, prefix, size));
        if self.standard_jobs && self.is(Breakage::GroupsStandardJobs) {
            let ids = [channel_id];
            let channel_ids = Seq064K::new(&ids).unwrap();
            self.send(&SetGroupChannel { group_channel_id, channel_ids });
        }
        self.offer(channel_id);
    }

    fn update(&mut self, update: &UpdateChannel) {
        let Some(channel) = self.channels.get_mut(&update.channel_id) else {
            if !self.is(Breakage::UpdateUnknownUnheard) {
                let dirty = self.is(Breakage::ControlCharacters);
                let code = if dirty { "\u{7}" } else { "invalid-channel-id" };
                let (channel_id, error_code) = (update.channel_id, text(code));
                self.send(&UpdateChannelError { channel_id, error_code });
            }
            return;
        };
        if self.shared.is(Breakage::UpdateUnheard) {
            return;
        }
        let (channel_id, maximum_target) = (update.channel_id, update.maximum_target);
        let is_harder = maximum_target < channel.target;
        if maximum_target < HARDEST || is_harder && self.shared.is(Breakage::UpdateRefused) {
            let error_code = text("max-target-out-of-range");
            self.send(&UpdateChannelError { channel_id, error_code });
        } else if is_harder {
            channel.target = maximum_target;
            self.send(&SetTarget { channel_id, maximum_target });
            self.next_job_of(channel_id);
        }
    }

    fn close(&mut self, close: &CloseChannel<'_>) {
        if self.is(Breakage::CloseUnheard) {
            return;
        }
        if close.channel_id == 1 && !self.is(Breakage::GroupCloseUnheard) {
            self.channels.clear();
        }
        self.channels.remove(&close.channel_id);
    }

    fn custom_job(&mut self, job: &SetCustomMiningJob<'_>) {
        let (channel_id, request_id) = (job.channel_id, job.request_id);
        if self.is(Breakage::CustomJobGranted) {
            self.send(&SetCustomMiningJobSuccess { channel_id, request_id, job_id: 77 });
        } else {
            let dirty = self.is(Breakage::ControlCharacters);
            let error_code = text(if dirty { "\u{7}" } else { "work-selection-not-agreed" });
            self.send(&SetCustomMiningJobError { channel_id, request_id, error_code });
        }
    }
}

pub(crate) fn text(text: &str) -> Str0255<'_> {
    Str0255::new(text.as_bytes()).unwrap()
}
