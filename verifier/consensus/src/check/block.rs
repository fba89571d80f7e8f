//! A real block for the tests, and the ways to keep it consistent after a change.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, WPubkeyHash, Witness, consensus, transaction,
};

use crate::{ConsensusFailure, Declared, Derived, Options, check};

pub(crate) const HEIGHT: u32 = 200_000;
const FEES: u64 = 1_410;
const SUBSIDY_AND_FEES: u64 = 5_000_000_000 + FEES;

/// A block and what is declared of it.
pub(crate) struct Proposal {
    pub(crate) block: Block,
    pub(crate) declared: Declared,
    pub(crate) options: Options,
    /// Appended to the serialized block.
    pub(crate) trailing: Vec<u8>,
}

impl Proposal {
    /// Coinbase, a payment, a payment that spends the first one, and one with a legacy output.
    pub(crate) fn new() -> Self {
        let first = spend(outpoint(1), p2wpkh());
        let child = spend(OutPoint::new(first.compute_txid(), 0), p2wpkh());
        let legacy = spend(outpoint(2), ScriptBuf::new_p2pk(&key()));
        let block = Block {
            header: Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: BlockHash::from_byte_array([7; 32]),
                merkle_root: TxMerkleNode::all_zeros(),
                time: 1_700_000_000,
                bits: CompactTarget::from_consensus(0x1d00_ffff),
                nonce: 0,
            },
            txdata: vec![coinbase(), first, child, legacy],
        };
        let declared = Declared {
            prev_hash: block.header.prev_blockhash.to_string(),
            version: 0x2000_0000,
            bits: 0x1d00_ffff,
            time: 1_700_000_000,
            height: HEIGHT,
            coinbase_value: SUBSIDY_AND_FEES,
            total_fees: FEES,
            tx_count: 3,
            weight: 0,
            // Three key hashes spent, and one legacy operation.
            sigops_cost: 3 + 4,
            coinbase_sigops: 0,
        };
        let mut proposal =
            Self { block, declared, options: Options::default(), trailing: Vec::new() };
        proposal.settle();
        proposal
    }

    /// Makes witness commitment, merkle root, weight and count right again.
    pub(crate) fn settle(&mut self) {
        self.commit();
        self.declare();
    }

    /// Makes the last witness commitment right again.
    pub(crate) fn commit(&mut self) {
        let root = self.block.witness_root().expect("there is a coinbase");
        let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
        let coinbase = &mut self.block.txdata[0];
        let last = coinbase.output.len() - 1;
        coinbase.output[last].script_pubkey = commitment_script(commitment.as_byte_array());
    }

    /// Makes merkle root, weight and count right again, the coinbase as it is.
    pub(crate) fn declare(&mut self) {
        self.block.header.merkle_root = self.block.compute_merkle_root().expect("not empty");
        self.declared.weight = self.block.weight().to_wu();
        self.declared.tx_count = u32::try_from(self.block.txdata.len() - 1).expect("few");
    }

    pub(crate) fn coinbase(&mut self) -> &mut Transaction {
        &mut self.block.txdata[0]
    }

    pub(crate) fn check(&self) -> Result<Derived, ConsensusFailure> {
        let mut bytes = consensus::serialize(&self.block);
        bytes.extend_from_slice(&self.trailing);
        check(&bytes, &self.declared, &self.options)
    }
}

pub(crate) fn coinbase() -> Transaction {
    let script_sig = Builder::new().push_int(i64::from(HEIGHT)).push_slice([0; 8]).into_script();
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig,
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[0_u8; 32]]),
    };
    let commitment = TxOut { value: Amount::ZERO, script_pubkey: commitment_script(&[0; 32]) };
    transaction(vec![input], vec![pay(p2wpkh(), SUBSIDY_AND_FEES), commitment])
}

pub(crate) fn commitment_script(commitment: &[u8; 32]) -> ScriptBuf {
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend_from_slice(commitment);
    ScriptBuf::from_bytes(script)
}

/// Spends a key hash into `script_pubkey`.
pub(crate) fn spend(previous_output: OutPoint, script_pubkey: ScriptBuf) -> Transaction {
    let input = TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[&[1_u8; 71][..], &[2; 33][..]]),
    };
    transaction(vec![input], vec![pay(script_pubkey, 1000)])
}

pub(crate) fn transaction(input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    Transaction { version: transaction::Version::TWO, lock_time: LockTime::ZERO, input, output }
}

pub(crate) fn pay(script_pubkey: ScriptBuf, sats: u64) -> TxOut {
    TxOut { value: Amount::from_sat(sats), script_pubkey }
}

pub(crate) fn outpoint(seed: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([seed; 32]), 0)
}

pub(crate) fn p2wpkh() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([9; 20]))
}

fn key() -> bitcoin::PublicKey {
    let generator = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    generator.parse().expect("the generator point is a key")
}
