//! Who may use what is not a probe.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde_json::json;

/// Knows the key, and whether only this machine can reach the listener.
pub(super) struct Guard {
    pub(super) key: Option<SecretString>,
    pub(super) on_loopback: bool,
}

impl Guard {
    /// Why a request is refused, if it is.
    fn objection(&self, request: &Request) -> Option<(StatusCode, &'static str)> {
        let (method, headers) = (request.method(), request.headers());
        platform::api_key::objection(self.key.as_ref(), self.on_loopback, method, headers)
    }
}

pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    match guard.objection(&request) {
        Some((status, problem)) => (status, Json(json!({ "error": problem }))).into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Method;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, true, Method::GET, &[("origin", "http://x")], None)]
    #[case(None, true, Method::POST, &[], None)]
    #[case(None, true, Method::POST, &[("origin", "http://x")], Some(403))]
    #[case(None, true, Method::PUT, &[("origin", "null")], Some(403))]
    #[case(None, false, Method::GET, &[], None)]
    #[case(None, false, Method::POST, &[], Some(403))]
    #[case(None, false, Method::POST, &[("x-api-key", "")], Some(403))]
    #[case(Some("key"), true, Method::GET, &[], Some(401))]
    #[case(Some("key"), true, Method::POST, &[("x-api-key", "kez")], Some(401))]
    #[case(Some("key"), true, Method::POST, &[("x-api-key", "key"), ("origin", "http://x")], None)]
    #[case(Some("key"), false, Method::GET, &[("x-api-key", "ke")], Some(401))]
    #[case(Some("key"), false, Method::POST, &[("x-api-key", "key")], None)]
    fn requests_are_judged(
        #[case] key: Option<&str>,
        #[case] on_loopback: bool,
        #[case] method: Method,
        #[case] headers: &[(&str, &str)],
        #[case] refused: Option<u16>,
    ) {
        let mut request = Request::builder().method(method).uri("/api/v1/policy");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = Guard { key: key.map(SecretString::from), on_loopback };
        let objection = guard.objection(&request.body(Body::empty()).unwrap());
        assert_eq!(objection.map(|(status, _)| status.as_u16()), refused);
    }
}
