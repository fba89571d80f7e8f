//! Transactions that were seen lately, so that gateways need not send them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::Wtxid;
use consensus::Tx;

/// What a kept transaction takes beside its bytes, roughly.
const OVERHEAD_BYTES: usize = 512;

/// Keeps transactions by the hash of their bytes, which was computed here. What was used lately
/// outlives what was not: there are two generations, and each use moves a transaction to the young
/// one; when that is full it becomes the old one, and the old one is forgotten.
pub(crate) struct TxCache {
    /// Of one generation.
    max_bytes: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Wtxid, Arc<Tx>>,
    young_bytes: usize,
    old: HashMap<Wtxid, Arc<Tx>>,
}

impl TxCache {
    /// Keeps about `max_bytes` at most; with zero, nothing.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes: max_bytes / 2, generations: Mutex::default() }
    }

    /// Whether it keeps anything at all.
    pub(crate) fn is_on(&self) -> bool {
        self.max_bytes > 0
    }

    pub(crate) fn keep<'a>(&self, transactions: impl Iterator<Item = &'a Arc<Tx>>) {
        if !self.is_on() {
            return;
        }
        let mut generations = self.generations();
        for tx in transactions {
            generations.use_now(tx, self.max_bytes);
        }
    }

    /// For each id its transaction, where it is kept.
    pub(crate) fn find(&self, wtxids: impl Iterator<Item = Wtxid>) -> Vec<Option<Arc<Tx>>> {
        let mut generations = self.generations();
        let mut find = |wtxid: Wtxid| {
            if let Some(tx) = generations.young.get(&wtxid) {
                return Some(Arc::clone(tx));
            }
            let tx = generations.old.get(&wtxid).cloned()?;
            generations.use_now(&tx, self.max_bytes);
            Some(tx)
        };
        wtxids.map(&mut find).collect()
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn use_now(&mut self, tx: &Arc<Tx>, max_bytes: usize) {
        let bytes = tx.size() + OVERHEAD_BYTES;
        if bytes > max_bytes || self.young.insert(tx.wtxid(), Arc::clone(tx)).is_some() {
            return;
        }
        self.young_bytes += bytes;
        if self.young_bytes > max_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::consensus::serialize;
    use bitcoin::{Transaction, TxIn, TxOut, transaction};
    use consensus::Skeleton;

    use super::*;

    fn tx(number: u32) -> Arc<Tx> {
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::from_consensus(number),
            input: vec![TxIn::default()],
            output: vec![TxOut::NULL],
        };
        let bytes = [vec![0; 80], vec![1], serialize(&transaction)].concat();
        Arc::clone(&Skeleton::decode(&bytes).unwrap().sent()[0])
    }

    fn has(cache: &TxCache, tx: &Tx) -> bool {
        cache.find(std::iter::once(tx.wtxid()))[0].is_some()
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let one = tx(0).size() + OVERHEAD_BYTES;
        let cache = TxCache::new(2 * 4 * one);
        let used = tx(1);
        let unused = tx(2);
        cache.keep([&used, &unused].into_iter());
        for number in 10..100 {
            assert!(has(&cache, &used), "after {number}");
            cache.keep([&tx(number)].into_iter());
            let generations = cache.generations();
            assert!(generations.young.len() + generations.old.len() <= 10);
        }
        assert!(!has(&cache, &unused));
        assert!(has(&cache, &tx(99)));
    }

    #[test]
    fn a_cache_for_nothing_keeps_nothing() {
        let cache = TxCache::new(0);
        cache.keep([&tx(1)].into_iter());
        assert!(!cache.is_on());
        assert!(!has(&cache, &tx(1)));
    }
}
