//! Answers in JSON, errors among them.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) const JSON: &str = "application/json";

/// An answer of this status and body.
pub(super) fn json(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// A good answer.
pub(super) fn ok(value: &impl Serialize) -> Response {
    json(StatusCode::OK, encode(value))
}

/// `{"error": …}`.
pub(super) fn error(code: StatusCode, problem: &str) -> Response {
    #[derive(Serialize)]
    struct Problem<'a> {
        error: &'a str,
    }
    json(code, encode(&Problem { error: problem }))
}

pub(super) fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers always encode")
}

/// The parameters behind the question mark; what does not fit is told by name.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(rejection) => {
                let said = rejection.body_text();
                let what = said.rsplit("query string: ").next().unwrap_or(&said);
                Err(error(StatusCode::BAD_REQUEST, &format!("parameters: {what}")))
            }
        }
    }
}
