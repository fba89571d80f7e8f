//! A block taken apart: its header, and its transactions each with what is known of it.

use std::sync::Arc;

use bitcoin::VarInt;
use bitcoin::block::Header;
use bitcoin::consensus::{Decodable, Encodable, encode};
use verifier_protocol::VerdictCode;

use crate::{ConsensusFailure, Tx};

/// Length of a serialized header.
const HEADER_BYTES: u64 = 80;

/// A whole block. Its transactions may be shared with those of other blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    pub(crate) header: Header,
    pub(crate) transactions: Vec<Arc<Tx>>,
    /// Of the transactions together.
    transactions_size: usize,
}

/// A block of which some transactions are not in its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    header: Header,
    /// What the bytes say of the whole block.
    count: usize,
    sent: Vec<Arc<Tx>>,
}

impl Parts {
    /// Reads exactly one block.
    ///
    /// # Errors
    /// [`VerdictCode::ConsensusDecodeFailed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ConsensusFailure> {
        Skeleton::decode(bytes)?.fill(Vec::new())
    }

    /// The transactions in their order, the coinbase first.
    pub fn transactions(&self) -> &[Arc<Tx>] {
        &self.transactions
    }

    /// Length of the serialization in bytes.
    pub fn size(&self) -> usize {
        let frame = usize::try_from(self.frame_size()).unwrap_or(usize::MAX);
        frame.saturating_add(self.transactions_size)
    }

    /// The serialized block.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        let whole = "a vector takes every byte";
        self.header.consensus_encode(&mut bytes).expect(whole);
        VarInt::from(self.transactions.len()).consensus_encode(&mut bytes).expect(whole);
        for tx in &self.transactions {
            tx.transaction.consensus_encode(&mut bytes).expect(whole);
        }
        bytes
    }

    /// Weight of the whole block (BIP 141).
    pub(crate) fn weight(&self) -> u64 {
        let transactions: u64 = self.transactions.iter().map(|tx| tx.weight()).sum();
        4 * self.frame_size() + transactions
    }

    /// Length of what stands before the transactions.
    fn frame_size(&self) -> u64 {
        HEADER_BYTES + VarInt::from(self.transactions.len()).size() as u64
    }
}

impl Skeleton {
    /// Reads a block's bytes from which transactions may have been left out.
    ///
    /// # Errors
    /// [`VerdictCode::ConsensusDecodeFailed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ConsensusFailure> {
        let mut rest = bytes;
        let header = Header::consensus_decode(&mut rest).map_err(|error| undecodable(&error))?;
        let count = VarInt::consensus_decode(&mut rest).map_err(|error| undecodable(&error))?;
        let count = usize::try_from(count.0).unwrap_or(usize::MAX);
        let mut sent = Vec::new();
        while !rest.is_empty() {
            if sent.len() >= count {
                let detail = format!("{} bytes after the last transaction", rest.len());
                return Err(ConsensusFailure::new(VerdictCode::ConsensusDecodeFailed, detail));
            }
            sent.push(Arc::new(Tx::read(&mut rest).map_err(|error| undecodable(&error))?));
        }
        Ok(Self { header, count, sent })
    }

    /// The transactions that the bytes hold.
    pub fn sent(&self) -> &[Arc<Tx>] {
        &self.sent
    }

    /// The whole block, with the left out transactions at their places, which ascend.
    ///
    /// # Errors
    /// [`VerdictCode::ConsensusDecodeFailed`] when that does not make the announced number.
    pub fn fill(self, known: Vec<(usize, Arc<Tx>)>) -> Result<Parts, ConsensusFailure> {
        let Self { header, count, sent } = self;
        let found = sent.len() + known.len();
        if found != count {
            let detail = format!("{found} transactions where the block has {count}");
            return Err(ConsensusFailure::new(VerdictCode::ConsensusDecodeFailed, detail));
        }
        let mut transactions = Vec::with_capacity(count);
        let mut sent = sent.into_iter();
        for (place, tx) in known {
            let missing = place.saturating_sub(transactions.len());
            transactions.extend(sent.by_ref().take(missing));
            if transactions.len() != place {
                let detail = format!("known transaction at {place} is out of place");
                return Err(ConsensusFailure::new(VerdictCode::ConsensusDecodeFailed, detail));
            }
            transactions.push(tx);
        }
        transactions.extend(sent);
        let transactions_size = transactions.iter().map(|tx| tx.size()).sum();
        Ok(Parts { header, transactions, transactions_size })
    }
}

fn undecodable(error: &encode::Error) -> ConsensusFailure {
    ConsensusFailure::new(VerdictCode::ConsensusDecodeFailed, error.to_string())
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;
    use rstest::rstest;

    use super::*;
    use crate::check::block::Proposal;

    type Known = Vec<(usize, Arc<Tx>)>;

    /// The block's bytes without the transactions at `places`, those, and the whole block.
    fn without(places: &[usize]) -> (Vec<u8>, Known, Parts) {
        let block = Proposal::new().block;
        let whole = Parts::decode(&serialize(&block)).unwrap();
        let mut bytes = serialize(&block.header);
        VarInt::from(block.txdata.len()).consensus_encode(&mut bytes).unwrap();
        for (place, tx) in block.txdata.iter().enumerate() {
            if !places.contains(&place) {
                bytes.extend(serialize(tx));
            }
        }
        let known = places.iter().map(|place| (*place, Arc::clone(&whole.transactions[*place])));
        (bytes, known.collect(), whole)
    }

    #[rstest]
    #[case(&[])]
    #[case(&[1])]
    #[case(&[3])]
    #[case(&[1, 3])]
    #[case(&[1, 2, 3])]
    fn a_filled_skeleton_is_the_block(#[case] places: &[usize]) {
        let (bytes, known, whole) = without(places);
        let filled = Skeleton::decode(&bytes).unwrap().fill(known).unwrap();
        assert_eq!(filled, whole);
        let bytes = serialize(&Proposal::new().block);
        assert_eq!(filled.to_bytes(), bytes);
        assert_eq!(filled.size(), bytes.len());
        assert_eq!(filled.weight(), Proposal::new().block.weight().to_wu());
    }

    #[test]
    fn places_that_do_not_fit_are_refused() {
        let (bytes, known, _) = without(&[1, 2]);
        let skeleton = Skeleton::decode(&bytes).unwrap();
        let tx = |index: usize| Arc::clone(&known[index].1);
        for wrong in [
            vec![],
            vec![(1, tx(0))],
            vec![(2, tx(1)), (1, tx(0))],
            vec![(1, tx(0)), (1, tx(1))],
            vec![(1, tx(0)), (4, tx(1))],
            vec![(1, tx(0)), (2, tx(1)), (3, tx(1))],
        ] {
            let failure = skeleton.clone().fill(wrong).unwrap_err();
            assert_eq!(failure.code, VerdictCode::ConsensusDecodeFailed);
        }
    }
}
