//! What links and operators' requests share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use platform::{Env, Shutdown};
use policy::TemplateFacts;
use secrecy::SecretString;
use verifier_protocol::{
    Body, Checks, PROTOCOL_VERSION, TemplatePropose, TemplateVerdict, TxNeed, Verdict, VerdictCode,
    VerdictKind,
};

use crate::ground::{Ground, NodeSays};
use crate::history::{Entry, History};
use crate::judge::{self, Surroundings};
use crate::metrics::Metrics;
use crate::policies::{Policies, Versioned};
use crate::proposed::ProposedBlock;
use crate::queue::Proposal;
use crate::shelf::{Kept, Shelf};
use crate::tx_cache::TxCache;

pub(crate) struct Service {
    pub(crate) env: Env,
    pub(crate) policies: Policies,
    pub(crate) ground: Ground,
    pub(crate) history: History,
    pub(crate) shelf: Shelf,
    pub(crate) tx_cache: Arc<TxCache>,
    /// How many proposals of one link wait at most.
    pub(crate) waiting_proposals: usize,
    /// How long after its first line a proposal is still judged.
    pub(crate) proposal_deadline: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: Shutdown,
    pub(crate) http_api_key: Option<SecretString>,
    pub(crate) started_at_ms: u64,
}

impl Service {
    /// Judges a proposal, away from the event loop.
    pub(crate) async fn judge(self: Arc<Self>, proposal: Proposal) -> Judgement {
        let Proposal { propose, body, complete_at, .. } = proposal;
        let now_ms = self.env.wall.unix_ms();
        let (policy_hash, mut judged) = match self.policies.current() {
            Err(problems) => {
                let verdict = judge::without_policy(&problems);
                (String::new(), Judged::outright(propose, verdict))
            }
            Ok(versioned) => {
                let hash = versioned.hash.clone();
                match self.judge_by(versioned, propose, body, now_ms).await {
                    Judgement::Verdict(judged) => (hash, *judged),
                    need @ Judgement::Need(_) => return need,
                }
            }
        };
        let judged_in_us = u64::try_from(complete_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        judged.verdict = TemplateVerdict { policy_hash, judged_in_us, ..judged.verdict };
        Judgement::Verdict(Box::new(judged))
    }

    async fn judge_by(
        &self,
        versioned: Arc<Versioned>,
        propose: TemplatePropose,
        body: Body,
        now_ms: u64,
    ) -> Judgement {
        let sight = self.ground.sight(&versioned.policy);
        let mempool_tx = sight.measured_tx();
        let around = Surroundings { now_ms, mempool_tx, mempool: Some(sight) };
        let proposal_check = versioned.policy.node.proposal_check;
        let (proposal_id, cache) = (propose.proposal_id, Arc::clone(&self.tx_cache));
        let judged = platform::offload(&self.env.cpu, move || {
            let judged = catch_unwind(AssertUnwindSafe(|| {
                judge_body(&versioned, &propose, body, &around, &cache)
            }));
            (judged.unwrap_or_else(|_| Ok((panicked(), None))), propose)
        });
        let (mut verdict, block, propose) = match judged.await {
            (Ok((verdict, block)), propose) => (verdict, block, propose),
            (Err(places), _) => {
                self.metrics.transactions_missing.inc_by(places.len() as u64);
                return Judgement::Need(TxNeed { proposal_id, places });
            }
        };
        let block = block.map(Arc::new);
        if let Some(block) = block.as_ref().filter(|_| verdict.accepted && proposal_check) {
            verdict = self.ask_node(verdict, &propose, Arc::clone(block)).await;
        }
        let by_bytes = block.map(|block| ByBytes { now_ms, mempool_tx, block });
        let judged = Judged::outright(propose, verdict);
        Judgement::Verdict(Box::new(Judged { by_bytes, ..judged }))
    }

    /// A second opinion on an accepting verdict.
    async fn ask_node(
        &self,
        verdict: Verdict,
        propose: &TemplatePropose,
        block: Arc<ProposedBlock>,
    ) -> Verdict {
        let says = self.ground.proposal(&self.env.cpu, block).await;
        self.metrics.node_said(&says);
        if let NodeSays::Undecided { cause, detail } | NodeSays::Nothing { cause, detail } = &says {
            let proposal_id = propose.proposal_id.0;
            tracing::warn!(proposal_id, cause, detail, "the node did not judge the proposal");
        }
        judge::heed_node(verdict, &says)
    }

    pub(crate) fn count(&self, verdict: &TemplateVerdict) {
        let current = self.policies.current().ok();
        self.metrics.judged(verdict, current.as_ref().map(|versioned| &versioned.policy));
    }

    /// Counts and remembers a verdict. What gives way is handed back, to be dropped once the
    /// gateway has its answer.
    pub(crate) fn record(&self, judged: &Judged) -> Vec<Arc<Kept>> {
        let Judged { propose, verdict, by_bytes } = judged;
        self.count(verdict);
        tracing::info!(
            gateway = propose.gateway_instance_id,
            proposal_id = verdict.proposal_id.0,
            height = propose.height,
            reason_code = verdict.verdict.reason_code.as_str(),
            reason_detail = verdict.verdict.reason_detail,
            "template judged"
        );
        let judged_at_ms =
            by_bytes.as_ref().map_or_else(|| self.env.wall.unix_ms(), |judged| judged.now_ms);
        let mempool_tx = by_bytes.as_ref().and_then(|judged| judged.mempool_tx);
        let pushed = self.history.push(Entry {
            seq: 0,
            judged_at_ms,
            gateway_instance_id: propose.gateway_instance_id.clone(),
            height: propose.height,
            prev_hash: propose.prev_hash.clone(),
            verdict: verdict.clone(),
            facts: TemplateFacts::of(propose, PROTOCOL_VERSION, judged_at_ms, mempool_tx),
        });
        if !pushed.will_be_written {
            self.metrics.history_lost.inc();
        }
        let Some(ByBytes { block, .. }) = by_bytes else { return Vec::new() };
        self.shelf.push(Kept {
            seq: pushed.seq,
            judged_at_ms,
            mempool_tx,
            propose: propose.clone(),
            block: Arc::clone(block),
            verdict: verdict.clone(),
        })
    }

    /// Says in the log what a policy that is in force from now on leaves unjudged.
    pub(crate) fn warn_of_gaps(versioned: &Versioned) {
        if versioned.policy.consensus.payout_scripts.is_empty() {
            tracing::warn!(
                policy_hash = versioned.hash,
                "policy.consensus.payout_scripts is empty: whom a coinbase pays is not judged"
            );
        }
    }

    /// Reads the policy file again and says in the log what came of it.
    pub(crate) fn reload_policy(&self) {
        match self.policies.reload() {
            Ok(versioned) => {
                self.metrics.policy_replaced(true);
                self.ground.wake();
                tracing::info!(policy_hash = versioned.hash, "policy reloaded");
                Self::warn_of_gaps(&versioned);
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

/// Judges what came of a proposal; the places of the transactions that it takes to do so.
fn judge_body(
    versioned: &Versioned,
    propose: &TemplatePropose,
    body: Body,
    around: &Surroundings,
    cache: &TxCache,
) -> Result<(Verdict, Option<ProposedBlock>), Vec<u32>> {
    let known: Vec<u32> = body.known.iter().map(|named| named.place).collect();
    let block = ProposedBlock::assemble(body, cache)?;
    let verdict = judge::judge(&versioned.policy, propose, &block, around);
    // Nothing is refused for what was named: the verdict is then taken from the bytes.
    if verdict.reason_code.kind() == VerdictKind::Consensus && !known.is_empty() {
        return Err(known);
    }
    Ok((verdict, Some(block)))
}

/// What comes of a proposal.
pub(crate) enum Judgement {
    Verdict(Box<Judged>),
    /// It takes these transactions to judge it.
    Need(TxNeed),
}

/// A verdict with the proposal it answers.
pub(crate) struct Judged {
    pub(crate) propose: TemplatePropose,
    pub(crate) verdict: TemplateVerdict,
    by_bytes: Option<ByBytes>,
}

/// What a judgement went by that the proposal does not say.
struct ByBytes {
    now_ms: u64,
    mempool_tx: Option<u64>,
    block: Arc<ProposedBlock>,
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
        Self { propose, verdict, by_bytes: None }
    }
}

/// The panic's own message is already in the log.
fn panicked() -> Verdict {
    let detail = "the verifier failed while judging; its log says where";
    Verdict::rejected(VerdictCode::InternalError, detail, Checks::default())
}
