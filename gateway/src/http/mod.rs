//! What the gateway serves over HTTP.

mod answer;
mod api;
mod endpoints;
pub mod events;
mod export;
pub(crate) mod guard;
pub mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use platform::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use self::answer::{JSON, Parameters, encode, error, json};
use self::endpoints::{ENDPOINTS, Operation};
use self::events::{EventArchive, EventFeed};
use self::guard::Guard;
use crate::reload::ReloadRequest;
use crate::status::Status;

const NDJSON: &str = "application/x-ndjson";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the endpoints show and do.
pub(crate) struct Api {
    pub(crate) status: Status,
    pub(crate) feed: Arc<EventFeed>,
    pub(crate) archive: EventArchive,
    /// Places for exports.
    pub(crate) exports: Arc<Semaphore>,
    /// Cancelled by `POST /api/v1/drain`.
    pub(crate) drain: Shutdown,
    /// To whoever reads the configuration again.
    pub(crate) reloads: mpsc::Sender<ReloadRequest>,
}

/// Every endpoint of the table. The probes are open to everyone, the rest is behind the guard.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let guard = Arc::new(Guard::new(api.status.live.clone()));
    let (mut probes, mut guarded) = (Router::new(), Router::new());
    for endpoint in ENDPOINTS {
        let router = if endpoint.is_probe { &mut probes } else { &mut guarded };
        *router = std::mem::take(router).route(endpoint.path, handler(endpoint.operation));
    }
    guarded
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .merge(probes)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

fn handler(operation: Operation) -> MethodRouter<Arc<Api>> {
    match operation {
        Operation::Health => get(health),
        Operation::Ready => get(ready),
        Operation::Metrics => get(metrics),
        Operation::Events => get(gateway_events),
        Operation::Status => get(api::status),
        Operation::Channels => get(api::channels),
        Operation::Workers => get(api::workers),
        Operation::SharesCsv => get(export::shares),
        Operation::Prevhash => get(api::prevhash),
        Operation::Templates => get(api::templates),
        Operation::Config => get(api::config),
        Operation::Reload => post(api::reload),
        Operation::Drain => post(api::drain),
        Operation::OpenApi => get(open_api),
    }
}

async fn unknown_path(request: Request) -> Response {
    let problem = format!("{} is not served; see /openapi.json", request.uri().path());
    error(StatusCode::NOT_FOUND, &problem)
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let problem = format!("{path} does not take {method}; see /openapi.json");
    error(StatusCode::METHOD_NOT_ALLOWED, &problem)
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

async fn open_api() -> Response {
    ([(header::CONTENT_TYPE, JSON)], openapi::document()).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    since: Option<u64>,
}

/// The event stream, from `since` (the last `seq` the reader has) or from now.
async fn gateway_events(
    State(api): State<Arc<Api>>,
    Parameters(query): Parameters<EventsQuery>,
) -> Response {
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
