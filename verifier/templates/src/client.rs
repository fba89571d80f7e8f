//! The other end of the template-manager's HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use platform::Offload;
use platform::http_client::{HttpClient, HttpError};
use secrecy::{ExposeSecret, SecretString};

use crate::large;
pub use crate::wire::{BlockSubmission, NodeResult, SubmitAnswer, TemplateAnswer, TemplateId};
use crate::wire::{CONFIRMED_AGO_HEADER, ErrorBody};

/// The largest template answer taken: a block of 4 MB is 8 MB of hex, and its smallest
/// transactions carry about as much JSON around them again.
pub const MAX_TEMPLATE_BYTES: usize = 32 * 1024 * 1024;
const MAX_SUBMIT_ANSWER_BYTES: usize = 64 * 1024;

/// Why the template-manager gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The configured address is not one.
    #[error("{url}: not an address of a template source: {error}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        error: http::Error,
    },
    /// No answer, or none in time.
    #[error("{url}: {error}")]
    Http {
        /// The address.
        url: String,
        /// What happened.
        error: HttpError,
    },
    /// It is up but has no template yet (HTTP 503).
    #[error("{url} has no template: {message}")]
    NoTemplate {
        /// The address.
        url: String,
        /// Its own words.
        message: String,
    },
    /// It refused the request.
    #[error("{url} answers HTTP {status}: {message}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// Its answer is not what this interface promises.
    #[error("{url} answers what is no {expected}: {error}")]
    Malformed {
        /// The address.
        url: String,
        /// What was expected.
        expected: &'static str,
        /// Where reading it failed.
        error: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the same request would be refused again for what it holds.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Status { status: 400 | 413 | 422, .. })
    }
}

/// What a template-manager gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The template; `None`: there is none but that which is known.
    pub template: Option<TemplateAnswer>,
    /// How long before the answer a node last confirmed the current template, where the source
    /// says so.
    pub confirmed_ago: Option<Duration>,
}

/// Asks one template-manager.
#[derive(Clone)]
pub struct TemplateClient {
    http: HttpClient,
    cpu: Arc<dyn Offload>,
    base: String,
    api_key: Option<SecretString>,
    timeout: Duration,
}

impl TemplateClient {
    /// A client of the template-manager at `base_url` (`http://host:port`, or `https`). `timeout`
    /// bounds each request, not counting the time that a long poll asks to wait. Large answers are
    /// read on `cpu`.
    pub fn new(
        http: HttpClient,
        cpu: Arc<dyn Offload>,
        base_url: &str,
        api_key: Option<SecretString>,
        timeout: Duration,
    ) -> Self {
        let base = base_url.trim_end_matches('/').to_owned();
        Self { http, cpu, base, api_key, timeout }
    }

    /// The current template; with `after`, waits up to `wait` for one with another id.
    ///
    /// # Errors
    /// [`ClientError::NoTemplate`] also where a template is there, but no node has confirmed it for
    /// too long.
    pub async fn fetch(
        &self,
        after: Option<TemplateId>,
        wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let url = match after {
            Some(id) => format!("{}/template?after={id}&wait_ms={}", self.base, wait.as_millis()),
            None => format!("{}/template", self.base),
        };
        let timeout = self.timeout + if after.is_some() { wait } else { Duration::ZERO };
        let (status, headers, body) =
            self.send(Method::GET, &url, Bytes::new(), timeout, MAX_TEMPLATE_BYTES).await?;
        let bytes = body.len();
        let fetched = |template| Fetched { template, confirmed_ago: confirmed_ago(&headers) };
        match status {
            StatusCode::NO_CONTENT => Ok(fetched(None)),
            StatusCode::OK => {
                let read = move || TemplateAnswer::parse(&body);
                let read = large::work(&self.cpu, bytes, read).await;
                read.map(|template| fetched(Some(template)))
                    .map_err(|error| self.malformed("template", error))
            }
            StatusCode::SERVICE_UNAVAILABLE => Err(ClientError::NoTemplate {
                url: self.base.clone(),
                message: error_message(&body),
            }),
            status => Err(self.status(status, &body)),
        }
    }

    /// Submits a block to every node of the template-manager.
    pub async fn submit_block(&self, block: &BlockSubmission) -> Result<SubmitAnswer, ClientError> {
        let url = format!("{}/block", self.base);
        let body = serde_json::to_vec(block).expect("texts and numbers always encode").into();
        let (status, _, body) =
            self.send(Method::POST, &url, body, self.timeout, MAX_SUBMIT_ANSWER_BYTES).await?;
        if status != StatusCode::OK {
            return Err(self.status(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.malformed("block result", error))
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        timeout: Duration,
        max_body_bytes: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ClientError> {
        let mut request = Request::builder().method(method).uri(url);
        if !body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &self.api_key {
            request = request.header("x-api-key", key.expose_secret());
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| ClientError::Url { url: self.base.clone(), error })?;
        let answer = self
            .http
            .send(request, timeout, max_body_bytes)
            .await
            .map_err(|error| ClientError::Http { url: self.base.clone(), error })?;
        let (head, body) = answer.into_parts();
        Ok((head.status, head.headers, body))
    }

    fn status(&self, status: StatusCode, body: &[u8]) -> ClientError {
        ClientError::Status {
            url: self.base.clone(),
            status: status.as_u16(),
            message: error_message(body),
        }
    }

    fn malformed(&self, expected: &'static str, error: serde_json::Error) -> ClientError {
        ClientError::Malformed { url: self.base.clone(), expected, error }
    }
}

fn confirmed_ago(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(CONFIRMED_AGO_HEADER).and_then(|value| value.to_str().ok());
    millis.and_then(|millis| millis.parse().ok()).map(Duration::from_millis)
}

fn error_message(body: &[u8]) -> String {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    }
}
