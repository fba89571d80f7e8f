//! The jobs that one channel was given, with what each was worth when it was sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;

use super::difficulty::Worth;
use crate::ids::JobId;
use crate::job::Work;
use crate::limits::MAX_JOBS_PER_CHANNEL;
use crate::moment::Moment;
use crate::shared::ExtranonceLease;

/// One job as it was sent.
///
/// It keeps its work alive, so that a block on it can be built whatever has been forgotten since.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) work: Arc<Work>,
    /// What the channel had when the job was sent: a later SetExtranoncePrefix does not touch it
    /// (SV2 §5.3.10).
    pub(crate) extranonce: Arc<ExtranonceLease>,
    /// Absent where each share has its own, because the miner rolls the extranonce, or where the
    /// miner was not told it, because the job went to a group.
    pub(crate) merkle_root: Option<[u8; 32]>,
    /// Of the target it was sent with: a later SetTarget does not touch it (SV2 §5.3.21).
    pub(crate) worth: Arc<Worth>,
    pub(crate) min_ntime: u32,
    pub(crate) sent: Duration,
}

impl Job {
    /// The least `ntime` of a job that follows on the same tip now. Another template brings its own
    /// time and need only not go back; the same one has grown older by as much as has passed.
    pub(crate) fn time_for(&self, next: &Work, now: Moment) -> u32 {
        if self.work.template_id() != next.template_id() {
            return self.min_ntime;
        }
        let passed = now.mono.saturating_sub(self.sent).as_secs();
        self.min_ntime.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
    }
}

/// Jobs in the order of their numbers, which count upwards from 1 and are never used again. Those of a group's jobs
/// are the same on all its channels, so a channel may lack some between.
#[derive(Debug, Default)]
pub(crate) struct JobBook {
    current: Jobs,
    /// Jobs of the tip before: good for nothing but a late block.
    stale: Jobs,
    last: u32,
    first_of_tip: u32,
}

/// A channel has few at once, and each of them counts on a gateway of many.
type Jobs = VecDeque<(JobId, Job)>;

/// What a job number stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'a> {
    /// A job of the current tip.
    Current(&'a Job),
    /// A job of an earlier tip; held only if that was the one before.
    Stale(Option<&'a Job>),
    /// A job of the current tip that was forgotten.
    Forgotten,
    /// Never issued.
    Unknown,
}

impl JobBook {
    /// The least number that the next job may have.
    pub(crate) fn next_id(&self) -> JobId {
        JobId(self.last + mutant::pick!(JobIdReused, u32::from(self.last == 0), 1))
    }

    /// Enters a job under a number that is not below [`next_id`](Self::next_id).
    pub(crate) fn issue(&mut self, id: JobId, job: Job) {
        let is_new = mutant::pick!(JobIdReused, true, id.0 > self.last);
        assert!(is_new, "job {id} was issued before");
        if self.tip() != Some(job.work.prev_hash()) {
            self.stale = std::mem::take(&mut self.current);
            self.first_of_tip = id.0;
        }
        self.last = id.0;
        self.current.push_back((id, job));
        if self.current.len() > MAX_JOBS_PER_CHANNEL {
            self.current.pop_front();
        }
    }

    /// The tip that the channel works on; `None` before its first job.
    pub(crate) fn tip(&self) -> Option<BlockHash> {
        self.newest().map(|job| job.work.prev_hash())
    }

    /// The job that was issued last.
    pub(crate) fn newest(&self) -> Option<&Job> {
        self.current.back().map(|(_, job)| job)
    }

    pub(crate) fn find(&self, id: JobId) -> Lookup<'_> {
        if id.0 == 0 || id.0 > self.last {
            return Lookup::Unknown;
        }
        if id.0 < self.first_of_tip {
            return Lookup::Stale(job(&self.stale, id));
        }
        match job(&self.current, id) {
            Some(job) => Lookup::Current(job),
            // All that was forgotten of this tip is older than all that is left.
            None if self.current.front().is_none_or(|(oldest, _)| id < *oldest) => {
                Lookup::Forgotten
            }
            None => Lookup::Unknown,
        }
    }
}

fn job(jobs: &Jobs, id: JobId) -> Option<&Job> {
    let at = jobs.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(&jobs[at].1)
}
