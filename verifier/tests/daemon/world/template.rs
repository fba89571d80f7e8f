//! Real blocks with true declarations.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, consensus, transaction,
};
use verifier_protocol::{BodyAnnouncement, Mode, ProposalId, TemplatePropose};

use super::NOW_MS;

const HEIGHT: u32 = 101;
const VALUE: u64 = 5_000_001_000;

/// A block and what is declared of it, to be changed.
pub(crate) struct Draft {
    pub(crate) block: Block,
    pub(crate) propose: TemplatePropose,
    /// Appended to the serialized block.
    pub(crate) trailing: Vec<u8>,
}

impl Draft {
    /// A payment of another coin for each seed.
    pub(crate) fn payment(&self, seed: u8, script_pubkey: ScriptBuf) -> Transaction {
        let mut payment = self.block.txdata[1].clone();
        payment.input[0].previous_output.txid = Txid::from_byte_array([seed; 32]);
        payment.output[0].script_pubkey = script_pubkey;
        payment
    }

    /// Makes witness commitment, merkle root, weight and count right again.
    pub(crate) fn settle(&mut self) {
        self.block = settled(self.block.clone());
        self.declare();
    }

    /// Makes merkle root, weight and count right again.
    pub(crate) fn declare(&mut self) {
        self.block.header.merkle_root = self.block.compute_merkle_root().unwrap();
        self.propose.weight = self.block.weight().to_wu();
        self.propose.tx_count = u32::try_from(self.block.txdata.len() - 1).unwrap();
    }
}

pub(crate) struct Template {
    pub(crate) propose: TemplatePropose,
    pub(crate) block: Vec<u8>,
}

impl Template {
    /// One small payment on the tip that `tip` stands for.
    pub(crate) fn new(id: u64, tip: u8) -> Self {
        Self::with_output(id, tip, ScriptBuf::from_bytes(vec![0x51]))
    }

    /// A block of the greatest weight: 4 000 000 bytes of nearly nothing but witness.
    pub(crate) fn full(id: u64) -> Self {
        let small = Self::new(id, 1);
        let missing = 4_000_000 - usize::try_from(small.propose.weight).unwrap();
        // Its length takes four bytes more than before, and one byte of it was there.
        let mut block: Block = consensus::deserialize(&small.block).unwrap();
        block.txdata[1].input[0].witness = Witness::from_slice(&[vec![0; missing - 3]]);
        Self::of(id, &settled(block))
    }

    /// One small payment, changed.
    pub(crate) fn drafted(id: u64, change: impl FnOnce(&mut Draft)) -> Self {
        let Self { propose, block } = Self::new(id, 1);
        let block = consensus::deserialize(&block).unwrap();
        let mut draft = Draft { block, propose, trailing: Vec::new() };
        change(&mut draft);
        let Draft { block, mut propose, trailing } = draft;
        let block = [consensus::serialize(&block), trailing].concat();
        propose.body = BodyAnnouncement::of(&block);
        Self { propose, block }
    }

    /// The payment's id, as the node prints it.
    pub(crate) fn payment_txid(&self) -> String {
        let block: Block = consensus::deserialize(&self.block).unwrap();
        block.txdata[1].compute_txid().to_string()
    }

    pub(crate) fn block_hex(&self) -> String {
        consensus::encode::serialize_hex(&consensus::deserialize::<Block>(&self.block).unwrap())
    }

    pub(crate) fn with_output(id: u64, tip: u8, script_pubkey: ScriptBuf) -> Self {
        let header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: BlockHash::from_byte_array([tip; 32]),
            merkle_root: TxMerkleNode::all_zeros(),
            time: u32::try_from(NOW_MS / 1000).unwrap(),
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        };
        let payment = transaction(
            TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array([8; 32]), 0),
                witness: Witness::from_slice(&[[0x51]]),
                ..TxIn::default()
            },
            vec![TxOut { value: Amount::from_sat(1000), script_pubkey }],
        );
        Self::of(id, &settled(Block { header, txdata: vec![coinbase(), payment] }))
    }

    fn of(id: u64, block: &Block) -> Self {
        let bytes = consensus::serialize(block);
        let propose = TemplatePropose {
            proposal_id: ProposalId(id),
            mode: Mode::Inline,
            height: HEIGHT,
            prev_hash: block.header.prev_blockhash.to_string(),
            block_version: 0x2000_0000,
            bits: 0x207f_ffff,
            curtime: block.header.time,
            coinbase_value: VALUE,
            tx_count: 1,
            total_fees: 1000,
            weight: block.weight().to_wu(),
            sigops_cost: 0,
            coinbase_sigops: 0,
            observed_at_ms: NOW_MS,
            gateway_instance_id: "gw".to_owned(),
            body: BodyAnnouncement::of(&bytes),
        };
        Self { propose, block: bytes }
    }
}

fn coinbase() -> Transaction {
    let commitment = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[0; 32]].concat();
    transaction(
        TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new().push_int(i64::from(HEIGHT)).push_slice([0; 8]).into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0_u8; 32]]),
        },
        vec![
            TxOut {
                value: Amount::from_sat(VALUE),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
            },
            TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(commitment) },
        ],
    )
}

fn transaction(input: TxIn, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output,
    }
}

/// Makes the witness commitment and the merkle root right.
fn settled(mut block: Block) -> Block {
    let root = block.witness_root().unwrap();
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], commitment.as_byte_array()].concat();
    block.txdata[0].output[1].script_pubkey = ScriptBuf::from_bytes(script);
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}
