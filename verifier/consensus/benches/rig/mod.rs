//! A full block, in the forms that the benches begin with.

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{Encodable, serialize};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, VarInt, WPubkeyHash, Witness, transaction,
};
use consensus::{Declared, Derived, Options, Parts, Skeleton, Tx, check_parts};

/// Transactions after the coinbase, and outputs of each: near 4 000 000 weight units.
const FULL: (u32, u32) = (3_700, 6);
const HEIGHT: u32 = 900_000;
const VALUE: u64 = 312_500_000;

/// A full block, what is declared of it, and what is left of its bytes without the transactions
/// that were sent before.
struct Full {
    bytes: Vec<u8>,
    declared: Declared,
    skeleton: Vec<u8>,
}

fn full() -> Full {
    let mut txdata = vec![coinbase()];
    txdata.extend((0..FULL.0).map(payment));
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::from_byte_array([7; 32]),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1_800_000_000,
        bits: CompactTarget::from_consensus(0x1d00_ffff),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    let root = block.witness_root().expect("there is a coinbase");
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    block.txdata[0].output[1].script_pubkey = commitment_script(commitment.as_byte_array());
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    let declared = Declared {
        prev_hash: block.header.prev_blockhash.to_string(),
        version: 0x2000_0000,
        bits: 0x1d00_ffff,
        time: block.header.time,
        height: HEIGHT,
        coinbase_value: VALUE,
        total_fees: 0,
        tx_count: FULL.0,
        weight: block.weight().to_wu(),
        sigops_cost: u64::from(FULL.0),
        coinbase_sigops: 0,
    };
    let mut skeleton = serialize(&block.header);
    let count = VarInt::from(block.txdata.len());
    count.consensus_encode(&mut skeleton).expect("a vector takes every byte");
    skeleton.extend(serialize(&block.txdata[0]));
    Full { bytes: serialize(&block), declared, skeleton }
}

fn coinbase() -> Transaction {
    let script_sig = Builder::new().push_int(i64::from(HEIGHT)).push_slice([0; 8]).into_script();
    let witness = Witness::from_slice(&[[0_u8; 32]]);
    let commitment = TxOut { value: Amount::ZERO, script_pubkey: commitment_script(&[0; 32]) };
    let reward = TxOut { value: Amount::from_sat(VALUE), script_pubkey: p2wpkh(1) };
    transaction(OutPoint::null(), script_sig, witness, vec![reward, commitment])
}

/// Spends a key hash of another block.
fn payment(number: u32) -> Transaction {
    let mut txid = [1; 32];
    txid[..4].copy_from_slice(&number.to_le_bytes());
    let output = |_| TxOut { value: Amount::from_sat(10_000), script_pubkey: p2wpkh(2) };
    let witness = Witness::from_slice(&[&[1_u8; 71][..], &[2; 33][..]]);
    let spent = OutPoint::new(Txid::from_byte_array(txid), 0);
    transaction(spent, ScriptBuf::new(), witness, (0..FULL.1).map(output).collect())
}

fn transaction(
    previous_output: OutPoint,
    script_sig: ScriptBuf,
    witness: Witness,
    output: Vec<TxOut>,
) -> Transaction {
    let input = vec![TxIn { previous_output, script_sig, sequence: Sequence::MAX, witness }];
    Transaction { version: transaction::Version::TWO, lock_time: LockTime::ZERO, input, output }
}

fn p2wpkh(byte: u8) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([byte; 20]))
}

fn commitment_script(commitment: &[u8; 32]) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], commitment].concat())
}

pub(crate) fn bytes() -> Vec<u8> {
    full().bytes
}

pub(crate) fn decoded() -> (Parts, Declared) {
    let Full { bytes, declared, .. } = full();
    (Parts::decode(&bytes).expect("a block"), declared)
}

pub(crate) type Seen = (Vec<u8>, Vec<(usize, Arc<Tx>)>, Declared);

pub(crate) fn seen() -> Seen {
    let Full { bytes, declared, skeleton } = full();
    let parts = Parts::decode(&bytes).expect("a block");
    let known = parts.transactions().iter().cloned().enumerate().skip(1).collect();
    (skeleton, known, declared)
}

pub(crate) fn judge(parts: &Parts, declared: &Declared) -> Derived {
    check_parts(parts, declared, &Options::default()).expect("a right block")
}

pub(crate) fn judge_seen((skeleton, known, declared): Seen) -> (Derived, Parts) {
    let skeleton = Skeleton::decode(&skeleton).expect("the coinbase");
    let parts = skeleton.fill(known).expect("a block");
    (judge(&parts, &declared), parts)
}
