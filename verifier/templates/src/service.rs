//! The HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use platform::{Shutdown, Tasks};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::blocks;
use crate::config::Setting;
use crate::metrics::Metrics;
use crate::source::Node;
use crate::store::{Announced, Store};
use crate::wire::{BlockSubmission, ErrorBody, TemplateId};

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
    pub(crate) settings: Vec<Setting>,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) shutdown: Shutdown,
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    let guarded = Router::new()
        .route("/template", get(template))
        .route("/block", post(block).layer(DefaultBodyLimit::max(MAX_BLOCK_BODY_BYTES)))
        .route("/mempool", get(mempool))
        .route("/settings", get(settings))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), require_key));
    Router::new()
        .merge(guarded)
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is no such path"))
        .with_state(service)
}

async fn require_key(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = &service.api_key else { return next.run(request).await };
    let given = headers.get("x-api-key").map_or(&[][..], HeaderValue::as_bytes);
    if bool::from(key.expose_secret().as_bytes().ct_eq(given)) {
        return next.run(request).await;
    }
    error(StatusCode::UNAUTHORIZED, "X-API-Key is missing or wrong")
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
    if query.after.is_some() && !is_new(&templates.borrow()) {
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
    match service.store.current() {
        None => error(StatusCode::SERVICE_UNAVAILABLE, &missing(&service).join("; ")),
        Some(current) if Some(current.answer.template_id) == query.after => {
            StatusCode::NO_CONTENT.into_response()
        }
        Some(current) => {
            let body = Body::from(current.body.clone());
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
    }
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
    let settings: serde_json::Map<String, Value> = service
        .settings
        .iter()
        .map(|setting| {
            (setting.key.clone(), json!({ "value": setting.value, "from": setting.origin }))
        })
        .collect();
    Json(settings).into_response()
}

async fn ready(State(service): State<Arc<Service>>) -> Response {
    let missing = missing(&service);
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let nodes: Vec<Value> = service
        .store
        .health()
        .into_iter()
        .map(|node| json!({ "node": node.name, "error": node.error }))
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
        Some(current) if !service.store.is_fresh() => missing.push(format!(
            "no node has confirmed the template for {} s",
            (Instant::now() - current.observed).as_secs()
        )),
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
    (status, Json(ErrorBody { error: message.to_owned() })).into_response()
}
