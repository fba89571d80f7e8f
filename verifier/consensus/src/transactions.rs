//! The transactions among themselves.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

use bitcoin::{OutPoint, Transaction, TxIn, TxOut, Txid};
use verifier_protocol::VerdictCode;

use crate::{ConsensusFailure, Parts};

/// The first transaction, when it is a coinbase.
pub(crate) fn coinbase(block: &Parts) -> Result<&Transaction, ConsensusFailure> {
    match block.transactions.first().map(|tx| &tx.transaction) {
        Some(first) if first.is_coinbase() => Ok(first),
        Some(_) => Err(ConsensusFailure::new(
            VerdictCode::ConsensusNullPrevout,
            "the first transaction is no coinbase",
        )),
        None => Err(ConsensusFailure::new(
            VerdictCode::ConsensusNullPrevout,
            "the block has no transaction",
        )),
    }
}

/// The same on every run: nothing here draws lots. A block has too few transactions for chosen ids
/// to slow it down.
type Fixed = BuildHasherDefault<DefaultHasher>;

/// Which transaction of the block has which id.
pub(crate) struct Outputs<'a> {
    block: &'a Parts,
    index: HashMap<Txid, usize, Fixed>,
}

/// An input that spends an output of the same block.
pub(crate) struct InnerSpend<'a> {
    pub(crate) input: &'a TxIn,
    pub(crate) spent: &'a TxOut,
}

impl<'a> Outputs<'a> {
    /// Fails when an id is there twice: such a block can have the merkle root of another one
    /// (CVE-2012-2459).
    pub(crate) fn of(block: &'a Parts) -> Result<Self, ConsensusFailure> {
        let mut index =
            HashMap::with_capacity_and_hasher(block.transactions.len(), Fixed::default());
        for (place, tx) in block.transactions.iter().enumerate() {
            let txid = tx.txid();
            if let Some(first) = index.insert(txid, place) {
                let detail = format!("transaction {txid} is at {first} and at {place}");
                return Err(ConsensusFailure::new(VerdictCode::ConsensusDuplicateTx, detail));
            }
        }
        Ok(Self { block, index })
    }

    /// Every input after the coinbase spends something, once, and of this block only what an earlier
    /// transaction creates. Those that spend what this block creates.
    pub(crate) fn check_spends(&self) -> Result<Vec<InnerSpend<'a>>, ConsensusFailure> {
        let count = self.block.transactions.len();
        let mut spent = HashSet::with_capacity_and_hasher(2 * count, Fixed::default());
        let mut inner = Vec::new();
        for (place, tx) in self.block.transactions.iter().enumerate().skip(1) {
            for (number, input) in tx.transaction.input.iter().enumerate() {
                let outpoint = input.previous_output;
                if outpoint.is_null() {
                    let detail = format!("transaction at {place} spends the null output");
                    return Err(ConsensusFailure::new(VerdictCode::ConsensusNullPrevout, detail));
                }
                if !spent.insert(outpoint) {
                    let detail = format!("output {outpoint} is spent twice");
                    return Err(ConsensusFailure::new(VerdictCode::ConsensusDuplicateTx, detail));
                }
                let found = self.output(place, outpoint).map_err(|why| {
                    let detail = format!(
                        "input {number} of transaction at {place} spends {outpoint}, {why}"
                    );
                    ConsensusFailure::new(VerdictCode::ConsensusTxOrder, detail)
                })?;
                inner.extend(found.map(|spent| InnerSpend { input, spent }));
            }
        }
        Ok(inner)
    }

    /// The output of this block that the transaction at `place` spends, `None` where it is another
    /// block's; why it cannot be spent there.
    fn output(&self, place: usize, outpoint: OutPoint) -> Result<Option<&'a TxOut>, &'static str> {
        let parent = match self.index.get(&outpoint.txid) {
            None => return Ok(None),
            // It takes 100 blocks more (COINBASE_MATURITY).
            Some(0) => return Err("of this block's own coinbase"),
            Some(parent) if *parent >= place => return Err("from later on"),
            Some(parent) => *parent,
        };
        // The id covers the outputs, so no other block has one more.
        let outputs = &self.block.transactions[parent].transaction.output;
        let vout = usize::try_from(outpoint.vout).unwrap_or(usize::MAX);
        outputs.get(vout).map(Some).ok_or("which that transaction does not have")
    }
}
