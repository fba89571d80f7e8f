//! A transaction and what its bytes alone say of it, so that it is computed once however often a
//! transaction is proposed.

use bitcoin::consensus::{Decodable, encode};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Transaction, Txid, Wtxid};

use crate::sigops;

/// A decoded transaction with its ids and sizes, all of them computed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    pub(crate) transaction: Transaction,
    txid: Txid,
    wtxid: Wtxid,
    size: usize,
    weight: u64,
    legacy_sigops: u64,
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
        let wtxid = Wtxid::from_raw_hash(sha256d::Hash::hash(&before[..size]));
        let txid = if has_witness {
            transaction.compute_txid()
        } else {
            Txid::from_raw_hash(wtxid.to_raw_hash())
        };
        Ok(Self {
            txid,
            wtxid,
            size,
            weight: transaction.weight().to_wu(),
            legacy_sigops: sigops::legacy(&transaction),
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
