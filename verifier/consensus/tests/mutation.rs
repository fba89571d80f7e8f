//! A block on a template that a real node gave, and what becomes of it when one byte changes.
//!
//! The template comes from a recording. Whatever a node's proposal mode would refuse, a changed
//! byte is refused here too: the only bytes that may change are those that neither judges, the
//! header's nonce (proof of work comes later).

#![allow(clippy::unwrap_used)] // clippy.toml exempts `#[test]` functions, not what they share.

use std::sync::LazyLock;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Witness, consensus as encoding, transaction,
};
use consensus::{Declared, Options, check};
use proptest::prelude::*;
use serde_json::Value;

const RECORDING: &str = include_str!("../../../scenarios/cassettes/modes-inline.0.ndjson");

/// The nonce's place in the header.
const NONCE: std::ops::Range<usize> = 76..80;

/// How many mutations of each kind: `ASSAY_MUTATIONS`, which the nightly gate sets to 10 000.
fn cases() -> u32 {
    std::env::var("ASSAY_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

static PROPOSAL: LazyLock<(Vec<u8>, Declared)> = LazyLock::new(made);

fn proposal() -> (Vec<u8>, Declared) {
    PROPOSAL.clone()
}

/// The recorded template with the most transactions.
fn template() -> Value {
    let answers = RECORDING.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let templates = answers.filter(|call| call["method"] == "getblocktemplate");
    let count = |call: &Value| call["result"]["transactions"].as_array().map_or(0, Vec::len);
    let fullest = templates.max_by_key(count).unwrap();
    assert!(count(&fullest) > 10, "the recording holds a template worth mutating");
    fullest["result"].clone()
}

/// The block on it that pays everything to OP_TRUE, and what is declared of it.
fn made() -> (Vec<u8>, Declared) {
    let template = template();
    let number = |key: &str| template[key].as_u64().unwrap();
    let mut txdata = vec![coinbase(number("height"), number("coinbasevalue"))];
    let (mut sigops_cost, mut total_fees) = (0, 0);
    for entry in template["transactions"].as_array().unwrap() {
        txdata.push(encoding::encode::deserialize_hex(entry["data"].as_str().unwrap()).unwrap());
        sigops_cost += entry["sigops"].as_u64().unwrap();
        total_fees += entry["fee"].as_u64().unwrap();
    }
    let bits = u32::from_str_radix(template["bits"].as_str().unwrap(), 16).unwrap();
    let header = Header {
        version: Version::from_consensus(i32::try_from(number("version")).unwrap()),
        prev_blockhash: template["previousblockhash"].as_str().unwrap().parse().unwrap(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: u32::try_from(number("curtime")).unwrap(),
        bits: CompactTarget::from_consensus(bits),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    let root = block.witness_root().unwrap();
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    block.txdata[0].output[1].script_pubkey = commitment_script(commitment.as_byte_array());
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    let declared = Declared {
        prev_hash: block.header.prev_blockhash.to_string(),
        version: u32::try_from(number("version")).unwrap(),
        bits,
        time: block.header.time,
        height: u32::try_from(number("height")).unwrap(),
        coinbase_value: number("coinbasevalue"),
        total_fees,
        tx_count: u32::try_from(block.txdata.len() - 1).unwrap(),
        weight: block.weight().to_wu(),
        sigops_cost,
        coinbase_sigops: 0,
    };
    (encoding::serialize(&block), declared)
}

fn coinbase(height: u64, value: u64) -> Transaction {
    let height = i64::try_from(height).unwrap();
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new().push_int(height).push_slice([0; 8]).into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0_u8; 32]]),
        }],
        output: vec![
            TxOut {
                value: Amount::from_sat(value),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
            },
            TxOut { value: Amount::ZERO, script_pubkey: commitment_script(&[0; 32]) },
        ],
    }
}

fn commitment_script(commitment: &[u8; 32]) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], commitment].concat())
}

fn is_accepted(bytes: &[u8], declared: &Declared) -> bool {
    check(bytes, declared, &Options::default()).is_ok()
}

#[test]
fn a_real_nodes_template_is_accepted() {
    let (bytes, declared) = proposal();
    let judged = check(&bytes, &declared, &Options::default());
    assert!(judged.is_ok(), "{judged:?}");
}

#[test]
fn no_byte_but_the_nonce_can_have_a_bit_flipped() {
    let (mut bytes, declared) = proposal();
    let mut mutations = 0;
    for place in 0..bytes.len() {
        let flip = 1 << (place % 8);
        bytes[place] ^= flip;
        assert_eq!(is_accepted(&bytes, &declared), NONCE.contains(&place), "byte {place}");
        bytes[place] ^= flip;
        mutations += 1;
    }
    assert!(mutations >= 500, "{mutations}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_byte_but_the_nonce_can_have_another_value(
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let (mut bytes, declared) = proposal();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        prop_assert_eq!(is_accepted(&bytes, &declared), NONCE.contains(&place));
    }

    #[test]
    fn no_byte_can_be_missing_or_too_many(
        place in any::<prop::sample::Index>(),
        added in any::<Option<u8>>(),
    ) {
        let (mut bytes, declared) = proposal();
        let place = place.index(bytes.len());
        match added {
            Some(byte) => bytes.insert(place, byte),
            None => drop(bytes.remove(place)),
        }
        prop_assert!(!is_accepted(&bytes, &declared), "byte {}", place);
    }
}
