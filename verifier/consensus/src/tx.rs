//! A transaction and what its bytes alone say of it, so that it is computed once however often a
//! transaction is proposed.

use bitcoin::consensus::{Decodable, encode};
use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid, Wtxid};

use crate::{SigopsRange, hash, sigops};

/// Bytes of marker and flag, which only a serialization with witness has.
const SEGWIT_MARK: usize = 2;
/// Bytes of the version, and of the lock time.
const NUMBER: usize = 4;

/// A decoded transaction with its ids and sizes, all of them computed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    pub(crate) transaction: Transaction,
    txid: Txid,
    wtxid: Wtxid,
    size: usize,
    weight: u64,
    legacy_sigops: u64,
    unseen_spends: SigopsRange,
    has_witness: bool,
}

impl Tx {
    /// Reads one transaction from the front of `bytes`, which is moved behind it.
    ///
    /// # Errors
    /// The bytes do not begin with a transaction.
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, encode::Error> {
        let before = *bytes;
        let transaction = Transaction::consensus_decode_from_finite_reader(bytes)?;
        let size = before.len() - bytes.len();
        let has_witness = transaction.input.iter().any(|input| !input.witness.is_empty());
        let bytes = &before[..size];
        let weight = transaction.weight().to_wu();
        let wtxid = hash::sha256d(bytes);
        let txid = if has_witness {
            // What is left without mark and witness. There is one way only to write a transaction
            // that decodes, so these are the bytes it would be serialized to.
            let base = usize::try_from(weight).unwrap_or(usize::MAX).saturating_sub(size) / 3;
            let inner = SEGWIT_MARK + NUMBER..SEGWIT_MARK + base - NUMBER;
            hash::sha256d_of(&[&bytes[..NUMBER], &bytes[inner], &bytes[size - NUMBER..]])
        } else {
            wtxid
        };
        Ok(Self {
            txid: Txid::from_byte_array(txid),
            wtxid: Wtxid::from_byte_array(wtxid),
            size,
            weight,
            legacy_sigops: sigops::legacy(&transaction),
            unseen_spends: sigops::of_unseen_spends(&transaction),
            has_witness,
            transaction,
        })
    }

    /// Its id, without the witness.
    pub fn txid(&self) -> Txid {
        self.txid
    }

    /// Its hash with the witness: names exactly these bytes.
    pub fn wtxid(&self) -> Wtxid {
        self.wtxid
    }

    /// Length of its serialization with the witness, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn legacy_sigops(&self) -> u64 {
        self.legacy_sigops
    }

    /// The cost of what its inputs reveal, whatever they spend.
    pub(crate) fn unseen_spends(&self) -> SigopsRange {
        self.unseen_spends
    }

    pub(crate) fn has_witness(&self) -> bool {
        self.has_witness
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;

    use super::*;
    use crate::check::block::Proposal;

    #[test]
    fn what_is_computed_once_is_what_the_transaction_says() {
        for mut transaction in Proposal::new().block.txdata {
            for with_witness in [true, false] {
                if !with_witness {
                    transaction.input.iter_mut().for_each(|input| input.witness.clear());
                }
                let bytes = [serialize(&transaction), vec![7; 3]].concat();
                let mut rest = &bytes[..];
                let tx = Tx::read(&mut rest).unwrap();
                assert_eq!(rest, [7; 3]);
                assert_eq!(tx.txid(), transaction.compute_txid());
                assert_eq!(tx.wtxid(), transaction.compute_wtxid());
                assert_eq!(tx.size(), transaction.total_size());
                assert_eq!(tx.weight(), transaction.weight().to_wu());
                assert_eq!(tx.has_witness(), with_witness);
            }
        }
    }
}
