//! The verdict codes, whose doc comments are the reference text.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// What a code speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerdictKind {
    /// The template may be worked on.
    Accepting,
    /// The operator's rules reject it.
    Policy,
    /// Noteworthy; carried in `warnings` of an accepting verdict.
    Advisory,
    /// The verifier could not judge.
    System,
    /// The bytes disagree with the declaration or with the rules of Bitcoin.
    Consensus,
    /// The coinbase does not pay the operator.
    Payout,
    /// A node disagrees.
    GroundTruth,
}

impl VerdictKind {
    /// The kind's name in the reference and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepting => "accepting",
            Self::Policy => "policy",
            Self::Advisory => "advisory",
            Self::System => "system",
            Self::Consensus => "consensus",
            Self::Payout => "payout",
            Self::GroundTruth => "ground_truth",
        }
    }
}

/// A name that is no verdict code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown verdict code \"{0}\"")]
pub struct UnknownVerdictCode(pub String);

/// Writes each code once: its doc comment, variant, kind and name.
macro_rules! verdict_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident: $kind:ident = $name:literal,)+) => {
        /// Why a template was accepted, rejected or remarked upon.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum VerdictCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl VerdictCode {
            /// Every code; the policy rejections in the order in which they are judged.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The code's name on the wire, in labels and in the reference.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What the code speaks of.
            pub fn kind(self) -> VerdictKind {
                match self {
                    $(Self::$variant => VerdictKind::$kind,)+
                }
            }

            /// The reference text.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

verdict_codes! {
    /// Every check that ran agrees.
    Ok: Accepting = "ok",

    /// The verifier has no valid policy loaded, so it can accept nothing.
    PolicyLoadError: Policy = "policy_load_error",
    /// The proposal speaks another protocol version than `policy.protocol_version`.
    ProtocolVersionMismatch: Policy = "protocol_version_mismatch",
    /// `prev_hash` has not `policy.required_prevhash_len` characters.
    PrevHashLenMismatch: Policy = "prev_hash_len_mismatch",
    /// `prev_hash` is not hexadecimal, is all zero, or is not the parent in the block's header.
    InvalidPrevHash: Policy = "invalid_prev_hash",
    /// The declared coinbase value is zero and `policy.reject_coinbase_zero` is set.
    CoinbaseValueZeroRejected: Policy = "coinbase_value_zero_rejected",
    /// There is no transaction but the coinbase and `policy.reject_empty_templates` is set.
    EmptyTemplateRejected: Policy = "empty_template_rejected",
    /// There are more transactions than `policy.max_tx_count`.
    TxCountExceeded: Policy = "tx_count_exceeded",
    /// The fees sum up to less than `policy.min_total_fees`.
    TotalFeesBelowMinimum: Policy = "total_fees_below_minimum",
    /// The average fee is below the fee tier's minimum.
    AvgFeeBelowMinimum: Policy = "avg_fee_below_minimum",
    /// The weight is over `policy.max_weight_ratio` of the limit of 4 000 000.
    WeightRatioExceeded: Policy = "weight_ratio_exceeded",
    /// The template was observed longer than `policy.max_template_age_secs` before it was judged.
    TemplateTooOld: Policy = "template_too_old",
    /// The gateway's cached template was not renewed within `timing.max_template_age_ms`.
    TemplateStale: Policy = "template_stale",
    /// The signature operation cost is over `policy.max_sigops_cost`.
    SigopsBudgetExceeded: Policy = "sigops_budget_exceeded",
    /// The coinbase has more signature operations than `policy.max_coinbase_sigops`.
    CoinbaseSigopsExceeded: Policy = "coinbase_sigops_exceeded",

    /// The signature operation cost is at or over `policy.warn_sigops_ratio` of the maximum.
    SigopsBudgetWarning: Advisory = "sigops_budget_warning",
    /// The coinbase has more signature operations than `policy.warn_coinbase_sigops`.
    CoinbaseSigopsAbnormal: Advisory = "coinbase_sigops_abnormal",

    /// The verifier's mempool view is needed and its node does not answer.
    MempoolBackendUnavailable: System = "mempool_backend_unavailable",
    /// The verifier failed; its log says how.
    InternalError: System = "internal_error",

    /// The body is not complete, or its bytes are not exactly one block.
    ConsensusDecodeFailed: Consensus = "consensus_decode_failed",
    /// The coinbase pays out more or less than the declared coinbase value, or that is not the
    /// subsidy and the declared fees.
    ConsensusCoinbaseValueMismatch: Consensus = "consensus_coinbase_value_mismatch",
    /// The height in the coinbase script (BIP 34) is not the declared one.
    ConsensusHeightMismatch: Consensus = "consensus_height_mismatch",
    /// The coinbase script does not begin with a minimally pushed height (BIP 34).
    ConsensusHeightMissing: Consensus = "consensus_height_missing",
    /// The header's merkle root is not that of the transactions.
    ConsensusMerkleRootMismatch: Consensus = "consensus_merkle_root_mismatch",
    /// A transaction has a witness and the coinbase commits to none (BIP 141), or the coinbase's
    /// witness is not the one 32-byte reserved value.
    ConsensusWitnessCommitmentMissing: Consensus = "consensus_witness_commitment_missing",
    /// The last witness commitment of the coinbase is not that of the transactions (BIP 141).
    ConsensusWitnessCommitmentMismatch: Consensus = "consensus_witness_commitment_mismatch",
    /// The block's weight is not the declared one.
    ConsensusWeightMismatch: Consensus = "consensus_weight_mismatch",
    /// The declared signature operations cannot be those of the block.
    ConsensusSigopsMismatch: Consensus = "consensus_sigops_mismatch",
    /// The number of transactions is not the declared one.
    ConsensusTxCountMismatch: Consensus = "consensus_tx_count_mismatch",
    /// The block is heavier than 4 000 000 (BIP 141).
    ConsensusWeightExceeded: Consensus = "consensus_weight_exceeded",
    /// The signature operation cost is over 80 000 (BIP 141).
    ConsensusSigopsExceeded: Consensus = "consensus_sigops_exceeded",
    /// A transaction is in the block twice, or an output is spent twice.
    ConsensusDuplicateTx: Consensus = "consensus_duplicate_tx",
    /// The first transaction is no coinbase, or a later one spends the null output.
    ConsensusNullPrevout: Consensus = "consensus_null_prevout",
    /// The coinbase script is shorter than 2 or longer than 100 bytes.
    ConsensusCoinbaseScriptLength: Consensus = "consensus_coinbase_script_length",
    /// The header's time is not the declared one, or too far ahead of the verifier's clock.
    ConsensusTimeInvalid: Consensus = "consensus_time_invalid",
    /// The header's target (or its version) is not the declared one.
    ConsensusBitsMismatch: Consensus = "consensus_bits_mismatch",
    /// A transaction spends what the same block cannot give it: an output of a later transaction,
    /// one that its parent does not have, or one of the block's own coinbase.
    ConsensusTxOrder: Consensus = "consensus_tx_order",

    /// One of `policy.consensus.payout_scripts` is required and the coinbase pays them less than
    /// `policy.consensus.min_payout_share` of its value.
    PayoutScriptMissing: Payout = "payout_script_missing",

    /// More of the transactions than `policy.mempool.tolerance_pct` are unknown to the verifier's
    /// mempool view.
    MempoolUnknownRatioExceeded: GroundTruth = "mempool_unknown_ratio_exceeded",
    /// The verifier's mempool view is older than `policy.mempool.max_stale_secs`.
    MempoolViewStale: GroundTruth = "mempool_view_stale",
    /// The node's proposal mode refuses the block; its text is in `reason_detail`.
    NodeProposalRejected: GroundTruth = "node_proposal_rejected",
}

impl VerdictCode {
    /// Whether a template with this code may be worked on.
    pub fn is_accepting(self) -> bool {
        self.kind() == VerdictKind::Accepting
    }
}

impl fmt::Display for VerdictCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VerdictCode {
    type Err = UnknownVerdictCode;

    fn from_str(name: &str) -> Result<Self, UnknownVerdictCode> {
        let code = Self::ALL.iter().find(|code| code.as_str() == name);
        code.copied().ok_or_else(|| UnknownVerdictCode(name.chars().take(64).collect()))
    }
}

impl Serialize for VerdictCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VerdictCode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_codes_is_the_published_one() {
        let rows: Vec<String> = VerdictCode::ALL
            .iter()
            .map(|code| format!("{code} | {} | {}", code.kind().as_str(), code.description()))
            .collect();
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/verifier"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!("verdict-codes", rows.join("\n"));
        });
    }

    #[test]
    fn every_code_is_read_by_its_name() {
        for code in VerdictCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert_eq!("okay".parse::<VerdictCode>(), Err(UnknownVerdictCode("okay".to_owned())));
    }
}
