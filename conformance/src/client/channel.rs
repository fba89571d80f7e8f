//! A channel that a client was given, and what it may send on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sv2_wire::U256;
use tokio::time::Instant;

use super::work::{Coinbase, NBITS, ROLLED_BITS, hash};

/// A share for a job that was replaced so long ago may have been on its way.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// How far an ntime may be ahead of what has passed, in seconds: both ends round.
const ROUNDING_SECS: u64 = 2;

/// What a channel was last told to build on.
#[derive(Clone, Debug)]
pub(super) struct Tip {
    pub(super) prev_hash: U256,
    pub(super) min_ntime: u32,
    pub(super) at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Future,
    Active,
    Replaced(Instant),
}

/// A job that was sent.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) version: u32,
    pub(super) rolling: bool,
    coinbase: Coinbase,
    prefix: Vec<u8>,
    target: U256,
    state: State,
    tip: Option<Tip>,
}

/// A channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Extranonce bytes that the client rolls; none on a standard channel.
    pub(super) rolled: Option<u16>,
    pub(super) prefix: Vec<u8>,
    pub(super) target: U256,
    pub(super) is_closed: bool,
    jobs: BTreeMap<u32, Job>,
    tip: Option<Tip>,
    seen: BTreeSet<[u8; 80]>,
}

/// The fields of either share message.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) channel_id: u32,
    pub(super) sequence_number: u32,
    pub(super) job_id: u32,
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    /// Absent in the message for standard channels.
    pub(super) extranonce: Option<Vec<u8>>,
}

/// A rule that is broken, and how.
pub(super) type Fault = (&'static str, String);

impl Channel {
    pub(super) fn new(rolled: Option<u16>, prefix: Vec<u8>, target: U256) -> Self {
        let (jobs, seen) = (BTreeMap::new(), BTreeSet::new());
        Self { rolled, prefix, target, is_closed: false, jobs, tip: None, seen }
    }

    /// A job was sent: one for later, or one to begin with at once.
    pub(super) fn give(&mut self, job_id: u32, coinbase: Coinbase, version: u32, rolling: bool) {
        let (prefix, target) = (self.prefix.clone(), self.target);
        let state = State::Future;
        let job = Job { version, rolling, coinbase, prefix, target, state, tip: None };
        self.jobs.insert(job_id, job);
    }

    /// As [`give`](Self::give), for a job on the tip of before.
    pub(super) fn give_now(&mut self, job_id: u32, coinbase: Coinbase, version: u32, roll: bool) {
        let now = Instant::now();
        for job in self.jobs.values_mut().filter(|job| job.state == State::Active) {
            job.state = State::Replaced(now);
        }
        self.give(job_id, coinbase, version, roll);
        let tip = self.tip.clone();
        if let Some(job) = self.jobs.get_mut(&job_id) {
            (job.state, job.tip) = (State::Active, tip);
        }
    }

    /// A job was activated on a tip; all others are over.
    pub(super) fn activate(&mut self, job_id: u32, tip: &Tip) {
        let now = Instant::now();
        self.tip = Some(tip.clone());
        for (id, job) in &mut self.jobs {
            if *id == job_id {
                (job.state, job.tip) = (State::Active, Some(tip.clone()));
                // A target that was set meanwhile holds for future jobs too.
                job.target = self.target;
            } else if !matches!(job.state, State::Replaced(_)) {
                job.state = State::Replaced(now);
            }
        }
    }

    /// Holds a share against the rules: the first that it breaks.
    pub(super) fn judge(&mut self, share: &Submission) -> Option<Fault> {
        self.fault(share).err()
    }

    fn fault(&mut self, share: &Submission) -> Result<(), Fault> {
        let id = share.job_id;
        if self.is_closed {
            return Err(("MP-43", format!("channel {} is closed", share.channel_id)));
        }
        let rolled = share.extranonce.as_ref().map(Vec::len);
        if rolled.is_some() != self.rolled.is_some() {
            return Err(("MP-50", "the share is of the other kind of channel".to_owned()));
        }
        if rolled != self.rolled.map(usize::from) {
            return Err(("MP-51", format!("the extranonce is {rolled:?}, not {:?}", self.rolled)));
        }
        let job = self.jobs.get(&id).ok_or_else(|| ("MP-50", format!("job {id} was not sent")))?;
        let tip = match (job.state, &job.tip) {
            (State::Future, _) => {
                return Err(("MP-62", format!("job {id} waits for its prev-hash")));
            }
            (State::Replaced(since), _) if since.elapsed() > UNDER_WAY => {
                let ms = since.elapsed().as_millis();
                return Err(("MP-67", format!("job {id} was replaced {ms} ms ago")));
            }
            (_, None) => return Ok(()),
            (_, Some(tip)) => tip,
        };
        check_header(job, tip, share)?;
        let header = header(job, tip, share);
        let hash = hash(&header);
        if hash > job.target {
            return Err(("MP-80", format!("{hash:?} is above the target {:?}", job.target)));
        }
        if !self.seen.insert(header) {
            return Err(("MP-56", "the same share was sent before".to_owned()));
        }
        Ok(())
    }
}

fn check_header(job: &Job, tip: &Tip, share: &Submission) -> Result<(), Fault> {
    let changed = share.version ^ job.version;
    if changed & !ROLLED_BITS != 0 {
        return Err(("MP-57", format!("the version differs in bits {changed:#010x}")));
    }
    if !job.rolling && changed != 0 {
        return Err(("MP-22", format!("no bit may be rolled, and {changed:#010x} are")));
    }
    let latest = u64::from(tip.min_ntime) + tip.at.elapsed().as_secs() + ROUNDING_SECS;
    if !(u64::from(tip.min_ntime)..=latest).contains(&u64::from(share.ntime)) {
        let (ntime, least) = (share.ntime, tip.min_ntime);
        return Err(("MP-52", format!("ntime {ntime} is not within {least}..={latest}")));
    }
    Ok(())
}

fn header(job: &Job, tip: &Tip, share: &Submission) -> [u8; 80] {
    let rolled = share.extranonce.as_deref().unwrap_or_default();
    let root = job.coinbase.root(&[&job.prefix, rolled].concat());
    let mut header = [0; 80];
    header[..4].copy_from_slice(&share.version.to_le_bytes());
    header[4..36].copy_from_slice(tip.prev_hash.as_bytes());
    header[36..68].copy_from_slice(root.as_bytes());
    header[68..72].copy_from_slice(&share.ntime.to_le_bytes());
    header[72..76].copy_from_slice(&NBITS.to_le_bytes());
    header[76..].copy_from_slice(&share.nonce.to_le_bytes());
    header
}
