//! The tests' miner: jobs and shares.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::hashes::{Hash, sha256d};
use sv2_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard,
};
use sv2_wire::{B032, Message, MiningServerMessage, U256};

use crate::breakage::Breakage;
use crate::miner::Miner;

/// Hashes that are tried for one share.
const BUDGET: u32 = 1 << 14;
/// A bit that may be rolled, and one that may not.
const ROLLED: u32 = 0x0000_2000;
const UNROLLED: u32 = 0x4000_0000;

/// What a message asks of the connection.
pub(crate) enum Heard {
    Nothing,
    SetUp,
    Refused,
    NeverAgain,
    End,
}

#[derive(Clone)]
enum Root {
    Given([u8; 32]),
    Coinbase { prefix: Vec<u8>, suffix: Vec<u8>, path: Vec<[u8; 32]> },
}

#[derive(Clone)]
struct Job {
    job_id: u32,
    version: u32,
    rolling: bool,
    root: Root,
    extranonce_prefix: Vec<u8>,
    target: U256,
}

/// What the miner knows of its channel.
pub(crate) struct Board {
    miner: Miner,
    fixed: bool,
    channel_id: u32,
    group: u32,
    target: U256,
    prefix: Vec<u8>,
    rolled: usize,
    future: BTreeMap<u32, Job>,
    active: Option<Job>,
    tip: Option<SetNewPrevHash>,
    sequence_number: u32,
    unanswered: usize,
    stopped: bool,
    sent: VecDeque<Vec<u8>>,
}

impl Board {
    pub(crate) fn new(miner: Miner) -> Self {
        Self {
            miner,
            fixed: false,
            channel_id: 0,
            group: 0,
            target: U256::MAX,
            prefix: Vec::new(),
            rolled: 0,
            future: BTreeMap::new(),
            active: None,
            tip: None,
            sequence_number: 0,
            unanswered: 0,
            stopped: false,
            sent: VecDeque::new(),
        }
    }

    fn is(&self, breakage: Breakage) -> bool {
        self.miner.is(breakage)
    }

    /// Takes a message in.
    pub(crate) fn hear(&mut self, message: &MiningServerMessage<'_>) -> Heard {
        match message {
            MiningServerMessage::SetupConnectionSuccess(success) => {
                self.fixed = success.flags & 1 != 0;
                return Heard::SetUp;
            }
            MiningServerMessage::SetupConnectionError(error) => {
                let is_known = error.error_code.as_bytes() == b"unsupported-protocol";
                let judges = self.is(Breakage::JudgesCodes) && is_known;
                return if judges { Heard::NeverAgain } else { Heard::Refused };
            }
            MiningServerMessage::OpenMiningChannelError(_) => self.refused(),
            MiningServerMessage::OpenStandardMiningChannelSuccess(open) => {
                (self.channel_id, self.group) = (open.channel_id, open.group_channel_id);
                self.target = open.target;
            }
            MiningServerMessage::OpenExtendedMiningChannelSuccess(open) => {
                (self.channel_id, self.group) = (open.channel_id, open.group_channel_id);
                self.target = open.target;
                self.prefix = open.extranonce_prefix.as_bytes().to_vec();
                self.rolled = usize::from(open.extranonce_size);
            }
            MiningServerMessage::NewMiningJob(job) => self.standard_job(job),
            MiningServerMessage::NewExtendedMiningJob(job) => self.extended_job(job),
            MiningServerMessage::SetNewPrevHash(tip) => self.tip(*tip),
            MiningServerMessage::SetTarget(set) if !self.is(Breakage::TargetUnheard) => {
                self.target = set.maximum_target;
            }
            MiningServerMessage::SetExtranoncePrefix(set) if !self.is(Breakage::PrefixUnheard) => {
                self.prefix = set.extranonce_prefix.as_bytes().to_vec();
            }
            MiningServerMessage::SubmitSharesSuccess(_) => self.unanswered = 0,
            MiningServerMessage::SubmitSharesError(_) => {
                self.unanswered = 0;
                self.stopped |= self.is(Breakage::StopsOnRefusal);
            }
            MiningServerMessage::CloseChannel(_) if !self.is(Breakage::CloseUnheard) => {
                return Heard::End;
            }
            MiningServerMessage::Reconnect(_) if !self.is(Breakage::ReconnectUnheard) => {
                return Heard::End;
            }
            _ => {}
        }
        Heard::Nothing
    }

    /// Goes on all the same, with work of its own.
    fn refused(&mut self) {
        if self.is(Breakage::MinesRefused) {
            let (root, extranonce_prefix) = (Root::Given([0; 32]), Vec::new());
            let (version, target) = (0x2000_0000, U256::MAX);
            let job = Job { job_id: 1, version, rolling: true, root, extranonce_prefix, target };
            self.active = Some(job);
            let prev_hash = U256([0; 32]);
            let (channel_id, min_ntime) = (self.channel_id, self.miner.unix_secs() as u32);
            self.tip =
                Some(SetNewPrevHash { channel_id, job_id: 1, prev_hash, min_ntime, nbits: 0 });
        }
    }

    fn is_mine(&self, id: u32) -> bool {
        id == self.channel_id || id == self.group && !self.is(Breakage::GroupUnheard)
    }

    fn standard_job(&mut self, job: &NewMiningJob) {
        let (root, extranonce_prefix) = (Root::Given(job.merkle_root.0), Vec::new());
        let (job_id, version, target) = (job.job_id, job.version, self.target);
        let known = Job { job_id, version, rolling: true, root, extranonce_prefix, target };
        self.job(known, job.channel_id, job.min_ntime);
    }

    fn extended_job(&mut self, job: &NewExtendedMiningJob<'_>) {
        let root = Root::Coinbase {
            prefix: job.coinbase_tx_prefix.as_bytes().to_vec(),
            suffix: job.coinbase_tx_suffix.as_bytes().to_vec(),
            path: job.merkle_path.iter().map(|node| node.0).collect(),
        };
        let known = Job {
            job_id: job.job_id,
            version: job.version,
            rolling: job.version_rolling_allowed,
            root,
            extranonce_prefix: self.prefix.clone(),
            target: self.target,
        };
        self.job(known, job.channel_id, job.min_ntime);
    }

    fn job(&mut self, job: Job, address: u32, min_ntime: Option<u32>) {
        if !self.is_mine(address) {
            return;
        }
        let eager = self.is(Breakage::WorksOnFuture);
        if eager && self.tip.is_none() {
            let min_ntime = self.miner.unix_secs() as u32;
            let (channel_id, job_id, prev_hash) = (address, job.job_id, U256([0; 32]));
            self.tip = Some(SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits: 0 });
        }
        if eager || min_ntime.is_some() && !self.is(Breakage::JobNowUnheard) {
            self.active = Some(job.clone());
        }
        self.future.insert(job.job_id, job);
    }

    fn tip(&mut self, tip: SetNewPrevHash) {
        if !self.is_mine(tip.channel_id) || self.tip.is_some() && self.is(Breakage::TipUnheard) {
            return;
        }
        self.active = self.future.remove(&tip.job_id).map(|job| Job { target: self.target, ..job });
        self.future.clear();
        self.tip = Some(tip);
    }

    /// The next share's frame, and what a broken miner adds to it.
    pub(crate) fn shares(&mut self) -> Vec<Vec<u8>> {
        self.stopped |= self.unanswered > 2 && self.is(Breakage::StopsUnanswered);
        if self.stopped || self.is(Breakage::NeverWorks) {
            return Vec::new();
        }
        let (Some(job), Some(tip)) = (self.active.clone(), self.tip) else { return Vec::new() };
        let frame = self.share(&job, &tip);
        let mut frames: Vec<_> = frame.into_iter().collect();
        if self.is(Breakage::Replays) {
            frames.extend(self.sent.back().cloned());
        }
        self.sent.extend(frames.first().cloned());
        self.unanswered += frames.len();
        frames
    }

    fn share(&mut self, job: &Job, tip: &SetNewPrevHash) -> Option<Vec<u8>> {
        self.sequence_number += 1;
        let cut = usize::from(self.is(Breakage::ShortExtranonce));
        let extranonce = vec![0x5a; self.rolled.saturating_sub(cut)];
        let rolls = job.rolling && !self.fixed || self.is(Breakage::RollsFixed);
        let mut version = if rolls { job.version ^ ROLLED } else { job.version };
        if self.is(Breakage::WildVersion) {
            version ^= UNROLLED;
        }
        let ahead = if self.is(Breakage::FutureTime) { 60 } else { 0 };
        let ntime = tip.min_ntime.max(self.miner.unix_secs() as u32) + ahead;
        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(tip.prev_hash.as_bytes());
        header[36..68].copy_from_slice(&root(job, &extranonce));
        header[68..72].copy_from_slice(&ntime.to_le_bytes());
        header[72..76].copy_from_slice(&tip.nbits.to_le_bytes());
        let easy = self.is(Breakage::AnyDifficulty);
        let first = self.sequence_number << 16;
        let nonce = (first..first + BUDGET).find(|nonce| {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            (U256(sha256d::Hash::hash(&header).to_byte_array()) <= job.target) != easy
        })?;
        let job_id = if self.is(Breakage::UnknownJob) { 4_000 } else { job.job_id };
        let (channel_id, sequence_number) = (self.channel_id, self.sequence_number);
        let mut frame = Vec::new();
        if self.miner.is_extended {
            let extranonce = B032::new(&extranonce).unwrap();
            SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            }
            .encode_frame(&mut frame);
        } else {
            SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
                .encode_frame(&mut frame);
        }
        Some(frame)
    }
}

fn root(job: &Job, extranonce: &[u8]) -> [u8; 32] {
    match &job.root {
        Root::Given(root) => *root,
        Root::Coinbase { prefix, suffix, path } => {
            let coinbase = [prefix, &job.extranonce_prefix, extranonce, suffix].concat();
            let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
            path.iter().fold(txid, |node, sibling| {
                sha256d::Hash::hash(&[node, *sibling].concat()).to_byte_array()
            })
        }
    }
}
