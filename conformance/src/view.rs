//! What a server has said of channels, jobs and targets on one connection.

use std::collections::{BTreeMap, BTreeSet};

use sv2_wire::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
use sv2_wire::{MiningServerMessage, U256};

use crate::frames::Frame;

/// A job as it was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub job_id: u32,
    /// Block header version.
    pub version: u32,
    /// Absent for a future job.
    pub min_ntime: Option<u32>,
    /// What the header commits to.
    pub root: Root,
}

/// Where a job's merkle root comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Given, on a standard channel.
    Given(U256),
    /// To be computed from a coinbase of the client's.
    Coinbase {
        /// Before the extranonce.
        prefix: Vec<u8>,
        /// After the extranonce.
        suffix: Vec<u8>,
        /// Siblings, deepest first.
        path: Vec<U256>,
        /// Whether version bits may be rolled.
        version_rolling_allowed: bool,
        /// The byte on the wire that says so.
        rolling_byte: u8,
    },
}

/// A channel as the server describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Its id.
    pub channel_id: u32,
    /// Its group.
    pub group_channel_id: u32,
    /// Every target set so far, the first one first.
    pub targets: Vec<U256>,
    /// Extranonce bytes that the server chose.
    pub extranonce_prefix: Vec<u8>,
    /// Extranonce bytes that the client rolls; absent on a standard channel.
    pub extranonce_size: Option<u16>,
    /// Jobs of this channel and its group since the last prev-hash, and the active one.
    pub jobs: Vec<Job>,
    /// Jobs that were sent to it or its group, all told.
    pub jobs_sent: u64,
    /// The last prev-hash.
    pub tip: Option<SetNewPrevHash>,
    /// Ids of jobs that may still be worked on.
    valid: BTreeSet<u32>,
}

impl Channel {
    /// The job to work on and the tip it is on.
    pub fn active(&self) -> Option<(&Job, &SetNewPrevHash)> {
        let tip = self.tip.as_ref()?;
        let job = self.jobs.iter().rev().find(|job| {
            job.job_id == tip.job_id || job.min_ntime.is_some() && self.valid.contains(&job.job_id)
        })?;
        Some((job, tip))
    }

    /// Bytes of the whole extranonce.
    pub fn full_extranonce_len(&self) -> usize {
        self.extranonce_prefix.len() + usize::from(self.extranonce_size.unwrap_or(0))
    }
}

/// Everything said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The channels that the server has opened.
    pub channels: BTreeMap<u32, Channel>,
    /// Rules broken in passing: the rule's id without a letter, and how.
    pub breaches: Vec<(&'static str, String)>,
    /// Shares acknowledged, by channel.
    acknowledged: BTreeMap<u32, u64>,
}

impl View {
    /// How many shares the server has acknowledged on a channel.
    pub fn acknowledged(&self, channel_id: u32) -> u64 {
        self.acknowledged.get(&channel_id).copied().unwrap_or(0)
    }

    /// The first breach of a rule.
    pub fn breach(&self, rule: &str) -> Option<&str> {
        self.breaches.iter().find(|(broken, _)| *broken == rule).map(|(_, how)| how.as_str())
    }

    pub(crate) fn note(&mut self, frame: &Frame) {
        let Ok(decoded) = frame.message() else { return };
        self.check_address(frame, &decoded.message);
        match decoded.message {
            MiningServerMessage::OpenStandardMiningChannelSuccess(open) => self.open(Channel {
                channel_id: open.channel_id,
                group_channel_id: open.group_channel_id,
                targets: vec![open.target],
                extranonce_prefix: open.extranonce_prefix.as_bytes().to_vec(),
                extranonce_size: None,
                jobs: Vec::new(),
                jobs_sent: 0,
                tip: None,
                valid: BTreeSet::new(),
            }),
            MiningServerMessage::OpenExtendedMiningChannelSuccess(open) => self.open(Channel {
                channel_id: open.channel_id,
                group_channel_id: open.group_channel_id,
                targets: vec![open.target],
                extranonce_prefix: open.extranonce_prefix.as_bytes().to_vec(),
                extranonce_size: Some(open.extranonce_size),
                jobs: Vec::new(),
                jobs_sent: 0,
                tip: None,
                valid: BTreeSet::new(),
            }),
            MiningServerMessage::NewMiningJob(job) => self.standard_job(&job),
            MiningServerMessage::NewExtendedMiningJob(job) => {
                self.extended_job(&job, &frame.payload);
            }
            MiningServerMessage::SetNewPrevHash(tip) => self.tip(&tip),
            MiningServerMessage::SetTarget(set) => {
                for channel in members(&mut self.channels, set.channel_id) {
                    channel.targets.push(set.maximum_target);
                }
            }
            MiningServerMessage::SetExtranoncePrefix(set) => {
                if let Some(channel) = self.channels.get_mut(&set.channel_id) {
                    channel.extranonce_prefix = set.extranonce_prefix.as_bytes().to_vec();
                }
            }
            MiningServerMessage::SubmitSharesSuccess(success) => {
                *self.acknowledged.entry(success.channel_id).or_default() +=
                    u64::from(success.new_submits_accepted_count);
            }
            MiningServerMessage::SetGroupChannel(set) => {
                for channel_id in &set.channel_ids {
                    if let Some(channel) = self.channels.get_mut(&channel_id) {
                        channel.group_channel_id = set.group_channel_id;
                    }
                }
            }
            _ => {}
        }
    }

    /// A channel message must be for a channel or a group; errors name what the client did.
    fn check_address(&mut self, frame: &Frame, message: &MiningServerMessage<'_>) {
        let is_error = matches!(
            message,
            MiningServerMessage::SubmitSharesError(_)
                | MiningServerMessage::UpdateChannelError(_)
                | MiningServerMessage::SetCustomMiningJobError(_)
        );
        let id = frame.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let is_known = |id| members(&mut self.channels, id).next().is_some();
        if frame.header.channel_msg && !is_error && !id.is_some_and(is_known) {
            let how = format!("no channel or group has the id of {}", frame.in_words());
            self.breaches.push(("OV-08", how));
        }
    }

    fn open(&mut self, channel: Channel) {
        let id = channel.channel_id;
        if self.channels.contains_key(&id) {
            self.breaches.push(("MP-11", format!("channel id {id} was given out twice")));
        }
        let groups: BTreeSet<u32> = self
            .channels
            .values()
            .chain([&channel])
            .map(|channel| channel.group_channel_id)
            .collect();
        for id in self.channels.keys().chain([&id]) {
            if groups.contains(id) {
                let how = format!("{id} is the id of a channel and of a group");
                self.breaches.push(("MP-12", how));
            }
        }
        self.channels.insert(id, channel);
    }

    fn standard_job(&mut self, job: &NewMiningJob) {
        let is_group = !self.channels.contains_key(&job.channel_id);
        let is_extended = self
            .channels
            .get(&job.channel_id)
            .is_some_and(|channel| channel.extranonce_size.is_some());
        if is_group || is_extended {
            let how = format!("NewMiningJob for {}, no standard channel", job.channel_id);
            self.breaches.push(("MP-60", how));
        }
        let root = Root::Given(job.merkle_root);
        let (job_id, version, min_ntime) = (job.job_id, job.version, job.min_ntime);
        self.job(job.channel_id, &Job { job_id, version, min_ntime, root });
    }

    fn extended_job(&mut self, job: &NewExtendedMiningJob<'_>, payload: &[u8]) {
        // The byte stands after channel, job, the option and the version.
        let at = 4 + 4 + 1 + if job.min_ntime.is_some() { 4 } else { 0 } + 4;
        let root = Root::Coinbase {
            prefix: job.coinbase_tx_prefix.as_bytes().to_vec(),
            suffix: job.coinbase_tx_suffix.as_bytes().to_vec(),
            path: job.merkle_path.iter().collect(),
            version_rolling_allowed: job.version_rolling_allowed,
            rolling_byte: payload[at],
        };
        let (job_id, version, min_ntime) = (job.job_id, job.version, job.min_ntime);
        self.job(job.channel_id, &Job { job_id, version, min_ntime, root });
    }

    fn job(&mut self, channel_id: u32, job: &Job) {
        let mut reused = false;
        let mut unknown = true;
        for channel in members(&mut self.channels, channel_id) {
            unknown = false;
            reused |= !channel.valid.insert(job.job_id);
            channel.jobs.push(job.clone());
            channel.jobs_sent += 1;
        }
        let id = job.job_id;
        if reused {
            self.breaches.push(("MP-63", format!("job id {id} is reused while it is valid")));
        }
        if unknown {
            let how = format!("job {id} is for {channel_id}, neither a channel nor a group");
            self.breaches.push(("MP-64", how));
        }
    }

    fn tip(&mut self, tip: &SetNewPrevHash) {
        let mut strangers = Vec::new();
        let mut unknown = true;
        for channel in members(&mut self.channels, tip.channel_id) {
            unknown = false;
            let named = channel.jobs.iter().rev().find(|job| job.job_id == tip.job_id).cloned();
            if named.as_ref().is_none_or(|job| job.min_ntime.is_some()) {
                strangers.push(channel.channel_id);
            }
            channel.valid = BTreeSet::from([tip.job_id]);
            channel.jobs = named.into_iter().collect();
            channel.tip = Some(*tip);
        }
        let job = tip.job_id;
        if unknown {
            strangers.push(tip.channel_id);
        }
        for id in strangers {
            let how = format!("SetNewPrevHash names job {job}, no future job of channel {id}");
            self.breaches.push(("MP-68", how));
        }
    }
}

/// The channel of that id, or the members of the group.
fn members(channels: &mut BTreeMap<u32, Channel>, id: u32) -> impl Iterator<Item = &mut Channel> {
    channels
        .values_mut()
        .filter(move |channel| channel.channel_id == id || channel.group_channel_id == id)
}
