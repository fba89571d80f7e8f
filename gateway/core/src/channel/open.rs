//! One open channel of either kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sv2_wire::mining::{SetExtranoncePrefix, SetTarget};
use sv2_wire::{B032, Message as _, U256};

use super::announce::Announced;
use super::difficulty::{self, Worth};
use super::jobs::{Job, JobBook};
use crate::hashes::Hashes;
use crate::ids::{ChannelId, JobId, WorkerId};
use crate::job::Work;
use crate::limits::{EXTRANONCE_BYTES, JOB_REFRESH, ROLLED_EXTRANONCE_BYTES};
use crate::moment::Moment;
use crate::roster::Listing;
use crate::session::Settings;
use crate::share::lifecycle::AckBatch;
use crate::shared::ExtranonceLease;
use crate::target::Target;
use crate::vardiff::{Aim, Vardiff};

/// What the miner varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The header alone.
    Standard,
    /// Also the last bytes of the extranonce, and with it the coinbase.
    Extended,
}

impl Kind {
    /// How many bytes of the extranonce the miner rolls.
    pub(crate) const fn rolled_bytes(self) -> usize {
        match self {
            Self::Standard => 0,
            Self::Extended => ROLLED_EXTRANONCE_BYTES,
        }
    }
}

/// The channels of a connection. Boxed, because a map makes room for eleven where most have one.
pub(crate) type Channels = BTreeMap<ChannelId, Box<Channel>>;

/// One open channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) kind: Kind,
    pub(crate) worker: WorkerId,
    pub(crate) extranonce: Arc<ExtranonceLease>,
    /// Of jobs sent from now on.
    pub(crate) worth: Arc<Worth>,
    /// The easiest target that the miner takes.
    pub(crate) max_target: Target,
    /// The hash rate that the miner stated last; zero is none.
    pub(crate) stated_rate: f64,
    /// Begins with the first job.
    pub(crate) vardiff: Option<Vardiff>,
    pub(crate) jobs: JobBook,
    pub(crate) acks: AckBatch,
    pub(crate) listing: Listing,
}

impl Channel {
    /// The part of the extranonce that is the channel's own.
    pub(crate) fn extranonce_prefix(&self) -> &[u8] {
        &self.extranonce.bytes()[..EXTRANONCE_BYTES - self.kind.rolled_bytes()]
    }

    /// Moves the channel to another part of the search space with the next job.
    pub(crate) fn replace_extranonce(&mut self, lease: Arc<ExtranonceLease>, out: &mut Vec<u8>) {
        self.extranonce = lease;
        let extranonce_prefix = B032::new(self.extranonce_prefix()).expect("24 bytes fit 32");
        SetExtranoncePrefix { channel_id: self.id.0, extranonce_prefix }.encode_frame(out);
    }

    /// Whom a share is credited to that names this worker, or none.
    ///
    /// Names live below that of the channel, whose secret was checked: `alice` may bring
    /// `alice.rig1`, and `bob` on her channel is `alice.bob`.
    pub(crate) fn worker_of(&self, name: Option<&str>, most: usize) -> Credited {
        let own = self.worker.as_str();
        let worker = match name {
            None => return Credited { worker: self.worker.clone(), is_over_cap: false },
            Some(name) if is_at_or_below(own, name) => WorkerId::new(name),
            Some(name) => WorkerId::new(&format!("{own}.{name}")),
        };
        let is_over_cap = !self.listing.has_room_for(&worker, most);
        Credited { worker: if is_over_cap { self.worker.clone() } else { worker }, is_over_cap }
    }

    /// Whether the channel's newest job is on this template.
    pub(crate) fn has(&self, work: &Work) -> bool {
        self.jobs.newest().is_some_and(|job| job.work.template_id() == work.template_id())
    }

    /// Whether jobs on this work go on where the channel is; else they begin a tip.
    pub(crate) fn is_on_tip_of(&self, work: &Work) -> bool {
        self.jobs.tip() == Some(work.prev_hash())
    }

    /// The least `ntime` of a job on this work now: on one tip it never goes back.
    pub(crate) fn least_ntime(&self, work: &Work, now: Moment) -> u32 {
        let newest =
            self.jobs.newest().filter(|newest| newest.work.prev_hash() == work.prev_hash());
        let earliest = newest.map_or(0, |newest| newest.time_for(work, now));
        let template = work.template();
        template.curtime.max(template.mintime).max(earliest)
    }

    /// Follows the miner's own statement of its rate and of the easiest target it takes.
    pub(crate) fn restate(
        &mut self,
        rate: f64,
        max_target: Target,
        settings: &Settings,
        may_send_job: bool,
        now: Moment,
        out: &mut Vec<u8>,
    ) {
        self.max_target = max_target;
        let is_new_rate =
            rate > 0.0 && rate != self.stated_rate && settings.difficulty.aim.is_some();
        self.stated_rate = rate;
        let wanted = if is_new_rate {
            difficulty::first_target(&settings.difficulty, rate)
        } else {
            self.worth.target
        };
        let target = wanted.min(max_target);
        if target != self.worth.target {
            self.vardiff = self
                .vardiff
                .take()
                .and(settings.difficulty.aim)
                .map(|aim| Vardiff::new(aim, target, is_new_rate, now.mono));
            self.set_target(target, may_send_job, settings, now, out);
        }
    }

    /// Follows changed settings.
    pub(crate) fn set_aim(&mut self, aim: Option<Aim>) {
        match (&mut self.vardiff, aim) {
            (Some(vardiff), Some(aim)) => vardiff.set_aim(aim),
            (vardiff, _) => *vardiff = None,
        }
    }

    /// Counts accepted work.
    pub(crate) fn credit(&mut self, worker: &WorkerId, hashes: Hashes, now: Moment) {
        self.listing.credit(worker, hashes, now.mono);
        if let Some(vardiff) = &mut self.vardiff {
            vardiff.accepted(hashes, now.mono);
        }
    }

    /// Whether the channel got another target.
    pub(crate) fn retarget(&mut self, settings: &Settings, now: Moment, out: &mut Vec<u8>) -> bool {
        let Some(wanted) = self.vardiff.as_mut().and_then(|vardiff| vardiff.check(now.mono)) else {
            return false;
        };
        let bounded = wanted.clamp(settings.difficulty.least, settings.difficulty.most);
        let target = Target::from_difficulty(bounded).min(self.max_target);
        let is_other = target != self.worth.target;
        if is_other {
            self.set_target(target, true, settings, now, out);
        }
        is_other
    }

    /// When the channel should have another target or its job a later time.
    pub(crate) fn next_maintenance(&self) -> Option<Duration> {
        let check = self.vardiff.as_ref().map(Vardiff::next_check);
        [check, self.next_refresh()].into_iter().flatten().min()
    }

    /// Whether the channel has not got a job for long.
    pub(crate) fn refresh_is_due(&self, now: Moment) -> bool {
        self.next_refresh().is_some_and(|due| due <= now.mono)
    }

    fn next_refresh(&self) -> Option<Duration> {
        self.jobs.newest().map(|job| job.sent + JOB_REFRESH)
    }

    /// Grants another target: jobs sent before keep theirs, so a fresh one follows at once where it
    /// may.
    fn set_target(
        &mut self,
        target: Target,
        may_send_job: bool,
        settings: &Settings,
        now: Moment,
        out: &mut Vec<u8>,
    ) {
        self.announce_target(target, out);
        let work = self.jobs.newest().map(|job| Arc::clone(&job.work));
        if let Some(work) = work.filter(|_| may_send_job) {
            self.send_job(&work, settings, now, out);
        }
    }

    /// Sets the target of jobs to come and tells the miner.
    pub(crate) fn announce_target(&mut self, target: Target, out: &mut Vec<u8>) {
        self.worth = Worth::of(target);
        self.listing.set_difficulty(self.worth.difficulty);
        if let Some(vardiff) = &mut self.vardiff {
            vardiff.set_target(target);
        }
        let maximum_target = U256(target.to_le_bytes());
        SetTarget { channel_id: self.id.0, maximum_target }.encode_frame(out);
    }

    /// Sends a job addressed to the channel: on a new tip as a future job that SetNewPrevHash then
    /// starts, else as a job to start at once.
    pub(crate) fn send_job(
        &mut self,
        work: &Arc<Work>,
        settings: &Settings,
        now: Moment,
        out: &mut Vec<u8>,
    ) {
        let is_future = !self.is_on_tip_of(work);
        let min_ntime = self.least_ntime(work, now);
        let merkle_root = match self.kind {
            Kind::Standard => Some(work.merkle_root(self.extranonce.bytes())),
            Kind::Extended => None,
        };
        let job_id = self.jobs.next_id();
        self.enter_job(job_id, work, merkle_root, min_ntime, settings, now);
        let announced = Announced { channel_id: self.id, job_id, min_ntime, is_future };
        match merkle_root {
            Some(root) => announced.standard(work, root, out),
            None => announced.extended(work, settings.version_rolling_mask != 0, out),
        }
        if is_future {
            announced.start(work, out);
        }
    }

    /// Remembers a job as it is sent, with what it is worth on this channel.
    pub(crate) fn enter_job(
        &mut self,
        job_id: JobId,
        work: &Arc<Work>,
        merkle_root: Option<[u8; 32]>,
        min_ntime: u32,
        settings: &Settings,
        now: Moment,
    ) {
        let job = Job {
            work: Arc::clone(work),
            extranonce: Arc::clone(&self.extranonce),
            merkle_root,
            worth: Arc::clone(&self.worth),
            min_ntime,
            sent: now.mono,
        };
        self.jobs.issue(job_id, job);
        if self.vardiff.is_none() {
            let is_stated = self.stated_rate > 0.0;
            let new = |aim| Vardiff::new(aim, self.worth.target, is_stated, now.mono);
            self.vardiff = settings.difficulty.aim.map(new);
        }
    }
}

/// Whom a share is credited to.
#[derive(Debug)]
pub(crate) struct Credited {
    pub(crate) worker: WorkerId,
    /// It named one worker more than the channel may bring.
    pub(crate) is_over_cap: bool,
}

fn is_at_or_below(own: &str, name: &str) -> bool {
    name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
