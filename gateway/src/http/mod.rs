//! What the gateway serves over HTTP.

pub mod events;
mod guard;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use platform::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use self::events::{EventArchive, EventFeed};
use self::guard::Guard;
use crate::reload::ReloadRequest;
use crate::status::Status;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the endpoints show and do.
pub(crate) struct Api {
    pub(crate) status: Status,
    pub(crate) feed: Arc<EventFeed>,
    pub(crate) archive: EventArchive,
    /// Cancelled by `POST /api/v1/drain`.
    pub(crate) drain: Shutdown,
    /// To whoever reads the configuration again.
    pub(crate) reloads: mpsc::Sender<ReloadRequest>,
}

/// Every endpoint. The probes are open to everyone, the rest is behind the guard.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let guard = Arc::new(Guard::new(api.status.live.clone()));
    let guarded = Router::new()
        .route("/gateway/events", get(gateway_events))
        .route("/api/v1/status", get(status))
        .route("/api/v1/prevhash", get(prevhash))
        .route("/api/v1/config", get(config))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/drain", post(drain))
        .layer(middleware::from_fn_with_state(guard, guard::check));
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .with_state(api)
}

/// Whether the process lives.
async fn health() -> Response {
    json(StatusCode::OK, r#"{"status":"ok"}"#.to_owned())
}

/// Whether miners are served as they should be; 503 lists what is missing.
async fn ready(State(api): State<Arc<Api>>) -> Response {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
        missing: Vec<&'static str>,
    }
    let missing = api.status.missing();
    let ready = missing.is_empty();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(code, encode(&Ready { ready, missing }))
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    api.status.refresh_gauges();
    ([(header::CONTENT_TYPE, OPEN_METRICS)], api.status.metrics.encode()).into_response()
}

async fn status(State(api): State<Arc<Api>>) -> Response {
    json(StatusCode::OK, api.status.report())
}

/// The last changes of tip with their stage times, newest first.
async fn prevhash(State(api): State<Arc<Api>>) -> Response {
    let switches = api.status.recorder.switches().join(",");
    json(StatusCode::OK, format!(r#"{{"switches":[{switches}]}}"#))
}

/// The effective configuration, secrets redacted.
async fn config(State(api): State<Arc<Api>>) -> Response {
    #[derive(Serialize)]
    struct Shown<'a> {
        key: &'a str,
        value: &'a str,
        origin: &'static str,
    }
    let config = api.status.live.now();
    let settings: Vec<Shown> = config
        .settings()
        .iter()
        .map(|setting| Shown {
            key: &setting.key,
            value: &setting.value,
            origin: setting.origin.as_str(),
        })
        .collect();
    json(StatusCode::OK, format!(r#"{{"settings":{}}}"#, encode(&settings)))
}

/// Reads the configuration again: 200 with what changed, or 422 with every problem of it.
async fn reload(State(api): State<Arc<Api>>) -> Response {
    let (request, outcome) = oneshot::channel();
    let ended = || error(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending");
    if api.reloads.send(request).await.is_err() {
        return ended();
    }
    let Ok(outcome) = outcome.await else { return ended() };
    let code = if outcome.applied { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    json(code, encode(&outcome))
}

/// Begins a drain; the answer comes before its end.
async fn drain(State(api): State<Arc<Api>>) -> Response {
    tracing::warn!("drain asked for over HTTP");
    api.status.draining.store(true, Ordering::Relaxed);
    api.drain.cancel();
    json(StatusCode::ACCEPTED, r#"{"draining":true}"#.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    since: Option<u64>,
}

/// The event stream, from `since` (the last `seq` the reader has) or from now.
async fn gateway_events(State(api): State<Arc<Api>>, Query(query): Query<EventsQuery>) -> Response {
    let Some(subscription) = api.feed.subscribe(query.since, api.archive.clone()) else {
        let problem = "every place is taken (limits.max_event_subscribers)";
        return error(StatusCode::SERVICE_UNAVAILABLE, problem);
    };
    let lines = futures_util::stream::unfold(subscription, |mut subscription| async move {
        let lines = subscription.next_lines().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(lines), subscription))
    });
    let headers = [(header::CONTENT_TYPE, NDJSON), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}

fn json(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

fn error(code: StatusCode, problem: &str) -> Response {
    #[derive(Serialize)]
    struct Problem<'a> {
        error: &'a str,
    }
    json(code, encode(&Problem { error: problem }))
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers always encode")
}
