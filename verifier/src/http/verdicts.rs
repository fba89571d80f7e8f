//! Verdicts, figures over them, and the templates they are about.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use verifier_protocol::{BodyAnnouncement, Message, TemplatePropose, body_lines, encode};

use crate::csv;
use crate::service::Service;
use crate::stats::Stats;

/// The most verdicts in one page.
const MAX_PAGE: usize = 1000;
/// Verdicts in a page that asks for no number.
const DEFAULT_PAGE: usize = 100;

/// Which verdicts are asked for, and how they are to look.
#[derive(Deserialize)]
pub(super) struct PageQuery {
    before: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

pub(super) async fn page(
    State(service): State<Arc<Service>>,
    Query(query): Query<PageQuery>,
) -> Response {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let page = service.history.page(query.before, limit);
    match query.format {
        Format::Json => Json(page).into_response(),
        Format::Csv => {
            let content_type = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
            (content_type, csv::table(&page.verdicts)).into_response()
        }
    }
}

pub(super) async fn stats(State(service): State<Arc<Service>>) -> Response {
    let kept = service.history.read(|entries| Stats::of(entries));
    Json(json!({ "since_start": service.history.since_start(), "kept": kept })).into_response()
}

/// Which template is asked for: that of a verdict, or the latest.
#[derive(Deserialize)]
pub(super) struct TemplateQuery {
    seq: Option<u64>,
}

/// A kept template as its lines on the wire.
pub(super) async fn template(
    State(service): State<Arc<Service>>,
    Query(query): Query<TemplateQuery>,
) -> Response {
    let Some(kept) = service.shelf.find(query.seq) else { return not_kept(&service) };
    let lines = platform::offload(&service.env.cpu, move || {
        // Whole, however it came: whoever reads this has seen no transaction before.
        let block = kept.block.to_bytes();
        let body = BodyAnnouncement::of(&block);
        let propose = TemplatePropose { body, ..kept.propose.clone() };
        let mut lines = encode(&Message::TemplatePropose(propose));
        for line in body_lines(kept.propose.proposal_id, &block) {
            lines.extend_from_slice(&line);
        }
        lines
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], lines.await).into_response()
}

pub(super) fn not_kept(service: &Service) -> Response {
    let body = json!({ "error": "no such template is kept", "kept": service.shelf.seqs() });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
