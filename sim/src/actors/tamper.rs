//! Proposals altered on their way to the verifier, each in one respect: what depends on the change
//! is made to agree with it again, so that only the one check can object.

use bitcoin::blockdata::constants::WITNESS_SCALE_FACTOR;
use bitcoin::blockdata::opcodes::all::OP_CHECKSIG;
use bitcoin::consensus::serialize;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Witness, absolute, transaction,
};
use verifier_protocol::{BodyAnnouncement, Message, TemplatePropose, body_lines, encode};

use crate::scenario::Tamper;

/// Bytes of the transaction that no block has room for.
const OVERWEIGHT_BYTES: usize = 1_000_000;
/// One operation more than a block may have.
const SIGOPS: usize = 80_000 / WITNESS_SCALE_FACTOR + 1;
/// Where a witness commitment begins (BIP 141).
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The lines of the proposal as it arrives.
pub(super) fn tampered(tamper: Tamper, propose: TemplatePropose, block: Block) -> Vec<u8> {
    let mut forged = Forged { propose, body: serialize(&block) };
    match tamper {
        Tamper::None => {}
        Tamper::Version => {
            let text = String::from_utf8(forged.lines()).expect("lines are UTF-8");
            return text.replacen("\"version\":2", "\"version\":1", 1).into_bytes();
        }
        Tamper::PrevHashLength => forged.propose.prev_hash.truncate(62),
        Tamper::PrevHashZero => forged.propose.prev_hash = "0".repeat(64),
        Tamper::ValueZero => forged.propose.coinbase_value = 0,
        Tamper::Body => forged.body.truncate(forged.body.len() - 1),
        Tamper::Value => forged.propose.coinbase_value += 1,
        Tamper::Fees => forged.propose.total_fees *= 2,
        Tamper::Height => forged.propose.height += 1,
        Tamper::Weight => forged.propose.weight += 4,
        Tamper::Sigops => forged.propose.sigops_cost += 40_000,
        Tamper::TxCount => forged.propose.tx_count += 1,
        _ => forged.forge(tamper, block),
    }
    forged.lines()
}

struct Forged {
    propose: TemplatePropose,
    body: Vec<u8>,
}

impl Forged {
    /// Changes the block, and what is declared of it.
    fn forge(&mut self, tamper: Tamper, mut block: Block) {
        match tamper {
            Tamper::MerkleRoot => {
                block.header.merkle_root = TxMerkleNode::from_byte_array([7; 32]);
                self.body = serialize(&block);
                return;
            }
            Tamper::Time => block.header.time += 1,
            Tamper::Bits => block.header.bits = CompactTarget::from_consensus(0x1d00_ffff),
            Tamper::Overpaid => {
                block.txdata[0].output[0].value += Amount::ONE_SAT;
                self.propose.coinbase_value += 1;
                // What the transactions pay only the node can tell.
                self.propose.total_fees += 1;
            }
            Tamper::HeightMissing => {
                let script = &mut block.txdata[0].input[0].script_sig;
                *script = ScriptBuf::from_bytes([&[0x4c, 0x01, 0x65], script.as_bytes()].concat());
            }
            Tamper::ScriptLength => {
                let script = &mut block.txdata[0].input[0].script_sig;
                let mut bytes = script.to_bytes();
                bytes.resize(101, 0);
                *script = ScriptBuf::from_bytes(bytes);
            }
            Tamper::WitnessMissing => block.txdata[0].input[0].witness = Witness::new(),
            Tamper::WitnessCommitment => flip_commitment(&mut block.txdata[0]),
            Tamper::Overweight => {
                let script = ScriptBuf::from_bytes(vec![0x6a; OVERWEIGHT_BYTES]);
                block.txdata.push(spend(OutPoint::new(Txid::all_zeros(), 0), script));
            }
            Tamper::ManySigops => {
                let script = ScriptBuf::from_bytes(vec![OP_CHECKSIG.to_u8(); SIGOPS]);
                block.txdata.push(spend(OutPoint::new(Txid::all_zeros(), 0), script));
            }
            Tamper::NullPrevout => block.txdata.push(spend(OutPoint::null(), ScriptBuf::new())),
            Tamper::DuplicateTx => {
                let twice = spend(OutPoint::new(Txid::all_zeros(), 1), ScriptBuf::new());
                block.txdata.extend([twice.clone(), twice]);
            }
            Tamper::MissingOutput => {
                let parent = spend(OutPoint::new(Txid::all_zeros(), 3), ScriptBuf::new());
                let child = spend(OutPoint::new(parent.compute_txid(), 1), ScriptBuf::new());
                block.txdata.extend([parent, child]);
            }
            _ => {
                let late = spend(OutPoint::new(Txid::all_zeros(), 2), ScriptBuf::new());
                let early = spend(OutPoint::new(late.compute_txid(), 0), ScriptBuf::new());
                block.txdata.extend([early, late]);
            }
        }
        if !matches!(tamper, Tamper::WitnessCommitment | Tamper::WitnessMissing) {
            commit(&mut block);
        }
        if let Some(root) = block.compute_merkle_root() {
            block.header.merkle_root = root;
        }
        self.propose.tx_count = (block.txdata.len() - 1) as u32;
        // What exceeds the limit of a block must not be told by the declaration: the operator's
        // rules are judged before the bytes.
        if tamper != Tamper::Overweight {
            self.propose.weight = block.weight().to_wu();
        }
        self.body = serialize(&block);
    }

    fn lines(&mut self) -> Vec<u8> {
        self.propose.body = BodyAnnouncement::of(&self.body);
        let id = self.propose.proposal_id;
        let mut lines = encode(&Message::TemplatePropose(self.propose.clone()));
        lines.extend(body_lines(id, &self.body).flatten());
        lines
    }
}

/// A transaction that spends an outpoint into a script.
fn spend(previous_output: OutPoint, script_pubkey: ScriptBuf) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey }],
    }
}

fn commitment(coinbase: &mut Transaction) -> Option<&mut ScriptBuf> {
    let scripts = coinbase.output.iter_mut().map(|output| &mut output.script_pubkey);
    scripts.rev().find(|script| script.as_bytes().starts_with(&COMMITMENT))
}

fn flip_commitment(coinbase: &mut Transaction) {
    if let Some(script) = commitment(coinbase) {
        let mut bytes = script.to_bytes();
        bytes[COMMITMENT.len()] ^= 1;
        *script = ScriptBuf::from_bytes(bytes);
    }
}

/// Makes the coinbase commit to the witnesses that there are.
fn commit(block: &mut Block) {
    let Some(root) = block.witness_root() else { return };
    let hash = sha256d::Hash::hash(&[root.to_byte_array(), [0; 32]].concat());
    if let Some(script) = commitment(&mut block.txdata[0]) {
        *script = ScriptBuf::from_bytes([&COMMITMENT[..], hash.as_ref()].concat());
    }
}
