//! What a policy would say of templates that were judged already.

use policy::{Policy, RuleReport, TemplateFacts};
use serde::Serialize;
use verifier_protocol::{PROTOCOL_VERSION, TemplateVerdict, Verdict, VerdictCode, VerdictKind};

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
    let around =
        Surroundings { now_ms: kept.judged_at_ms, mempool_tx: kept.mempool_tx, mempool: None };
    let Surroundings { now_ms, mempool_tx, .. } = around;
    let facts = TemplateFacts::of(&kept.propose, PROTOCOL_VERSION, now_ms, mempool_tx);
    TemplateRun {
        seq: kept.seq,
        height: kept.propose.height,
        then: kept.verdict.clone(),
        now: judge::judge(candidate, &kept.propose, &kept.block, &around),
        rules: policy::explain(candidate, &facts),
    }
}

/// The kept verdicts under the candidate's rules for declared figures; their bytes are not kept.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct HistoryRun {
    pub(crate) compared: u64,
    pub(crate) same: u64,
    /// How many were let through by the rules then and would be refused now.
    pub(crate) newly_refused: u64,
    /// How many were refused by the rules then and would be let through now.
    pub(crate) newly_passed: u64,
    /// How many are refused either way, for another reason.
    pub(crate) refused_otherwise: u64,
    /// The latest of those that differ.
    pub(crate) changes: Vec<Change>,
}

/// A verdict that would be another one. `ok` stands for what the rules let through.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) seq: u64,
    pub(crate) height: u32,
    pub(crate) then: VerdictCode,
    pub(crate) now: VerdictCode,
    pub(crate) detail: Option<String>,
}

/// Compares entries, the newest first.
pub(crate) fn history<'a>(
    candidate: &Policy,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> HistoryRun {
    let mut run = HistoryRun::default();
    for entry in entries {
        let Some(then) = ruled(entry.verdict.verdict.reason_code) else { continue };
        let rejection = policy::judge(candidate, &entry.facts).rejection;
        let now = rejection.as_ref().map_or(VerdictCode::Ok, |rejection| rejection.code);
        run.compared += 1;
        *match (then, now) {
            _ if then == now => &mut run.same,
            (VerdictCode::Ok, _) => &mut run.newly_refused,
            (_, VerdictCode::Ok) => &mut run.newly_passed,
            _ => &mut run.refused_otherwise,
        } += 1;
        if then != now && run.changes.len() < MAX_NAMED {
            let detail = rejection.map(|rejection| rejection.detail);
            run.changes.push(Change { seq: entry.seq, height: entry.height, then, now, detail });
        }
    }
    run
}

/// What the rules for declared figures said, `None` where they were not asked.
fn ruled(code: VerdictCode) -> Option<VerdictCode> {
    match code.kind() {
        VerdictKind::Policy if code == VerdictCode::PolicyLoadError => None,
        VerdictKind::Policy => Some(code),
        VerdictKind::Accepting | VerdictKind::Consensus | VerdictKind::GroundTruth => {
            Some(VerdictCode::Ok)
        }
        _ => None,
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
        let checks = Checks::default();
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
        let run = history(&candidate, entries.iter().rev());
        assert_eq!((run.compared, run.same, run.newly_refused), (5, 1, 2));
        assert_eq!((run.newly_passed, run.refused_otherwise), (1, 1));
        let seqs: Vec<u64> = run.changes.iter().map(|change| change.seq).collect();
        assert_eq!(seqs, [5, 4, 3, 2]);
        let detail = "avg_fee=499 < min_avg_fee_used=500".to_owned();
        assert_eq!(run.changes[3].detail, Some(detail));
    }
}
