//! Accepted shares on their way to the pool.
//!
//! Whatever happens on the way, each share that is put in comes out as exactly one
//! [`Output::Result`], unless the process ends first: then the log sends it again.

mod backoff;
mod io;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::backoff::Backoff;
pub use self::io::{Answer, Batch, DropPolicy, ForwardShare, Input, Output, Settings, ShareAnswer};
use crate::event::ShareForwardResult;
use crate::ids::BatchId;
use crate::limits::MAX_RETRY_AFTER_SECS;
use crate::moment::Moment;
use crate::reason::ReasonCode;

/// Gathers shares into batches, sends them, tries again, and gives up in good order. One for each
/// gateway.
///
/// At most `queue_size` shares wait and at most `max_in_flight` × `batch_max` are on their way. A
/// batch that waits for a retry keeps its place among those in flight, so that an unreachable pool
/// fills the queue and nothing else.
#[derive(Debug)]
pub struct ForwardQueue {
    settings: Settings,
    waiting: VecDeque<Waiting>,
    in_flight: BTreeMap<BatchId, InFlight>,
    next_batch: u64,
    draining: bool,
    backoff: Backoff,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Waiting {
    share: Arc<ForwardShare>,
    since: Duration,
}

#[derive(Debug)]
struct InFlight {
    shares: Vec<Arc<ForwardShare>>,
    attempt: u32,
    /// When to try again; absent while the pool has the request.
    retry_at: Option<Duration>,
}

/// What is known when a share reaches its end.
#[derive(Clone, Debug, Default)]
struct Ending {
    forwarded: bool,
    upstream_accepted: Option<bool>,
    status: Option<u16>,
    upstream_error: Option<String>,
    error_detail: Option<String>,
    reason_code: Option<ReasonCode>,
    attempts: u32,
}

impl ForwardQueue {
    /// An empty queue; `seed` spreads its retries.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            next_batch: 0,
            draining: false,
            backoff: Backoff::new(settings.backoff_base, settings.backoff_max, seed),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Drain [`poll`](Self::poll) after it.
    pub fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Share(share) => self.push(share, now),
            Input::Answer { batch_id, answer } => self.answer(batch_id, answer, now),
            Input::Settings(settings) => self.settings = settings,
            Input::Drain => self.draining = true,
            Input::Tick => {}
        }
        self.send_due(now);
    }

    /// The next thing to do, until there is nothing left.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send an [`Input::Tick`], on the clock of [`Moment::mono`].
    pub fn next_deadline(&self) -> Option<Duration> {
        let retry = self.in_flight.values().filter_map(|batch| batch.retry_at).min();
        let gather = self
            .waiting
            .front()
            .filter(|_| self.has_room())
            .map(|waiting| waiting.since + self.settings.batch_interval);
        [retry, gather].into_iter().flatten().min()
    }

    /// Shares that wait to be sent.
    pub fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// Batches sent and not yet done with.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether every share has its result.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    fn push(&mut self, share: Arc<ForwardShare>, now: Moment) {
        let size = mutant::pick!(QueueUnbounded, usize::MAX, self.settings.queue_size.max(1));
        if self.waiting.len() >= size {
            let policy = self.settings.drop_policy;
            let (loser, reason) = match mutant::pick!(DropOldInInline, DropPolicy::DropOld, policy)
            {
                DropPolicy::DropNew => (share, ReasonCode::ShareDroppedQueueFull),
                DropPolicy::DropOld => {
                    self.waiting.push_back(Waiting { share, since: now.mono });
                    let oldest = self.waiting.pop_front().expect("one was just put in");
                    (oldest.share, ReasonCode::ShareEvictedFromQueue)
                }
            };
            mutant::bug!(EvictedWithoutResult, return);
            let detail = format!("the queue holds {} shares", self.settings.queue_size);
            let ending = Ending {
                reason_code: Some(reason),
                error_detail: Some(detail),
                ..Ending::default()
            };
            return self.finish(&loser, ending, now);
        }
        self.waiting.push_back(Waiting { share, since: now.mono });
    }

    fn send_due(&mut self, now: Moment) {
        let due: Vec<BatchId> = self
            .in_flight
            .iter()
            .filter(|(_, batch)| batch.retry_at.is_some_and(|at| at <= now.mono))
            .map(|(id, _)| *id)
            .collect();
        for batch_id in due {
            let batch = self.in_flight.remove(&batch_id).expect("listed a moment ago");
            self.post(batch.shares, batch.attempt + 1);
        }
        while self.has_room() && self.batch_is_due(now) {
            let size = self.waiting.len().min(self.settings.batch_max.max(1));
            let shares = self.waiting.drain(..size).map(|waiting| waiting.share).collect();
            self.post(shares, 1);
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.settings.max_in_flight.max(1)
    }

    fn batch_is_due(&self, now: Moment) -> bool {
        self.waiting.front().is_some_and(|oldest| {
            self.draining
                || self.waiting.len() >= self.settings.batch_max
                || oldest.since + self.settings.batch_interval <= now.mono
        })
    }

    fn post(&mut self, shares: Vec<Arc<ForwardShare>>, attempt: u32) {
        self.next_batch += 1;
        let batch_id = BatchId(self.next_batch);
        let in_flight = InFlight { shares: shares.clone(), attempt, retry_at: None };
        self.in_flight.insert(batch_id, in_flight);
        self.outputs.push_back(Output::Post(Batch { batch_id, attempt, shares }));
    }

    fn answer(&mut self, batch_id: BatchId, answer: Answer, now: Moment) {
        // An answer to a request that is no longer open cannot end any share a second time.
        let is_open = self.in_flight.get(&batch_id).is_some_and(|batch| batch.retry_at.is_none());
        if !is_open {
            return;
        }
        let batch = self.in_flight.remove(&batch_id).expect("it is open");
        match answer {
            Answer::Results(results) => self.settle(batch_id, batch, results, now),
            Answer::Status { status, retry_after_secs, detail } => {
                let failure = Ending {
                    status: Some(status),
                    error_detail: Some(detail),
                    ..Ending::default()
                };
                if is_retriable(status) {
                    self.retry(batch_id, batch, retry_after_secs, failure, now);
                } else {
                    self.fail(&batch, failure, now);
                }
            }
            Answer::Transport(detail) => {
                mutant::bug!(ResultLost, return);
                let failure = Ending { error_detail: Some(detail), ..Ending::default() };
                self.retry(batch_id, batch, None, failure, now);
            }
        }
    }

    /// Ends every share that the pool answered for; the others go again.
    fn settle(
        &mut self,
        batch_id: BatchId,
        batch: InFlight,
        results: Vec<ShareAnswer>,
        now: Moment,
    ) {
        let mut answers = results;
        answers.sort_by_key(|answer| answer.share_id);
        let mut unanswered = Vec::new();
        for share in batch.shares {
            // Not removed: one id may stand for two submissions, where replays are not refused.
            // Where a pool contradicts itself its last word counts.
            let before = answers.partition_point(|answer| answer.share_id <= share.share_id);
            let last = answers[..before].last();
            let Some(answer) = last.filter(|answer| answer.share_id == share.share_id) else {
                unanswered.push(share);
                continue;
            };
            let rejected = (!answer.accepted).then_some(ReasonCode::ShareUpstreamRejected);
            let ending = Ending {
                forwarded: true,
                upstream_accepted: Some(answer.accepted),
                status: Some(200),
                upstream_error: answer.error.clone(),
                error_detail: None,
                reason_code: mutant::pick!(RejectionUnexplained, None, rejected),
                attempts: batch.attempt,
            };
            self.finish(&share, ending, now);
        }
        if !unanswered.is_empty() {
            let rest = InFlight { shares: unanswered, attempt: batch.attempt, retry_at: None };
            let failure = Ending {
                status: Some(200),
                error_detail: Some("the pool's answer does not name the share".to_owned()),
                ..Ending::default()
            };
            self.retry(batch_id, rest, None, failure, now);
        }
    }

    fn retry(
        &mut self,
        batch_id: BatchId,
        mut batch: InFlight,
        retry_after_secs: Option<u64>,
        failure: Ending,
        now: Moment,
    ) {
        if batch.attempt > self.settings.retries {
            return self.fail(&batch, failure, now);
        }
        mutant::bug!(DoubleForward, self.post(batch.shares.clone(), batch.attempt + 1));
        let asked = Duration::from_secs(retry_after_secs.unwrap_or(0).min(MAX_RETRY_AFTER_SECS));
        let wait = self.backoff.wait(batch.attempt).max(asked);
        batch.retry_at = Some(now.mono + wait);
        self.in_flight.insert(batch_id, batch);
    }

    fn fail(&mut self, batch: &InFlight, failure: Ending, now: Moment) {
        let ending = Ending {
            reason_code: Some(ReasonCode::ShareForwardFailed),
            attempts: batch.attempt,
            ..failure
        };
        for share in &batch.shares {
            self.finish(share, ending.clone(), now);
        }
    }

    fn finish(&mut self, share: &ForwardShare, ending: Ending, now: Moment) {
        self.outputs.push_back(Output::Result(ShareForwardResult {
            share_id: share.share_id,
            event_id: share.event_id,
            forwarded: ending.forwarded,
            upstream_accepted: ending.upstream_accepted,
            upstream_http_status: ending.status,
            upstream_error: ending.upstream_error,
            error_detail: ending.error_detail,
            reason_code: ending.reason_code,
            timestamp_ms: now.unix_ms,
            attempts: ending.attempts,
        }));
    }
}

/// Whether the same request may fare better later (408, 429 and 5xx; a 200 whose body could
/// not be read may have been counted, and the idempotency key makes sending it again safe).
fn is_retriable(status: u16) -> bool {
    matches!(status, 200 | 408 | 429 | 500..=599)
}
