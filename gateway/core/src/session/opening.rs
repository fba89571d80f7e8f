//! Opening channels.

use std::sync::Arc;

use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
};
use sv2_wire::{B032, U256};

use super::context::Context;
use super::io::{Notice, Settings};
use super::serving::Serving;
use crate::channel::difficulty::{Worth, easiest, first_target, hardest};
use crate::channel::open::{Channel, Kind};
use crate::ids::{ChannelId, WorkerId};
use crate::limits::ROLLED_EXTRANONCE_BYTES;
use crate::moment::Moment;
use crate::reason::WireError;
use crate::roster::Listing;
use crate::target::Target;

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) request_id: u32,
    kind: Kind,
    user_identity: &'a [u8],
    nominal_hash_rate: f32,
    max_target: Target,
    min_extranonce_size: u16,
}

/// What it may have.
struct Terms {
    worker: WorkerId,
    rate: f64,
    target: Target,
}

impl<'a> Opening<'a> {
    pub(super) fn standard(open: &OpenStandardMiningChannel<'a>) -> Self {
        Self {
            request_id: open.request_id,
            kind: Kind::Standard,
            user_identity: open.user_identity.as_bytes(),
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: Target::from_le_bytes(open.max_target.0),
            min_extranonce_size: 0,
        }
    }

    pub(super) fn extended(open: &OpenExtendedMiningChannel<'a>) -> Self {
        Self {
            request_id: open.request_id,
            kind: Kind::Extended,
            user_identity: open.user_identity.as_bytes(),
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: Target::from_le_bytes(open.max_target.0),
            min_extranonce_size: open.min_extranonce_size,
        }
    }

    fn terms(&self, channels: usize, context: &Context) -> Result<Terms, WireError> {
        let settings = &context.settings;
        let is_extended = self.kind == Kind::Extended;
        if is_extended && (!settings.extended_channels || context.peer.requires_standard_jobs) {
            return Err(WireError::OpenExtended);
        }
        let worker = settings.auth.authenticate(self.user_identity)?;
        if channels >= settings.max_channels {
            return Err(WireError::OpenCapacity);
        }
        let rate = hash_rate(self.nominal_hash_rate).ok_or(WireError::OpenHashRate)?;
        if self.max_target < hardest(&settings.difficulty) {
            return Err(WireError::OpenMaxTarget);
        }
        if usize::from(self.min_extranonce_size) > ROLLED_EXTRANONCE_BYTES {
            return Err(WireError::OpenExtranonce);
        }
        if context.work.is_none() && !context.upstream_available {
            return Err(WireError::OpenNoWork);
        }
        let target = first_target(&settings.difficulty, rate).min(self.max_target);
        Ok(Terms { worker, rate, target })
    }

    /// The target that the answer grants. A proxy that names a limit of its own may go by that
    /// until the first SetTarget, whatever it is granted here.
    fn granted(&self, target: Target, settings: &Settings) -> Target {
        let names_limit = self.max_target < easiest(&settings.difficulty);
        if names_limit { self.max_target } else { target }
    }

    fn accept(&self, channel: &Channel, granted: Target, group: ChannelId, context: &mut Context) {
        let (request_id, channel_id, group_channel_id) = (self.request_id, channel.id.0, group.0);
        let target = U256(granted.to_le_bytes());
        let prefix = B032::new(channel.extranonce_prefix()).expect("at most 24 bytes fit 32");
        match self.kind {
            Kind::Standard => context.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix: prefix,
                group_channel_id,
            }),
            Kind::Extended => context.send(&OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_size: u16::try_from(ROLLED_EXTRANONCE_BYTES).expect("sixteen"),
                extranonce_prefix: prefix,
                group_channel_id,
            }),
        }
    }
}

impl Serving {
    pub(super) fn open_or_refuse(
        &mut self,
        opening: &Opening<'_>,
        context: &mut Context,
        now: Moment,
    ) {
        if let Err(error) = self.open(opening, context, now) {
            context.refuse_channel(opening.request_id, error);
        }
    }

    /// Opens a channel and, where there is work, starts it at once.
    pub(super) fn open(
        &mut self,
        opening: &Opening<'_>,
        context: &mut Context,
        now: Moment,
    ) -> Result<(), WireError> {
        let settings = Arc::clone(&context.settings);
        let Terms { worker, rate, target } = opening.terms(self.channels.len(), context)?;
        let extranonce = context
            .shared
            .lease_extranonce(settings.extranonce_space)
            .ok_or(WireError::OpenCapacity)?;
        let id = ChannelId(self.last_channel.0 + 1);
        let key = (context.connection_id, id);
        let is_extended = opening.kind == Kind::Extended;
        let worth = Worth::of(target);
        let listing =
            Listing::new(&context.shared, key, &worker, is_extended, worth.difficulty, now.mono)
                .ok_or(WireError::OpenCapacity)?;
        self.last_channel = id;
        let mut channel = Channel {
            id,
            kind: opening.kind,
            worker,
            extranonce,
            worth,
            max_target: opening.max_target,
            stated_rate: rate,
            vardiff: None,
            jobs: Default::default(),
            acks: Default::default(),
            listing,
        };
        let granted = opening.granted(target, &settings);
        opening.accept(&channel, granted, self.group, context);
        if granted != target {
            channel.announce_target(target, context.out());
        }
        if let Some(work) = context.sendable_work() {
            channel.send_job(&work, &settings, now, context.out());
        }
        self.channels.insert(id, Box::new(channel));
        context.notice(Notice::ChannelOpened);
        Ok(())
    }
}

/// The rate if it is one: zero means unknown, as a proxy without devices sends it.
pub(super) fn hash_rate(nominal: f32) -> Option<f64> {
    (nominal.is_finite() && nominal >= 0.0).then_some(f64::from(nominal))
}
