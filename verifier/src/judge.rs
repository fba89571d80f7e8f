//! From a proposal to its verdict.

use consensus::{ConsensusFailure, Declared, Options};
use policy::{Policy, TemplateFacts};
use verifier_protocol::{
    CheckOutcome, Checks, PROTOCOL_VERSION, TemplatePropose, Verdict, VerdictCode,
};

/// How far ahead of our clock a header's time may be, in seconds (`MAX_FUTURE_BLOCK_TIME`).
const MAX_FUTURE_BLOCK_SECS: u64 = 2 * 60 * 60;

/// Judges a whole proposal at `now_ms` (Unix milliseconds): the operator's rules first, which are
/// quick, and only then the bytes.
pub(crate) fn judge(
    policy: &Policy,
    propose: &TemplatePropose,
    block: &[u8],
    now_ms: u64,
    mempool_tx: Option<u64>,
) -> Verdict {
    let facts = TemplateFacts::of(propose, PROTOCOL_VERSION, now_ms, mempool_tx);
    let outcome = policy::judge(policy, &facts);
    let mut checks = Checks::default();
    if let Some(rejection) = outcome.rejection {
        checks.policy = CheckOutcome::Failed;
        let verdict = Verdict::rejected(rejection.code, rejection.detail, checks);
        return Verdict { policy_context: Some(outcome.context), ..verdict };
    }
    checks.policy = CheckOutcome::Passed;
    if policy.consensus.enforce {
        if let Err(failure) = re_derive(policy, propose, block, now_ms) {
            checks.consensus = CheckOutcome::Failed;
            let verdict = Verdict::rejected(failure.code, failure.detail, checks);
            return Verdict { policy_context: Some(outcome.context), ..verdict };
        }
        checks.consensus = CheckOutcome::Passed;
    }
    Verdict::accepted(outcome.context, outcome.warnings, checks)
}

fn re_derive(
    policy: &Policy,
    propose: &TemplatePropose,
    block: &[u8],
    now_ms: u64,
) -> Result<(), ConsensusFailure> {
    let latest_time = u32::try_from(now_ms / 1000 + MAX_FUTURE_BLOCK_SECS).ok();
    let options = Options {
        payout_scripts: policy.consensus.payout_scripts.clone(),
        min_payout_share: policy.consensus.min_payout_share,
        latest_time,
    };
    consensus::check(block, &Declared::from(propose), &options).map(drop)
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

/// The verdict on a proposal that was pushed out by newer ones.
pub(crate) fn pushed_out() -> Verdict {
    let detail = "pushed out by newer proposals before it was judged";
    Verdict::rejected(VerdictCode::InternalError, detail, Checks::default())
}
