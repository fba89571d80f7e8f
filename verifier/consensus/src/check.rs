//! The checks in their order.

use bitcoin::Txid;
use thiserror::Error;
use verifier_protocol::{TemplatePropose, VerdictCode};

use crate::sigops::{self, SigopsRange};
use crate::transactions::Outputs;
use crate::{Parts, coinbase, commitments, header, size, transactions};

/// What a proposal says of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// 64 hex digits in the order the node's RPC prints.
    pub prev_hash: String,
    /// The header's version field.
    pub version: u32,
    /// The header's compact target.
    pub bits: u32,
    /// The header's time, in seconds.
    pub time: u32,
    /// The block's height.
    pub height: u32,
    /// What the coinbase pays out, in satoshis.
    pub coinbase_value: u64,
    /// Sum of the fees, in satoshis.
    pub total_fees: u64,
    /// Number of transactions, the coinbase not counted.
    pub tx_count: u32,
    /// Of the whole block.
    pub weight: u64,
    /// Of the whole block.
    pub sigops_cost: u64,
    /// Legacy, not scaled.
    pub coinbase_sigops: u32,
}

impl From<&TemplatePropose> for Declared {
    fn from(proposal: &TemplatePropose) -> Self {
        Self {
            prev_hash: proposal.prev_hash.clone(),
            version: proposal.block_version,
            bits: proposal.bits,
            time: proposal.curtime,
            height: proposal.height,
            coinbase_value: proposal.coinbase_value,
            total_fees: proposal.total_fees,
            tx_count: proposal.tx_count,
            weight: proposal.weight,
            sigops_cost: proposal.sigops_cost,
            coinbase_sigops: proposal.coinbase_sigops,
        }
    }
}

/// What the operator asks for beyond the rules of Bitcoin.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Output scripts that must be paid; empty: the payout is not judged.
    pub payout_scripts: Vec<Vec<u8>>,
    /// Least share (0 to 1) of the coinbase value that must go to them.
    pub min_payout_share: f64,
    /// Latest time a header may have, in Unix seconds; `None`: not judged.
    pub latest_time: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { payout_scripts: Vec::new(), min_payout_share: 1.0, latest_time: None }
    }
}

/// What the bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// From the coinbase script (BIP 34).
    pub height: u32,
    /// Sum of the coinbase's outputs, in satoshis.
    pub coinbase_value: u64,
    /// What goes to the operator's scripts, in satoshis; zero where none are asked for.
    pub payout_value: u64,
    /// Merkle root in internal byte order.
    pub merkle_root: [u8; 32],
    /// The witness commitment, where the coinbase has one.
    pub witness_commitment: Option<[u8; 32]>,
    /// Of the whole block.
    pub weight: u64,
    /// Legacy signature operations of the coinbase.
    pub coinbase_sigops: u64,
    /// Between which bounds the block's signature operation cost lies.
    pub sigops_cost: SigopsRange,
    /// The transactions after the coinbase, in their order.
    pub txids: Vec<Txid>,
}

/// The bytes disagree with the declaration or with the rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {detail}")]
pub struct ConsensusFailure {
    /// The first check that objects.
    pub code: VerdictCode,
    /// The figures, as `weight=1000 != declared=1004`.
    pub detail: String,
}

impl ConsensusFailure {
    pub(crate) fn new(code: VerdictCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Judges the bytes of one whole block.
///
/// # Errors
/// The first check that objects. Structure comes before what is computed from it, so that one
/// mistake is not reported as its consequence.
pub fn check(
    bytes: &[u8],
    declared: &Declared,
    options: &Options,
) -> Result<Derived, ConsensusFailure> {
    check_parts(&Parts::decode(bytes)?, declared, options)
}

/// Judges one whole block, already decoded.
///
/// # Errors
/// As [`check`].
pub fn check_parts(
    block: &Parts,
    declared: &Declared,
    options: &Options,
) -> Result<Derived, ConsensusFailure> {
    header::check(&block.header, declared, options)?;
    let coinbase = transactions::coinbase(block)?;
    size::check_count(block, declared)?;
    let outputs = Outputs::of(block)?;
    let inner_spends = outputs.check_spends()?;

    let merkle_root = commitments::merkle_root(block)?;
    coinbase::check_script_length(coinbase)?;
    let height = coinbase::check_height(coinbase, declared)?;
    let witness_commitment = commitments::witness(block, coinbase)?;
    let weight = size::check_weight(block, declared)?;
    let coinbase_sigops = sigops::check_coinbase(coinbase, declared)?;
    let sigops_cost = sigops::check_block(block, &inner_spends, declared)?;
    let coinbase_value = coinbase::check_value(coinbase, declared)?;
    coinbase::check_fees(coinbase_value, declared)?;
    let payout_value = coinbase::check_payout(coinbase, coinbase_value, options)?;
    Ok(Derived {
        height,
        coinbase_value,
        payout_value,
        merkle_root,
        witness_commitment,
        weight,
        coinbase_sigops,
        sigops_cost,
        txids: block.transactions.iter().skip(1).map(|tx| tx.txid()).collect(),
    })
}

#[cfg(test)]
pub(crate) mod block;
#[cfg(test)]
mod tests;
