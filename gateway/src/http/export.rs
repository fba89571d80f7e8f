//! Shares as comma-separated values (RFC 4180), streamed from the log.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::offload;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::answer::{Parameters, error};
use crate::log::reader::EventReader;

const CSV: &str = "text/csv; charset=utf-8";

/// The columns: every field of the two events of a share; those that an event lacks are empty.
pub(super) const COLUMNS: [&str; 21] = [
    "seq",
    "event",
    "timestamp_ms",
    "share_id",
    "event_id",
    "worker_id",
    "miner_id",
    "channel_id",
    "job_id",
    "validation_level",
    "sv2_response",
    "reason_code",
    "fee_tier",
    "difficulty_target",
    "forwarded",
    "upstream_accepted",
    "upstream_http_status",
    "upstream_error",
    "error_detail",
    "attempts",
    "gateway_instance_id",
];

/// Which shares.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// Only events after this one.
    since: Option<u64>,
    /// Only events up to this one.
    until: Option<u64>,
    /// Only events from this moment on, Unix milliseconds.
    from_ms: Option<u64>,
    /// Only events before this moment, Unix milliseconds.
    to_ms: Option<u64>,
}

#[derive(Deserialize)]
struct ShareEvent<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    timestamp_ms: u64,
}

/// Streams the rows; millions of them take no more memory than a few.
pub(super) async fn shares(
    State(api): State<Arc<Api>>,
    Parameters(range): Parameters<Range>,
) -> Response {
    let Ok(place) = Arc::clone(&api.exports).try_acquire_owned() else {
        let problem = "too many exports are under way; try again when one has ended";
        return error(StatusCode::SERVICE_UNAVAILABLE, problem);
    };
    let archive = &api.archive;
    let from = range.since.unwrap_or(0).saturating_add(1);
    let reader = EventReader::new(Arc::clone(&archive.storage), archive.directory.clone(), from);
    // What is not yet safe in the log is not told.
    let until = api.feed.newest_seq().min(range.until.unwrap_or(u64::MAX));
    let export = Export { api, reader: Some(reader), range, until, _place: place };
    let head = format!("{}\r\n", COLUMNS.join(","));
    let head = futures_util::stream::iter([Ok(Bytes::from(head))]);
    let rows = futures_util::stream::try_unfold(export, Export::next);
    let body = Body::from_stream(futures_util::StreamExt::chain(head, rows));
    let name = "attachment; filename=\"shares.csv\"";
    ([(header::CONTENT_TYPE, CSV), (header::CONTENT_DISPOSITION, name)], body).into_response()
}

struct Export {
    api: Arc<Api>,
    /// Absent at the end.
    reader: Option<EventReader>,
    range: Range,
    until: u64,
    _place: OwnedSemaphorePermit,
}

impl Export {
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        while let Some(mut reader) = self.reader.take() {
            let (range, until) = (self.range, self.until);
            let read = offload(&self.api.archive.cpu, move || {
                let events = reader.next_events()?;
                let goes_on = events.last().is_some_and(|(seq, _)| *seq < until);
                let mut text = String::new();
                for (seq, json) in events.iter().take_while(|(seq, _)| *seq <= until) {
                    row(*seq, json, &range, &mut text);
                }
                Ok::<_, std::io::Error>((text, goes_on.then_some(reader)))
            });
            let (text, reader) = read.await?;
            self.reader = reader;
            if !text.is_empty() {
                return Ok(Some((Bytes::from(text), self)));
            }
        }
        Ok(None)
    }
}

/// Appends the event's row if it belongs to the range.
fn row(seq: u64, json: &str, range: &Range, text: &mut String) {
    // Every event of the log was written by this program.
    let Ok(event) = serde_json::from_str::<ShareEvent<'_>>(json) else { return };
    let is_share = matches!(event.event.as_ref(), "share_accepted" | "share_forward_result");
    let at = event.timestamp_ms;
    let within =
        range.from_ms.is_none_or(|from| at >= from) && range.to_ms.is_none_or(|to| at < to);
    if !is_share || !within {
        return;
    }
    let fields: std::collections::BTreeMap<&str, &RawValue> =
        serde_json::from_str(json).unwrap_or_default();
    for (index, column) in COLUMNS.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match *column {
            "seq" => text.push_str(&seq.to_string()),
            column => text.push_str(&cell(fields.get(column).map(|value| value.get()))),
        }
    }
    text.push_str("\r\n");
}

/// A JSON value as a field that no reader takes for something else: spreadsheets run what begins
/// like a formula, and workers choose their names.
fn cell(json: Option<&str>) -> String {
    let json = json.unwrap_or("null");
    if !json.starts_with('"') {
        return if json == "null" { String::new() } else { json.to_owned() };
    }
    let field: String = serde_json::from_str(json).unwrap_or_default();
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !field.contains(['"', ',', '\r', '\n']) {
        return field;
    }
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, "")]
    #[case(Some("null"), "")]
    #[case(Some("1.5"), "1.5")]
    #[case(Some("true"), "true")]
    #[case(Some(r#""plain""#), "plain")]
    #[case(Some(r#""a,b""#), "\"a,b\"")]
    #[case(Some(r#""say \"yes\"""#), "\"say \"\"yes\"\"\"")]
    #[case(Some(r#""=1+1""#), "\"'=1+1\"")]
    fn a_field_stays_one_field(#[case] json: Option<&str>, #[case] expected: &str) {
        assert_eq!(cell(json), expected);
    }

    #[rstest]
    #[case(Range { since: None, until: None, from_ms: Some(7), to_ms: Some(8) }, true)]
    #[case(Range { since: None, until: None, from_ms: Some(8), to_ms: None }, false)]
    #[case(Range { since: None, until: None, from_ms: None, to_ms: Some(7) }, false)]
    fn rows_are_chosen_by_time(#[case] range: Range, #[case] is_chosen: bool) {
        let json = r#"{"event":"share_accepted","schema":1,"seq":3,"timestamp_ms":7,"job_id":2}"#;
        let mut text = String::new();
        row(3, json, &range, &mut text);
        let expected = "3,share_accepted,7,,,,,,2,,,,,,,,,,,,\r\n";
        assert_eq!(text, if is_chosen { expected } else { "" });
        text.clear();
        row(3, &json.replace("share_accepted", "block_found"), &range, &mut text);
        assert_eq!(text, "");
    }
}
