//! The judgement of a template.

use serde::{Deserialize, Serialize};

use crate::{VerdictCode, VerdictKind};

/// The judgement, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether miners may work on the template.
    pub accepted: bool,
    /// `ok`, or why not.
    pub reason_code: VerdictCode,
    /// The figures behind a rejection, for people; null when accepted.
    pub reason_detail: Option<String>,
    /// What the fee rule went by; null when no policy could be asked.
    pub policy_context: Option<PolicyContext>,
    /// Advisories, in the order in which they are judged.
    pub warnings: Vec<VerdictCode>,
    /// What each check said.
    pub checks: Checks,
}

impl Verdict {
    /// A rejection. `code` must not be the accepting one.
    ///
    /// # Panics
    /// If `code` is accepting or an advisory: that would be a contradiction on the wire.
    pub fn rejected(code: VerdictCode, detail: impl Into<String>, checks: Checks) -> Self {
        let contradiction = matches!(code.kind(), VerdictKind::Accepting | VerdictKind::Advisory);
        assert!(!contradiction, "{} does not reject", code.as_str());
        Self {
            accepted: false,
            reason_code: code,
            reason_detail: Some(detail.into()),
            policy_context: None,
            warnings: Vec::new(),
            checks,
        }
    }

    /// An acceptance.
    pub fn accepted(context: PolicyContext, warnings: Vec<VerdictCode>, checks: Checks) -> Self {
        Self {
            accepted: true,
            reason_code: VerdictCode::Ok,
            reason_detail: None,
            policy_context: Some(context),
            warnings,
            checks,
        }
    }
}

/// What the fee rule went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyContext {
    /// How full the mempool was.
    pub fee_tier: FeeTier,
    /// The tier's lowest average fee, in satoshis per `policy.avg_fee_unit`.
    pub min_avg_fee_used: u64,
}

/// How full the mempool is, by the policy's thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeTier {
    /// At or below `low_mempool_tx`.
    Low,
    /// Below `high_mempool_tx`.
    Mid,
    /// At or above `high_mempool_tx`, or unknown where `unknown_mempool_as_high` is set.
    High,
}

impl FeeTier {
    /// The tier's name on the wire and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Mid => "mid",
            Self::High => "high",
        }
    }
}

/// What each check said. They run in this order, and the first that fails ends the judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checks {
    /// The operator's rules.
    pub policy: CheckOutcome,
    /// Re-derivation from the block's bytes.
    pub consensus: CheckOutcome,
    /// Comparison with the verifier's own mempool view.
    pub mempool: CheckOutcome,
    /// The node's proposal mode.
    pub node: CheckOutcome,
}

/// What one check said.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It ran and agrees.
    Passed,
    /// It ran and objects.
    Failed,
    /// It did not run. That is never agreement.
    #[default]
    Skipped,
}

impl CheckOutcome {
    /// The outcome's name on the wire and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}
