//! What the header and the coinbase commit to.

use bitcoin::hashes::Hash;
use bitcoin::{Block, Transaction, TxMerkleNode, WitnessMerkleNode};
use verifier_protocol::VerdictCode;

use crate::{ConsensusFailure, Parts, hash};

/// How the output script of a witness commitment begins (BIP 141).
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The merkle root, when it is the header's; in internal byte order.
pub(crate) fn merkle_root(block: &Parts) -> Result<[u8; 32], ConsensusFailure> {
    let leaves = block.transactions.iter().map(|tx| tx.txid().to_byte_array());
    let root = TxMerkleNode::from_byte_array(hash::merkle_root(leaves.collect()));
    let header = block.header.merkle_root;
    if root != header {
        let detail = format!("merkle_root={root} != header={header}");
        return Err(ConsensusFailure::new(VerdictCode::ConsensusMerkleRootMismatch, detail));
    }
    Ok(root.to_byte_array())
}

/// The witness commitment, when it is right; `None` when there is none and none is needed.
pub(crate) fn witness(
    block: &Parts,
    coinbase: &Transaction,
) -> Result<Option<[u8; 32]>, ConsensusFailure> {
    let missing =
        |detail| Err(ConsensusFailure::new(VerdictCode::ConsensusWitnessCommitmentMissing, detail));
    let Some(commitment) = last_commitment(coinbase) else {
        return match block.transactions.iter().position(|tx| tx.has_witness()) {
            None => Ok(None),
            Some(place) => missing(format!(
                "transaction at {place} has a witness and the coinbase commits to none"
            )),
        };
    };
    let witness = &coinbase.input[0].witness;
    let Some(reserved) = witness.nth(0).filter(|value| witness.len() == 1 && value.len() == 32)
    else {
        return missing("the coinbase witness is not one value of 32 bytes".to_owned());
    };
    // The coinbase, which holds the commitment, stands in it as zeroes.
    let others = block.transactions.iter().skip(1).map(|tx| tx.wtxid().to_byte_array());
    let leaves = std::iter::once([0; 32]).chain(others);
    let root = WitnessMerkleNode::from_byte_array(hash::merkle_root(leaves.collect()));
    let computed = Block::compute_witness_commitment(&root, reserved).to_byte_array();
    if computed != commitment {
        let detail = "the last witness commitment is not that of the transactions";
        return Err(ConsensusFailure::new(VerdictCode::ConsensusWitnessCommitmentMismatch, detail));
    }
    Ok(Some(commitment))
}

fn last_commitment(coinbase: &Transaction) -> Option<[u8; 32]> {
    coinbase.output.iter().rev().find_map(|output| {
        let rest = output.script_pubkey.as_bytes().strip_prefix(&COMMITMENT_PREFIX)?;
        rest.first_chunk::<32>().copied()
    })
}
