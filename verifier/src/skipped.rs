//! Why a check did not run: only one of the reasons is worth an alarm.

use policy::Policy;
use verifier_protocol::{CheckOutcome, Verdict, VerdictCode};

/// The checks in their order.
const CHECKS: [&str; 4] = ["policy", "consensus", "mempool", "node"];

/// Why a check did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The policy does not ask for it.
    NotAsked,
    /// The template was refused before it was its turn.
    EarlierCheck,
    /// It was its turn, and what it takes was not there.
    CouldNotRun,
}

impl Cause {
    /// The cause's name in labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::EarlierCheck => "earlier_check",
            Self::CouldNotRun => "could_not_run",
        }
    }
}

/// The checks that did not run, each with the cause, under the policy in force; without one, all
/// are taken to be asked for.
pub(crate) fn causes(verdict: &Verdict, policy: Option<&Policy>) -> Vec<(&'static str, Cause)> {
    let checks = verdict.checks;
    let outcomes = [checks.policy, checks.consensus, checks.mempool, checks.node];
    let asked = policy.map_or([true; 4], |policy| {
        [true, policy.consensus.enforce, policy.mempool.enforce, policy.node.proposal_check]
    });
    // The first that should have run and could not ends the judgement, unless it is the node's.
    let mut is_refused = outcomes.contains(&CheckOutcome::Failed);
    let mut causes = Vec::new();
    for ((check, outcome), asked) in CHECKS.into_iter().zip(outcomes).zip(asked) {
        if outcome != CheckOutcome::Skipped {
            continue;
        }
        let lacks_view = check == "mempool"
            && matches!(
                verdict.reason_code,
                VerdictCode::MempoolBackendUnavailable | VerdictCode::MempoolViewStale
            );
        let cause = match () {
            () if !asked => Cause::NotAsked,
            () if is_refused => Cause::EarlierCheck,
            () => Cause::CouldNotRun,
        };
        is_refused |= lacks_view;
        causes.push((check, cause));
    }
    causes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use verifier_protocol::{Checks, FeeTier, PolicyContext};

    use super::*;

    const ALL: &str = "[policy.mempool]\nenforce = true\n[policy.node]\nproposal_check = true\n";
    const P: CheckOutcome = CheckOutcome::Passed;
    const F: CheckOutcome = CheckOutcome::Failed;
    const S: CheckOutcome = CheckOutcome::Skipped;

    #[rstest]
    #[case("ok", [P, P, S, S], Some(""), "mempool not_asked, node not_asked")]
    #[case("ok", [P, P, P, S], Some(ALL), "node could_not_run")]
    #[case("ok", [P, P, P, P], Some(ALL), "")]
    #[case(
        "template_too_old",
        [F, S, S, S],
        Some(""),
        "consensus earlier_check, mempool not_asked, node not_asked"
    )]
    #[case(
        "consensus_weight_mismatch",
        [P, F, S, S],
        Some(ALL),
        "mempool earlier_check, node earlier_check"
    )]
    #[case(
        "mempool_view_stale",
        [P, P, S, S],
        Some(ALL),
        "mempool could_not_run, node earlier_check"
    )]
    #[case(
        "policy_load_error",
        [F, S, S, S],
        None,
        "consensus earlier_check, mempool earlier_check, node earlier_check"
    )]
    #[case(
        "internal_error",
        [S, S, S, S],
        Some(""),
        "policy could_not_run, consensus could_not_run, mempool not_asked, node not_asked"
    )]
    #[case(
        "consensus_decode_failed",
        [S, F, S, S],
        Some(""),
        "policy earlier_check, mempool not_asked, node not_asked"
    )]
    fn a_skipped_check_has_its_cause(
        #[case] code: &str,
        #[case] outcomes: [CheckOutcome; 4],
        #[case] rules: Option<&str>,
        #[case] expect: &str,
    ) {
        let [policy, consensus, mempool, node] = outcomes;
        let checks = Checks { policy, consensus, mempool, node };
        let verdict = match code.parse().unwrap() {
            VerdictCode::Ok => {
                let context = PolicyContext { fee_tier: FeeTier::Low, min_avg_fee_used: 1 };
                Verdict::accepted(context, Vec::new(), checks)
            }
            code => Verdict::rejected(code, "", checks),
        };
        let rules = rules.map(|text| Policy::from_toml(text).unwrap());
        let causes = causes(&verdict, rules.as_ref());
        let causes: Vec<String> =
            causes.iter().map(|(check, cause)| format!("{check} {}", cause.as_str())).collect();
        assert_eq!(causes.join(", "), expect);
    }
}
