//! A block template as the node gave it.

use bitcoin::{BlockHash, CompactTarget, Txid, Wtxid};

use crate::ids::TemplateId;

/// What getblocktemplate answered (BIP22, BIP23, BIP145), in domain types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The source's own number for it.
    pub template_id: TemplateId,
    /// The node it came from.
    pub source: String,
    /// When the source had it, Unix milliseconds.
    pub observed_at_ms: u64,
    /// Height of the block to be mined.
    pub height: u32,
    /// The tip it builds on (`previousblockhash`).
    pub prev_hash: BlockHash,
    /// Block version (`version`).
    pub version: u32,
    /// Encoded network target (`bits`).
    pub bits: CompactTarget,
    /// The node's time (`curtime`), Unix seconds.
    pub curtime: u32,
    /// Earliest time the block may have (`mintime`), Unix seconds.
    pub mintime: u32,
    /// What the coinbase may pay in all (`coinbasevalue`), satoshis.
    pub coinbase_value: u64,
    /// Every transaction but the coinbase, in block order.
    pub transactions: Vec<TemplateTransaction>,
    /// Script of the output that commits to the witnesses (`default_witness_commitment`, BIP141);
    /// absent before segwit.
    pub witness_commitment: Option<Vec<u8>>,
    /// Transactions in the node's mempool, where the source measured them.
    pub mempool_tx: Option<u64>,
}

impl Template {
    /// Sum of the fees that the template states, satoshis; saturates.
    pub fn total_fees(&self) -> u64 {
        self.transactions.iter().fold(0, |sum, tx| sum.saturating_add(tx.fee))
    }
}

/// One transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTransaction {
    /// Serialized with its witness.
    pub data: Vec<u8>,
    /// Hash without the witness.
    pub txid: Txid,
    /// Hash with the witness (`hash`).
    pub wtxid: Wtxid,
    /// Fee, satoshis.
    pub fee: u64,
    /// Signature operations cost (`sigops`).
    pub sigops: u64,
    /// Weight units.
    pub weight: u64,
}
