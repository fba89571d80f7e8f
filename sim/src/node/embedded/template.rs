//! Block templates (BIP 22, 23, 145) and the version bits in them (BIP 9).

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, Txid};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::chain::{Chain, Entry};
use super::check::{self, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT};
use super::mempool::{Mempool, Waiting};

/// What a template leaves to the coinbase.
const RESERVED_WEIGHT: usize = 8_000;
const RESERVED_SIGOPS: usize = 400;

/// How long a template is kept though the mempool changed, in seconds of the node's time.
const KEPT_S: u64 = 5;

/// Regtest's difficulty adjustment interval, which bounds a block's time even though the
/// difficulty never changes.
const ADJUSTMENT_INTERVAL: u32 = 144;
const MAX_TIMEWARP_S: u32 = 600;

/// Regtest's only deployment by version bits.
const DEPLOYMENT: &str = "testdummy";
const DEPLOYMENT_BIT: u32 = 28;
const DEPLOYMENT_PERIOD: u32 = 144;
const DEPLOYMENT_THRESHOLD: usize = 108;

/// The template built last: a new one is built for a new tip, or for a changed mempool after
/// five seconds.
#[derive(Default)]
pub(super) struct Templates {
    kept: Option<Kept>,
}

struct Kept {
    tip: BlockHash,
    updates: u64,
    built_at: u64,
    body: Body,
}

/// The part of a template that stays as it was built.
#[derive(Clone)]
struct Body {
    transactions: Vec<Value>,
    coinbase_value: u64,
    commitment: String,
}

impl Templates {
    /// The answer to `getblocktemplate` at `now`, the node's time in seconds.
    pub(super) fn answer(&mut self, chain: &Chain, mempool: &Mempool, now: u64) -> Value {
        let tip = chain.tip();
        let fresh = self.kept.as_ref().is_some_and(|kept| {
            let changed = kept.updates != mempool.updates;
            // A clock that was set back keeps the template, as in bitcoind.
            kept.tip == tip && !(changed && now > kept.built_at + KEPT_S)
        });
        if !fresh {
            let body = build(chain, mempool);
            self.kept = Some(Kept { tip, updates: mempool.updates, built_at: now, body });
        }
        let kept = self.kept.as_ref().expect("it was just built");
        let mut answer = frame(chain, now);
        answer["transactions"] = Value::Array(kept.body.transactions.clone());
        answer["coinbasevalue"] = kept.body.coinbase_value.into();
        answer["default_witness_commitment"] = kept.body.commitment.clone().into();
        answer["longpollid"] = format!("{tip}{}", kept.updates).into();
        answer
    }
}

fn build(chain: &Chain, mempool: &Mempool) -> Body {
    let selection = mempool
        .selection(MAX_BLOCK_WEIGHT - RESERVED_WEIGHT, MAX_BLOCK_SIGOPS_COST - RESERVED_SIGOPS);
    let places: BTreeMap<Txid, usize> =
        selection.iter().enumerate().map(|(place, waiting)| (waiting.txid, place + 1)).collect();
    let fees: u64 = selection.iter().map(|waiting| waiting.fee.to_sat()).sum();
    let leaves = std::iter::once(sha256d::Hash::all_zeros())
        .chain(selection.iter().map(|waiting| waiting.wtxid.to_raw_hash()))
        .collect();
    let commitment = check::commitment(check::merkle_root(leaves).0, &[0; 32]);
    Body {
        transactions: selection.iter().map(|waiting| transaction(waiting, &places)).collect(),
        coinbase_value: check::subsidy(chain.height() + 1).to_sat() + fees,
        commitment: format!("6a24aa21a9ed{}", const_hex::encode(commitment)),
    }
}

fn transaction(waiting: &Waiting, places: &BTreeMap<Txid, usize>) -> Value {
    let parents = waiting.tx.input.iter().map(|input| input.previous_output.txid);
    let mut depends: Vec<usize> = parents.filter_map(|txid| places.get(&txid).copied()).collect();
    depends.sort_unstable();
    depends.dedup();
    json!({
        "data": bitcoin::consensus::encode::serialize_hex(&waiting.tx),
        "txid": waiting.txid,
        "hash": waiting.wtxid,
        "depends": depends,
        "fee": waiting.fee.to_sat(),
        "sigops": waiting.sigops,
        "weight": waiting.weight,
    })
}

/// What a template says beside its transactions.
fn frame(chain: &Chain, now: u64) -> Value {
    let tip = chain.tip_entry();
    let height = tip.height + 1;
    let mut min_time = tip.median_time + 1;
    if height.is_multiple_of(ADJUSTMENT_INTERVAL) {
        min_time = min_time.max(tip.block.header.time.saturating_sub(MAX_TIMEWARP_S));
    }
    let mut rules = vec!["csv", "!segwit", "taproot"];
    let (mut available, mut version) = (json!({}), 0x2000_0000_u32);
    match deployment(chain) {
        State::Defined => {}
        State::Started | State::LockedIn => {
            version |= 1 << DEPLOYMENT_BIT;
            available[DEPLOYMENT] = DEPLOYMENT_BIT.into();
        }
        State::Active => rules.push(DEPLOYMENT),
    }
    json!({
        "capabilities": ["proposal"],
        "version": version,
        "rules": rules,
        "vbavailable": available,
        "vbrequired": 0,
        "previousblockhash": chain.tip(),
        "coinbaseaux": {},
        "target": target_hex(chain),
        "mintime": min_time,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": MAX_BLOCK_SIGOPS_COST,
        "sizelimit": MAX_BLOCK_WEIGHT,
        "weightlimit": MAX_BLOCK_WEIGHT,
        "curtime": now.max(min_time.into()),
        "bits": format!("{:08x}", chain.bits.to_consensus()),
        "height": height,
    })
}

/// The chain's target as 64 hexadecimal digits.
pub(super) fn target_hex(chain: &Chain) -> String {
    const_hex::encode(chain.target().to_be_bytes())
}

/// BIP 9's states, without the one that this deployment cannot reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Defined,
    Started,
    LockedIn,
    Active,
}

/// The deployment's state for the block after the tip.
fn deployment(chain: &Chain) -> State {
    let mut state = State::Defined;
    for period in 1..=(chain.height() + 1) / DEPLOYMENT_PERIOD {
        let end = period * DEPLOYMENT_PERIOD;
        state = match state {
            State::Defined => State::Started,
            State::Started if signals(chain, end) >= DEPLOYMENT_THRESHOLD => State::LockedIn,
            State::Started => State::Started,
            State::LockedIn | State::Active => State::Active,
        };
    }
    state
}

/// How many blocks of the period before height `end` signal.
fn signals(chain: &Chain, end: u32) -> usize {
    (end - DEPLOYMENT_PERIOD..end)
        .filter_map(|height| chain.entry(&chain.hash_at(height)?))
        .filter(|entry| signals_readiness(entry))
        .count()
}

fn signals_readiness(entry: &Entry) -> bool {
    let version = entry.block.header.version.to_consensus() as u32;
    version >> 29 == 0b001 && version >> DEPLOYMENT_BIT & 1 == 1
}
