//! What a policy would say of templates that were judged already.

use std::sync::Arc;

use policy::{Policy, Rejection, RuleReport, TemplateFacts};
use serde::Serialize;
use verifier_protocol::{
    CheckOutcome, PROTOCOL_VERSION, TemplateVerdict, Verdict, VerdictCode, VerdictKind,
};

use crate::history::Entry;
use crate::judge::{self, Surroundings};
use crate::shelf::Kept;

/// How many changed verdicts are named, of each kind.
const MAX_NAMED: usize = 100;

/// A kept template under the candidate.
#[derive(Debug, Serialize)]
pub(crate) struct TemplateRun {
    pub(crate) seq: u64,
    pub(crate) height: u32,
    /// As it was judged.
    pub(crate) then: TemplateVerdict,
    /// As the candidate judges it. Mempool and node are not asked anew: they have moved on.
    pub(crate) now: Verdict,
    pub(crate) rules: Vec<RuleReport>,
}

/// Judges a kept template as if it were the moment of its verdict.
pub(crate) fn template(candidate: &Policy, kept: &Kept) -> TemplateRun {
    let (now_ms, mempool_tx) = (kept.judged_at_ms, kept.mempool_tx);
    let facts = TemplateFacts::of(&kept.propose, PROTOCOL_VERSION, now_ms, mempool_tx);
    TemplateRun {
        seq: kept.seq,
        height: kept.propose.height,
        then: kept.verdict.clone(),
        now: judge_again(candidate, kept),
        rules: policy::explain(candidate, &facts),
    }
}

fn judge_again(policy: &Policy, kept: &Kept) -> Verdict {
    let around =
        Surroundings { now_ms: kept.judged_at_ms, mempool_tx: kept.mempool_tx, mempool: None };
    judge::judge(policy, &kept.propose, &kept.block, &around)
}

/// Verdicts beside those of the candidate.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    pub(crate) compared: u64,
    pub(crate) same: u64,
    /// How many were let through then and would be refused now.
    pub(crate) newly_refused: u64,
    /// How many were refused then and would be let through now.
    pub(crate) newly_passed: u64,
    /// How many are refused either way, for another reason.
    pub(crate) refused_otherwise: u64,
    /// The latest of those that differ.
    pub(crate) changes: Vec<Change>,
    pub(crate) not_compared: u64,
    /// The latest of those.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A verdict that would be another one. `ok` stands for what is let through.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) seq: u64,
    pub(crate) height: u32,
    pub(crate) then: VerdictCode,
    pub(crate) now: VerdictCode,
    pub(crate) detail: Option<String>,
}

/// A verdict that cannot be held against the candidate's.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) seq: u64,
    pub(crate) height: u32,
    pub(crate) then: VerdictCode,
    pub(crate) why: &'static str,
}

impl Comparison {
    fn add(&mut self, change: Change) {
        let Change { then, now, .. } = change;
        self.compared += 1;
        *match (then, now) {
            _ if then == now => &mut self.same,
            (VerdictCode::Ok, _) => &mut self.newly_refused,
            (_, VerdictCode::Ok) => &mut self.newly_passed,
            _ => &mut self.refused_otherwise,
        } += 1;
        if then != now && self.changes.len() < MAX_NAMED {
            self.changes.push(change);
        }
    }

    fn leave_out(&mut self, left_out: LeftOut) {
        self.not_compared += 1;
        if self.left_out.len() < MAX_NAMED {
            self.left_out.push(left_out);
        }
    }
}

/// Compares the rules for declared figures over kept verdicts, the newest first; their bytes are
/// not kept. `against`: with what this policy's rules say, in place of what was said.
pub(crate) fn history<'a>(
    candidate: &Policy,
    against: Option<&Policy>,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Comparison {
    let mut comparison = Comparison::default();
    for entry in entries {
        let (seq, height) = (entry.seq, entry.height);
        let rejection = |policy| policy::judge(policy, &entry.facts).rejection;
        let code = |rejection: Option<Rejection>| rejection.map_or(VerdictCode::Ok, |it| it.code);
        let then = match against {
            Some(policy) => Ok(code(rejection(policy))),
            None => ruled(&entry.verdict.verdict),
        };
        match then {
            Ok(then) => {
                let rejection = rejection(candidate);
                let detail = rejection.as_ref().map(|rejection| rejection.detail.clone());
                let now = code(rejection);
                comparison.add(Change { seq, height, then, now, detail });
            }
            Err(why) => {
                let then = entry.verdict.verdict.reason_code;
                comparison.leave_out(LeftOut { seq, height, then, why });
            }
        }
    }
    comparison
}

/// Compares whole judgements of kept templates, the newest first, but for mempool and node, which
/// have moved on. `against` as for [`history`].
pub(crate) fn templates(
    candidate: &Policy,
    against: Option<&Policy>,
    kept: &[Arc<Kept>],
) -> Comparison {
    let mut comparison = Comparison::default();
    for kept in kept {
        let (seq, height) = (kept.seq, kept.propose.height);
        let then = match against {
            Some(policy) => Ok(judge_again(policy, kept).reason_code),
            None => by_bytes(&kept.verdict.verdict),
        };
        match then {
            Ok(then) => {
                let Verdict { reason_code: now, reason_detail: detail, .. } =
                    judge_again(candidate, kept);
                comparison.add(Change { seq, height, then, now, detail });
            }
            Err(why) => {
                let then = kept.verdict.verdict.reason_code;
                comparison.leave_out(LeftOut { seq, height, then, why });
            }
        }
    }
    comparison
}

/// What the rules for declared figures said, or why they said nothing.
fn ruled(verdict: &Verdict) -> Result<VerdictCode, &'static str> {
    match (verdict.checks.policy, verdict.reason_code) {
        (CheckOutcome::Passed, _) => Ok(VerdictCode::Ok),
        (CheckOutcome::Failed, VerdictCode::PolicyLoadError) => Err("no policy was in force"),
        (CheckOutcome::Failed, code) => Ok(code),
        (CheckOutcome::Skipped, _) => Err("the rules were not asked"),
    }
}

/// What was said of a template by what is kept of it.
fn by_bytes(verdict: &Verdict) -> Result<VerdictCode, &'static str> {
    match verdict.reason_code.kind() {
        VerdictKind::GroundTruth => Err("what the node knew decided"),
        VerdictKind::System => Err("it could not be judged"),
        _ => Ok(verdict.reason_code),
    }
}

#[cfg(test)]
mod tests {
    use verifier_protocol::{Checks, PolicyContext};

    use super::*;
    use crate::history::tests::entry;

    fn judged(seq: u64, fees: u64, code: VerdictCode) -> Entry {
        let mut entry = entry(seq);
        entry.facts.total_fees = fees;
        let policy = match code.kind() {
            VerdictKind::Policy => CheckOutcome::Failed,
            VerdictKind::System => CheckOutcome::Skipped,
            _ => CheckOutcome::Passed,
        };
        let checks = Checks { policy, ..Checks::default() };
        entry.verdict.verdict = match code {
            VerdictCode::Ok => {
                let context = PolicyContext {
                    fee_tier: verifier_protocol::FeeTier::High,
                    min_avg_fee_used: 1,
                };
                Verdict::accepted(context, Vec::new(), checks)
            }
            code => Verdict::rejected(code, "", checks),
        };
        entry
    }

    #[test]
    fn a_candidate_is_compared_with_what_was_said() {
        let candidate = Policy::from_toml("[policy]\nmin_avg_fee_hi = 500\n").unwrap();
        let entries = [
            judged(1, 1000, VerdictCode::Ok),
            judged(2, 499, VerdictCode::Ok),
            judged(3, 500, VerdictCode::AvgFeeBelowMinimum),
            judged(4, 499, VerdictCode::TxCountExceeded),
            judged(5, 499, VerdictCode::ConsensusWeightMismatch),
            judged(6, 499, VerdictCode::PolicyLoadError),
            judged(7, 499, VerdictCode::InternalError),
        ];
        let run = history(&candidate, None, entries.iter().rev());
        assert_eq!((run.compared, run.same, run.newly_refused), (5, 1, 2));
        assert_eq!((run.newly_passed, run.refused_otherwise), (1, 1));
        let seqs: Vec<u64> = run.changes.iter().map(|change| change.seq).collect();
        assert_eq!(seqs, [5, 4, 3, 2]);
        let detail = "avg_fee=499 < min_avg_fee_used=500".to_owned();
        assert_eq!(run.changes[3].detail, Some(detail));
        let left_out: Vec<(u64, &str)> =
            run.left_out.iter().map(|left_out| (left_out.seq, left_out.why)).collect();
        assert_eq!(left_out, [(7, "the rules were not asked"), (6, "no policy was in force")]);
        assert_eq!(run.not_compared, 2);
    }

    #[test]
    fn two_policies_are_compared_over_everything_kept() {
        let policy = |least| Policy::from_toml(&format!("[policy]\nmin_avg_fee_hi = {least}\n"));
        let (candidate, against) = (policy(500).unwrap(), policy(400).unwrap());
        let entries = [
            judged(1, 399, VerdictCode::Ok),
            judged(2, 400, VerdictCode::InternalError),
            judged(3, 500, VerdictCode::TxCountExceeded),
        ];
        let run = history(&candidate, Some(&against), entries.iter().rev());
        assert_eq!((run.compared, run.same, run.newly_refused, run.not_compared), (3, 2, 1, 0));
        assert_eq!(run.changes[0].seq, 2);
    }
}
