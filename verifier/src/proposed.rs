//! The block of a proposal, made of what was sent and of what was seen before.

use std::sync::Arc;

use bitcoin::Wtxid;
use bitcoin::hashes::Hash;
use consensus::{ConsensusFailure, Parts, Skeleton, Tx};
use verifier_protocol::{Body, KnownTransaction, MAX_BODY_BYTES, VerdictCode};

use crate::tx_cache::TxCache;

/// What came of a proposal's bytes.
#[derive(Debug)]
pub(crate) struct ProposedBlock {
    pub(crate) parts: Result<Parts, ConsensusFailure>,
    /// The bytes as sent, where they are no block.
    undecodable: Vec<u8>,
}

impl ProposedBlock {
    /// From the bytes of the whole block.
    pub(crate) fn decode(bytes: Vec<u8>) -> Self {
        let parts = Parts::decode(&bytes);
        let undecodable = if parts.is_ok() { Vec::new() } else { bytes };
        Self { parts, undecodable }
    }

    /// From what was sent and what is in the cache, which learns what is new.
    ///
    /// # Errors
    /// The places of the transactions that are named and not there.
    pub(crate) fn assemble(body: Body, cache: &TxCache) -> Result<Self, Vec<u32>> {
        if body.known.is_empty() {
            let block = Self::decode(body.bytes);
            if let Ok(parts) = &block.parts {
                // The first is the coinbase, which no other block has.
                cache.keep(parts.transactions().iter().skip(1));
            }
            return Ok(block);
        }
        let known = found(&body.known, cache)?;
        let parts = Skeleton::decode(&body.bytes).and_then(|skeleton| {
            cache.keep(skeleton.sent().iter().skip(1));
            within_bounds(skeleton.fill(known)?)
        });
        let undecodable = if parts.is_ok() { Vec::new() } else { body.bytes };
        Ok(Self { parts, undecodable })
    }

    /// The serialized block, or what was sent in its stead.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match &self.parts {
            Ok(parts) => parts.to_bytes(),
            Err(_) => self.undecodable.clone(),
        }
    }

    /// Length of that in bytes.
    pub(crate) fn size(&self) -> usize {
        self.parts.as_ref().map_or(self.undecodable.len(), Parts::size)
    }
}

/// The named transactions at their places, or the places of those that are not there.
fn found(known: &[KnownTransaction], cache: &TxCache) -> Result<Vec<(usize, Arc<Tx>)>, Vec<u32>> {
    let wtxids = known.iter().map(|named| Wtxid::from_byte_array(named.wtxid));
    let transactions = cache.find(wtxids);
    let missing: Vec<u32> = known
        .iter()
        .zip(&transactions)
        .filter(|(_, found)| found.is_none())
        .map(|(named, _)| named.place)
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let places = known.iter().map(|named| named.place as usize);
    Ok(places.zip(transactions.into_iter().flatten()).collect())
}

/// What is named may be much longer than what was sent.
fn within_bounds(parts: Parts) -> Result<Parts, ConsensusFailure> {
    let size = parts.size();
    if size as u64 <= MAX_BODY_BYTES {
        return Ok(parts);
    }
    let detail = format!("block of {size} bytes, {MAX_BODY_BYTES} are accepted");
    Err(ConsensusFailure { code: VerdictCode::ConsensusDecodeFailed, detail })
}
