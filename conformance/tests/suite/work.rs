//! The tests' server: jobs and shares.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::{Hash, sha256d};
use sv2_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SubmitSharesError, SubmitSharesExtended,
    SubmitSharesStandard, SubmitSharesSuccess,
};
use sv2_wire::{B064K, Seq0255, U256};

use crate::breakage::Breakage;
use crate::memory::NOW;
use crate::session::{Session, text};

/// The target of a channel that has no wish of its own: one hash in 256.
pub(crate) const EASIEST: U256 = target(30);
/// Below this no target is granted.
pub(crate) const HARDEST: U256 = target(25);

const VERSION: u32 = 0x2000_0000;
const ROLLED_BITS: u32 = 0x1fff_ffe0;
const NBITS: u32 = 0x207f_ffff;
const PREV_HASH: [u8; 32] = [9; 32];
const SIBLING: U256 = U256([7; 32]);
const MAX_AHEAD_SECS: u32 = 7_200;

/// All ones up to and including the byte `top`.
const fn target(top: usize) -> U256 {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at <= top {
        bytes[at] = 0xff;
        at += 1;
    }
    U256(bytes)
}

/// A channel with its jobs.
pub(crate) struct Channel {
    id: u32,
    pub(crate) target: U256,
    prefix: Vec<u8>,
    rolled: Option<u16>,
    /// What each job was worth when it was sent.
    jobs: BTreeMap<u32, U256>,
    seen: BTreeSet<[u8; 32]>,
    accepted: u32,
    /// Accepted and not acknowledged, and the last of them.
    owed: u32,
    last: u32,
}

impl Channel {
    pub(crate) fn new(id: u32, target: U256, prefix: Vec<u8>, rolled: Option<u16>) -> Self {
        let (jobs, seen, accepted) = (BTreeMap::new(), BTreeSet::new(), 0);
        Self { id, target, prefix, rolled, jobs, seen, accepted, owed: 0, last: 0 }
    }
}

fn min_ntime() -> u32 {
    u32::try_from(NOW).unwrap() - 600
}

/// The coinbase before and after an extranonce of 20 bytes.
fn coinbase(breakage: Option<Breakage>) -> (Vec<u8>, Vec<u8>) {
    let tag = if breakage == Some(Breakage::LongScript) { 90 } else { 4 };
    let mut prefix = 2u32.to_le_bytes().to_vec();
    if breakage == Some(Breakage::WitnessInCoinbase) {
        prefix.extend([0, 1]);
    }
    prefix.push(1);
    prefix.extend([0; 32]);
    prefix.extend([0xff; 4]);
    prefix.push(tag + 20);
    prefix.extend(vec![3; tag.into()]);
    let mut suffix = vec![0xff; 4];
    suffix.push(1);
    suffix.extend(5_000_000_000u64.to_le_bytes());
    suffix.extend([1, 0x51, 0, 0, 0, 0]);
    (prefix, suffix)
}

fn root(extranonce: &[u8]) -> [u8; 32] {
    let (prefix, suffix) = coinbase(None);
    let txid = sha256d::Hash::hash(&[prefix.as_slice(), extranonce, &suffix].concat());
    sha256d::Hash::hash(&[txid.to_byte_array(), SIBLING.0].concat()).to_byte_array()
}

/// A share of either kind.
struct Submitted<'a> {
    channel_id: u32,
    sequence_number: u32,
    job_id: u32,
    nonce: u32,
    ntime: u32,
    version: u32,
    extranonce: Option<&'a [u8]>,
}

impl Session {
    /// Sends a new channel its future job and activates it.
    pub(crate) fn offer(&mut self, channel_id: u32) {
        let job_id = self.next_job;
        self.next_job += 1;
        let (tip_first, no_job, again) = (
            self.is(Breakage::TipBeforeJob),
            self.is(Breakage::TipNamesNoJob),
            self.is(Breakage::JobIdReused),
        );
        let start = self.out.len();
        let tip = SetNewPrevHash {
            channel_id,
            job_id: if no_job { 999 } else { job_id },
            prev_hash: U256(PREV_HASH),
            min_ntime: min_ntime(),
            nbits: NBITS,
        };
        if tip_first {
            self.send(&tip);
        }
        let not_future = self.is(Breakage::FirstJobNotFuture);
        self.job(channel_id, job_id, not_future.then(min_ntime));
        if !tip_first {
            self.send(&tip);
        }
        if self.is(Breakage::GroupTipForStrangers) && self.channels.len() > 1 {
            // The others were never sent this job.
            self.send(&SetNewPrevHash { channel_id: 1, ..tip });
        }
        if again {
            self.job(channel_id, job_id, Some(min_ntime()));
        }
        if self.is(Breakage::ChannelBit) {
            self.out[start + 1] &= 0x7f;
        }
    }

    /// Sends a channel a job to start at once.
    pub(crate) fn next_job_of(&mut self, channel_id: u32) {
        if !self.is(Breakage::SecondJobReused) {
            self.next_job += 1;
        }
        let job_id = self.next_job - 1;
        if self.is(Breakage::SecondJobUnknown) {
            let (channel_id, merkle_root) = (999, U256(PREV_HASH));
            let (min_ntime, version) = (Some(min_ntime()), VERSION);
            self.send(&NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root });
        }
        self.job(channel_id, job_id, Some(min_ntime()));
    }

    fn job(&mut self, channel_id: u32, job_id: u32, min_ntime: Option<u32>) {
        let first_for_ever = self.is(Breakage::FirstTargetForEver);
        let channel = self.channels.get_mut(&channel_id).unwrap();
        let first = channel.jobs.first_key_value().map(|(_, target)| *target);
        let target = first.filter(|_| first_for_ever).unwrap_or(channel.target);
        channel.jobs.insert(job_id, target);
        let channel = &self.channels[&channel_id];
        let extended = self.standard_jobs && self.is(Breakage::ExtendedJobForStandard);
        if channel.rolled.is_none() && !extended {
            let merkle_root = U256(root(&channel.prefix));
            let version = VERSION;
            self.send(&NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root });
            return;
        }
        let (prefix, suffix) = coinbase(self.shared.breakage);
        self.send(&NewExtendedMiningJob {
            channel_id,
            job_id,
            min_ntime,
            version: VERSION,
            version_rolling_allowed: !self.is(Breakage::RollsForbidden),
            merkle_path: Seq0255::new(&[SIBLING]).unwrap(),
            coinbase_tx_prefix: B064K::new(&prefix).unwrap(),
            coinbase_tx_suffix: B064K::new(&suffix).unwrap(),
        });
    }

    pub(crate) fn standard_share(&mut self, share: &SubmitSharesStandard) {
        self.share(&Submitted {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: None,
        });
    }

    pub(crate) fn extended_share(&mut self, share: &SubmitSharesExtended<'_>) {
        self.share(&Submitted {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: Some(share.extranonce.as_bytes()),
        });
    }

    fn share(&mut self, share: &Submitted<'_>) {
        let (channel_id, sequence_number) = (share.channel_id, share.sequence_number);
        match self.refusal(share) {
            Some(code) => {
                let lost = self.is(Breakage::SequenceNumberLost);
                let sequence_number = if lost { 0 } else { sequence_number };
                let error_code = text(code);
                let unaddressed = self.is(Breakage::ErrorsUnaddressed);
                let channel_id = if unaddressed { 997 } else { channel_id };
                self.send(&SubmitSharesError { channel_id, sequence_number, error_code });
            }
            None => {
                let batch = self.shared.batch;
                let channel = self.channels.get_mut(&channel_id).unwrap();
                channel.accepted += 1;
                channel.owed += 1;
                channel.last = sequence_number;
                if channel.owed >= batch {
                    self.acknowledge(channel_id);
                }
            }
        }
    }

    /// Whether an accepted share waits for its acknowledgement.
    pub(crate) fn owes(&self) -> bool {
        self.channels.values().any(|channel| channel.owed > 0)
    }

    pub(crate) fn acknowledge_all(&mut self) {
        let owed = self.channels.iter().filter(|(_, channel)| channel.owed > 0);
        for channel_id in owed.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.acknowledge(channel_id);
        }
    }

    fn acknowledge(&mut self, channel_id: u32) {
        let go_on = self.is(Breakage::CountersGoOn);
        let channel = self.channels.get_mut(&channel_id).unwrap();
        let new_submits_accepted_count = if go_on { channel.accepted } else { channel.owed };
        channel.owed = 0;
        let last_sequence_number = match self.shared.breakage {
            Some(Breakage::LastMissing) => channel.last.wrapping_add(7),
            _ => channel.last,
        };
        let doubled = self.shared.is(Breakage::CountsDouble);
        let new_submits_accepted_count = new_submits_accepted_count * if doubled { 2 } else { 1 };
        let channel_id = if self.is(Breakage::SuccessUnaddressed) { 998 } else { channel_id };
        self.send(&SubmitSharesSuccess {
            channel_id,
            last_sequence_number,
            new_submits_accepted_count,
            new_shares_sum: new_submits_accepted_count.into(),
        });
    }

    fn refusal(&mut self, share: &Submitted<'_>) -> Option<&'static str> {
        let shared = &self.shared;
        let Some(channel) = self.channels.get_mut(&share.channel_id) else {
            return Some("invalid-channel-id");
        };
        if shared.is(Breakage::RefusesGood) {
            return Some("not-today");
        }
        if shared.is(Breakage::NumbersMustRise) && share.sequence_number < channel.last {
            return Some("sequence-number-falls");
        }
        let wanted = channel.rolled.map(usize::from);
        if wanted != share.extranonce.map(<[u8]>::len) {
            let passes = shared.is(Breakage::AnyExtranonceLength) && wanted.is_some();
            let passes = passes || shared.is(Breakage::AnyKindOfShare);
            return (!passes).then_some("bad-extranonce-size");
        }
        let Some(job_target) = channel.jobs.get(&share.job_id) else {
            return Some("invalid-job-id");
        };
        let of_now = shared.is(Breakage::TargetOfTheMoment);
        let target = if of_now { channel.target } else { *job_target };
        let ahead = if shared.is(Breakage::DayAhead) { 86_400 } else { MAX_AHEAD_SECS };
        let latest = match shared.is(Breakage::NoTimeRolled) {
            true => min_ntime(),
            false => u32::try_from(NOW).unwrap() + ahead,
        };
        let in_range = (min_ntime()..=latest).contains(&share.ntime);
        if !in_range && !shared.is(Breakage::AnyNtime) {
            return Some("ntime-out-of-range");
        }
        let reserved = if shared.is(Breakage::ReservedBit) { 1 << 4 | 1 << 30 } else { 0 };
        let rolled_bits = if shared.is(Breakage::NothingRolled) { 0 } else { ROLLED_BITS };
        let fixed_differ = (share.version ^ VERSION) & !(rolled_bits | reserved) != 0;
        if fixed_differ && !shared.is(Breakage::AnyVersionBits) {
            return Some("invalid-non-rollable-version-bit");
        }
        let hash = header_hash(channel, share);
        if U256(hash) > target && !shared.is(Breakage::AnyDifficulty) {
            return Some("difficulty-too-low");
        }
        let is_new = channel.seen.insert(hash);
        (!is_new && !shared.is(Breakage::Duplicates)).then_some("duplicate-share")
    }
}

fn header_hash(channel: &Channel, share: &Submitted<'_>) -> [u8; 32] {
    let extranonce = [channel.prefix.as_slice(), share.extranonce.unwrap_or(&[])].concat();
    let mut header = share.version.to_le_bytes().to_vec();
    header.extend(PREV_HASH);
    header.extend(root(&extranonce));
    header.extend(share.ntime.to_le_bytes());
    header.extend(NBITS.to_le_bytes());
    header.extend(share.nonce.to_le_bytes());
    debug_assert_eq!(header.len(), 80, "channel {}", channel.id);
    sha256d::Hash::hash(&header).to_byte_array()
}
