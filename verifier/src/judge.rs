//! From a proposal to its verdict.

use std::time::Duration;

use bitcoin::Txid;
use consensus::{ConsensusFailure, Declared, Options, Parts};
use policy::{Policy, TemplateFacts};
use verifier_protocol::{
    CheckOutcome, Checks, PROTOCOL_VERSION, TemplatePropose, Verdict, VerdictCode,
};

use crate::ground::{self, NodeSays, Sight};
use crate::proposed::ProposedBlock;

/// How far ahead of our clock a header's time may be, in seconds (`MAX_FUTURE_BLOCK_TIME`).
const MAX_FUTURE_BLOCK_SECS: u64 = 2 * 60 * 60;

/// What a proposal is judged among.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The moment of the judgement, in Unix milliseconds.
    pub(crate) now_ms: u64,
    /// How many transactions the mempool holds, where that is known.
    pub(crate) mempool_tx: Option<u64>,
    /// What to compare the template with; `None`: not now, the check is skipped.
    pub(crate) mempool: Option<Sight>,
}

/// Judges a whole proposal by all that needs no waiting: the operator's rules first, which are
/// quick, then the bytes, then the mempool.
pub(crate) fn judge(
    policy: &Policy,
    propose: &TemplatePropose,
    block: &ProposedBlock,
    around: &Surroundings,
) -> Verdict {
    let (now_ms, mempool_tx) = (around.now_ms, around.mempool_tx);
    let facts = TemplateFacts::of(propose, PROTOCOL_VERSION, now_ms, mempool_tx);
    let outcome = policy::judge(policy, &facts);
    let mut checks = Checks::default();
    if let Some(rejection) = outcome.rejection {
        checks.policy = CheckOutcome::Failed;
        let verdict = Verdict::rejected(rejection.code, rejection.detail, checks);
        return Verdict { policy_context: Some(outcome.context), ..verdict };
    }
    checks.policy = CheckOutcome::Passed;
    match judge_bytes(policy, propose, block, around, &mut checks) {
        Ok(()) => Verdict::accepted(outcome.context, outcome.warnings, checks),
        Err(failure) => {
            let verdict = Verdict::rejected(failure.code, failure.detail, checks);
            Verdict { policy_context: Some(outcome.context), ..verdict }
        }
    }
}

fn judge_bytes(
    policy: &Policy,
    propose: &TemplatePropose,
    block: &ProposedBlock,
    around: &Surroundings,
    checks: &mut Checks,
) -> Result<(), ConsensusFailure> {
    let mut derived = None;
    if policy.consensus.enforce {
        checks.consensus = CheckOutcome::Failed;
        derived = Some(re_derive(policy, propose, block, around.now_ms)?);
        checks.consensus = CheckOutcome::Passed;
    }
    if let Some(sight) = around.mempool.as_ref().filter(|_| policy.mempool.enforce) {
        let txids = derived.map_or_else(|| txids(block), Ok)?;
        let compared = ground::compare(&policy.mempool, sight, &txids);
        checks.mempool = match &compared {
            Ok(()) => CheckOutcome::Passed,
            Err(objection) if objection.ran => CheckOutcome::Failed,
            Err(_) => CheckOutcome::Skipped,
        };
        compared.map_err(|objection| ConsensusFailure {
            code: objection.code,
            detail: objection.detail,
        })?;
    }
    Ok(())
}

/// The transactions after the coinbase, from bytes that hold what they declare.
fn re_derive(
    policy: &Policy,
    propose: &TemplatePropose,
    block: &ProposedBlock,
    now_ms: u64,
) -> Result<Vec<Txid>, ConsensusFailure> {
    let latest_time = u32::try_from(now_ms / 1000 + MAX_FUTURE_BLOCK_SECS).ok();
    let options = Options {
        payout_scripts: policy.consensus.payout_scripts.clone(),
        min_payout_share: policy.consensus.min_payout_share,
        latest_time,
    };
    let derived = consensus::check_parts(parts(block)?, &Declared::from(propose), &options)?;
    Ok(derived.txids)
}

fn parts(block: &ProposedBlock) -> Result<&Parts, ConsensusFailure> {
    block.parts.as_ref().map_err(Clone::clone)
}

/// The transactions after the coinbase, from a block that nobody judged.
fn txids(block: &ProposedBlock) -> Result<Vec<Txid>, ConsensusFailure> {
    Ok(parts(block)?.transactions().iter().skip(1).map(|tx| tx.txid()).collect())
}

/// What becomes of an accepting verdict once the node was asked. A node that says nothing changes
/// nothing: the check stays skipped.
pub(crate) fn heed_node(verdict: Verdict, says: &NodeSays) -> Verdict {
    let mut checks = verdict.checks;
    match says {
        NodeSays::Valid => {
            checks.node = CheckOutcome::Passed;
            Verdict { checks, ..verdict }
        }
        NodeSays::Invalid(reason) => {
            checks.node = CheckOutcome::Failed;
            let rejected = Verdict::rejected(VerdictCode::NodeProposalRejected, reason, checks);
            Verdict { policy_context: verdict.policy_context, ..rejected }
        }
        NodeSays::Undecided { .. } | NodeSays::Nothing { .. } => verdict,
    }
}

/// The verdict while no policy is loaded.
pub(crate) fn without_policy(problems: &str) -> Verdict {
    let checks = Checks { policy: CheckOutcome::Failed, ..Checks::default() };
    Verdict::rejected(VerdictCode::PolicyLoadError, problems, checks)
}

/// The verdict on a proposal of another protocol version.
pub(crate) fn other_version(version: u64) -> Verdict {
    let checks = Checks { policy: CheckOutcome::Failed, ..Checks::default() };
    let detail = format!("version={version} != protocol_version={PROTOCOL_VERSION}");
    Verdict::rejected(VerdictCode::ProtocolVersionMismatch, detail, checks)
}

/// The verdict on a proposal whose bytes did not come as announced.
pub(crate) fn bad_body(detail: &str) -> Verdict {
    let checks = Checks { consensus: CheckOutcome::Failed, ..Checks::default() };
    Verdict::rejected(VerdictCode::ConsensusDecodeFailed, detail, checks)
}

/// The verdict on a proposal that nobody waits for any more.
pub(crate) fn too_late(deadline: Duration) -> Verdict {
    let detail = format!("not judged within {} ms", deadline.as_millis());
    Verdict::rejected(VerdictCode::InternalError, detail, Checks::default())
}

/// The verdict on a proposal that was pushed out by newer ones.
pub(crate) fn pushed_out() -> Verdict {
    let detail = "pushed out by newer proposals before it was judged";
    Verdict::rejected(VerdictCode::InternalError, detail, Checks::default())
}
