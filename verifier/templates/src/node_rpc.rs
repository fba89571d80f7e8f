//! bitcoind's JSON-RPC interface.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use platform::http_client::{HttpClient, HttpError};
use platform::{Env, Offload, Storage};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::NodeAuth;
use crate::large;

/// The largest answer taken from a node: the hex of a full block template with its JSON.
pub const MAX_ANSWER_BYTES: usize = crate::client::MAX_TEMPLATE_BYTES;

/// bitcoind answers this code until it has loaded its chain.
const RPC_IN_WARMUP: i64 = -28;

/// Why a node gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// There is no connection, or it broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// There was no whole answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The cookie file cannot be read: the node has not started, or the path is wrong.
    #[error("cookie file {}: {error}", path.display())]
    Cookie {
        /// The configured path.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// It refused the request as HTTP.
    #[error("HTTP {status}: {hint}")]
    HttpStatus {
        /// The status.
        status: u16,
        /// What it means for the operator.
        hint: String,
    },
    /// It is starting (code -28).
    #[error("warming up: {0}")]
    WarmingUp(String),
    /// It answered an error.
    #[error("error {code}: {message}")]
    Rpc {
        /// Bitcoin Core's code (`rpc/protocol.h`).
        code: i64,
        /// Its words.
        message: String,
    },
    /// Its answer is not what the method promises.
    #[error("answer not understood: {0}")]
    Malformed(String),
}

impl RpcError {
    /// The kind of error as one word of a closed set, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Cookie { .. } => "cookie",
            Self::HttpStatus { .. } => "http_status",
            Self::WarmingUp(_) => "warming_up",
            Self::Rpc { .. } => "rpc",
            Self::Malformed(_) => "malformed",
        }
    }

    /// Whether the same request will get the same answer again: the node itself refused it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Rpc { .. })
    }

    /// Whether the node may well not have seen the request.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Cookie { .. } | Self::WarmingUp(_))
    }
}

/// Calls one node. Connections are kept open and shared.
pub struct NodeRpc {
    http: HttpClient,
    cpu: Arc<dyn Offload>,
    storage: Arc<dyn Storage>,
    url: String,
    auth: NodeAuth,
    cookie: Mutex<Option<SecretString>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: i64,
    message: String,
}

impl NodeRpc {
    /// A client of the node at `url` (`http://host:port`).
    pub fn new(env: &Env, url: &str, auth: NodeAuth) -> Self {
        Self {
            http: HttpClient::new(env),
            cpu: Arc::clone(&env.cpu),
            storage: Arc::clone(&env.storage),
            url: url.to_owned(),
            auth,
            cookie: Mutex::new(None),
        }
    }

    /// Calls a method and returns its result's JSON as the node wrote it.
    pub async fn call(
        &self,
        method: &str,
        params: &Value,
        timeout: Duration,
    ) -> Result<Bytes, RpcError> {
        // One request an exchange, so the id tells nothing; equal calls are equal bytes.
        let request = serde_json::json!({
            "jsonrpc": "2.0", "id": 0, "method": method, "params": params,
        });
        let request = Bytes::from(request.to_string());
        let (mut status, mut body) = self.exchange(request.clone(), timeout).await?;
        if status == StatusCode::UNAUTHORIZED && self.forget_cookie() {
            (status, body) = self.exchange(request, timeout).await?;
        }
        large::work(&self.cpu, body.len(), move || read_answer(status, &body)).await
    }

    /// Calls a method and reads its result.
    pub async fn call_as<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
        timeout: Duration,
    ) -> Result<T, RpcError> {
        let result = self.call(method, params, timeout).await?;
        serde_json::from_slice(&result)
            .map_err(|error| RpcError::Malformed(format!("{method}: {error}")))
    }

    async fn exchange(
        &self,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), RpcError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, self.authorization()?)
            .body(Full::new(body))
            .map_err(|error| RpcError::Unreachable(error.to_string()))?;
        match self.http.send(request, timeout, MAX_ANSWER_BYTES).await {
            Ok(answer) => Ok((answer.status(), answer.into_body())),
            Err(HttpError::Timeout(timeout)) => Err(RpcError::Timeout(timeout)),
            Err(error @ HttpError::TooLarge(_)) => Err(RpcError::Malformed(error.to_string())),
            Err(error) => Err(RpcError::Unreachable(error.to_string())),
        }
    }

    fn authorization(&self) -> Result<HeaderValue, RpcError> {
        let text = match &self.auth {
            NodeAuth::Password { user, password } => {
                STANDARD.encode(format!("{user}:{}", password.expose_secret()))
            }
            NodeAuth::Cookie(path) => {
                let mut cookie = self.cookie.lock().unwrap_or_else(PoisonError::into_inner);
                if cookie.is_none() {
                    let bytes = self
                        .storage
                        .read(path)
                        .map_err(|error| RpcError::Cookie { path: path.clone(), error })?;
                    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                    *cookie = Some(SecretString::from(text));
                }
                STANDARD.encode(cookie.as_ref().map_or("", |cookie| cookie.expose_secret()))
            }
        };
        let mut value = HeaderValue::try_from(format!("Basic {text}"))
            .expect("base64 is always a header value");
        value.set_sensitive(true);
        Ok(value)
    }

    /// Has the cookie file read again: a restarted node writes a new one. `false`: there is none.
    fn forget_cookie(&self) -> bool {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = None;
        matches!(self.auth, NodeAuth::Cookie(_))
    }
}

/// Errors come with HTTP 200 (JSON-RPC 2.0) or 4xx and 5xx (nodes before version 28).
fn read_answer(status: StatusCode, body: &Bytes) -> Result<Bytes, RpcError> {
    let answer: Answer<'_> = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if status != StatusCode::OK => {
            let hint = match status {
                StatusCode::UNAUTHORIZED => "user, password or cookie refused".to_owned(),
                StatusCode::FORBIDDEN => {
                    "address or method refused; see rpcallowip and rpcwhitelist".to_owned()
                }
                _ => String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned(),
            };
            return Err(RpcError::HttpStatus { status: status.as_u16(), hint });
        }
        Err(error) => return Err(RpcError::Malformed(error.to_string())),
    };
    if let Some(AnswerError { code, message }) = answer.error {
        return Err(match code {
            RPC_IN_WARMUP => RpcError::WarmingUp(message),
            _ => RpcError::Rpc { code, message },
        });
    }
    // serde reads a null result as none; to `submitblock` it means success.
    Ok(answer
        .result
        .map_or(Bytes::from_static(b"null"), |result| body.slice_ref(result.get().as_bytes())))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(status: u16, body: &'static str) -> Result<String, String> {
        read_answer(StatusCode::from_u16(status).unwrap(), &Bytes::from_static(body.as_bytes()))
            .map(|result| String::from_utf8(result.to_vec()).unwrap())
            .map_err(|error| format!("{} ({})", error, error.kind()))
    }

    #[rstest]
    #[case(200, r#"{"result":{"a": 1},"error":null,"id":0}"#, Ok(r#"{"a": 1}"#))]
    #[case(200, r#"{"jsonrpc":"2.0","result":null,"id":0}"#, Ok("null"))]
    #[case(
        500,
        r#"{"result":null,"error":{"code":-28,"message":"Loading block index..."},"id":0}"#,
        Err("warming up: Loading block index... (warming_up)")
    )]
    #[case(
        200,
        r#"{"jsonrpc":"2.0","error":{"code":-8,"message":"no"},"id":0}"#,
        Err("error -8: no (rpc)")
    )]
    #[case(401, "", Err("HTTP 401: user, password or cookie refused (http_status)"))]
    #[case(
        503,
        "Work queue depth exceeded\n",
        Err("HTTP 503: Work queue depth exceeded (http_status)")
    )]
    #[case(
        200,
        "<html>",
        Err("answer not understood: expected value at line 1 column 1 (malformed)")
    )]
    fn answers_of_every_kind_are_read(
        #[case] status: u16,
        #[case] body: &'static str,
        #[case] expect: Result<&str, &str>,
    ) {
        assert_eq!(read(status, body), expect.map(str::to_owned).map_err(str::to_owned));
    }
}
