//! The 80 bytes that miners hash.

use bitcoin::block::Header;
use verifier_protocol::VerdictCode;

use crate::{ConsensusFailure, Declared, Options};

pub(crate) fn check(
    header: &Header,
    declared: &Declared,
    options: &Options,
) -> Result<(), ConsensusFailure> {
    let prev_hash = header.prev_blockhash.to_string();
    if !prev_hash.eq_ignore_ascii_case(&declared.prev_hash) {
        let detail = format!("prev_hash={prev_hash} is not the declared one");
        return Err(ConsensusFailure::new(VerdictCode::InvalidPrevHash, detail));
    }
    // There is no code of its own for the version: like the target it is a field of the header
    // that follows from the chain.
    let version = header.version.to_consensus().cast_unsigned();
    if version != declared.version {
        let detail = format!("version={version:#010x} != declared={:#010x}", declared.version);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusBitsMismatch, detail));
    }
    let bits = header.bits.to_consensus();
    if bits != declared.bits {
        let detail = format!("bits={bits:#010x} != declared={:#010x}", declared.bits);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusBitsMismatch, detail));
    }
    if header.time != declared.time {
        let detail = format!("time={} != declared={}", header.time, declared.time);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusTimeInvalid, detail));
    }
    match options.latest_time {
        Some(latest) if header.time > latest => {
            let detail = format!("time={} > latest={latest}", header.time);
            Err(ConsensusFailure::new(VerdictCode::ConsensusTimeInvalid, detail))
        }
        _ => Ok(()),
    }
}
