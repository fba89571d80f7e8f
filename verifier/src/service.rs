//! What links and operators' requests share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use platform::{Env, Shutdown};
use secrecy::SecretString;
use verifier_protocol::{Checks, TemplatePropose, TemplateVerdict, Verdict, VerdictCode};

use crate::ground::{Ground, NodeSays};
use crate::history::{Entry, History};
use crate::judge;
use crate::metrics::Metrics;
use crate::policies::{Policies, Versioned};
use crate::queue::Proposal;

pub(crate) struct Service {
    pub(crate) env: Env,
    pub(crate) policies: Policies,
    pub(crate) ground: Ground,
    pub(crate) history: History,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) http_api_key: Option<SecretString>,
    pub(crate) started_at_ms: u64,
}

impl Service {
    /// Judges a proposal, away from the event loop.
    pub(crate) async fn judge(self: Arc<Self>, proposal: Proposal) -> Judged {
        let Proposal { propose, block, complete_at } = proposal;
        let (verdict, policy_hash, propose) = match self.policies.current() {
            Err(problems) => (judge::without_policy(&problems), String::new(), propose),
            Ok(versioned) => {
                let hash = versioned.hash.clone();
                let (verdict, propose) = self.judge_by(versioned, propose, block).await;
                (verdict, hash, propose)
            }
        };
        let judged_in_us = u64::try_from(complete_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        let proposal_id = propose.proposal_id;
        Judged {
            propose,
            verdict: TemplateVerdict { proposal_id, verdict, policy_hash, judged_in_us },
        }
    }

    async fn judge_by(
        &self,
        versioned: Arc<Versioned>,
        propose: TemplatePropose,
        block: Vec<u8>,
    ) -> (Verdict, TemplatePropose) {
        let now_ms = self.env.wall.unix_ms();
        let sight = self.ground.sight(&versioned.policy);
        let proposal_check = versioned.policy.node.proposal_check;
        let (verdict, propose, block) = platform::offload(&self.env.cpu, move || {
            let judged = catch_unwind(AssertUnwindSafe(|| {
                judge::judge(&versioned.policy, &propose, &block, now_ms, &sight)
            }));
            (judged.unwrap_or_else(|_| panicked()), propose, block)
        })
        .await;
        if !(verdict.accepted && proposal_check) {
            return (verdict, propose);
        }
        let says = self.ground.proposal(&self.env.cpu, block).await;
        self.metrics.node_said(&says);
        if let NodeSays::Nothing { cause, detail } = &says {
            let proposal_id = propose.proposal_id.0;
            tracing::warn!(proposal_id, cause, detail, "the node did not judge the proposal");
        }
        (judge::heed_node(verdict, &says), propose)
    }

    /// Counts and remembers a verdict.
    pub(crate) fn record(&self, judged: &Judged) {
        let Judged { propose, verdict } = judged;
        self.metrics.judged(verdict);
        tracing::info!(
            gateway = propose.gateway_instance_id,
            proposal_id = verdict.proposal_id.0,
            height = propose.height,
            reason_code = verdict.verdict.reason_code.as_str(),
            reason_detail = verdict.verdict.reason_detail,
            "template judged"
        );
        self.history.push(Entry {
            seq: 0,
            judged_at_ms: self.env.wall.unix_ms(),
            gateway_instance_id: propose.gateway_instance_id.clone(),
            height: propose.height,
            prev_hash: propose.prev_hash.clone(),
            verdict: verdict.clone(),
        });
    }

    /// Reads the policy file again and says in the log what came of it.
    pub(crate) fn reload_policy(&self) {
        match self.policies.reload() {
            Ok(versioned) => {
                self.metrics.policy_replaced(true);
                self.ground.wake();
                tracing::info!(policy_hash = versioned.hash, "policy reloaded");
            }
            Err(problems) => {
                self.metrics.policy_replaced(false);
                for problem in problems {
                    tracing::error!(%problem, "policy not reloaded, the old one stays");
                }
            }
        }
    }
}

/// A verdict with the proposal it answers.
pub(crate) struct Judged {
    pub(crate) propose: TemplatePropose,
    pub(crate) verdict: TemplateVerdict,
}

impl Judged {
    /// A verdict that needed no policy.
    pub(crate) fn outright(propose: TemplatePropose, verdict: Verdict) -> Self {
        let verdict = TemplateVerdict {
            proposal_id: propose.proposal_id,
            verdict,
            policy_hash: String::new(),
            judged_in_us: 0,
        };
        Self { propose, verdict }
    }
}

/// The panic's own message is already in the log.
fn panicked() -> Verdict {
    let detail = "the verifier failed while judging; its log says where";
    Verdict::rejected(VerdictCode::InternalError, detail, Checks::default())
}
