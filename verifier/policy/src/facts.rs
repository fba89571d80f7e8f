//! What a template declares, and what the verifier knows of its surroundings.

use serde::{Deserialize, Serialize};
use verifier_protocol::TemplatePropose;

/// Everything the rules look at. The declared figures are judged as they are; whether the block's
/// bytes agree with them is for `consensus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateFacts {
    /// Version of the proposal's line.
    pub protocol_version: u32,
    /// As declared, whatever it is.
    pub prev_hash: String,
    /// In satoshis.
    pub coinbase_value: u64,
    /// The coinbase not counted.
    pub tx_count: u32,
    /// In satoshis.
    pub total_fees: u64,
    /// Of the whole block.
    pub weight: u64,
    /// Of the whole block.
    pub sigops_cost: u64,
    /// Legacy, not scaled.
    pub coinbase_sigops: u32,
    /// How long ago the template was observed, in milliseconds.
    pub age_ms: u64,
    /// Number of transactions in the verifier's mempool view, when there is one.
    pub mempool_tx: Option<u64>,
}

impl TemplateFacts {
    /// The facts of a proposal judged at `now_ms` (Unix milliseconds).
    ///
    /// A template from the future, by clocks that differ, counts as new.
    pub fn of(
        proposal: &TemplatePropose,
        protocol_version: u32,
        now_ms: u64,
        mempool_tx: Option<u64>,
    ) -> Self {
        Self {
            protocol_version,
            prev_hash: proposal.prev_hash.clone(),
            coinbase_value: proposal.coinbase_value,
            tx_count: proposal.tx_count,
            total_fees: proposal.total_fees,
            weight: proposal.weight,
            sigops_cost: proposal.sigops_cost,
            coinbase_sigops: proposal.coinbase_sigops,
            age_ms: now_ms.saturating_sub(proposal.observed_at_ms),
            mempool_tx,
        }
    }
}
