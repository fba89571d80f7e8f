//! Who may use what is not a probe.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use secrecy::SecretString;

use super::answer::error;
use crate::config::is_loopback_address;
use crate::live::Live;

/// Knows the key, and whether only this machine can reach the listener.
pub(super) struct Guard {
    live: Live,
}

impl Guard {
    pub(super) fn new(live: Live) -> Self {
        Self { live }
    }

    /// Why the request is refused, if it is.
    fn objection(&self, request: &Request) -> Option<(StatusCode, &'static str)> {
        let config = self.live.now();
        let is_loopback = is_loopback_address(&config.gateway.http_addr);
        objection(config.gateway.http_api_key.as_ref(), is_loopback, request)
    }
}

/// Why a request is refused, if it is.
pub(crate) fn objection(
    key: Option<&SecretString>,
    is_loopback: bool,
    request: &Request,
) -> Option<(StatusCode, &'static str)> {
    platform::api_key::objection(key, is_loopback, request.method(), request.headers())
}

pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    match guard.objection(&request) {
        Some((code, problem)) => error(code, problem),
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
    #[case(None, "127.0.0.1:8080", Method::GET, &[], None)]
    #[case(None, "127.0.0.1:8080", Method::POST, &[], None)]
    #[case(None, "127.0.0.1:8080", Method::POST, &[("origin", "http://x")], Some(403))]
    #[case(None, "0.0.0.0:8080", Method::GET, &[], None)]
    #[case(None, "0.0.0.0:8080", Method::POST, &[], Some(403))]
    #[case(Some("key"), "127.0.0.1:8080", Method::GET, &[], Some(401))]
    #[case(Some("key"), "0.0.0.0:8080", Method::POST, &[("x-api-key", "kez")], Some(401))]
    #[case(Some("key"), "0.0.0.0:8080", Method::POST, &[("x-api-key", "key")], None)]
    fn requests_are_judged(
        #[case] key: Option<&str>,
        #[case] address: &str,
        #[case] method: Method,
        #[case] headers: &[(&str, &str)],
        #[case] refused: Option<u16>,
    ) {
        let mut request = Request::builder().method(method).uri("/api/v1/drain");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (key, is_loopback) = (key.map(SecretString::from), is_loopback_address(address));
        let request = request.body(Body::empty()).unwrap();
        let objection = objection(key.as_ref(), is_loopback, &request);
        assert_eq!(objection.map(|(code, _)| code.as_u16()), refused);
    }
}
