//! The link to the verifier: proposals out, verdicts in.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_core::ids::{InstanceId, TemplateId};
use gateway_core::job::Work;
use gateway_core::prevhash::{Input, Verdict};
use platform::{Env, Offload, Shutdown, Stream, offload};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use verifier_protocol::{
    BodyAnnouncement, Heartbeat, HeartbeatAck, LineDecoder, LinkFault, LinkGuard, Message, Mode,
    ProposalId, TemplatePropose, TemplateVerdict, body_lines, decode, encode,
};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::limits::{
    HEARTBEATS_MISSED, LINK_READ_BYTES, LINK_RETRY, PROPOSALS_OUTSTANDING, PROPOSALS_WAITING,
};
use crate::live::Live;
use crate::metrics::{Metrics, label};

/// Templates that wait to be proposed, newest first: a newer tip does not wait for an older one.
#[derive(Default)]
pub(crate) struct Proposals {
    waiting: Mutex<VecDeque<Arc<Work>>>,
    added: Notify,
}

impl Proposals {
    pub(crate) fn push(&self, work: Arc<Work>) {
        let mut waiting = self.waiting();
        waiting.push_front(work);
        waiting.truncate(PROPOSALS_WAITING);
        drop(waiting);
        self.added.notify_one();
    }

    async fn next(&self) -> Arc<Work> {
        loop {
            if let Some(work) = self.waiting().pop_front() {
                return work;
            }
            self.added.notified().await;
        }
    }

    fn clear(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Work>>> {
        lock(&self.waiting)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the link up.
pub(crate) struct VerifierLink {
    pub(crate) env: Env,
    pub(crate) clock: Clock,
    pub(crate) address: String,
    /// Says which mode proposals are judged in.
    pub(crate) live: Live,
    pub(crate) instance: InstanceId,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) proposals: Arc<Proposals>,
    pub(crate) switch: mpsc::Sender<Input>,
    pub(crate) metrics: Arc<Metrics>,
    /// Shown to whoever asks how things stand.
    pub(crate) is_up: Arc<AtomicBool>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the verifier closed it")]
    Closed,
    #[error("{}", .0.as_str())]
    Fault(LinkFault),
    #[error("{HEARTBEATS_MISSED} heartbeats went unanswered")]
    Silent,
    #[error("the gateway ends")]
    Stopping,
}

/// One connection's share of the state; its reading and its writing half take turns on one task.
struct Connection<'a> {
    link: &'a VerifierLink,
    next_proposal: &'a AtomicU64,
    outstanding: Mutex<BTreeMap<ProposalId, TemplateId>>,
    heartbeats_sent: AtomicU64,
    heartbeats_answered: AtomicU64,
    /// Heartbeats of the verifier that are to be answered.
    to_answer: Mutex<VecDeque<u64>>,
    answer: Notify,
}

impl VerifierLink {
    /// Connects, and connects again, until `stop`.
    pub(crate) async fn run(self, stop: Shutdown) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep_up() => {}
        }
        self.set_up(false);
    }

    async fn keep_up(&self) {
        let mut backoff = Backoff::new(LINK_RETRY, Arc::clone(&self.env.rng));
        let mut reported = false;
        let next_proposal = AtomicU64::new(self.clock.now().unix_ms);
        loop {
            match self.env.net.connect(&self.address).await {
                Ok(stream) => {
                    tracing::info!(address = self.address, "link to the verifier is up");
                    reported = false;
                    self.set_up(true);
                    if self.mode().gates_jobs() {
                        // The switch proposes anew what still matters.
                        self.proposals.clear();
                    }
                    if self.switch.send(Input::VerifierConnected).await.is_err() {
                        return;
                    }
                    let end = self.serve(stream, &next_proposal, &mut backoff).await;
                    self.set_up(false);
                    tracing::warn!(reason = %end, "link to the verifier is down");
                    if let LinkEnd::Fault(fault) = end {
                        self.count(fault);
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut reported, true) {
                        let address = &self.address;
                        tracing::warn!(address, %error, "the verifier cannot be reached");
                    }
                }
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn serve(
        &self,
        stream: Stream,
        next_proposal: &AtomicU64,
        backoff: &mut Backoff,
    ) -> LinkEnd {
        let connection = Connection {
            link: self,
            next_proposal,
            outstanding: Mutex::default(),
            heartbeats_sent: AtomicU64::new(0),
            heartbeats_answered: AtomicU64::new(0),
            to_answer: Mutex::default(),
            answer: Notify::new(),
        };
        let (mut read, mut write) = (stream.read, stream.write);
        let end = tokio::select! {
            biased;
            end = connection.read(read.as_mut()) => end,
            end = connection.write(write.as_mut()) => end,
        };
        if connection.heartbeats_answered.load(Ordering::Relaxed) > 0 {
            // It lived, so the next attempt need not wait long.
            backoff.reset();
        }
        end
    }

    fn mode(&self) -> gateway_core::mode::Mode {
        self.live.now().gateway.mode
    }

    fn set_up(&self, up: bool) {
        self.is_up.store(up, Ordering::Relaxed);
    }

    fn count(&self, fault: LinkFault) {
        self.metrics.link_faults.get_or_create(&label("reason", fault.as_str())).inc();
    }
}

impl Connection<'_> {
    async fn read(&self, from: &mut (dyn AsyncRead + Send + Unpin)) -> LinkEnd {
        let (mut decoder, mut guard) = (LineDecoder::new(), LinkGuard::new());
        let mut buffer = vec![0; LINK_READ_BYTES];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => return LinkEnd::Closed,
                Ok(length) => decoder.feed(&buffer[..length]),
                Err(error) => return error.into(),
            }
            loop {
                let line = match decoder.next_line() {
                    Ok(Some(line)) => line,
                    Ok(None) => break,
                    Err(_) => return LinkEnd::Fault(LinkFault::LineTooLarge),
                };
                let decoded = decode(line);
                if let Some(fault) = guard.observe(&decoded, self.link.clock.now().mono) {
                    return LinkEnd::Fault(fault);
                }
                match decoded {
                    Ok(message) => {
                        if let Err(end) = self.message(message).await {
                            return end;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "line from the verifier dropped");
                        if let Some(fault) = error.fault() {
                            self.link.count(fault);
                        }
                    }
                }
            }
        }
    }

    async fn message(&self, message: Message) -> Result<(), LinkEnd> {
        match message {
            Message::TemplateVerdict(verdict) => return self.verdict(verdict).await,
            Message::HeartbeatAck(ack) => {
                let answered = ack.seq.min(self.heartbeats_sent.load(Ordering::Relaxed));
                self.heartbeats_answered.fetch_max(answered, Ordering::Relaxed);
            }
            Message::Heartbeat(heartbeat) => {
                let mut to_answer = lock(&self.to_answer);
                to_answer.push_back(heartbeat.seq);
                // Whoever asks faster than we can answer gets answers to the latest.
                if to_answer.len() > PROPOSALS_OUTSTANDING {
                    to_answer.pop_front();
                }
                self.answer.notify_one();
            }
            other => {
                tracing::warn!(msg_type = other.msg_type(), "unexpected message dropped");
            }
        }
        Ok(())
    }

    async fn verdict(&self, verdict: TemplateVerdict) -> Result<(), LinkEnd> {
        let known = lock(&self.outstanding).remove(&verdict.proposal_id);
        let Some(template_id) = known else {
            tracing::warn!(proposal_id = %verdict.proposal_id, "verdict for an unknown proposal");
            let cause = label("cause", "unknown_proposal");
            self.link.metrics.ignored_verdicts.get_or_create(&cause).inc();
            return Ok(());
        };
        let input = Input::Verdict { template_id, verdict: translate(verdict) };
        self.link.switch.send(input).await.map_err(|_| LinkEnd::Stopping)
    }

    async fn write(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> LinkEnd {
        // A verifier that takes no bytes is as silent as one that answers no heartbeat.
        let patience = self.link.heartbeat_interval * HEARTBEATS_MISSED;
        let mut heartbeat = tokio::time::interval(self.link.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let lines = tokio::select! {
                biased;
                _ = heartbeat.tick() => {
                    let sent = self.heartbeats_sent.load(Ordering::Relaxed);
                    let answered = self.heartbeats_answered.load(Ordering::Relaxed);
                    if sent - answered >= u64::from(HEARTBEATS_MISSED) {
                        return LinkEnd::Silent;
                    }
                    self.heartbeats_sent.store(sent + 1, Ordering::Relaxed);
                    encode(&Message::Heartbeat(Heartbeat { seq: sent + 1 }))
                }
                () = self.answer.notified() => self.answers(),
                work = self.link.proposals.next() => self.propose(&work).await,
            };
            let written = async {
                to.write_all(&lines).await?;
                to.flush().await
            };
            match tokio::time::timeout(patience, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return LinkEnd::Silent,
            }
        }
    }

    /// Answers to every heartbeat that waits for one.
    fn answers(&self) -> Vec<u8> {
        let answer = |seq| encode(&Message::HeartbeatAck(HeartbeatAck { seq }));
        lock(&self.to_answer).drain(..).flat_map(answer).collect()
    }

    /// The lines of a proposal, made away from the event loop: a block has megabytes.
    async fn propose(&self, work: &Arc<Work>) -> Vec<u8> {
        let proposal_id = ProposalId(self.next_proposal.fetch_add(1, Ordering::Relaxed));
        {
            let mut outstanding = lock(&self.outstanding);
            outstanding.insert(proposal_id, work.template_id());
            if outstanding.len() > PROPOSALS_OUTSTANDING {
                outstanding.pop_first();
            }
        }
        let (mode, instance) = (self.link.mode(), self.link.instance.clone());
        let work = Arc::clone(work);
        let cpu: &Arc<dyn Offload> = &self.link.env.cpu;
        offload(cpu, move || proposal_lines(proposal_id, &work, mode, &instance)).await
    }
}

fn proposal_lines(
    proposal_id: ProposalId,
    work: &Work,
    mode: gateway_core::mode::Mode,
    instance: &InstanceId,
) -> Vec<u8> {
    let (template, declared, body) = (work.template(), work.declared(), work.proposal_block());
    let proposal = TemplatePropose {
        proposal_id,
        mode: match mode {
            gateway_core::mode::Mode::Shadow => Mode::Shadow,
            gateway_core::mode::Mode::Observe => Mode::Observe,
            gateway_core::mode::Mode::Inline => Mode::Inline,
        },
        height: template.height,
        prev_hash: template.prev_hash.to_string(),
        block_version: template.version,
        bits: template.bits.to_consensus(),
        curtime: template.curtime,
        coinbase_value: declared.coinbase_value,
        tx_count: u32::try_from(declared.tx_count).unwrap_or(u32::MAX),
        total_fees: declared.total_fees,
        weight: declared.weight,
        sigops_cost: declared.sigops_cost,
        // The cost of a legacy operation is 4 (BIP 141); a coinbase has no others.
        coinbase_sigops: u32::try_from(declared.coinbase_sigops / 4).unwrap_or(u32::MAX),
        observed_at_ms: template.observed_at_ms,
        gateway_instance_id: instance.as_str().to_owned(),
        body: BodyAnnouncement::of(&body),
    };
    let mut lines = encode(&Message::TemplatePropose(proposal));
    for line in body_lines(proposal_id, &body) {
        lines.extend_from_slice(&line);
    }
    lines
}

fn translate(verdict: TemplateVerdict) -> Verdict {
    let TemplateVerdict { verdict, policy_hash, judged_in_us, .. } = verdict;
    let checks = verdict.checks;
    let checks = [
        ("policy", checks.policy),
        ("consensus", checks.consensus),
        ("mempool", checks.mempool),
        ("node", checks.node),
    ];
    Verdict {
        accepted: verdict.accepted,
        reason_code: verdict.reason_code.as_str().to_owned(),
        reason_detail: verdict.reason_detail,
        fee_tier: verdict.policy_context.map(|context| context.fee_tier.as_str().to_owned()),
        min_avg_fee_used: verdict.policy_context.map(|context| context.min_avg_fee_used),
        warnings: verdict.warnings.iter().map(|code| code.as_str().to_owned()).collect(),
        checks: checks.map(|(name, said)| (name.to_owned(), said.as_str().to_owned())).into(),
        policy_hash: (!policy_hash.is_empty()).then_some(policy_hash),
        judged_in_us: Some(judged_in_us),
    }
}
