//! Who may use what a program serves over HTTP beside its probes.

use http::{HeaderMap, Method, StatusCode, header};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// Why a request is refused, if it is: with a `key` everything shows it; without one, what changes
/// something comes from this machine (`on_loopback`), and not from a web page open on it.
pub fn objection(
    key: Option<&SecretString>,
    on_loopback: bool,
    method: &Method,
    headers: &HeaderMap,
) -> Option<(StatusCode, &'static str)> {
    if let Some(key) = key {
        let problem = "the X-API-Key header is missing or wrong";
        return (!is_shown(key, headers)).then_some((StatusCode::UNAUTHORIZED, problem));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    if !on_loopback {
        let problem = "off loopback nothing changes without a key; set http_api_key";
        return Some((StatusCode::FORBIDDEN, problem));
    }
    headers
        .contains_key(header::ORIGIN)
        .then_some((StatusCode::FORBIDDEN, "not from a web page; set http_api_key"))
}

/// Whether the headers show the key. Digests are compared in constant time, so that neither content
/// nor length of the key shows.
pub fn is_shown(key: &SecretString, headers: &HeaderMap) -> bool {
    let Some(given) = headers.get("x-api-key") else { return false };
    let key = digest(&SHA256, key.expose_secret().as_bytes());
    key.as_ref().ct_eq(digest(&SHA256, given.as_bytes()).as_ref()).into()
}
