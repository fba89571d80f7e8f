//! A reader of the gateway's event stream, as a dashboard or a pool backend is one.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use platform::Env;
use platform::http_client::HttpClient;
use serde_json::Value;
use tokio::time::timeout;

use super::observe::{Recorder, Seen};

/// How long it waits before it connects again.
const PAUSE: Duration = Duration::from_millis(100);

/// Silence after which it asks anew: the other end of a quiet connection may be long gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest line it holds.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Follows `/gateway/events` of the HTTP interface at `base` until the future is dropped. After
/// each interruption it resumes after the last number it has, so that it misses nothing.
pub async fn follow(env: Env, base: String, api_key: Option<String>, recorder: Recorder) {
    follow_with(env, base, api_key, |line| recorder.record(Seen::Event(line))).await;
}

/// Follows as [`follow`] does, and hands each line to `take`.
pub(crate) async fn follow_with(
    env: Env,
    base: String,
    api_key: Option<String>,
    mut take: impl FnMut(Value),
) {
    let client = HttpClient::new(&env);
    let mut since = 0;
    loop {
        if let Ok(body) = open(&client, &base, api_key.as_deref(), since).await {
            read(body, &mut since, &mut take).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(
    client: &HttpClient,
    base: &str,
    api_key: Option<&str>,
    since: u64,
) -> Result<Incoming, String> {
    let mut request = Request::get(format!("{base}/gateway/events?since={since}"));
    if let Some(key) = api_key {
        request = request.header("X-API-Key", key);
    }
    let request = request.body(Full::new(Bytes::new())).map_err(|error| error.to_string())?;
    let response = client.open(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("the event stream answers {}", response.status()));
    }
    Ok(response.into_body())
}

async fn read(mut body: Incoming, since: &mut u64, take: &mut impl FnMut(Value)) {
    let mut pending = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout(PATIENCE, body.frame()).await {
        let Ok(bytes) = frame.into_data() else { continue };
        pending.extend_from_slice(&bytes);
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in pending[..whole].split_inclusive(|byte| *byte == b'\n') {
            // What is no JSON is shown as text: judges find no event in it.
            let line = serde_json::from_slice(line)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(line).into_owned()));
            if let Some(seq) = line["seq"].as_u64() {
                // It goes back where the log lost what was told.
                *since = seq;
            }
            take(line);
        }
        pending.drain(..whole);
        if pending.len() > MAX_LINE_BYTES {
            return;
        }
    }
}
