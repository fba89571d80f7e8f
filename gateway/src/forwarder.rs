//! Logged shares on their way to the pool: the task around the core's forward queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use gateway_core::event::ShareForwardResult;
use gateway_core::forward::{Answer, Batch, ForwardQueue, ForwardShare, Input, Output};
use gateway_core::ids::BatchId;
use http::{Method, Request};
use http_body_util::Full;
use platform::http_client::HttpClient;
use platform::{Shutdown, Tasks};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{mpsc, watch};

use crate::app::settings::forward_settings;
use crate::clock::Clock;
use crate::config::ShareConfig;
use crate::encoding::{encode_batch, parse_pool_answer};
use crate::limits::{FORWARD_WAITING_SHARES, POOL_ANSWER_BYTES};
use crate::live::Live;
use crate::recorder::Recorder;

/// Drives the queue, sends what it wants sent, and logs each share's result.
pub(crate) struct Forwarder {
    pub(crate) queue: ForwardQueue,
    pub(crate) live: Live,
    pub(crate) pool: Arc<Pool>,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Clock,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) level: watch::Sender<ForwardLevel>,
    /// Shares of an earlier life, taken in as the queue has room.
    pub(crate) backlog: VecDeque<Arc<ForwardShare>>,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardLevel {
    /// Shares that wait to be sent.
    pub(crate) queued: usize,
    /// Posts under way, those waiting for a retry among them.
    pub(crate) in_flight: usize,
}

impl ForwardLevel {
    /// Whether no share waits for its result.
    pub(crate) fn is_idle(self) -> bool {
        self == Self::default()
    }
}

impl Forwarder {
    /// Runs until every way into `inbox` is gone and each share has its result, or until
    /// `give_up`: the shares without a result are then in the log and sent by the next life.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Arc<ForwardShare>>,
        drain: Shutdown,
        give_up: Shutdown,
    ) {
        let (answered, mut answers) = mpsc::channel(64);
        let (mut open, mut draining) = (true, false);
        let mut shares = Vec::new();
        let mut changes = self.live.follow();
        loop {
            self.take_backlog();
            self.act(&answered).await;
            if !open && self.queue.is_empty() && self.backlog.is_empty() {
                return;
            }
            let input = tokio::select! {
                biased;
                () = give_up.cancelled() => return,
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    Input::Drain
                }
                Some((batch_id, answer)) = answers.recv() => Input::Answer { batch_id, answer },
                received = inbox.recv_many(&mut shares, FORWARD_WAITING_SHARES), if open => {
                    open = received > 0;
                    let now = self.clock.now();
                    shares.drain(..).for_each(|share| self.queue.handle(Input::Share(share), now));
                    continue;
                }
                config = changes.next() => {
                    let http = self.pool.http.with_trust(config.gateway.https_trust.clone());
                    self.pool = Arc::new(Pool::new(http, &config.share));
                    Input::Settings(forward_settings(&config.share))
                }
                () = self.clock.until(self.queue.next_deadline()) => Input::Tick,
            };
            self.queue.handle(input, self.clock.now());
        }
    }

    fn take_backlog(&mut self) {
        let queue_size = self.live.now().share.queue_size;
        while self.queue.queued() < queue_size
            && let Some(share) = self.backlog.pop_front()
        {
            self.queue.handle(Input::Share(share), self.clock.now());
        }
    }

    async fn act(&mut self, answered: &mpsc::Sender<(BatchId, Answer)>) {
        let mut results: Vec<ShareForwardResult> = Vec::new();
        while let Some(output) = self.queue.poll() {
            match output {
                Output::Post(batch) => self.post(batch, answered.clone()),
                Output::Result(result) => results.push(result),
                other => tracing::warn!(?other, "the queue asked for something unknown"),
            }
        }
        if !results.is_empty() {
            let records = results.into_iter().map(|result| self.recorder.result(result)).collect();
            // Nobody waits for a result to be safe: without it the share is sent again, which the
            // pool knows by its idempotency key.
            drop(self.recorder.record(records).await);
        }
        let queued = self.queue.queued() + self.backlog.len();
        self.level.send_replace(ForwardLevel { queued, in_flight: self.queue.in_flight() });
    }

    fn post(&self, batch: Batch, answered: mpsc::Sender<(BatchId, Answer)>) {
        let (pool, now_ms) = (Arc::clone(&self.pool), self.clock.now().unix_ms);
        drop(self.tasks.spawn("share_post", async move {
            let answer = pool.post(&batch, now_ms).await;
            // A forwarder that gave up no longer wants it.
            let _ = answered.send((batch.batch_id, answer)).await;
        }));
    }
}

/// The pool's endpoint.
pub(crate) struct Pool {
    http: HttpClient,
    url: String,
    secret: SecretString,
    timeout: Duration,
}

impl Pool {
    pub(crate) fn new(http: HttpClient, share: &ShareConfig) -> Self {
        Self {
            http,
            url: share.upstream_url.clone(),
            secret: share.upstream_secret.clone(),
            timeout: share.submit_timeout,
        }
    }

    #[cfg(test)]
    pub(crate) fn described(&self) -> String {
        format!("{} {:?} {}", self.url, self.timeout, sign(&self.secret, 7, b"body"))
    }

    async fn post(&self, batch: &Batch, now_ms: u64) -> Answer {
        let body = encode_batch(batch);
        mutant::bug!(SecretLogged, tracing::info!("signed with {}", self.secret.expose_secret()));
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("X-Timestamp", now_ms)
            .header("X-Signature", sign(&self.secret, now_ms, &body))
            .header("Idempotency-Key", batch.idempotency_key())
            .body(Full::new(Bytes::from(body)));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::Transport(format!("share_upstream_url: {error}")),
        };
        let answer = match self.http.send(request, self.timeout, POOL_ANSWER_BYTES).await {
            Ok(answer) => answer,
            Err(error) => return Answer::Transport(error.to_string()),
        };
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(http::header::RETRY_AFTER);
        let retry_after_secs =
            retry_after.and_then(|value| retry_after_secs(value.to_str().ok()?.trim(), now_ms));
        if status == 200 {
            return match parse_pool_answer(answer.body()) {
                Ok(results) => Answer::Results(results),
                Err(detail) => Answer::Status { status, retry_after_secs, detail },
            };
        }
        Answer::Status { status, retry_after_secs, detail: excerpt(answer.body()) }
    }
}

/// The wait that a pool asks for: a number of seconds, or the date until when (RFC 9110, section
/// 10.2.3). A date is read by the clock of the machine, so a clock that is wrong makes it a longer
/// or a shorter wait; the queue bounds both.
fn retry_after_secs(value: &str, now_ms: u64) -> Option<u64> {
    value.parse().ok().or_else(|| {
        let until = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(until.saturating_sub(Duration::from_millis(now_ms)).as_secs_f64().ceil() as u64)
    })
}

/// The beginning of an answer, for people.
fn excerpt(body: &[u8]) -> String {
    const EXCERPT_BYTES: usize = 200;
    String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]).into_owned()
}

/// `sha256=` and the HMAC of `timestamp.body` in hex.
fn sign(secret: &SecretString, now_ms: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let signed_ms = mutant::pick!(SignatureOfOtherTime, now_ms + 1, now_ms);
    let mut context = hmac::Context::with_key(&key);
    context.update(signed_ms.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    format!("sha256={}", const_hex::encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::seconds("120", Some(120))]
    #[case::date("Sun, 06 Nov 1994 08:49:37 GMT", Some(7))]
    #[case::older_form_of_a_date("Sunday, 06-Nov-94 08:49:37 GMT", Some(7))]
    #[case::date_that_has_passed("Sun, 06 Nov 1994 08:49:00 GMT", Some(0))]
    #[case::nonsense("soon", None)]
    #[case::negative("-1", None)]
    fn a_pool_asks_for_a_wait_in_seconds_or_until_a_date(
        #[case] value: &str,
        #[case] expected: Option<u64>,
    ) {
        assert_eq!(retry_after_secs(value, 784_111_770_500), expected);
    }

    #[test]
    fn the_signature_is_what_other_tools_compute() {
        // printf '1700000000123.{"shares":[]}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            sign(&SecretString::from("secret"), 1_700_000_000_123, br#"{"shares":[]}"#),
            "sha256=b414d9d916ecea580b1b41f997aacf2831a9ec9bc057451b577243c960b0081c"
        );
    }
}
