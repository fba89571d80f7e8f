//! The policy, with every value in range.

use crate::table::Problem;
use crate::{canonical, parse};

/// The whole of `policy.toml`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// `[policy]`: what is judged from the proposal alone.
    pub template: TemplateRules,
    /// `[policy.consensus]`: what is re-derived from the block's bytes.
    pub consensus: ConsensusRules,
    /// `[policy.mempool]`: comparison with the verifier's own view.
    pub mempool: MempoolRules,
    /// `[policy.node]`: asking a node.
    pub node: NodeRules,
}

impl Policy {
    /// Reads the text of `policy.toml`. Keys that are not there have their defaults.
    ///
    /// # Errors
    /// Every problem there is, in the order of the keys' reference.
    pub fn from_toml(text: &str) -> Result<Self, Vec<Problem>> {
        parse::policy(text)
    }

    /// Every key with its effective value, as TOML that reads back to an equal policy.
    pub fn to_toml(&self) -> String {
        canonical::text(self)
    }

    /// SHA-256 of [`Self::to_toml`], 64 hex digits. Comments, order and spelled-out defaults do not
    /// change it; any value does.
    pub fn content_hash(&self) -> String {
        canonical::hash(self)
    }
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateRules {
    /// The protocol version a proposal must speak.
    pub protocol_version: u32,
    /// How many characters `prev_hash` must have.
    pub required_prevhash_len: usize,
    /// Lowest average fee in the `low` tier, in satoshis per [`AvgFeeUnit`].
    pub min_avg_fee_lo: u64,
    /// Lowest average fee in the `mid` tier.
    pub min_avg_fee_mid: u64,
    /// Lowest average fee in the `high` tier.
    pub min_avg_fee_hi: u64,
    /// What the average is taken over.
    pub avg_fee_unit: AvgFeeUnit,
    /// At or below this many mempool transactions the tier is `low`.
    pub low_mempool_tx: u64,
    /// Below this many (and above `low_mempool_tx`) it is `mid`, else `high`.
    pub high_mempool_tx: u64,
    /// The tier of a mempool nobody measured: `high` if set, else `low`.
    pub unknown_mempool_as_high: bool,
    /// Lowest sum of fees, in satoshis.
    pub min_total_fees: u64,
    /// Most transactions, the coinbase not counted.
    pub max_tx_count: u32,
    /// Whether a template without transactions is rejected.
    pub reject_empty_templates: bool,
    /// Whether a coinbase value of zero is rejected.
    pub reject_coinbase_zero: bool,
    /// Greatest weight as a share of 4 000 000.
    pub max_weight_ratio: f64,
    /// Greatest age of a template when it is judged, in seconds.
    pub max_template_age_secs: u64,
    /// Greatest signature operation cost.
    pub max_sigops_cost: u64,
    /// Most legacy signature operations of the coinbase.
    pub max_coinbase_sigops: u32,
    /// From this share of `max_sigops_cost` on there is a warning.
    pub warn_sigops_ratio: f64,
    /// Over this many legacy signature operations of the coinbase there is a warning.
    pub warn_coinbase_sigops: u32,
}

impl Default for TemplateRules {
    fn default() -> Self {
        Self {
            protocol_version: 2,
            required_prevhash_len: 64,
            min_avg_fee_lo: 1,
            min_avg_fee_mid: 2000,
            min_avg_fee_hi: 5000,
            avg_fee_unit: AvgFeeUnit::Tx,
            low_mempool_tx: 0,
            high_mempool_tx: 50,
            unknown_mempool_as_high: true,
            min_total_fees: 0,
            max_tx_count: 10_000,
            reject_empty_templates: true,
            reject_coinbase_zero: true,
            max_weight_ratio: 0.999,
            max_template_age_secs: 30,
            max_sigops_cost: 80_000,
            max_coinbase_sigops: 20_000,
            warn_sigops_ratio: 0.95,
            warn_coinbase_sigops: 400,
        }
    }
}

/// What the average fee is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvgFeeUnit {
    /// Satoshis per transaction, the coinbase not counted.
    Tx,
    /// Satoshis per virtual byte of the block.
    Vbyte,
}

impl AvgFeeUnit {
    /// The unit's name in `policy.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tx => "tx",
            Self::Vbyte => "vbyte",
        }
    }
}

/// `[policy.consensus]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsensusRules {
    /// Whether the block's bytes are judged.
    pub enforce: bool,
    /// Output scripts of the operator; empty: the payout is not judged. Never beside `enforce =
    /// false`.
    pub payout_scripts: Vec<Vec<u8>>,
    /// Least share of the coinbase value that must go to them.
    pub min_payout_share: f64,
}

impl Default for ConsensusRules {
    fn default() -> Self {
        Self { enforce: true, payout_scripts: Vec::new(), min_payout_share: 1.0 }
    }
}

/// `[policy.mempool]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MempoolRules {
    /// Whether the template is compared with the verifier's mempool view.
    pub enforce: bool,
    /// Most transactions that may be unknown to the view, in percent.
    pub tolerance_pct: f64,
    /// How often the view is renewed, in seconds.
    pub poll_interval_secs: u64,
    /// From this age on the view counts for nothing, in seconds.
    pub max_stale_secs: u64,
    /// Whether unknown transactions are named one by one.
    pub per_tx_detail: bool,
}

impl Default for MempoolRules {
    fn default() -> Self {
        Self {
            enforce: false,
            tolerance_pct: 4.0,
            poll_interval_secs: 10,
            max_stale_secs: 60,
            per_tx_detail: false,
        }
    }
}

/// `[policy.node]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeRules {
    /// Whether each template is put to the node's proposal mode.
    pub proposal_check: bool,
}
