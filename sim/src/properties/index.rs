//! The record in the forms that several judges need.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_core::mode::Mode;
use serde_json::Value;

use super::Record;
use crate::actors::observe::{HostSeen, LinkSeen, MinerSeen, NodeSeen, PoolSeen, Seen, ShareClass};
use crate::scenario::{Action, DiskMode};

impl<'a> Record<'a> {
    /// Lines of the event stream of this kind.
    pub(super) fn events(&self, name: &'a str) -> impl Iterator<Item = (Duration, &'a Value)> {
        self.all_events().filter(move |(_, line)| line["event"] == name)
    }

    /// The lines of the event stream as they were received.
    pub fn event_lines(&self) -> Vec<String> {
        self.all_events().map(|(_, line)| line.to_string()).collect()
    }

    pub(super) fn all_events(&self) -> impl Iterator<Item = (Duration, &'a Value)> {
        self.observations.iter().filter_map(|observation| match &observation.what {
            Seen::Event(line) => Some((observation.at, line)),
            _ => None,
        })
    }

    pub(super) fn miners(&self) -> impl Iterator<Item = (Duration, u32, &'a MinerSeen)> {
        self.observations.iter().filter_map(|observation| match &observation.what {
            Seen::Miner { miner, what } => Some((observation.at, *miner, what)),
            _ => None,
        })
    }

    pub(super) fn pool(&self) -> impl Iterator<Item = (Duration, &'a PoolSeen)> {
        self.observations.iter().filter_map(|observation| match &observation.what {
            Seen::Pool(what) => Some((observation.at, what)),
            _ => None,
        })
    }

    pub(super) fn link(&self) -> impl Iterator<Item = (Duration, &'a LinkSeen)> {
        self.observations.iter().filter_map(|observation| match &observation.what {
            Seen::Link(what) => Some((observation.at, what)),
            _ => None,
        })
    }

    pub(super) fn node(&self) -> impl Iterator<Item = (Duration, &'a NodeSeen)> {
        self.observations.iter().filter_map(|observation| match &observation.what {
            Seen::Node(what) => Some((observation.at, what)),
            _ => None,
        })
    }

    /// The node's tips in order: when each came, and its hash.
    pub(super) fn tips(&self) -> Vec<(Duration, &'a str)> {
        self.node()
            .filter_map(|(at, seen)| match seen {
                NodeSeen::Tip { hash, .. } => Some((at, hash.as_str())),
                NodeSeen::Submitted { .. } => None,
            })
            .collect()
    }

    /// When the scenario was over and had settled; the end of the record where it never was.
    pub(super) fn settled_at(&self) -> Duration {
        let settled = self.observations.iter().find(|seen| matches!(seen.what, Seen::Settled));
        settled.or_else(|| self.observations.last()).map_or(Duration::ZERO, |seen| seen.at)
    }

    /// The gateway's mode at that moment: what it was set up with, or changed to since.
    pub(super) fn mode_at(&self, moment: Duration) -> Mode {
        // A change while the gateway was down has no event of its own.
        let told = self.all_events().filter_map(|(read, line)| {
            let (at, key) = match line["event"].as_str() {
                Some("mode_changed") => (self.told_at(read, line), "to"),
                _ => (read, "mode"),
            };
            line[key].as_str().filter(|_| at <= moment)
        });
        told.last().and_then(|mode| mode.parse().ok()).unwrap_or(self.setting.mode)
    }

    /// The longest hold that was in force up to that moment.
    pub(super) fn stale_hold_by(&self, moment: Duration) -> Duration {
        let until_then = self.observations.iter().take_while(|seen| seen.at <= moment);
        let reloaded = until_then.filter_map(|seen| match &seen.what {
            Seen::Step(Action::Reload { config }) => {
                let config: toml::Table = config.parse().ok()?;
                let hold = config.get("timing")?.get("prevhash_stale_hold_ms")?.as_integer()?;
                u64::try_from(hold).ok().map(Duration::from_millis)
            }
            _ => None,
        });
        reloaded.fold(self.setting.stale_hold, Duration::max)
    }

    /// When the gateway was killed.
    pub(super) fn gateway_crashes(&self) -> Vec<Duration> {
        self.observations
            .iter()
            .filter(|seen| {
                matches!(&seen.what, Seen::Host(HostSeen::Crashed { host }) if host == "gateway")
            })
            .map(|seen| seen.at)
            .collect()
    }

    /// Whether the gateway's disk was broken at that moment.
    pub(super) fn disk_is_broken(&self, moment: Duration) -> bool {
        let steps = self.observations.iter().take_while(|seen| seen.at <= moment);
        let modes = steps.filter_map(|seen| match &seen.what {
            Seen::Step(Action::DiskMode { host, mode }) if host == "gateway" => Some(*mode),
            _ => None,
        });
        modes.last().is_some_and(|mode| mode != DiskMode::Ok)
    }

    /// When something was done to the world.
    pub(super) fn steps(&self) -> Vec<Duration> {
        let steps = self.observations.iter().filter(|seen| matches!(seen.what, Seen::Step(_)));
        steps.map(|seen| seen.at).collect()
    }

    /// When a line's event happened by its own word; when it was read, where it does not say.
    pub(super) fn told_at(&self, read: Duration, line: &Value) -> Duration {
        self.virtual_time(read, &line["timestamp_ms"]).map_or(read, |told| told.min(read))
    }

    /// A time of the gateway's wall clock, in a line that came at `at`, as virtual time of the run.
    pub(super) fn virtual_time(&self, at: Duration, unix_ms: &Value) -> Option<Duration> {
        let since_epoch = unix_ms.as_u64()?.saturating_sub(self.setting.epoch_ms);
        // How far the clock was ahead, from when on.
        let (mut ahead_ms, mut eras) = (0, vec![(Duration::ZERO, 0)]);
        for seen in self.observations.iter().take_while(|seen| seen.at <= at) {
            match &seen.what {
                Seen::Step(Action::ClockJump { host, by_ms }) if host == "gateway" => {
                    ahead_ms += by_ms;
                    eras.push((seen.at, ahead_ms));
                }
                _ => {}
            }
        }
        let told = eras.into_iter().rev().filter_map(|(from, ahead_ms)| {
            let time = Duration::from_millis(since_epoch.checked_add_signed(-ahead_ms)?);
            (time >= from).then_some(time)
        });
        // A line tells of nothing that is still to come: then its clock had not jumped yet.
        told.clone().find(|time| *time <= at).or_else(|| told.clone().next())
    }

    /// When jobs came, to which miner, and on which of its connections.
    pub(super) fn jobs(&self) -> Vec<(Duration, (u32, u32))> {
        let mut connections: BTreeMap<u32, u32> = BTreeMap::new();
        let mut jobs = Vec::new();
        for (at, miner, seen) in self.miners() {
            let connection = connections.entry(miner).or_default();
            match seen {
                MinerSeen::Connected => *connection += 1,
                MinerSeen::Job { .. } => jobs.push((at, (miner, *connection))),
                _ => {}
            }
        }
        jobs
    }

    /// Every share that miners sent, with its answer.
    pub(super) fn shares(&self) -> Vec<Sent<'a>> {
        let mut shares: Vec<Sent<'a>> = Vec::new();
        let mut by_number: BTreeMap<(u32, u64), usize> = BTreeMap::new();
        let mut open: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let mut active: BTreeMap<u32, &str> = BTreeMap::new();
        let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
        for (at, miner, seen) in self.miners() {
            match seen {
                MinerSeen::Connected => lines.entry(miner).or_default().begin(),
                MinerSeen::Job { job_id, .. } => {
                    lines.entry(miner).or_default().jobs.push((*job_id, at));
                }
                MinerSeen::Sent { share, share_id, hash, job_id, prev_hash, class } => {
                    let line = lines.entry(miner).or_default();
                    by_number.insert((miner, *share), shares.len());
                    open.entry(miner).or_default().push(shares.len());
                    shares.push(Sent {
                        at,
                        miner,
                        connection: line.number,
                        job: line.job(*job_id),
                        is_superseded: false,
                        share_id,
                        hash,
                        prev_hash,
                        active: active.get(&miner).copied().unwrap_or_default(),
                        class: *class,
                        answer: Answer::None,
                    });
                }
                MinerSeen::Acked { share } => {
                    if let Some(index) = by_number.get(&(miner, *share)) {
                        shares[*index].answer = Answer::Acked(at);
                    }
                }
                MinerSeen::Rejected { share, code } => {
                    if let Some(index) = by_number.get(&(miner, *share)) {
                        let line = lines.entry(miner).or_default();
                        let sent = &mut shares[*index];
                        sent.answer = Answer::Rejected(at, code);
                        sent.is_superseded = sent.job.0 < line.first_of_tip;
                    }
                }
                MinerSeen::Closed { .. } => {
                    for index in open.remove(&miner).unwrap_or_default() {
                        if shares[index].answer == Answer::None {
                            shares[index].answer = Answer::ConnectionLost(at);
                        }
                    }
                }
                MinerSeen::PrevHash { prev_hash, job_id } => {
                    active.insert(miner, prev_hash);
                    lines.entry(miner).or_default().first_of_tip = *job_id;
                }
                _ => {}
            }
        }
        shares
    }
}

/// What has come to a miner on its present connection.
#[derive(Default)]
struct Line {
    /// Which of the miner's connections it is.
    number: u32,
    /// The job that the last SetNewPrevHash started.
    first_of_tip: u32,
    jobs: Vec<(u32, Duration)>,
}

impl Line {
    fn begin(&mut self) {
        *self = Self { number: self.number + 1, ..Self::default() };
    }

    /// The job of this number, and when it came; at the very beginning where it never did.
    fn job(&self, job_id: u32) -> (u32, Duration) {
        let known = self.jobs.iter().rfind(|(id, _)| *id == job_id);
        known.copied().unwrap_or((job_id, Duration::ZERO))
    }
}

/// A share that a miner sent.
pub(super) struct Sent<'a> {
    /// When.
    pub(super) at: Duration,
    /// Who.
    pub(super) miner: u32,
    /// On which of the miner's connections.
    pub(super) connection: u32,
    /// The number of its job, and when that came.
    pub(super) job: (u32, Duration),
    /// It was refused, and by then the miner had been told of a tip after the one of its job.
    pub(super) is_superseded: bool,
    pub(super) share_id: &'a str,
    pub(super) hash: &'a str,
    /// The tip that it builds on.
    pub(super) prev_hash: &'a str,
    /// The tip that the miner was on when it sent it.
    pub(super) active: &'a str,
    pub(super) class: ShareClass,
    pub(super) answer: Answer<'a>,
}

/// What became of a share at its miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    Acked(Duration),
    Rejected(Duration, &'a str),
    /// The connection ended first, then.
    ConnectionLost(Duration),
    None,
}
