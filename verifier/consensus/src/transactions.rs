//! The transactions among themselves.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, TxOut, Txid};
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

/// Which transaction of the block has which id.
pub(crate) struct Outputs<'a> {
    block: &'a Parts,
    index: BTreeMap<Txid, usize>,
}

impl<'a> Outputs<'a> {
    /// Fails when an id is there twice: such a block can have the merkle root of another one
    /// (CVE-2012-2459).
    pub(crate) fn of(block: &'a Parts) -> Result<Self, ConsensusFailure> {
        let mut index = BTreeMap::new();
        for (place, tx) in block.transactions.iter().enumerate() {
            let txid = tx.txid();
            if let Some(first) = index.insert(txid, place) {
                let detail = format!("transaction {txid} is at {first} and at {place}");
                return Err(ConsensusFailure::new(VerdictCode::ConsensusDuplicateTx, detail));
            }
        }
        Ok(Self { block, index })
    }

    /// The output, when a transaction of this block has it.
    pub(crate) fn find(&self, outpoint: &OutPoint) -> Option<&'a TxOut> {
        let place = self.index.get(&outpoint.txid)?;
        self.block.transactions[*place].transaction.output.get(usize::try_from(outpoint.vout).ok()?)
    }

    /// Every input after the coinbase spends something, once, and not from further on.
    pub(crate) fn check_spends(&self) -> Result<(), ConsensusFailure> {
        let mut spent = BTreeSet::new();
        for (place, tx) in self.block.transactions.iter().enumerate().skip(1) {
            for input in &tx.transaction.input {
                let outpoint = input.previous_output;
                if outpoint.is_null() {
                    let detail = format!("transaction at {place} spends the null output");
                    return Err(ConsensusFailure::new(VerdictCode::ConsensusNullPrevout, detail));
                }
                if !spent.insert(outpoint) {
                    let detail = format!("output {outpoint} is spent twice");
                    return Err(ConsensusFailure::new(VerdictCode::ConsensusDuplicateTx, detail));
                }
                if self.index.get(&outpoint.txid).is_some_and(|parent| *parent >= place) {
                    let detail = format!("transaction at {place} spends {outpoint}, from later on");
                    return Err(ConsensusFailure::new(VerdictCode::ConsensusTxOrder, detail));
                }
            }
        }
        Ok(())
    }
}
