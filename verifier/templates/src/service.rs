//! The HTTP interface.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use platform::{Shutdown, Tasks};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::blocks;
use crate::config::{Origin, Setting};
use crate::endpoints;
use crate::metrics::Metrics;
use crate::pace::{POLL_INTERVAL_MS, Pace, REFRESH_INTERVAL_MS};
use crate::source::Node;
use crate::store::{Announced, Confirmed, Store};
use crate::wire::{BlockSubmission, CONFIRMED_AGO_HEADER, ErrorBody, TemplateId};

/// The longest a client may wait for a template.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The hex of the largest block (4 000 000 bytes) and the JSON around it.
const MAX_BLOCK_BODY_BYTES: usize = 8_000_000 + 4096;

/// What the handlers share.
pub(crate) struct Service {
    pub(crate) store: Arc<Store>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: Tasks,
    pub(crate) pace: Arc<Pace>,
    pub(crate) settings: Mutex<Vec<Setting>>,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) on_loopback: bool,
    pub(crate) shutdown: Shutdown,
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    let guarded = Router::new()
        .route("/template", get(template))
        .route("/block", post(block).layer(DefaultBodyLimit::max(MAX_BLOCK_BODY_BYTES)))
        .route("/mempool", get(mempool))
        .route("/notify", post(notify))
        .route("/settings", get(settings).put(change_settings))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), require_key));
    Router::new()
        .merge(guarded)
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || Json(endpoints::document())))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is no such path"))
        .with_state(service)
}

async fn require_key(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let (key, method) = (service.api_key.as_ref(), request.method());
    match platform::api_key::objection(key, service.on_loopback, method, request.headers()) {
        Some((status, problem)) => error(status, problem),
        None => next.run(request).await,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateQuery {
    after: Option<TemplateId>,
    #[serde(default)]
    wait_ms: u64,
}

async fn template(
    State(service): State<Arc<Service>>,
    Query(query): Query<TemplateQuery>,
) -> Response {
    let mut templates = service.store.subscribe();
    let is_new = |current: &Option<Arc<Announced>>| {
        current.as_ref().is_some_and(|current| Some(current.answer.template_id) != query.after)
    };
    if query.after.is_some() && !is_new(&templates.borrow()) && service.store.is_fresh() {
        let wait = Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        let _waiter = Waiter::new(&service.metrics);
        tokio::select! {
            biased;
            () = service.shutdown.cancelled() => {
                return error(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
            }
            _ = templates.wait_for(is_new) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    let confirmed = service.store.confirmed();
    match (service.store.current(), confirmed) {
        (Some(current), Some(confirmed)) if service.store.is_fresh() => {
            let ago = HeaderValue::from(confirmed.ago.as_millis() as u64);
            let ago = [(CONFIRMED_AGO_HEADER, ago)];
            if Some(current.answer.template_id) == query.after {
                return (StatusCode::NO_CONTENT, ago).into_response();
            }
            let body = Body::from(current.body.clone());
            (ago, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        _ => no_template(&service, confirmed),
    }
}

/// Why there is no template to be relied on, and since when.
fn no_template(service: &Service, confirmed: Option<Confirmed>) -> Response {
    let body = ErrorBody {
        error: missing(service).join("; "),
        age_ms: confirmed.map(|confirmed| confirmed.ago.as_millis() as u64),
        confirmed_at_ms: confirmed.map(|confirmed| confirmed.at_ms),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// The node behind the caller has a new tip: `-blocknotify` calls this. Every node is asked for a
/// template at once.
async fn notify(State(service): State<Arc<Service>>) -> Response {
    service.pace.call();
    (StatusCode::ACCEPTED, Json(json!({ "nodes_asked": service.nodes.len() }))).into_response()
}

/// Counts one waiting client for as long as it lives.
struct Waiter<'a>(&'a Metrics);

impl<'a> Waiter<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.waiters.inc();
        Self(metrics)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiters.dec();
    }
}

async fn block(
    State(service): State<Arc<Service>>,
    body: Result<Json<BlockSubmission>, JsonRejection>,
) -> Response {
    let block = match body {
        Ok(Json(block)) => block,
        Err(rejection) => return error(rejection.status(), &rejection.body_text()),
    };
    if block.block.len() < 160 || !const_hex::check_raw(&block.block) {
        return error(StatusCode::BAD_REQUEST, "block: is no hex of a serialized block");
    }
    Json(blocks::submit(&service.nodes, &service.tasks, &block).await).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MempoolQuery {
    #[serde(default)]
    txids: bool,
}

/// The mempool of the node whose template is current.
async fn mempool(
    State(service): State<Arc<Service>>,
    Query(query): Query<MempoolQuery>,
) -> Response {
    let source = service.store.current().map(|current| current.answer.source.clone());
    let Some(node) = service.nodes.iter().find(|node| Some(&node.name) == source.as_ref()) else {
        return error(StatusCode::SERVICE_UNAVAILABLE, &missing(&service).join("; "));
    };
    let info = match node.mempool().await {
        Ok(info) => info,
        Err(problem) => {
            return error(StatusCode::BAD_GATEWAY, &format!("{}: {problem}", node.name));
        }
    };
    let mut answer = json!({
        "source": node.name,
        "observed_at_ms": service.store.unix_ms(),
        "tx": info.size,
        "bytes": info.bytes,
    });
    if query.txids {
        let txids = node.call("getrawmempool", &json!([false])).await;
        let txids = txids.map_err(|problem| problem.to_string()).and_then(|result| {
            serde_json::from_slice::<Value>(&result).map_err(|problem| problem.to_string())
        });
        match txids {
            Ok(txids) => answer["txids"] = txids,
            Err(problem) => {
                return error(StatusCode::BAD_GATEWAY, &format!("{}: {problem}", node.name));
            }
        }
    }
    Json(answer).into_response()
}

async fn settings(State(service): State<Arc<Service>>) -> Response {
    let settings = service.settings.lock().unwrap_or_else(PoisonError::into_inner);
    let settings: serde_json::Map<String, Value> = settings
        .iter()
        .map(|setting| {
            (setting.key.clone(), json!({ "value": setting.value, "from": setting.origin }))
        })
        .collect();
    Json(settings).into_response()
}

/// What may be changed while the program runs; the rest takes a restart.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    poll_interval_ms: Option<u64>,
    refresh_interval_ms: Option<u64>,
}

/// Settings are changed by whoever has the key, on loopback too.
async fn change_settings(
    State(service): State<Arc<Service>>,
    body: Result<Json<Change>, JsonRejection>,
) -> Response {
    if service.api_key.is_none() {
        return error(StatusCode::FORBIDDEN, "set http_api_key: settings change with a key only");
    }
    let change = match body {
        Ok(Json(change)) => change,
        Err(rejection) => return error(rejection.status(), &rejection.body_text()),
    };
    let wanted = [
        ("poll_interval_ms", change.poll_interval_ms, POLL_INTERVAL_MS),
        ("refresh_interval_ms", change.refresh_interval_ms, REFRESH_INTERVAL_MS),
    ];
    for (key, value, range) in &wanted {
        if value.is_some_and(|value| !range.contains(&value)) {
            let (least, most) = (range.start(), range.end());
            let text = format!("{key}: must be from {least} to {most}");
            return error(StatusCode::UNPROCESSABLE_ENTITY, &text);
        }
    }
    service.pace.change(|intervals| {
        let set = |of: &mut Duration, to: Option<u64>| *of = to.map_or(*of, Duration::from_millis);
        set(&mut intervals.poll, change.poll_interval_ms);
        set(&mut intervals.refresh, change.refresh_interval_ms);
    });
    show_changed(&service, wanted.into_iter().filter_map(|(key, value, _)| Some((key, value?))));
    settings(State(service)).await
}

fn show_changed(service: &Service, changes: impl Iterator<Item = (&'static str, u64)>) {
    let mut settings = service.settings.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, value) in changes {
        tracing::info!(key, value, "setting changed over HTTP");
        for setting in settings.iter_mut().filter(|setting| setting.key == key) {
            (setting.value, setting.origin) = (value.to_string(), Origin::Api);
        }
    }
}

async fn ready(State(service): State<Arc<Service>>) -> Response {
    let missing = missing(&service);
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let nodes: Vec<Value> = service
        .store
        .health()
        .into_iter()
        .map(|node| {
            json!({
                "node": node.name,
                "error": node.error,
                "answered_ago_ms": node.answered_ago.map(|ago| ago.as_millis() as u64),
                "tip_lag_ms": node.tip_lag.as_millis() as u64,
            })
        })
        .collect();
    (status, Json(json!({ "ready": missing.is_empty(), "missing": missing, "nodes": nodes })))
        .into_response()
}

/// Why no template that can be relied on is there; empty when one is.
fn missing(service: &Service) -> Vec<String> {
    let health = service.store.health();
    let mut missing = Vec::new();
    if service.shutdown.is_cancelled() {
        missing.push("shutting down".to_owned());
    }
    match service.store.current() {
        None => missing.push("no node has given a template yet".to_owned()),
        Some(current) if !service.store.is_fresh() => {
            let confirmed = service.store.confirmed();
            let ago =
                confirmed.map_or_else(|| current.observed.elapsed(), |confirmed| confirmed.ago);
            let ago = ago.as_secs();
            missing.push(format!("no node has confirmed the template for {ago} s"));
        }
        Some(_) => {}
    }
    if !missing.is_empty() || health.iter().all(|node| node.error.is_some()) {
        missing.extend(
            health
                .iter()
                .filter_map(|node| Some(format!("{}: {}", node.name, node.error.as_ref()?))),
        );
    }
    missing
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let age = service.store.current().map(|current| current.observed.elapsed());
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], service.metrics.encode(age)).into_response()
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(ErrorBody::new(message))).into_response()
}
