//! The channels and workers of all connections with their hash rates, for status pages.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::hashes::Hashes;
use crate::hashrate::{HashRates, Meter};
use crate::ids::{ChannelId, ConnectionId, WorkerId};
use crate::shared::{SharedState, lock};
use crate::target::Difficulty;

/// A channel among those of all connections.
pub type ChannelKey = (ConnectionId, ChannelId);

/// One open channel as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelReport {
    /// Its connection and number.
    pub key: ChannelKey,
    /// Whom it was opened for.
    pub worker: WorkerId,
    /// Whether the miner rolls the extranonce too.
    pub is_extended: bool,
    /// Difficulty of jobs sent from now on.
    pub difficulty: Difficulty,
    /// Accepted work over time.
    pub rates: HashRates,
    /// Shares that were accepted.
    pub shares_accepted: u64,
    /// Shares that were refused.
    pub shares_refused: u64,
    /// How long ago the last share was accepted; absent before the first.
    pub last_share_age: Option<Duration>,
}

/// One worker as it stands, over all its open channels.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerReport {
    /// The worker.
    pub worker: WorkerId,
    /// Accepted work over time.
    pub rates: HashRates,
}

/// Every open channel, and every worker that has one.
#[derive(Debug)]
pub(crate) struct Roster {
    most_workers: usize,
    channels: BTreeMap<ChannelKey, Arc<Entry>>,
    workers: BTreeMap<WorkerId, Arc<Mutex<Meter>>>,
}

#[derive(Debug)]
struct Entry {
    worker: WorkerId,
    is_extended: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    difficulty: Difficulty,
    meter: Meter,
    shares_accepted: u64,
    shares_refused: u64,
    last_share: Option<Duration>,
}

impl Entry {
    fn report(&self, key: ChannelKey, now: Duration) -> ChannelReport {
        let state = lock(&self.state);
        ChannelReport {
            key,
            worker: self.worker.clone(),
            is_extended: self.is_extended,
            difficulty: state.difficulty,
            rates: state.meter.rates(now),
            shares_accepted: state.shares_accepted,
            shares_refused: state.shares_refused,
            last_share_age: state.last_share.map(|at| now.saturating_sub(at)),
        }
    }
}

impl Roster {
    /// An empty roster for so many workers; the channels are bounded by their extranonces.
    pub(crate) fn new(most_workers: usize) -> Self {
        Self { most_workers, channels: BTreeMap::new(), workers: BTreeMap::new() }
    }

    /// Channels that are open.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Workers of those.
    pub(crate) fn workers_len(&self) -> usize {
        self.workers.len()
    }

    /// Up to `limit` channels in order, from the one behind `after`.
    pub(crate) fn channels(
        &self,
        after: Option<ChannelKey>,
        limit: usize,
        now: Duration,
    ) -> Vec<ChannelReport> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let report = |(key, entry): (&ChannelKey, &Arc<Entry>)| entry.report(*key, now);
        self.channels.range((from, Bound::Unbounded)).take(limit).map(report).collect()
    }

    /// Up to `limit` workers in order, from the one behind `after`.
    pub(crate) fn workers(
        &self,
        after: Option<&WorkerId>,
        limit: usize,
        now: Duration,
    ) -> Vec<WorkerReport> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let report = |(worker, meter): (&WorkerId, &Arc<Mutex<Meter>>)| WorkerReport {
            worker: worker.clone(),
            rates: lock(meter).rates(now),
        };
        let range = self.workers.range::<WorkerId, _>((from, Bound::Unbounded));
        range.take(limit).map(report).collect()
    }

    fn has_room_for(&self, worker: &WorkerId) -> bool {
        self.workers.len() < self.most_workers || self.workers.contains_key(worker)
    }

    fn meter_of(&mut self, worker: &WorkerId, now: Duration) -> Arc<Mutex<Meter>> {
        let new = || Arc::new(Mutex::new(Meter::new(now)));
        Arc::clone(self.workers.entry(worker.clone()).or_insert_with(new))
    }
}

/// A channel's place in the roster; it is struck off when the channel goes.
#[derive(Debug)]
pub(crate) struct Listing {
    key: ChannelKey,
    entry: Arc<Entry>,
    /// Of every worker that the channel had work from, its own first of all.
    workers: BTreeMap<WorkerId, Arc<Mutex<Meter>>>,
    owner: Arc<SharedState>,
}

impl Listing {
    /// A place for a channel; `None` where its worker would be one too many.
    pub(crate) fn new(
        owner: &Arc<SharedState>,
        key: ChannelKey,
        worker: &WorkerId,
        is_extended: bool,
        difficulty: Difficulty,
        now: Duration,
    ) -> Option<Self> {
        let state = State {
            difficulty,
            meter: Meter::new(now),
            shares_accepted: 0,
            shares_refused: 0,
            last_share: None,
        };
        let state = Mutex::new(state);
        let entry = Arc::new(Entry { worker: worker.clone(), is_extended, state });
        let mut roster = lock(owner.roster());
        if !roster.has_room_for(worker) {
            return None;
        }
        roster.channels.insert(key, Arc::clone(&entry));
        let workers = BTreeMap::from([(worker.clone(), roster.meter_of(worker, now))]);
        drop(roster);
        Some(Self { key, entry, workers, owner: Arc::clone(owner) })
    }

    /// Counts an accepted share for the channel and a worker.
    pub(crate) fn credit(&mut self, worker: &WorkerId, hashes: Hashes, now: Duration) {
        let mut state = lock(&self.entry.state);
        state.meter.add(hashes, now);
        state.shares_accepted += 1;
        state.last_share = Some(now);
        drop(state);
        if !self.workers.contains_key(worker) {
            let meter = lock(self.owner.roster()).meter_of(worker, now);
            self.workers.insert(worker.clone(), meter);
        }
        lock(&self.workers[worker]).add(hashes, now);
    }

    /// Whether a worker is known, or may become so where the channel brings at most `most` beside
    /// its own, and the gateway as many as it may in all.
    pub(crate) fn has_room_for(&self, worker: &WorkerId, most: usize) -> bool {
        self.workers.contains_key(worker)
            || (self.workers.len() <= most && lock(self.owner.roster()).has_room_for(worker))
    }

    /// Counts a refused share.
    pub(crate) fn count_refusal(&self) {
        lock(&self.entry.state).shares_refused += 1;
    }

    pub(crate) fn set_difficulty(&self, difficulty: Difficulty) {
        lock(&self.entry.state).difficulty = difficulty;
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut roster = lock(self.owner.roster());
        roster.channels.remove(&self.key);
        for (worker, meter) in std::mem::take(&mut self.workers) {
            drop(meter);
            // Only the roster's own is left: meters are handed out under its lock alone.
            if roster.workers.get(&worker).is_some_and(|meter| Arc::strong_count(meter) == 1) {
                roster.workers.remove(&worker);
            }
        }
    }
}
