//! One gateway's connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use platform::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use verifier_protocol::{
    Body, BodyAssembler, DecodeError, HeartbeatAck, LineDecoder, LinkFault, LinkGuard, Message,
    ProposalId, TemplateBody, TemplatePropose, TemplateVerdict, TxKnown, decode, encode,
};

use crate::judge;
use crate::queue::{Proposal, Queue};
use crate::service::{Judged, Judgement, Service};

/// How many bytes are taken from the connection at once.
const READ_BYTES: usize = 64 << 10;
/// A gateway that does not take a line for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A gateway that sends nothing for this long after it missed its heartbeats is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How many heartbeats it may miss.
const MISSED_HEARTBEATS: u32 = 3;
/// The longest time between two of them that a gateway can be set to
/// (`timing.verifier_heartbeat_interval_ms`).
const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3600);

/// Judgements of one link under way at once, each for another tip.
const MAX_JUDGING: usize = 4;

/// A judgement under way.
struct Judging {
    /// The tip it is for.
    prev_hash: String,
    judgement: Pin<Box<dyn Future<Output = Judgement> + Send>>,
}

/// Serves one gateway until it leaves or errs, or until the shutdown; then what is already here is
/// judged yet.
pub(crate) async fn serve(service: Arc<Service>, stream: Stream) {
    let peer = stream.peer;
    service.metrics.links.inc();
    let mut link = Link {
        service: Arc::clone(&service),
        write: stream.write,
        decoder: LineDecoder::new(),
        guard: LinkGuard::new(),
        opened: Instant::now(),
        last_heartbeat: None,
        heartbeat_interval: None,
        told_version: false,
        assembling: None,
        queue: Queue::new(service.waiting_proposals),
        judging: Vec::new(),
    };
    tracing::info!(%peer, "gateway connected");
    match link.run(stream.read).await {
        Ok(()) => tracing::info!(%peer, "gateway disconnected"),
        Err(Closed::Fault(fault)) => {
            tracing::warn!(%peer, reason_code = fault.as_str(), "gateway disconnected by us");
        }
        Err(Closed::Io(error)) => tracing::warn!(%peer, %error, "gateway's connection lost"),
    }
    service.metrics.waiting.dec_by(i64::try_from(link.queue.len()).unwrap_or(0));
    service.metrics.links.dec();
}

/// Why we close a connection.
enum Closed {
    Fault(LinkFault),
    Io(io::Error),
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Link {
    service: Arc<Service>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    decoder: LineDecoder,
    guard: LinkGuard,
    opened: Instant,
    last_heartbeat: Option<Instant>,
    /// The time between the last two.
    heartbeat_interval: Option<Duration>,
    /// Whether the log has it that the gateway speaks another version.
    told_version: bool,
    assembling: Option<Assembling>,
    queue: Queue,
    /// In the order in which they began; at most [`MAX_JUDGING`].
    judging: Vec<Judging>,
}

/// A proposal whose body is not complete yet.
struct Assembling {
    propose: TemplatePropose,
    assembler: BodyAssembler,
    begun_at: Instant,
}

impl Link {
    async fn run(&mut self, mut read: Box<dyn AsyncRead + Send + Unpin>) -> Result<(), Closed> {
        let shutdown = self.service.shutdown.clone();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.judge_next().await?;
            let deadline = self.service.proposal_deadline;
            let idle_timeout = self.idle_timeout();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain().await,
                judged = finished(&mut self.judging) => self.conclude(judged).await?,
                () = at(self.assembling.as_ref().map(|due| due.begun_at + deadline)) => {
                    self.abandon(&format!("not whole within {} ms", deadline.as_millis())).await?;
                }
                // The next turn answers it.
                () = at(self.queue.oldest().map(|begun_at| begun_at + deadline)) => {}
                received = timeout(idle_timeout, read.read(&mut buffer)) => {
                    let count = received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                    if count == 0 {
                        return Ok(());
                    }
                    self.decoder.feed(&buffer[..count]);
                    self.take_lines().await?;
                }
            }
        }
    }

    /// How long this gateway may be silent: by its own heartbeats, once there were two of them.
    fn idle_timeout(&self) -> Duration {
        let interval = self.heartbeat_interval.unwrap_or(MAX_HEARTBEAT_INTERVAL);
        IDLE_TIMEOUT + MISSED_HEARTBEATS * interval.min(MAX_HEARTBEAT_INTERVAL)
    }

    async fn drain(&mut self) -> Result<(), Closed> {
        self.judge_next().await?;
        while !self.judging.is_empty() {
            let judged = finished(&mut self.judging).await;
            self.conclude(judged).await?;
            self.judge_next().await?;
        }
        Ok(self.write.shutdown().await?)
    }

    async fn take_lines(&mut self) -> Result<(), Closed> {
        loop {
            let decoded = match self.decoder.next_line() {
                Ok(None) => return Ok(()),
                Ok(Some(line)) => decode(line),
                Err(_) => {
                    self.service.metrics.fault(LinkFault::LineTooLarge);
                    return Err(Closed::Fault(LinkFault::LineTooLarge));
                }
            };
            let verdict = self.guard.observe(&decoded, self.opened.elapsed());
            match decoded {
                Ok(message) => self.take_message(message).await?,
                Err(error) => self.take_error(error).await?,
            }
            if let Some(fault) = verdict {
                // These were counted with the line.
                if !matches!(fault, LinkFault::Framing | LinkFault::VersionMismatch) {
                    self.service.metrics.fault(fault);
                }
                return Err(Closed::Fault(fault));
            }
        }
    }

    async fn take_message(&mut self, message: Message) -> Result<(), Closed> {
        match message {
            Message::TemplatePropose(propose) => self.take_proposal(propose).await,
            Message::TxKnown(line) => self.take_known(&line).await,
            Message::TemplateBody(piece) => self.take_piece(&piece).await,
            Message::Heartbeat(heartbeat) => {
                let now = Instant::now();
                self.heartbeat_interval = self.last_heartbeat.replace(now).map(|last| now - last);
                let tx_known = self.service.tx_cache.is_on();
                let ack = HeartbeatAck { seq: heartbeat.seq, tx_known };
                self.send(&Message::HeartbeatAck(ack)).await
            }
            _ => {
                self.service.metrics.dropped_lines.inc();
                Ok(())
            }
        }
    }

    async fn take_error(&mut self, error: DecodeError) -> Result<(), Closed> {
        match error.fault() {
            Some(fault) => self.service.metrics.fault(fault),
            None => drop(self.service.metrics.unknown_messages.inc()),
        }
        let is_other_version = matches!(error, DecodeError::UnsupportedVersion { .. });
        // Each further line of that gateway would say the same.
        if !is_other_version || !std::mem::replace(&mut self.told_version, true) {
            tracing::warn!(%error, "line of a gateway dropped");
        }
        match error {
            DecodeError::UnsupportedVersion { version, msg_type, proposal_id: Some(id) }
                if msg_type == "template_propose" =>
            {
                self.refuse_version(id, version).await
            }
            _ => Ok(()),
        }
    }

    /// What a proposal of another version declares is not known, so only the gateway learns of it.
    async fn refuse_version(&mut self, id: ProposalId, version: u64) -> Result<(), Closed> {
        let verdict = TemplateVerdict {
            proposal_id: id,
            verdict: judge::other_version(version),
            policy_hash: String::new(),
            judged_in_us: 0,
        };
        self.service.count(&verdict);
        self.send(&Message::TemplateVerdict(verdict)).await
    }

    async fn take_proposal(&mut self, propose: TemplatePropose) -> Result<(), Closed> {
        self.abandon("the next proposal came before the body was complete").await?;
        let begun_at = Instant::now();
        match BodyAssembler::new(&propose.body) {
            Ok(assembler) => self.assembling = Some(Assembling { propose, assembler, begun_at }),
            Err(error) => {
                let verdict = judge::bad_body(&error.to_string());
                self.answer(Judged::outright(propose, verdict)).await?;
            }
        }
        Ok(())
    }

    /// Answers a proposal whose body does not become complete.
    async fn abandon(&mut self, why: &str) -> Result<(), Closed> {
        match self.assembling.take() {
            Some(Assembling { propose, .. }) => {
                self.answer(Judged::outright(propose, judge::bad_body(why))).await
            }
            None => Ok(()),
        }
    }

    async fn take_known(&mut self, line: &TxKnown) -> Result<(), Closed> {
        let Some(assembling) = self.assembled(line.proposal_id) else { return Ok(()) };
        match assembling.assembler.push_known(line) {
            Ok(()) => {
                self.service.metrics.transactions_known.inc_by(line.transactions.len() as u64);
                Ok(())
            }
            Err(error) => self.abandon(&error.to_string()).await,
        }
    }

    /// The proposal whose lines are due; a line of another one is dropped.
    fn assembled(&mut self, id: ProposalId) -> Option<&mut Assembling> {
        let due = self.assembling.as_mut().filter(|due| due.propose.proposal_id == id);
        if due.is_none() {
            self.service.metrics.dropped_lines.inc();
        }
        due
    }

    async fn take_piece(&mut self, piece: &TemplateBody) -> Result<(), Closed> {
        let Some(assembling) = self.assembled(piece.proposal_id) else { return Ok(()) };
        match assembling.assembler.push(piece) {
            Ok(None) => Ok(()),
            Ok(Some(body)) => self.queue_up(body).await,
            Err(error) => self.abandon(&error.to_string()).await,
        }
    }

    /// Has the proposal that is complete now judged in its turn.
    async fn queue_up(&mut self, body: Body) -> Result<(), Closed> {
        let Some(Assembling { propose, begun_at, .. }) = self.assembling.take() else {
            return Ok(());
        };
        self.service.metrics.waiting.inc();
        let proposal = Proposal { propose, body, begun_at, complete_at: Instant::now() };
        for evicted in self.queue.push(proposal) {
            self.service.metrics.waiting.dec();
            self.answer(Judged::outright(evicted.propose, judge::pushed_out())).await?;
        }
        // At once, not after the lines still in the buffer.
        self.judge_next().await
    }

    /// One proposal for a tip is judged at a time, so that a newer tip can overtake: it does not
    /// even wait until the node has said something about the older one.
    async fn judge_next(&mut self) -> Result<(), Closed> {
        let deadline = self.service.proposal_deadline;
        for late in self.queue.take_overdue(Instant::now(), deadline) {
            self.service.metrics.waiting.dec();
            self.answer(Judged::outright(late.propose, judge::too_late(deadline))).await?;
        }
        let Some(tip) = self.queue.newest_tip() else { return Ok(()) };
        let tip_is_judged = self.judging.iter().any(|judging| judging.prev_hash == tip);
        if tip_is_judged || self.judging.len() >= MAX_JUDGING {
            return Ok(());
        }
        if let Some(proposal) = self.queue.pop() {
            self.service.metrics.waiting.dec();
            let prev_hash = proposal.propose.prev_hash.clone();
            let judgement = Box::pin(Arc::clone(&self.service).judge(proposal));
            self.judging.push(Judging { prev_hash, judgement });
        }
        Ok(())
    }

    async fn conclude(&mut self, judgement: Judgement) -> Result<(), Closed> {
        match judgement {
            Judgement::Verdict(judged) => self.answer(*judged).await,
            Judgement::Need(need) => self.send(&Message::TxNeed(need)).await,
        }
    }

    async fn answer(&mut self, judged: Judged) -> Result<(), Closed> {
        let given_way = self.service.record(&judged);
        let sent = self.send(&Message::TemplateVerdict(judged.verdict)).await;
        drop(given_way);
        sent
    }

    async fn send(&mut self, message: &Message) -> Result<(), Closed> {
        let line = encode(message);
        let sent = timeout(WRITE_TIMEOUT, async {
            self.write.write_all(&line).await?;
            self.write.flush().await
        });
        let sent = sent.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        Ok(sent?)
    }
}

/// Resolves at that moment; never where there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The first of the judgements under way that is there; never while there is none.
async fn finished(under_way: &mut Vec<Judging>) -> Judgement {
    poll_fn(|context| {
        let first = under_way.iter_mut().enumerate().find_map(|(place, judging)| {
            match judging.judgement.as_mut().poll(context) {
                Poll::Ready(judgement) => Some((place, judgement)),
                Poll::Pending => None,
            }
        });
        let Some((place, judgement)) = first else { return Poll::Pending };
        under_way.remove(place);
        Poll::Ready(judgement)
    })
    .await
}
