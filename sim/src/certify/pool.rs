//! A pool backend that takes every share. It checks nothing, so that its work is not charged to
//! the gateway beside it; the walk and the scenarios have one that checks everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use platform::Env;
use serde::{Deserialize, Serialize};

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 16 << 20;

/// How many shares came.
pub(super) type Taken = Arc<AtomicU64>;

/// Serves `listen` until the future is dropped.
///
/// # Errors
/// When it cannot listen.
pub(super) async fn serve(env: Env, listen: String, taken: Taken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/shares", get(|| async { "ok" }))
        .route("/shares", post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(taken);
    let listener = env.net.listen(&listen).await?;
    platform::serve::serve(listener, router, env.tasks.clone()).await;
    Ok(())
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    shares: Vec<Share<'a>>,
}

#[derive(Deserialize)]
struct Share<'a> {
    share_id: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<TakenShare<'a>>,
}

#[derive(Serialize)]
struct TakenShare<'a> {
    share_id: &'a str,
    accepted: bool,
    error: Option<&'a str>,
}

async fn take(State(taken): State<Taken>, body: Bytes) -> Response {
    let batch: Batch<'_> = match serde_json::from_slice(&body) {
        Ok(batch) => batch,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    taken.fetch_add(batch.shares.len() as u64, Ordering::Relaxed);
    let results = batch
        .shares
        .iter()
        .map(|share| TakenShare { share_id: share.share_id, accepted: true, error: None })
        .collect();
    axum::Json(Answer { results }).into_response()
}
