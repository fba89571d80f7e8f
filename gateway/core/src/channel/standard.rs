//! A standard channel: the miner varies the header, the coinbase is ours.

use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use sv2_wire::mining::{NewMiningJob, SetNewPrevHash, SetTarget};
use sv2_wire::{Message as _, U256};

use super::jobs::{Job, JobBook};
use crate::ids::{ChannelId, JobId, WorkerId};
use crate::job::Work;
use crate::moment::Moment;
use crate::share::lifecycle::AckBatch;
use crate::shared::ExtranonceLease;
use crate::target::Target;

/// One open standard channel.
#[derive(Debug)]
pub(crate) struct StandardChannel {
    pub(crate) id: ChannelId,
    pub(crate) worker: WorkerId,
    pub(crate) extranonce: ExtranonceLease,
    /// What jobs sent from now on are worth.
    pub(crate) target: Target,
    pub(crate) jobs: JobBook,
    pub(crate) acks: AckBatch,
}

impl StandardChannel {
    /// Sends `work` unless the channel has it: on a new tip as a future job that SetNewPrevHash
    /// then starts, else as a job to start at once.
    pub(crate) fn offer(&mut self, work: &Arc<Work>, now: Moment, out: &mut Vec<u8>) {
        let has_it =
            self.jobs.newest().is_some_and(|job| job.work.template_id() == work.template_id());
        if !has_it {
            self.send_job(work, now, out);
        }
    }

    /// Grants a harder target: jobs sent before keep theirs, so a fresh one follows at once where it
    /// may.
    pub(crate) fn set_target(
        &mut self,
        target: Target,
        may_send_job: bool,
        now: Moment,
        out: &mut Vec<u8>,
    ) {
        self.target = target;
        let maximum_target = U256(target.to_le_bytes());
        SetTarget { channel_id: self.id.0, maximum_target }.encode_frame(out);
        let work = self.jobs.newest().map(|job| Arc::clone(&job.work));
        if let Some(work) = work.filter(|_| may_send_job) {
            self.send_job(&work, now, out);
        }
    }

    fn send_job(&mut self, work: &Arc<Work>, now: Moment, out: &mut Vec<u8>) {
        let template = work.template();
        let on_same_tip =
            self.jobs.newest().filter(|newest| newest.work.prev_hash() == work.prev_hash());
        let is_future = on_same_tip.is_none();
        let earliest = on_same_tip.map_or(0, |newest| newest.min_ntime);
        let min_ntime = template.curtime.max(template.mintime).max(earliest);
        let merkle_root = work.merkle_root(self.extranonce.bytes());
        let JobId(job_id) = self.jobs.issue(Job {
            work: Arc::clone(work),
            merkle_root,
            target: self.target,
            difficulty: self.target.difficulty(),
            min_ntime,
            sent: now.mono,
        });
        NewMiningJob {
            channel_id: self.id.0,
            job_id,
            min_ntime: (!is_future).then_some(min_ntime),
            version: template.version,
            merkle_root: U256(merkle_root),
        }
        .encode_frame(out);
        if is_future {
            SetNewPrevHash {
                channel_id: self.id.0,
                job_id,
                prev_hash: U256(template.prev_hash.to_byte_array()),
                min_ntime,
                nbits: template.bits.to_consensus(),
            }
            .encode_frame(out);
        }
    }
}
