//! What changed settings mean for channels that are open.

use std::sync::Arc;

use sv2_wire::mining::{CloseChannel, SetGroupChannel};
use sv2_wire::{Seq064K, Str0255};

use super::context::Context;
use super::io::{DifficultySettings, Notice, Settings};
use super::serving::Serving;
use crate::channel::open::{Channel, Kind};
use crate::moment::Moment;
use crate::reason::{ReasonCode, WireError};

impl Serving {
    pub(super) fn set_aim(&mut self, settings: &DifficultySettings) {
        for channel in self.channels.values_mut() {
            channel.set_aim(settings.aim);
        }
    }

    /// Closes channels that could not be opened any more.
    ///
    /// # Errors
    /// Why the connection must end: the client does not take the closing of a channel.
    pub(super) fn close_disallowed(
        &mut self,
        context: &mut Context,
        now: Moment,
    ) -> Result<(), ReasonCode> {
        let settings = Arc::clone(&context.settings);
        let refusals = self.channels.values().filter_map(|channel| {
            let refusal = refusal(channel, &settings)?;
            Some((channel.id, refusal.reason()))
        });
        let refusals: Vec<_> = refusals.collect();
        if refusals.is_empty() {
            return Ok(());
        }
        self.acknowledge(true, context, now);
        for (id, reason) in refusals {
            if !context.peer.takes_close_channel() {
                return Err(reason);
            }
            self.channels.remove(&id);
            let reason = reason.hyphenated();
            let reason_code = Str0255::new(reason.as_bytes()).expect("reason codes are short");
            context.send(&CloseChannel { channel_id: id.0, reason_code });
            context.notice(Notice::ChannelClosed);
        }
        Ok(())
    }

    /// Tells a client that knew its group only by name which channels it has.
    pub(super) fn announce_group(&self, context: &mut Context) {
        let channel_ids: Vec<u32> = self.channels.keys().map(|id| id.0).collect();
        if context.addresses_group() && !channel_ids.is_empty() {
            let channel_ids = Seq064K::new(&channel_ids)
                .expect("limits.max_channels_per_connection is below 2^16");
            context.send(&SetGroupChannel { group_channel_id: self.group.0, channel_ids });
        }
    }

    /// Moves channels to the gateway's part of the search space, if it has become another. Jobs
    /// sent before keep theirs, so fresh ones follow where they may. A client that does not follow
    /// keeps its channels where they are until it connects again.
    pub(super) fn move_extranonces(&mut self, context: &mut Context, now: Moment) {
        if !context.peer.follows_channel_changes() {
            return;
        }
        let settings = Arc::clone(&context.settings);
        let mut has_moved = false;
        for channel in self.channels.values_mut() {
            if channel.extranonce.space() == settings.extranonce_space {
                continue;
            }
            // Without room for a second one the channel stays as well.
            let lease = context.shared.lease_extranonce(settings.extranonce_space);
            let Some(lease) = lease else { continue };
            channel.replace_extranonce(lease, context.out());
            has_moved = true;
        }
        let work = context.sendable_work().filter(|_| has_moved);
        if let Some(work) = work
            && !self.send_to_group(&work, context, now)
        {
            for channel in self.channels.values_mut() {
                channel.send_job(&work, &settings, now, context.out());
            }
        }
    }
}

/// Why this channel would not be opened today.
fn refusal(channel: &Channel, settings: &Settings) -> Option<WireError> {
    let is_kind_served = settings.extended_channels || channel.kind == Kind::Standard;
    let is_worker_known = settings.auth.recognize(&channel.worker);
    is_worker_known.err().or_else(|| (!is_kind_served).then_some(WireError::OpenExtended))
}
