//! How much there is.

use verifier_protocol::VerdictCode;

use crate::{ConsensusFailure, Declared, Parts};

/// The heaviest block (BIP 141).
const MAX_BLOCK_WEIGHT: u64 = 4_000_000;

pub(crate) fn check_count(block: &Parts, declared: &Declared) -> Result<(), ConsensusFailure> {
    let count = block.transactions.len() - 1;
    if u32::try_from(count) == Ok(declared.tx_count) {
        return Ok(());
    }
    let detail = format!("tx_count={count} != declared={}", declared.tx_count);
    Err(ConsensusFailure::new(VerdictCode::ConsensusTxCountMismatch, detail))
}

/// The block's weight, when it is allowed and the declared one.
pub(crate) fn check_weight(block: &Parts, declared: &Declared) -> Result<u64, ConsensusFailure> {
    let weight = block.weight();
    if weight > MAX_BLOCK_WEIGHT {
        let detail = format!("weight={weight} > {MAX_BLOCK_WEIGHT}");
        return Err(ConsensusFailure::new(VerdictCode::ConsensusWeightExceeded, detail));
    }
    if weight != declared.weight {
        let detail = format!("weight={weight} != declared={}", declared.weight);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusWeightMismatch, detail));
    }
    Ok(weight)
}
