//! What operators and probes are served.

mod endpoints;
mod guard;
mod policy;
mod verdicts;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use crate::service::Service;
use guard::Guard;

/// The routes. `on_loopback`: only this machine can reach them, so it takes no key to change
/// something unless one is configured.
pub(crate) fn router(service: Arc<Service>, on_loopback: bool) -> Router {
    let guard = Guard { key: service.http_api_key.clone(), on_loopback };
    let guarded = Router::new()
        .route("/status", get(status))
        .route("/api/v1/verdicts", get(verdicts::page))
        .route("/api/v1/stats", get(verdicts::stats))
        .route("/api/v1/template", get(verdicts::template))
        .route("/api/v1/policy", get(policy::show).put(policy::replace).post(policy::replace))
        .route("/api/v1/policy/versions", get(policy::versions))
        .route("/api/v1/policy/reload", post(policy::reload))
        .route("/api/v1/policy/dry-run", post(policy::dry_run))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check));
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || Json(endpoints::document())))
        .merge(guarded)
        .with_state(service)
}

async fn ready(State(service): State<Arc<Service>>) -> Response {
    let mut missing = Vec::new();
    match service.policies.current() {
        Ok(versioned) => missing.extend(service.ground.missing(&versioned.policy)),
        Err(problems) => missing.push(format!("policy: {problems}")),
    }
    if service.shutdown.is_cancelled() {
        missing.push("draining".to_owned());
    }
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": missing.is_empty(), "missing": missing}))).into_response()
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let policy = service.policies.current();
    let policy = policy.map(|versioned| versioned.policy.clone()).unwrap_or_default();
    service.metrics.mempool_view(service.ground.sight(&policy).state);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], service.metrics.render()).into_response()
}

async fn status(State(service): State<Arc<Service>>) -> Response {
    let current = service.policies.current();
    let policy = current.as_ref().map(|versioned| versioned.policy.clone()).unwrap_or_default();
    let sight = service.ground.sight(&policy);
    let now_ms = service.env.wall.unix_ms();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "protocol_version": verifier_protocol::PROTOCOL_VERSION,
        "started_at_ms": service.started_at_ms,
        "uptime_secs": now_ms.saturating_sub(service.started_at_ms) / 1000,
        "policy_hash": current.as_ref().ok().map(|versioned| versioned.hash.clone()),
        "policy_error": current.err(),
        "mempool": {
            "state": sight.state.as_str(),
            "transactions": sight.measured_tx(),
            "age_ms": sight.has_view().then_some(sight.age.as_millis()),
            "failure": sight.failure,
            "fee_tier": ::policy::fee_tier(&policy.template, sight.measured_tx()).as_str(),
        },
        "links": service.metrics.links.get(),
        "waiting_proposals": service.metrics.waiting.get(),
        "verdicts": service.history.since_start(),
    }))
    .into_response()
}
