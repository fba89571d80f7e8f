//! Templates and work for tests.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness,
};

use proptest::prelude::ProptestConfig;

use crate::ids::{InstanceId, TemplateId};
use crate::job::{CoinbaseSpec, PayoutOutput, Template, TemplateTransaction, Work};
use crate::moment::Moment;
use crate::shared::{SharedBounds, SharedState};

/// The wall clock of tests at process start, Unix milliseconds.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
/// A network target that no test meets by chance.
pub(crate) const HARD_BITS: u32 = 0x1d00_ffff;
/// A network target that every second hash meets.
pub(crate) const REGTEST_BITS: u32 = 0x207f_ffff;

/// A property's settings: this many cases, and no file left behind by a failure.
pub(crate) fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(number) }
}

pub(crate) fn at(ms: u64) -> Moment {
    Moment::new(Duration::from_millis(ms), START_MS + ms)
}

pub(crate) fn tip(byte: u8) -> BlockHash {
    BlockHash::from_byte_array([byte; 32])
}

pub(crate) fn template(id: u64, tip_byte: u8, bits: u32) -> Template {
    Template {
        template_id: TemplateId(id),
        source: "node".into(),
        observed_at_ms: START_MS,
        height: 100 + u32::from(tip_byte),
        prev_hash: tip(tip_byte),
        version: 0x2000_0000,
        bits: CompactTarget::from_consensus(bits),
        curtime: 1_800_000_000,
        mintime: 1_799_999_000,
        coinbase_value: 5_000_000_000,
        transactions: Vec::new(),
        witness_commitment: Some(commitment(&[])),
        mempool_tx: Some(0),
    }
}

pub(crate) fn spec() -> CoinbaseSpec {
    CoinbaseSpec { tag: b"/assay/".to_vec(), payouts: vec![payee(0x51, 1)] }
}

pub(crate) fn payee(script_byte: u8, parts: u32) -> PayoutOutput {
    PayoutOutput { script_pubkey: ScriptBuf::from_bytes(vec![script_byte]), parts }
}

pub(crate) fn work(id: u64, tip_byte: u8, bits: u32) -> Arc<Work> {
    Arc::new(Work::build(Arc::new(template(id, tip_byte, bits)), &spec()).unwrap())
}

pub(crate) fn shared(replay_window: usize, templates: usize) -> Arc<SharedState> {
    let bounds = SharedBounds { replay_window, templates, channels: 64, workers: 6 };
    Arc::new(SharedState::new(InstanceId::new("gw-test"), bounds, at(0), 7))
}

/// A transaction that differs from others by `seed`, with a witness or without.
pub(crate) fn transaction(seed: [u8; 32], has_witness: bool) -> Transaction {
    let mut witness = Witness::new();
    if has_witness {
        witness.push([seed[0]; 40]);
    }
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array(seed), 1),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness,
        }],
        output: vec![TxOut {
            value: Amount::from_sat(1000),
            // One OP_CHECKSIG: a signature operation that costs 4.
            script_pubkey: ScriptBuf::from_bytes(vec![0xac]),
        }],
    }
}

/// A template as a node would give it for these transactions.
pub(crate) fn template_with(transactions: &[Transaction], height: u32) -> Template {
    let entries = transactions.iter().map(|tx| TemplateTransaction {
        data: serialize(tx),
        txid: tx.compute_txid(),
        wtxid: tx.compute_wtxid(),
        fee: 150,
        sigops: tx.total_sigop_cost(|_| None) as u64,
        weight: tx.weight().to_wu(),
    });
    Template {
        height,
        transactions: entries.collect(),
        witness_commitment: Some(commitment(transactions)),
        ..template(1, 1, REGTEST_BITS)
    }
}

/// Script of the output that commits to the witnesses of a block with these transactions (BIP141).
fn commitment(transactions: &[Transaction]) -> Vec<u8> {
    let coinbase = std::iter::once([0; 32]);
    let hashes = coinbase.chain(transactions.iter().map(|tx| tx.compute_wtxid().to_byte_array()));
    let root = bitcoin::merkle_tree::calculate_root(hashes.map(TxMerkleNode::from_byte_array))
        .unwrap()
        .to_byte_array();
    let root = bitcoin::WitnessMerkleNode::from_byte_array(root);
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend(commitment.to_byte_array());
    script
}
