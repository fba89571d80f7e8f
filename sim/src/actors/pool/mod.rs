//! A pool backend: checks each request's signature as a real one would, re-hashes each share
//! alone from what the request carries, and credits it once.

mod check;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use platform::Env;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::watch;

use self::check::{Job, Share};
use super::observe::{PoolSeen, Recorder, Seen};
use crate::scenario::PoolMode;

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 16 << 20;
/// How long a slow pool takes.
const SLOW: Duration = Duration::from_millis(1_500);
/// How long each half of a trickling answer takes.
const SLOW_PIECE: Duration = Duration::from_millis(500);
/// What a pool that has too many requests tells to wait, in seconds.
const RETRY_AFTER_SECS: &str = "1";
/// How many requests a flapping pool refuses, and then serves, in turn.
const FLAPPING_RUN: u64 = 3;

/// What a pool backend is told to be.
#[derive(Clone)]
pub struct PoolConfig {
    /// Where it listens.
    pub listen: String,
    /// What requests are signed with.
    pub secret: SecretString,
    /// How it answers; the driver changes it.
    pub mode: watch::Receiver<PoolMode>,
}

/// What a pool remembers; it outlives the process.
#[derive(Clone, Default)]
pub struct Ledger {
    credited: Arc<Mutex<BTreeSet<String>>>,
}

/// Serves until the future is dropped.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(
    env: Env,
    config: PoolConfig,
    ledger: Ledger,
    recorder: Recorder,
) -> io::Result<()> {
    let mut mode = config.mode.clone();
    let listen = config.listen.clone();
    let requests = Arc::default();
    let pool = Pool { env: env.clone(), config, ledger, recorder, requests };
    let router = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/shares", get(|| async { "ok" }))
        .route("/shares", post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(pool);
    loop {
        wait_for(&mut mode, |mode| mode != PoolMode::Down).await;
        let listener = env.net.listen(&listen).await?;
        tokio::select! {
            biased;
            () = wait_for(&mut mode, |mode| mode == PoolMode::Down) => {}
            () = platform::serve::serve(listener, router.clone(), env.tasks.clone()) => {}
        }
    }
}

/// Waits until the mode is so; for ever when its driver is gone.
async fn wait_for(mode: &mut watch::Receiver<PoolMode>, so: impl Fn(PoolMode) -> bool) {
    if mode.wait_for(|mode| so(*mode)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[derive(Clone)]
struct Pool {
    env: Env,
    config: PoolConfig,
    ledger: Ledger,
    recorder: Recorder,
    requests: Arc<Mutex<u64>>,
}

/// The body of a request (contract section 8).
#[derive(Deserialize)]
struct Batch {
    shares: Vec<Share>,
    jobs: BTreeMap<String, Job>,
}

async fn take(State(pool): State<Pool>, headers: HeaderMap, body: Bytes) -> Response {
    let mode = *pool.config.mode.borrow();
    if mode == PoolMode::Slow {
        tokio::time::sleep(SLOW).await;
    }
    let now_ms = pool.env.wall.unix_ms();
    let batch = serde_json::from_slice::<Batch>(&body);
    let signature = check::signature(&headers, &body, &pool.config.secret, now_ms).and_then(|()| {
        let batch = batch.as_ref().map_err(|error| format!("the body is not a batch: {error}"))?;
        check::idempotency_key(&headers, batch.shares.iter().map(|share| share.share_id.as_str()))
    });
    let shares = batch.as_ref().map_or(0, |batch| batch.shares.len());
    let status = pool.status(mode, signature.is_ok());
    let seen = PoolSeen::Request { signature, status: status.as_u16(), shares };
    pool.recorder.record(Seen::Pool(seen));
    match batch {
        Ok(batch) if status == StatusCode::OK => {
            let results: Vec<_> =
                batch.shares.iter().map(|share| pool.judge(mode, share, &batch.jobs)).collect();
            spoken(mode, json!({ "results": results }).to_string())
        }
        _ => {
            let error = axum::Json(json!({ "error": status.as_str() }));
            let wait = (mode == PoolMode::TooMany).then_some([(RETRY_AFTER, RETRY_AFTER_SECS)]);
            (status, wait.map(AppendHeaders), error).into_response()
        }
    }
}

/// An answer as the mode speaks it: whole, in slow pieces, or only its first half.
fn spoken(mode: PoolMode, answer: String) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    let half = answer.len() / 2;
    match mode {
        PoolMode::Truncated => (json, answer[..half].to_owned()).into_response(),
        PoolMode::SlowBody => {
            let pieces = [answer[..half].to_owned(), answer[half..].to_owned()];
            let pieces = futures_util::stream::iter(pieces).then(|piece| async move {
                tokio::time::sleep(SLOW_PIECE).await;
                Ok::<_, Infallible>(piece)
            });
            (json, Body::from_stream(pieces)).into_response()
        }
        _ => (json, answer).into_response(),
    }
}

impl Pool {
    fn status(&self, mode: PoolMode, signed: bool) -> StatusCode {
        if !signed || mode == PoolMode::WrongSecret {
            return StatusCode::UNAUTHORIZED;
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = *requests;
        *requests += 1;
        match mode {
            PoolMode::ServerError => StatusCode::SERVICE_UNAVAILABLE,
            PoolMode::TooMany => StatusCode::TOO_MANY_REQUESTS,
            PoolMode::Flapping if (turn / FLAPPING_RUN).is_multiple_of(2) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::OK,
        }
    }

    /// The result for one share.
    fn judge(
        &self,
        mode: PoolMode,
        share: &Share,
        jobs: &BTreeMap<String, Job>,
    ) -> serde_json::Value {
        let job = jobs.get(&share.job_ref);
        let check = match job {
            None => Err(format!("job {} is not in the batch", share.job_ref)),
            Some(job) => share.check(job),
        };
        let accepted = check.is_ok() && mode != PoolMode::Reject;
        let mut credits = self.ledger.credited.lock().unwrap_or_else(PoisonError::into_inner);
        let credited = accepted && credits.insert(share.share_id.clone());
        let error = match (&check, accepted) {
            (Err(why), _) => Some(why.clone()),
            (Ok(()), false) => Some("not accepted here".to_owned()),
            (Ok(()), true) => None,
        };
        self.recorder.record(Seen::Pool(PoolSeen::Share {
            share_id: share.share_id.clone(),
            event_id: share.event_id.clone(),
            check,
            credited,
            work_id: job.map(Job::work_id).unwrap_or_default(),
            pays: job.and_then(|job| share.pays(job)).unwrap_or_default(),
        }));
        json!({ "share_id": share.share_id, "accepted": accepted, "error": error })
    }
}
