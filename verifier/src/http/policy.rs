//! The policy in force, its versions, and what another one would do.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use policy::Policy;
use policy::table::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::verdicts::not_kept;
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
    let key = service.http_api_key.as_ref();
    let has_key = key.is_some_and(|key| platform::api_key::is_shown(key, &headers));
    if !has_key && redirects_payouts(&service, &text) {
        let error = "whom coinbases must pay changes with X-API-Key only; set http_api_key";
        return (StatusCode::FORBIDDEN, Json(json!({ "error": error }))).into_response();
    }
    match service.policies.replace(&text) {
        Ok(versioned) => {
            taken(&service, &versioned);
            let mut body = shown(&versioned);
            body["persisted"] = service.policies.are_written().into();
            Json(body).into_response()
        }
        Err(problems) => not_taken(&service, &problems),
    }
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
    match service.policies.reload() {
        Ok(versioned) => {
            taken(&service, &versioned);
            in_force(&versioned)
        }
        Err(problems) => not_taken(&service, &problems),
    }
}

/// Which template is shown in full, and with which version's verdicts all are compared: with those
/// that were given where there is no hash.
#[derive(Deserialize)]
pub(super) struct DryRunQuery {
    seq: Option<u64>,
    against: Option<String>,
}

/// Judges the kept templates and the kept verdicts by the policy in the body. Nothing changes.
pub(super) async fn dry_run(
    State(service): State<Arc<Service>>,
    Query(query): Query<DryRunQuery>,
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
    let against = query.against.as_ref().map(|hash| service.policies.find(hash));
    if let Some(None) = against {
        let body = json!({ "error": "no such version is kept" });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    }
    let against = against.flatten();
    let all = service.shelf.all();
    let entries = service.history.read(|entries| entries.iter().rev().cloned().collect::<Vec<_>>());
    let in_force = service.policies.current().ok().map(|versioned| versioned.hash.clone());
    let run = platform::offload(&service.env.cpu, move || {
        let policy = &candidate.policy;
        let other = against.as_ref().map(|versioned| &versioned.policy);
        json!({
            "policy_hash": candidate.hash,
            "policy_hash_in_force": in_force,
            "against": against.as_ref().map(|versioned| &versioned.hash),
            "template": kept.map(|kept| dry_run::template(policy, &kept)),
            "templates": dry_run::templates(policy, other, &all),
            "history": dry_run::history(policy, other, &entries),
        })
    });
    Json(run.await).into_response()
}

fn taken(service: &Service, versioned: &Versioned) {
    service.metrics.policy_replaced(true);
    service.ground.wake();
    tracing::info!(policy_hash = versioned.hash, "policy replaced");
    Service::warn_of_gaps(versioned);
}

fn not_taken(service: &Service, problems: &[Problem]) -> Response {
    service.metrics.policy_replaced(false);
    refused("policy refused, the old one stays", problems)
}

fn refused(error: &str, problems: &[Problem]) -> Response {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let body = json!({ "error": error, "problems": problems });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

fn in_force(versioned: &Versioned) -> Response {
    Json(shown(versioned)).into_response()
}

fn shown(versioned: &Versioned) -> Value {
    json!({ "policy_hash": versioned.hash, "policy": versioned.policy.to_toml() })
}
