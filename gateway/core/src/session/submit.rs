//! What happens to a submitted share.

use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use sv2_wire::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard};

use super::context::{Context, code};
use super::io::{AcceptedShare, FoundBlock, Notice, Output};
use super::serving::Serving;
use crate::event::{ShareAccepted, Sv2Response};
use crate::forward::ForwardShare;
use crate::ids::{ChannelId, EventId, JobId, Receipt, SequenceNumber, WorkerId};
use crate::limits::MAX_UNLOGGED_SHARES;
use crate::moment::Moment;
use crate::reason::WireError;
use crate::share::validate::{Examined, Judged, Submission, judge};
use crate::target::Difficulty;

/// A share as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submitted<'a> {
    channel_id: ChannelId,
    sequence: SequenceNumber,
    job_id: JobId,
    header: Submission,
    /// What the miner rolled of the extranonce.
    rolled: &'a [u8],
    /// Whom the share itself names (extension 0x0002).
    worker: Option<&'a str>,
}

/// An accepted share on its way into the log.
#[derive(Debug)]
pub(super) struct Unlogged {
    pub(super) receipt: Receipt,
    pub(super) channel_id: ChannelId,
    pub(super) sequence: SequenceNumber,
    pub(super) difficulty: Difficulty,
}

impl<'a> Submitted<'a> {
    pub(super) fn standard(share: &SubmitSharesStandard) -> Self {
        Self {
            channel_id: ChannelId(share.channel_id),
            sequence: SequenceNumber(share.sequence_number),
            job_id: JobId(share.job_id),
            header: Submission { version: share.version, ntime: share.ntime, nonce: share.nonce },
            rolled: &[],
            worker: None,
        }
    }

    pub(super) fn extended(share: &SubmitSharesExtended<'a>, worker: Option<&'a str>) -> Self {
        Self {
            channel_id: ChannelId(share.channel_id),
            sequence: SequenceNumber(share.sequence_number),
            job_id: JobId(share.job_id),
            header: Submission { version: share.version, ntime: share.ntime, nonce: share.nonce },
            rolled: share.extranonce.as_bytes(),
            worker,
        }
    }
}

impl Serving {
    /// Judges a share and answers it: an error at once, success when the log has it.
    pub(super) fn submit(&mut self, share: Submitted<'_>, context: &mut Context, now: Moment) {
        let is_over_rate =
            !context.quotas.take_share(now) || self.unlogged.len() >= MAX_UNLOGGED_SHARES;
        let Some(channel) = self.channels.get(&share.channel_id) else {
            return refuse(share, WireError::ShareChannelId, None, None, context, now);
        };
        let credited = channel.worker_of(share.worker, context.settings.max_workers);
        if credited.is_over_cap {
            context.notice(Notice::WorkerOverCap);
        }
        let worker = Some(&credited.worker);
        let fault_before = if is_over_rate {
            Some(WireError::ShareRate)
        } else if share.rolled.len() != channel.kind.rolled_bytes() {
            Some(WireError::ShareExtranonce)
        } else {
            None
        };
        if let Some(fault) = fault_before {
            channel.listing.count_refusal();
            return refuse(share, fault, worker, None, context, now);
        }
        let Judged { examined, answer } = judge(
            channel.jobs.find(share.job_id),
            share.rolled,
            share.header,
            &context.settings,
            &context.shared,
            now,
        );
        if let Some(block) = examined.as_ref().filter(|examined| examined.is_new_block) {
            context.outputs.push_back(Output::Block(found_block(&credited.worker, block)));
        }
        match (answer, examined) {
            (Err(error), examined) => {
                channel.listing.count_refusal();
                refuse(share, error, worker, examined.as_ref(), context, now);
            }
            (Ok(()), Some(examined)) => {
                self.last_receipt = Receipt(self.last_receipt.0 + 1);
                let receipt = self.last_receipt;
                self.unlogged.push_back(Unlogged {
                    receipt,
                    channel_id: share.channel_id,
                    sequence: share.sequence,
                    difficulty: examined.job.worth.difficulty,
                });
                let hashes = examined.job.worth.hashes;
                accept(share, receipt, &credited.worker, &examined, context, now);
                mutant::bug!(AckBeforeLog, self.durable(receipt, now));
                self.credit(share.channel_id, &credited.worker, hashes, context, now);
            }
            (Ok(()), None) => unreachable!("a share is accepted on its header alone"),
        }
    }
}

fn accept(
    share: Submitted<'_>,
    receipt: Receipt,
    worker: &WorkerId,
    examined: &Examined<'_>,
    context: &mut Context,
    now: Moment,
) {
    let response = Sv2Response::Success;
    let event = event(share, response, Some(worker), Some(examined), context, now);
    let forward = Arc::new(ForwardShare {
        share_id: examined.share_id,
        event_id: event.event_id,
        job: Arc::clone(examined.job.work.job_data()),
        channel_id: share.channel_id,
        worker_id: worker.clone(),
        version: share.header.version,
        ntime: mutant::pick!(ForwardedWithJobTime, examined.job.min_ntime, share.header.ntime),
        nonce: share.header.nonce,
        extranonce: examined.extranonce,
        difficulty: examined.job.worth.difficulty,
        timestamp_ms: now.unix_ms,
        header: examined.header,
    });
    mutant::bug!(Canary, return);
    context.outputs.push_back(Output::Accepted(Box::new(AcceptedShare {
        receipt,
        event,
        forward,
    })));
}

fn refuse(
    share: Submitted<'_>,
    error: WireError,
    worker: Option<&WorkerId>,
    examined: Option<&Examined<'_>>,
    context: &mut Context,
    now: Moment,
) {
    let event = event(share, Sv2Response::Error(error.reason()), worker, examined, context, now);
    context.outputs.push_back(Output::Rejected(Box::new(event)));
    context.send(&SubmitSharesError {
        channel_id: share.channel_id.0,
        sequence_number: share.sequence.0,
        error_code: code(mutant::pick!(WrongErrorCode, WireError::ShareJobId, error)),
    });
}

fn event(
    share: Submitted<'_>,
    sv2_response: Sv2Response,
    worker: Option<&WorkerId>,
    examined: Option<&Examined<'_>>,
    context: &Context,
    now: Moment,
) -> ShareAccepted {
    let share_id = examined.map(|examined| examined.share_id);
    let sequence = context.shared.next_submission();
    let instance = context.shared.instance();
    let verdict = examined.and_then(|examined| examined.held.as_ref()?.verdict.as_deref());
    ShareAccepted {
        share_id,
        event_id: EventId::new(instance, share_id, share.channel_id, sequence),
        channel_id: share.channel_id,
        job_id: share.job_id,
        worker_id: worker.cloned(),
        miner_id: context.connection_id,
        validation_level: context.settings.validation,
        sv2_response,
        fee_tier: verdict.and_then(|verdict| verdict.fee_tier),
        difficulty_target: examined.map(|examined| examined.job.worth.difficulty),
        timestamp_ms: now.unix_ms,
        gateway_instance_id: instance.clone(),
    }
}

fn found_block(worker: &WorkerId, examined: &Examined<'_>) -> FoundBlock {
    let work = &examined.job.work;
    FoundBlock {
        hash: BlockHash::from_byte_array(examined.hash),
        height: work.template().height,
        template_id: work.template_id(),
        share_id: examined.share_id,
        worker_id: worker.clone(),
        bytes: work.block(&examined.header, &examined.extranonce),
    }
}
