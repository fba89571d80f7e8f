//! Transactions that wait for a block.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, OutPoint, Transaction, Txid, Wtxid};

use super::chain::Chain;
use super::check::{self, Coin, Coins};
use crate::node::RpcError;

/// The least fee that is relayed, in satoshis for a thousand virtual bytes.
pub(super) const MIN_RELAY_FEE: u64 = 100;
/// The least fee of what a template takes in, in satoshis for a thousand virtual bytes
/// (`-blockmintxfee`).
const MIN_BLOCK_FEE: u64 = 1;

/// The longest chain of unconfirmed transactions, and the most descendants of one, itself counted
/// (`-limitancestorcount`, `-limitdescendantcount`).
const RELATIVES_MAX: usize = 25;
/// The virtual bytes of either (`-limitancestorsize`, `-limitdescendantsize`).
const RELATIVES_VSIZE_MAX: usize = 101_000;
/// One more child, of this size at most, may pay for a parent that has no room for descendants.
const EXTRA_CHILD_VSIZE_MAX: usize = 10_000;

/// bitcoind's numbers for a transaction that is refused.
const VERIFY_ERROR: i64 = -25;
const VERIFY_REJECTED: i64 = -26;
const ALREADY_IN_CHAIN: i64 = -27;

/// A waiting transaction with what a template says of it.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) tx: Transaction,
    pub(super) txid: Txid,
    pub(super) wtxid: Wtxid,
    pub(super) fee: Amount,
    pub(super) sigops: usize,
    pub(super) weight: usize,
    /// Transactions that must be in a block before it and wait too, itself left out.
    pub(super) ancestors: Vec<Txid>,
}

impl Waiting {
    pub(super) fn vsize(&self) -> usize {
        self.weight.div_ceil(4)
    }
}

/// The waiting transactions. A transaction that spends what another one spends is refused:
/// replacement is not modelled.
#[derive(Default)]
pub(super) struct Mempool {
    waiting: BTreeMap<Txid, Waiting>,
    spent: BTreeMap<OutPoint, Txid>,
    /// Rises with every change, as in `longpollid`.
    pub(super) updates: u64,
}

impl Mempool {
    /// Takes a transaction in (`AcceptToMemoryPool`). One that waits already is no error.
    pub(super) fn accept(
        &mut self,
        tx: Transaction,
        chain: &Chain,
        max_fee_rate: Option<u64>,
    ) -> Result<Txid, RpcError> {
        let txid = tx.compute_txid();
        if self.waiting.contains_key(&txid) {
            return Ok(txid);
        }
        let outputs = 0..tx.output.len() as u32;
        if outputs.into_iter().any(|vout| chain.coins.contains_key(&OutPoint { txid, vout })) {
            let reason = "Transaction outputs already in utxo set";
            return Err(RpcError::new(ALREADY_IN_CHAIN, reason));
        }
        let waiting = self.judge(tx, txid, chain)?;
        let wanted = (waiting.vsize() as u64 * MIN_RELAY_FEE).div_ceil(1000);
        if waiting.fee.to_sat() < wanted {
            let what = format!("min relay fee not met, {} < {wanted}", waiting.fee.to_sat());
            return Err(RpcError::new(VERIFY_REJECTED, &what));
        }
        if let Some(rate) = max_fee_rate
            && waiting.fee.to_sat() * 1000 > rate * waiting.vsize() as u64
        {
            let reason = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)";
            return Err(RpcError::new(VERIFY_ERROR, reason));
        }
        if !self.has_room_for(&waiting) {
            return Err(RpcError::new(VERIFY_REJECTED, "too-long-mempool-chain"));
        }
        self.insert(waiting);
        self.updates += 1;
        Ok(txid)
    }

    /// Whether a transaction and those that it depends on stay within the limits of their kin
    /// (`CTxMemPool::CalculateMemPoolAncestors`).
    fn has_room_for(&self, waiting: &Waiting) -> bool {
        let fits = |ancestors_max, descendants_max, vsize_max| {
            let chain: usize = self.with_ancestors(waiting).map(Waiting::vsize).sum();
            let has_room = |ancestor: &Txid| {
                let is_kin = |other: &&Waiting| {
                    other.txid == *ancestor || other.ancestors.binary_search(ancestor).is_ok()
                };
                let kin = self.iter().filter(is_kin).map(Waiting::vsize);
                let (count, vsize) =
                    kin.fold((1, waiting.vsize()), |(count, sum), vsize| (count + 1, sum + vsize));
                count <= descendants_max && vsize <= vsize_max
            };
            waiting.ancestors.len() < ancestors_max
                && chain <= RELATIVES_VSIZE_MAX
                && waiting.ancestors.iter().all(has_room)
        };
        let vsize_max = RELATIVES_VSIZE_MAX + EXTRA_CHILD_VSIZE_MAX;
        fits(RELATIVES_MAX, RELATIVES_MAX, RELATIVES_VSIZE_MAX)
            || waiting.vsize() <= EXTRA_CHILD_VSIZE_MAX && fits(2, RELATIVES_MAX + 1, vsize_max)
    }

    fn judge(&self, tx: Transaction, txid: Txid, chain: &Chain) -> Result<Waiting, RpcError> {
        let rejected = |reason: &str| RpcError::new(VERIFY_REJECTED, reason);
        check::check_transaction(&tx).map_err(rejected)?;
        if tx.is_coinbase() {
            return Err(rejected("coinbase"));
        }
        let height = chain.height() + 1;
        if !check::is_final(&tx, height, chain.tip_entry().median_time) {
            return Err(rejected("non-final"));
        }
        if tx.input.iter().any(|input| self.spent.contains_key(&input.previous_output)) {
            return Err(rejected("txn-mempool-conflict"));
        }
        let coins = self.inputs(&tx, chain, height);
        let fee = check::check_inputs(&tx, height, &coins).map_err(|reason| match reason {
            "bad-txns-inputs-missingorspent" => RpcError::new(VERIFY_ERROR, reason),
            "bad-txns-premature-spend-of-coinbase" => {
                let youngest = coins.values().filter(|c| c.coinbase).map(|c| c.height).max();
                let depth = height - youngest.unwrap_or_default();
                rejected(&format!("{reason}, tried to spend coinbase at depth {depth}"))
            }
            _ => rejected(reason),
        })?;
        let weight = tx.weight().to_wu() as usize;
        check::check_scripts(&tx, &coins).map_err(rejected)?;
        let sigops = tx.total_sigop_cost(|outpoint| coins.get(outpoint).map(|c| c.output.clone()));
        let wtxid = tx.compute_wtxid();
        let ancestors = self.ancestors(&tx);
        Ok(Waiting { tx, txid, wtxid, fee, sigops, weight, ancestors })
    }

    /// The coins that a transaction spends, out of the chain or of waiting transactions.
    fn inputs(&self, tx: &Transaction, chain: &Chain, height: u32) -> Coins {
        let coin = |outpoint: &OutPoint| -> Option<Coin> {
            let Some(parent) = self.waiting.get(&outpoint.txid) else {
                return chain.coins.get(outpoint).cloned();
            };
            let output = parent.tx.output.get(outpoint.vout as usize)?.clone();
            Some(Coin { output, height, coinbase: false })
        };
        let outpoints = tx.input.iter().map(|input| input.previous_output);
        outpoints.filter_map(|outpoint| Some((outpoint, coin(&outpoint)?))).collect()
    }

    fn ancestors(&self, tx: &Transaction) -> Vec<Txid> {
        let mut all = Vec::new();
        for input in &tx.input {
            if let Some(parent) = self.waiting.get(&input.previous_output.txid) {
                all.extend(parent.ancestors.iter().copied());
                all.push(parent.txid);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn insert(&mut self, waiting: Waiting) {
        for input in &waiting.tx.input {
            self.spent.insert(input.previous_output, waiting.txid);
        }
        self.waiting.insert(waiting.txid, waiting);
    }

    /// Follows a new tip: what it holds or contradicts no longer waits, and what left the chain
    /// waits again where it still may, whatever it pays. What waited before keeps its place, however
    /// many kin came back.
    pub(super) fn follow(&mut self, chain: &Chain, left: Vec<Transaction>) {
        let mut before: Vec<Waiting> = std::mem::take(&mut self.waiting).into_values().collect();
        // What a transaction needs comes before it.
        before.sort_by_key(|waiting| waiting.ancestors.len());
        self.spent.clear();
        let (left, before) = (left.into_iter(), before.into_iter().map(|waiting| waiting.tx));
        for (tx, is_back) in left.map(|tx| (tx, true)).chain(before.map(|tx| (tx, false))) {
            let txid = tx.compute_txid();
            if let Ok(waiting) = self.judge(tx, txid, chain)
                && (!is_back || self.has_room_for(&waiting))
            {
                self.insert(waiting);
            }
        }
        self.updates += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    pub(super) fn entry(&self, txid: &Txid) -> Option<&Waiting> {
        self.waiting.get(txid)
    }

    /// The transaction ids as `getrawmempool` lists them: few ancestors first, then by fee rate.
    pub(super) fn listing(&self) -> Vec<Txid> {
        let mut all: Vec<&Waiting> = self.waiting.values().collect();
        all.sort_by(|a, b| {
            let depth = a.ancestors.len().cmp(&b.ancestors.len());
            depth.then_with(|| by_rate(a, b)).then(b.txid.cmp(&a.txid).reverse())
        });
        all.into_iter().map(|waiting| waiting.txid).collect()
    }

    /// The transactions for a template in their order, as long as they fit into the given weight
    /// and sigops: again and again the best fee rate of a transaction with what it needs and is not
    /// chosen yet (`BlockAssembler::addPackageTxs`).
    pub(super) fn selection(&self, weight_max: usize, sigops_max: usize) -> Vec<&Waiting> {
        let mut chosen: BTreeSet<Txid> = BTreeSet::new();
        let mut order: Vec<&Waiting> = Vec::new();
        let (mut weight, mut sigops) = (0, 0);
        let score = |waiting: &Waiting, chosen: &BTreeSet<Txid>| {
            (Reverse(self.package_rate(waiting, chosen)), waiting.txid)
        };
        let mut scores: BTreeMap<Txid, _> =
            self.iter().map(|waiting| (waiting.txid, score(waiting, &chosen))).collect();
        let mut best: BTreeSet<_> = scores.values().copied().collect();
        while let Some((_, txid)) = best.pop_first() {
            let mut package: Vec<&Waiting> = self.with_ancestors(&self.waiting[&txid]).collect();
            package.retain(|member| !chosen.contains(&member.txid));
            package.sort_by_key(|member| (member.ancestors.len(), member.txid));
            let more: usize = package.iter().map(|member| member.weight).sum();
            let more_sigops: usize = package.iter().map(|member| member.sigops).sum();
            if weight + more >= weight_max || sigops + more_sigops >= sigops_max {
                continue;
            }
            let fees: u64 = package.iter().map(|member| member.fee.to_sat()).sum();
            let size: usize = package.iter().map(|member| member.vsize()).sum();
            if fees < (size as u64 * MIN_BLOCK_FEE).div_ceil(1000) {
                break; // Whatever is left pays even less.
            }
            (weight, sigops) = (weight + more, sigops + more_sigops);
            for member in &package {
                chosen.insert(member.txid);
                best.remove(&scores[&member.txid]);
            }
            // Whatever needs one of them is cheaper to have now.
            let needs = |waiting: &&Waiting| {
                package.iter().any(|member| waiting.ancestors.binary_search(&member.txid).is_ok())
            };
            for waiting in self.iter().filter(needs) {
                if best.remove(&scores[&waiting.txid]) {
                    let now = score(waiting, &chosen);
                    scores.insert(waiting.txid, now);
                    best.insert(now);
                }
            }
            order.extend(package);
        }
        order
    }

    /// The fee rate at which a transaction is chosen: with those of its ancestors that are not, if
    /// that is less, in millionths of a satoshi a virtual byte.
    fn package_rate(&self, waiting: &Waiting, chosen: &BTreeSet<Txid>) -> u128 {
        let (mut fee, mut size) = (0, 0);
        for member in self.with_ancestors(waiting).filter(|one| !chosen.contains(&one.txid)) {
            (fee, size) = (fee + member.fee.to_sat(), size + member.vsize());
        }
        let rate = |fee: u64, size: usize| u128::from(fee) * 1_000_000 / size as u128;
        rate(fee, size).min(rate(waiting.fee.to_sat(), waiting.vsize()))
    }

    fn with_ancestors<'a>(&'a self, waiting: &'a Waiting) -> impl Iterator<Item = &'a Waiting> {
        let ancestors = waiting.ancestors.iter().filter_map(|txid| self.waiting.get(txid));
        ancestors.chain([waiting])
    }
}

/// The better fee rate first.
fn by_rate(a: &Waiting, b: &Waiting) -> std::cmp::Ordering {
    let cross = |x: &Waiting, y: &Waiting| u128::from(x.fee.to_sat()) * y.vsize() as u128;
    cross(b, a).cmp(&cross(a, b))
}
