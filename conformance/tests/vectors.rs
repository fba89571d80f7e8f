//! Known inputs and outputs from elsewhere; `vectors/README.md` has their sources.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // helpers of tests are not marked as tests

use bitcoin::consensus::deserialize;
use bitcoin::hashes::{Hash as _, sha256, sha256d};
use bitcoin::{BlockHash, CompactTarget, ScriptBuf, Transaction, TxMerkleNode, Txid};
use framing_sv2::header::Header;
use gateway_core::ids::TemplateId;
use gateway_core::job::{Coinbase, CoinbaseSpec, PayoutOutput, Template, merkle_path, merkle_root};
use gateway_core::limits::EXTRANONCE_BYTES;
use gateway_core::target::Target;
use parsers_sv2::AnyMessage;
use serde_json::Value;
use sv2_noise::AuthorityPublicKey;
use sv2_wire::{FrameHeader, MiningClientMessage, MiningServerMessage, Tlvs, WorkerIdentity};

fn vectors(json: &str) -> Vec<Value> {
    let vectors: Vec<Value> = serde_json::from_str(json).unwrap();
    assert!(!vectors.is_empty());
    vectors
}

fn text<'v>(vector: &'v Value, key: &str) -> &'v str {
    vector[key].as_str().unwrap_or_else(|| panic!("{vector} has no {key}"))
}

fn number(vector: &Value, key: &str) -> u32 {
    u32::try_from(vector[key].as_u64().unwrap()).unwrap()
}

/// Hexadecimal digits with blanks between fields.
fn bytes(text: &str) -> Vec<u8> {
    const_hex::decode(text.replace(' ', "")).unwrap()
}

#[test]
fn keys_read_and_print() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/keys.json")).unwrap();
    let name = sha256::Hash::hash(text(&vectors, "protocol_name").as_bytes());
    assert_eq!(name.to_string(), text(&vectors, "protocol_name_hash"));
    for vector in vectors["authority_keys"].as_array().unwrap() {
        let key: AuthorityPublicKey = text(vector, "text").parse().unwrap();
        assert_eq!(key.0.serialize()[..], bytes(text(vector, "raw"))[..]);
        assert_eq!(key.to_string(), text(vector, "text"));
    }
    for vector in vectors["refused"].as_array().unwrap() {
        let read = text(vector, "text").parse::<AuthorityPublicKey>();
        assert!(read.is_err(), "{}: {read:?}", text(vector, "why"));
    }
}

#[test]
fn frames_are_the_messages_that_they_are_laid_out_as() {
    for vector in vectors(include_str!("../vectors/frames.json")) {
        let (frame, name) = (bytes(text(&vector, "frame")), text(&vector, "message"));
        let (head, payload) = frame.split_first_chunk().unwrap();
        let header = FrameHeader::decode(*head);
        let mut again = Vec::new();
        let read = match MiningServerMessage::decode(header, payload) {
            Ok(decoded) => {
                decoded.message.encode_frame(&mut again);
                decoded.message.name()
            }
            Err(_) => {
                let decoded = MiningClientMessage::decode(header, payload);
                let message = decoded.unwrap_or_else(|error| panic!("{name}: {error}")).message;
                message.encode_frame(&mut again);
                message.name()
            }
        };
        assert_eq!((read, &again), (name, &frame));
        let mut scratch = payload.to_vec();
        let their_header = Header::from_bytes(head).unwrap();
        let theirs = AnyMessage::try_from((their_header, scratch.as_mut_slice())).unwrap();
        assert_eq!(binary_sv2::to_bytes(theirs).unwrap(), payload, "{name}");
    }
}

#[test]
fn tlvs_name_workers_or_are_refused() {
    for vector in vectors(include_str!("../vectors/tlvs.json")) {
        let tail = bytes(text(&vector, "bytes"));
        let worker = Tlvs::parse(&tail).and_then(WorkerIdentity::find).ok().flatten();
        assert_eq!(worker.map(|worker| worker.as_str()), vector["worker"].as_str(), "{vector}");
    }
}

#[test]
fn merkle_paths_fold_to_the_roots_of_real_blocks() {
    for vector in vectors(include_str!("../vectors/blocks.json")) {
        let txids = vector["txids"].as_array().unwrap().iter();
        let txids: Vec<Txid> = txids.map(|id| id.as_str().unwrap().parse().unwrap()).collect();
        let path = merkle_path(txids[1..].iter().copied());
        let root = merkle_root(txids[0].to_byte_array(), &path);
        let expected: TxMerkleNode = text(&vector, "merkle_root").parse().unwrap();
        assert_eq!(root, expected.to_byte_array());
        let theirs =
            channels_sv2::merkle_root::merkle_root_from_path_(txids[0].to_byte_array(), &path);
        assert_eq!(theirs, root);
        check_header(&vector, root);
    }
}

/// The header's hash is the block's, and meets the target of its bits.
fn check_header(vector: &Value, root: [u8; 32]) {
    let prev_hash: BlockHash = text(vector, "prev_hash").parse().unwrap();
    let header = [
        number(vector, "version").to_le_bytes().as_slice(),
        &prev_hash.to_byte_array(),
        &root,
        &number(vector, "time").to_le_bytes(),
        &number(vector, "bits").to_le_bytes(),
        &number(vector, "nonce").to_le_bytes(),
    ]
    .concat();
    let hash = sha256d::Hash::hash(&header).to_byte_array();
    let expected: BlockHash = text(vector, "hash").parse().unwrap();
    assert_eq!(hash, expected.to_byte_array());
    let bits = CompactTarget::from_consensus(number(vector, "bits"));
    assert!(Target::from_compact(bits).is_met_by(hash));
}

#[test]
fn targets_have_their_difficulty() {
    for vector in vectors(include_str!("../vectors/targets.json")) {
        let target = Target::from_compact(CompactTarget::from_consensus(number(&vector, "bits")));
        let mut edge: [u8; 32] = bytes(text(&vector, "target")).try_into().unwrap();
        edge.reverse(); // A hash as it is computed: the last byte weighs most.
        assert!(target.is_met_by(edge), "{vector}: the target itself");
        let above = edge.iter_mut().find(|byte| **byte < 0xff).unwrap();
        *above += 1;
        assert!(!target.is_met_by(edge), "{vector}: one more");
        let (found, expected) =
            (target.difficulty().as_f64(), vector["difficulty"].as_f64().unwrap());
        assert!((found / expected - 1.0).abs() < 1e-12, "{vector}: {found}");
    }
}

/// Ours builds what the vector lays out, and the reference implementation strips it to the same.
#[test]
fn coinbases_are_split_and_stripped() {
    for vector in vectors(include_str!("../vectors/coinbases.json")) {
        let coinbase = Coinbase::build(&template(&vector), &spec(&vector)).unwrap();
        let extranonce: [u8; EXTRANONCE_BYTES] =
            bytes(text(&vector, "extranonce")).try_into().unwrap();
        let [prefix, suffix] = ["prefix", "suffix"].map(|key| bytes(text(&vector, key)));
        assert_eq!((coinbase.prefix(), coinbase.suffix()), (&prefix[..], &suffix[..]), "{vector}");
        let parts = ["whole_prefix", "whole_suffix"].map(|key| bytes(text(&vector, key)));
        let whole = [&parts[0][..], &extranonce, &parts[1]].concat();
        assert_eq!(coinbase.transaction(&extranonce), whole, "{vector}");
        let theirs = channels_sv2::bip141::try_strip_bip141(&parts[0], &parts[1]).unwrap();
        let stripped = vector["commitment"].as_str().map(|_| (prefix, suffix));
        assert_eq!(theirs, stripped, "{vector}");
        let transaction: Transaction = deserialize(&whole).unwrap();
        let expected: Txid = text(&vector, "txid").parse().unwrap();
        assert_eq!(transaction.compute_txid(), expected);
        assert_eq!(coinbase.txid(&extranonce), expected.to_byte_array());
    }
}

fn spec(vector: &Value) -> CoinbaseSpec {
    let payouts = vector["payouts"].as_array().unwrap().iter();
    let payouts = payouts.map(|payee| PayoutOutput {
        script_pubkey: ScriptBuf::from_bytes(bytes(text(payee, "script"))),
        parts: number(payee, "parts"),
    });
    CoinbaseSpec { tag: bytes(text(vector, "tag")), payouts: payouts.collect() }
}

fn template(vector: &Value) -> Template {
    Template {
        template_id: TemplateId(1),
        source: "vector".to_owned(),
        observed_at_ms: 0,
        height: number(vector, "height"),
        prev_hash: BlockHash::from_byte_array([3; 32]),
        version: 0x2000_0000,
        bits: CompactTarget::from_consensus(0x1703_4219),
        curtime: 1_713_571_767,
        mintime: 1_713_571_000,
        coinbase_value: vector["value"].as_u64().unwrap(),
        transactions: Vec::new(),
        witness_commitment: vector["commitment"].as_str().map(bytes),
        mempool_tx: None,
    }
}
