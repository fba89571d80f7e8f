//! The policy in force, its versions, and what another one would do.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use policy::Policy;
use policy::table::Problem;
use serde::Deserialize;
use serde_json::json;

use super::guard::has_key;
use super::verdicts::{TemplateQuery, not_kept};
use crate::dry_run;
use crate::policies::Versioned;
use crate::service::Service;

/// Which version is asked for: the one in force where there is no hash.
#[derive(Deserialize)]
pub(super) struct VersionQuery {
    hash: Option<String>,
}

pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Query(query): Query<VersionQuery>,
) -> Response {
    let current = service.policies.current();
    match (query.hash, current) {
        (None, Ok(versioned)) => in_force(&versioned),
        (None, Err(problems)) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": problems }))).into_response()
        }
        (Some(hash), Ok(versioned)) if versioned.hash == hash => in_force(&versioned),
        (Some(hash), _) => match service.policies.version(&hash) {
            Some(text) => Json(json!({ "policy_hash": hash, "policy": text })).into_response(),
            None => {
                let body = json!({ "error": "no such version is kept" });
                (StatusCode::NOT_FOUND, Json(body)).into_response()
            }
        },
    }
}

pub(super) async fn versions(State(service): State<Arc<Service>>) -> Response {
    let in_force = service.policies.current().ok().map(|versioned| versioned.hash.clone());
    let versions = service.policies.versions();
    Json(json!({ "in_force": in_force, "versions": versions })).into_response()
}

pub(super) async fn replace(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    text: String,
) -> Response {
    let has_key = has_key(service.http_api_key.as_ref(), &headers);
    if !has_key && redirects_payouts(&service, &text) {
        let error = "whom coinbases must pay changes with X-API-Key only; set http_api_key";
        return (StatusCode::FORBIDDEN, Json(json!({ "error": error }))).into_response();
    }
    outcome(&service, service.policies.replace(&text))
}

/// Whether the text is a policy that may ask for other payouts than the operator's: than the one in
/// force, and any while there is none, as what the broken file asks for is not known.
fn redirects_payouts(service: &Service, text: &str) -> bool {
    let current = service.policies.current();
    let is_same = |policy: &Policy| {
        current.as_ref().is_ok_and(|versioned| versioned.policy.consensus == policy.consensus)
    };
    Policy::from_toml(text).is_ok_and(|policy| !is_same(&policy))
}

pub(super) async fn reload(State(service): State<Arc<Service>>) -> Response {
    outcome(&service, service.policies.reload())
}

/// Judges a kept template and the kept verdicts by the policy in the body. Nothing changes.
pub(super) async fn dry_run(
    State(service): State<Arc<Service>>,
    Query(query): Query<TemplateQuery>,
    text: String,
) -> Response {
    let candidate = match Policy::from_toml(&text) {
        Ok(policy) => Versioned::new(policy),
        Err(problems) => return refused("the candidate is no policy", &problems),
    };
    let kept = service.shelf.find(query.seq);
    if kept.is_none() && query.seq.is_some() {
        return not_kept(&service);
    }
    let entries = service.history.read(|entries| entries.iter().rev().cloned().collect::<Vec<_>>());
    let in_force = service.policies.current().ok().map(|versioned| versioned.hash.clone());
    let run = platform::offload(&service.env.cpu, move || {
        json!({
            "policy_hash": candidate.hash,
            "policy_hash_in_force": in_force,
            "template": kept.map(|kept| dry_run::template(&candidate.policy, &kept)),
            "history": dry_run::history(&candidate.policy, &entries),
        })
    });
    Json(run.await).into_response()
}

fn outcome(service: &Service, replaced: Result<Arc<Versioned>, Vec<Problem>>) -> Response {
    service.metrics.policy_replaced(replaced.is_ok());
    match replaced {
        Ok(versioned) => {
            service.ground.wake();
            tracing::info!(policy_hash = versioned.hash, "policy replaced");
            Service::warn_of_gaps(&versioned);
            in_force(&versioned)
        }
        Err(problems) => refused("policy refused, the old one stays", &problems),
    }
}

fn refused(error: &str, problems: &[Problem]) -> Response {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let body = json!({ "error": error, "problems": problems });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

fn in_force(versioned: &Versioned) -> Response {
    let body = json!({ "policy_hash": versioned.hash, "policy": versioned.policy.to_toml() });
    Json(body).into_response()
}
