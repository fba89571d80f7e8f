//! The link to one verifier: proposals out, verdicts in.

mod proposals;
mod sent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_core::ids::{InstanceId, TemplateId};
use gateway_core::job::Work;
use gateway_core::prevhash::{Input, Verdict};
use platform::tls::MutualFiles;
use platform::{Env, Shutdown, Stream, offload};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use verifier_protocol::{
    Heartbeat, HeartbeatAck, LineDecoder, LinkFault, LinkGuard, Message, ProposalId,
    TemplateVerdict, TxNeed, VerdictCode, decode, encode,
};

pub(crate) use self::proposals::Proposals;
use self::proposals::{Heard, LinkId, Proposed, Voice};
use self::sent::{Proposer, Sent, proposal_lines};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::limits::{
    HEARTBEATS_MISSED, LINK_READ_BYTES, LINK_RETRY, PROPOSAL_RETRY, PROPOSALS_OUTSTANDING,
    VERDICT_OVERDUE,
};
use crate::live::Live;
use crate::metrics::{Metrics, label};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the link up.
pub(crate) struct VerifierLink {
    pub(crate) env: Env,
    pub(crate) clock: Clock,
    pub(crate) address: String,
    /// With what the two ends know each other; without, the link is plain TCP.
    pub(crate) tls: Option<MutualFiles>,
    /// Says which mode proposals are judged in.
    pub(crate) live: Live,
    pub(crate) instance: InstanceId,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) proposals: Arc<Proposals>,
    pub(crate) switch: mpsc::Sender<Input>,
    pub(crate) metrics: Arc<Metrics>,
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
    id: LinkId,
    next_proposal: &'a AtomicU64,
    outstanding: Mutex<BTreeMap<ProposalId, Outstanding>>,
    /// What the verifier was sent, once it said that it keeps transactions.
    sent: Mutex<Option<Sent>>,
    /// What the verifier lacks.
    needs: Mutex<VecDeque<TxNeed>>,
    heartbeats_sent: AtomicU64,
    heartbeats_answered: AtomicU64,
    /// Heartbeats of the verifier that are to be answered.
    to_answer: Mutex<VecDeque<u64>>,
    answer: Notify,
}

/// A proposal without its verdict.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    template_id: TemplateId,
    since: Duration,
    /// How long its verdict is waited for before the template is proposed again.
    patience: Duration,
    /// The verifier lacked transactions of it.
    asked_for_more: bool,
    overdue: bool,
}

impl VerifierLink {
    /// Connects, and connects again, until `stop`.
    pub(crate) async fn run(self, stop: Shutdown) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep_up() => {}
        }
    }

    async fn keep_up(&self) {
        let mut backoff = Backoff::new(LINK_RETRY, Arc::clone(&self.env.rng));
        let mut reported = false;
        let next_proposal = AtomicU64::new(self.clock.now().unix_ms);
        loop {
            match self.connect().await {
                Ok(stream) => {
                    tracing::info!(address = self.address, "link to the verifier is up");
                    reported = false;
                    let up = Up::new(&self.proposals);
                    let end = self.serve(stream, up.id, &next_proposal, &mut backoff).await;
                    drop(up);
                    self.pass_on_what_was_put_aside().await;
                    let address = &self.address;
                    tracing::warn!(address, reason = %end, "link to the verifier is down");
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

    async fn connect(&self) -> io::Result<Stream> {
        let Some(files) = &self.tls else { return self.env.net.connect(&self.address).await };
        // Read anew for each connection: a renewed certificate needs no reload.
        let client = files.client(self.env.storage.as_ref()).map_err(io::Error::other)?;
        client.connect(self.env.net.as_ref(), &self.address).await
    }

    async fn serve(
        &self,
        stream: Stream,
        id: LinkId,
        next_proposal: &AtomicU64,
        backoff: &mut Backoff,
    ) -> LinkEnd {
        let connection = Connection {
            link: self,
            id,
            next_proposal,
            outstanding: Mutex::default(),
            sent: Mutex::default(),
            needs: Mutex::default(),
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

    /// Without this link, the others may be all that say that they cannot judge.
    async fn pass_on_what_was_put_aside(&self) {
        for (template_id, verdict) in self.proposals.given_up() {
            // Where the switch has ended, so does this link.
            drop(self.switch.send(Input::Verdict { template_id, verdict }).await);
        }
    }

    fn count(&self, fault: LinkFault) {
        self.metrics.link_faults.get_or_create(&label("reason", fault.as_str())).inc();
    }
}

/// Counts a link as up for as long as it lives.
struct Up<'a> {
    proposals: &'a Proposals,
    id: LinkId,
}

impl<'a> Up<'a> {
    fn new(proposals: &'a Proposals) -> Self {
        Self { proposals, id: proposals.link_up() }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.proposals.link_down(self.id);
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
                self.link.proposals.answered(self.id);
                let answered = ack.seq.min(self.heartbeats_sent.load(Ordering::Relaxed));
                self.heartbeats_answered.fetch_max(answered, Ordering::Relaxed);
                if ack.tx_known {
                    lock(&self.sent).get_or_insert_default();
                }
            }
            Message::TxNeed(need) => {
                let mut needs = lock(&self.needs);
                // More than were proposed need no answer.
                needs.truncate(PROPOSALS_OUTSTANDING - 1);
                needs.push_back(need);
                self.answer.notify_one();
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
        let its = lock(&self.outstanding).remove(&verdict.proposal_id);
        let known = mutant::pick!(
            VerdictByOrder,
            lock(&self.outstanding).values().next().copied().or(its),
            its
        );
        let Some(Outstanding { template_id, .. }) = known else {
            tracing::warn!(proposal_id = %verdict.proposal_id, "verdict for an unknown proposal");
            self.ignore("unknown_proposal");
            return Ok(());
        };
        self.link.proposals.answered(self.id);
        let (address, accepted) = (&self.link.address, verdict.verdict.accepted);
        let code = verdict.verdict.reason_code;
        let voice = Voice { link: self.id, judged: accepted || !is_unable(code) };
        let reason_code = code.as_str();
        let verdict = match self.link.proposals.heard(template_id, translate(verdict), voice) {
            Heard::First(verdict) => verdict,
            Heard::Again => return Ok(()),
            Heard::Aside => {
                tracing::warn!(address, reason_code, "this verifier cannot judge, another may");
                self.ignore("unable");
                return Ok(());
            }
            Heard::Contradiction => {
                tracing::warn!(address, accepted, reason_code, "the verifiers disagree");
                self.ignore("contradiction");
                return Ok(());
            }
        };
        let input = Input::Verdict { template_id, verdict };
        self.link.switch.send(input).await.map_err(|_| LinkEnd::Stopping)
    }

    fn ignore(&self, cause: &'static str) {
        self.link.metrics.ignored_verdicts.get_or_create(&label("cause", cause)).inc();
    }

    async fn write(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> LinkEnd {
        // A verifier that takes no bytes is as silent as one that answers no heartbeat.
        let patience = self.link.heartbeat_interval * HEARTBEATS_MISSED;
        let mut heartbeat = tokio::time::interval(self.link.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut proposed = Proposed::default();
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
                    self.report_overdue();
                    encode(&Message::Heartbeat(Heartbeat { seq: sent + 1 }))
                }
                () = self.answer.notified() => self.answers().await,
                work = self.link.proposals.next(&mut proposed) => {
                    self.propose(&work, PROPOSAL_RETRY.0).await
                }
                (work, patience) = self.unanswered() => self.propose(&work, patience).await,
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

    /// Answers to every heartbeat, and proposals anew for every need, that wait for one.
    async fn answers(&self) -> Vec<u8> {
        let answer = |seq| encode(&Message::HeartbeatAck(HeartbeatAck { seq, tx_known: false }));
        let mut lines: Vec<u8> = lock(&self.to_answer).drain(..).flat_map(answer).collect();
        let needs = std::mem::take(&mut *lock(&self.needs));
        for need in needs {
            lines.extend(self.propose_again(&need).await);
        }
        lines
    }

    /// Waits until the newest template has been without its verdict for too long. What it is, and
    /// how long to wait the next time.
    async fn unanswered(&self) -> (Arc<Work>, Duration) {
        let age = |proposal: &&Outstanding| (proposal.template_id, proposal.since);
        let newest = lock(&self.outstanding).values().max_by_key(age).copied();
        let Some(newest) = newest else { return std::future::pending().await };
        self.link.clock.until(Some(newest.since + newest.patience)).await;
        match self.link.proposals.work(newest.template_id) {
            Some(work) => (work, (newest.patience * 2).min(PROPOSAL_RETRY.1)),
            // Another verifier decided, or newer templates took its place.
            None => std::future::pending().await,
        }
    }

    /// The lines of a new proposal.
    async fn propose(&self, work: &Arc<Work>, patience: Duration) -> Vec<u8> {
        let proposal_id = ProposalId(self.next_proposal.fetch_add(1, Ordering::Relaxed));
        let new = Outstanding {
            template_id: work.template_id(),
            since: self.link.clock.now().mono,
            patience,
            asked_for_more: false,
            overdue: false,
        };
        {
            let mut outstanding = lock(&self.outstanding);
            outstanding.insert(proposal_id, new);
            if outstanding.len() > PROPOSALS_OUTSTANDING {
                outstanding.pop_first();
            }
        }
        self.lines(proposal_id, Arc::clone(work)).await
    }

    /// The lines of a proposal of which the verifier lacks transactions; none where nobody waits
    /// for the verdict any more.
    async fn propose_again(&self, need: &TxNeed) -> Vec<u8> {
        let proposal_id = need.proposal_id;
        let Some((work, asked_before)) = self.asked_for_more(proposal_id) else {
            tracing::debug!(%proposal_id, "transactions needed of a proposal that is past");
            return Vec::new();
        };
        tracing::debug!(%proposal_id, count = need.places.len(), "the verifier lacks transactions");
        if let Some(sent) = lock(&self.sent).as_mut() {
            if asked_before {
                // What we take for known is not.
                *sent = Sent::default();
            }
            let transactions = &work.template().transactions;
            for place in &need.places {
                let tx = place.checked_sub(1).and_then(|place| transactions.get(place as usize));
                if let Some(tx) = tx {
                    sent.forget(&tx.wtxid);
                }
            }
        }
        self.lines(proposal_id, work).await
    }

    fn asked_for_more(&self, proposal_id: ProposalId) -> Option<(Arc<Work>, bool)> {
        let mut outstanding = lock(&self.outstanding);
        let proposal = outstanding.get_mut(&proposal_id)?;
        let asked_before = std::mem::replace(&mut proposal.asked_for_more, true);
        let work = self.link.proposals.work(proposal.template_id)?;
        Some((work, asked_before))
    }

    /// Made away from the event loop: a block has megabytes.
    async fn lines(&self, proposal_id: ProposalId, work: Arc<Work>) -> Vec<u8> {
        let link = self.link;
        let proposer =
            Proposer { mode: link.live.now().gateway.mode, instance: link.instance.clone() };
        let mut sent = lock(&self.sent).take();
        let made = offload(&link.env.cpu, move || {
            let lines = proposal_lines(proposal_id, &work, &proposer, sent.as_mut());
            (lines, sent)
        });
        let (lines, sent) = made.await;
        if let Some(sent) = sent {
            *lock(&self.sent) = Some(sent);
        }
        lines
    }

    fn report_overdue(&self) {
        let now = self.link.clock.now().mono;
        for (proposal_id, proposal) in lock(&self.outstanding).iter_mut() {
            let age = now.saturating_sub(proposal.since);
            if age >= VERDICT_OVERDUE && !std::mem::replace(&mut proposal.overdue, true) {
                let address = &self.link.address;
                tracing::warn!(address, %proposal_id, "the verifier owes a verdict");
                self.link.metrics.overdue_verdicts.inc();
            }
        }
    }
}

/// Whether the code speaks of the verifier, which cannot judge, and not of the template.
fn is_unable(code: VerdictCode) -> bool {
    matches!(
        code,
        VerdictCode::PolicyLoadError
            | VerdictCode::MempoolBackendUnavailable
            | VerdictCode::MempoolViewStale
            | VerdictCode::InternalError
    )
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
        fee_tier: verdict.policy_context.map(|context| context.fee_tier.as_str()),
        min_avg_fee_used: verdict.policy_context.map(|context| context.min_avg_fee_used),
        warnings: verdict.warnings.iter().map(|code| code.as_str().to_owned()).collect(),
        checks: checks.map(|(name, said)| (name.to_owned(), said.as_str().to_owned())).into(),
        policy_hash: (!policy_hash.is_empty()).then_some(policy_hash),
        judged_in_us: Some(judged_in_us),
    }
}
