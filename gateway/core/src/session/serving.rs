//! The phase in which a miner works.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use sv2_wire::mining::{
    CloseChannel, SetCustomMiningJob, SetCustomMiningJobError, SubmitSharesSuccess, UpdateChannel,
    UpdateChannelError,
};
use sv2_wire::{MiningClientMessage, Str0255, Tlvs};

use super::context::{Context, code};
use super::io::Notice;
use super::opening::{Opening, hash_rate};
use super::phase::Phase;
use super::submit::{Submitted, Unlogged};
use crate::channel::group;
use crate::channel::open::Channels;
use crate::hashes::Hashes;
use crate::ids::{ChannelId, Receipt, SequenceNumber, WorkerId};
use crate::job::Work;
use crate::moment::Moment;
use crate::reason::{ReasonCode, WireError};
use crate::target::Target;

/// A connection that has, or had, a channel.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) channels: Channels,
    /// The group that every channel belongs to. It shares its numbers with the channels.
    pub(super) group: ChannelId,
    pub(super) last_channel: ChannelId,
    pub(super) unlogged: VecDeque<Unlogged>,
    pub(super) last_receipt: Receipt,
    heard: Duration,
}

impl Serving {
    pub(super) fn new(now: Moment) -> Self {
        let group = ChannelId(1);
        Self {
            channels: Channels::new(),
            group,
            last_channel: group,
            unlogged: VecDeque::new(),
            last_receipt: Receipt(0),
            heard: now.mono,
        }
    }

    pub(super) fn message(
        mut self: Box<Self>,
        message: MiningClientMessage<'_>,
        tlvs: Tlvs<'_>,
        context: &mut Context,
        now: Moment,
    ) -> Phase {
        self.heard = now.mono;
        match message {
            MiningClientMessage::SubmitSharesStandard(share) => {
                self.submit(Submitted::standard(&share), context, now);
            }
            MiningClientMessage::SubmitSharesExtended(share) => {
                let worker = match context.worker_name(tlvs) {
                    Ok(worker) => worker,
                    Err(detail) => return context.close(ReasonCode::FrameDecodeError, detail),
                };
                self.submit(Submitted::extended(&share, worker), context, now);
            }
            MiningClientMessage::OpenStandardMiningChannel(open) => {
                self.open_or_refuse(&Opening::standard(&open), context, now);
            }
            MiningClientMessage::OpenExtendedMiningChannel(open) => {
                self.open_or_refuse(&Opening::extended(&open), context, now);
            }
            MiningClientMessage::UpdateChannel(update) => self.update(&update, context, now),
            MiningClientMessage::CloseChannel(close) => {
                self.close_channel(ChannelId(close.channel_id), context);
            }
            MiningClientMessage::SetCustomMiningJob(job) => refuse_custom_job(&job, context),
            MiningClientMessage::RequestExtensions(request) => context.answer_extensions(request),
            // No extension state is kept that it could reset.
            MiningClientMessage::ChannelEndpointChanged(_) => {}
            MiningClientMessage::SetupConnection(_) => {
                return context.close_unexpected("SetupConnection", "work");
            }
        }
        Phase::Serving(self)
    }

    /// Hands the latest work to every channel that does not have it.
    pub(super) fn offer_work(&mut self, context: &mut Context, now: Moment) {
        let Some(work) = context.sendable_work() else { return };
        let settings = Arc::clone(&context.settings);
        let is_new = self.channels.values().all(|channel| !channel.has(&work));
        if is_new && self.send_to_group(&work, context, now) {
            return;
        }
        for channel in self.channels.values_mut().filter(|channel| !channel.has(&work)) {
            channel.send_job(&work, &settings, now, context.out());
        }
    }

    /// Sends one job for all channels, where that is wanted and possible.
    pub(super) fn send_to_group(
        &mut self,
        work: &Arc<Work>,
        context: &mut Context,
        now: Moment,
    ) -> bool {
        let settings = Arc::clone(&context.settings);
        context.addresses_group()
            && group::send_job(self.group, &mut self.channels, work, &settings, now, context.out())
    }

    /// Counts accepted work for its channel, and gives that another target if it should have one.
    pub(super) fn credit(
        &mut self,
        id: ChannelId,
        worker: &WorkerId,
        hashes: Hashes,
        context: &mut Context,
        now: Moment,
    ) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.credit(worker, hashes, now);
        if context.sendable_work().is_some() {
            let settings = Arc::clone(&context.settings);
            channel.retarget(&settings, now, context.out());
        }
    }

    /// Renews targets and jobs that are due. Nothing is while work is withheld.
    pub(super) fn maintain(&mut self, context: &mut Context, now: Moment) {
        let Some(work) = context.sendable_work() else { return };
        let settings = Arc::clone(&context.settings);
        for channel in self.channels.values_mut() {
            channel.retarget(&settings, now, context.out());
        }
        let is_due = self.channels.values().any(|channel| channel.refresh_is_due(now));
        if !is_due || self.send_to_group(&work, context, now) {
            return;
        }
        for channel in self.channels.values_mut().filter(|channel| channel.refresh_is_due(now)) {
            channel.send_job(&work, &settings, now, context.out());
        }
    }

    /// When [`maintain`](Self::maintain) has something to do, unless work is withheld by then.
    pub(super) fn next_maintenance(&self, context: &Context) -> Option<Duration> {
        context.sendable_work()?;
        self.channels.values().filter_map(|channel| channel.next_maintenance()).min()
    }

    /// Counts what the log now holds towards acknowledgements.
    pub(super) fn durable(&mut self, up_to: Receipt, now: Moment) {
        while let Some(share) = self.unlogged.pop_front_if(|share| share.receipt <= up_to) {
            // The channel may have been closed meanwhile: then nobody waits for the answer.
            if let Some(channel) = self.channels.get_mut(&share.channel_id) {
                channel.acks.add(share.sequence, share.difficulty, now.mono);
            }
        }
    }

    /// Sends the acknowledgements that are due, or all of them.
    pub(super) fn acknowledge(&mut self, all: bool, context: &mut Context, now: Moment) {
        let (size, delay) = (context.settings.ack_batch, context.settings.ack_max_delay);
        for channel in self.channels.values_mut() {
            if !all && !channel.acks.is_due(size, delay, now.mono) {
                continue;
            }
            if let Some(ack) = channel.acks.take() {
                let SequenceNumber(last_sequence_number) = ack.last_sequence_number;
                context.send(&SubmitSharesSuccess {
                    channel_id: channel.id.0,
                    last_sequence_number,
                    new_submits_accepted_count: ack.accepted_count,
                    new_shares_sum: ack.shares_sum,
                });
            }
        }
    }

    /// The tip that the channels work on.
    pub(super) fn tip(&self) -> Option<BlockHash> {
        self.channels.values().find_map(|channel| channel.jobs.tip())
    }

    pub(super) fn idle_at(&self, idle_timeout: Duration) -> Duration {
        self.heard + idle_timeout
    }

    pub(super) fn next_ack(&self, max_delay: Duration) -> Option<Duration> {
        self.channels.values().filter_map(|channel| channel.acks.deadline(max_delay)).min()
    }

    /// Tells the miner that its channels end and why, if it takes that.
    pub(super) fn take_leave(&mut self, reason: ReasonCode, context: &mut Context, now: Moment) {
        self.acknowledge(true, context, now);
        if !context.peer.takes_close_channel() {
            return;
        }
        let reason = reason.hyphenated();
        let reason_code = Str0255::new(reason.as_bytes()).expect("reason codes are short");
        for id in self.channels.keys() {
            context.send(&CloseChannel { channel_id: id.0, reason_code });
        }
    }

    fn update(&mut self, update: &UpdateChannel, context: &mut Context, now: Moment) {
        if let Err(error) = self.try_update(update, context, now) {
            context.send(&UpdateChannelError {
                channel_id: update.channel_id,
                error_code: code(error),
            });
            context.notice(Notice::UpdateRefused(error.reason()));
        }
    }

    /// Follows the miner to a harder target (SV2 §5.3.7), also beyond the hardest that is given
    /// unasked, or to another hash rate. An easier limit changes nothing by itself.
    fn try_update(
        &mut self,
        update: &UpdateChannel,
        context: &mut Context,
        now: Moment,
    ) -> Result<(), WireError> {
        let channel = self
            .channels
            .get_mut(&ChannelId(update.channel_id))
            .ok_or(WireError::UpdateChannelId)?;
        let rate = hash_rate(update.nominal_hash_rate).ok_or(WireError::UpdateHashRate)?;
        let settings = Arc::clone(&context.settings);
        let max_target = Target::from_le_bytes(update.maximum_target.0);
        if max_target == Target::from_le_bytes([0; 32]) {
            return Err(WireError::UpdateMaxTarget);
        }
        let may_send_job = !context.shared.work_is_withheld();
        channel.restate(rate, max_target, &settings, may_send_job, now, context.out());
        Ok(())
    }

    /// Forgets a channel, or all of them if it is the group that is closed. There is no answer.
    fn close_channel(&mut self, id: ChannelId, context: &mut Context) {
        let before = self.channels.len();
        self.channels.retain(|channel_id, _| id != self.group && *channel_id != id);
        for _ in self.channels.len()..before {
            context.notice(Notice::ChannelClosed);
        }
    }
}

/// Custom jobs need a flag that SetupConnection refuses.
fn refuse_custom_job(job: &SetCustomMiningJob<'_>, context: &mut Context) {
    context.send(&SetCustomMiningJobError {
        channel_id: job.channel_id,
        request_id: job.request_id,
        error_code: code(WireError::CustomJob),
    });
    context.notice(Notice::CustomJobRefused);
}
