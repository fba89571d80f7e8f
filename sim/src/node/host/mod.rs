//! A node as a host of the simulated world: JSON-RPC over HTTP, as a bitcoind serves it.
//!
//! A call reaches the [`Node`](super::Node) at once, in no virtual time, and its answer leaves
//! after a modelled delay. A long poll never reaches the node: it is held here until the driver
//! announces a change, and then asked afresh.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use platform::Env;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Answer, Node as _, RpcError, SharedNode};

/// A block of 4 000 000 weight units in hexadecimal, with room for the rest of the request.
const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;

/// How long bitcoind holds a long poll before it looks at the mempool.
const LONG_POLL_LIMIT: Duration = Duration::from_secs(60);

/// What the host does to those who ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It answers.
    #[default]
    None,
    /// It says that it is still starting (error −28).
    WarmingUp,
    /// It takes requests and answers none until this ends.
    Timeout,
    /// It refuses connections, and breaks those it has when they ask.
    Down,
}

/// A call whose answer is about to be delayed.
pub struct Call<'a> {
    /// The method called.
    pub method: &'a str,
    /// How many bytes the answer has.
    pub answer_bytes: usize,
}

/// How long the host takes over an answer.
pub type DelayModel = Arc<dyn Fn(&Call<'_>) -> Duration + Send + Sync>;

/// A block that somebody submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The virtual wall clock when the node judged it, in milliseconds.
    pub at_unix_ms: u64,
    /// The block's bytes in hexadecimal, as they came.
    pub block: String,
    /// The node's answer: its word (BIP 22), or none for a new tip.
    pub result: Result<Option<String>, RpcError>,
}

/// Every block submitted to a host, in order: what the property `block_not_lost` looks at.
pub type Submissions = Arc<Mutex<Vec<Submission>>>;

/// How a host behaves.
#[derive(Clone)]
pub struct HostOptions {
    /// How long each answer takes.
    pub delay: DelayModel,
    /// The fault in force; the driver changes it.
    pub faults: watch::Receiver<Fault>,
    /// Where submitted blocks are noted.
    pub submissions: Submissions,
}

/// Serves `node` at `listen` until the future is dropped.
///
/// `changes` is a counter that the driver raises whenever it changed the tip or the mempool, after
/// the node has the change: it ends the long polls.
///
/// # Errors
/// When it cannot listen.
pub async fn serve_node(
    env: Env,
    listen: &str,
    node: SharedNode,
    options: HostOptions,
    changes: watch::Receiver<u64>,
) -> io::Result<()> {
    let mut faults = options.faults.clone();
    let host = Host { env: env.clone(), node, options, changes, served: Arc::default() };
    let router = Router::new()
        .route("/", post(answer))
        .layer(axum::extract::DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(host);
    loop {
        while *faults.borrow_and_update() == Fault::Down {
            wait_for_change(&mut faults).await;
        }
        let listener = env.net.listen(listen).await?;
        let went_down = async {
            while *faults.borrow_and_update() != Fault::Down {
                wait_for_change(&mut faults).await;
            }
        };
        tokio::select! {
            biased;
            () = went_down => {}
            () = platform::serve::serve(listener, router.clone(), env.tasks.clone()) => {}
        }
    }
}

/// A driver that is gone changes nothing any more.
async fn wait_for_change<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[derive(Clone)]
struct Host {
    env: Env,
    node: SharedNode,
    options: HostOptions,
    changes: watch::Receiver<u64>,
    /// The template given last: its `longpollid`, and the count of changes it knows of.
    served: Arc<Mutex<Option<(String, u64)>>>,
}

/// One request. Who asks is not checked: any credentials do.
async fn answer(State(mut host): State<Host>, body: Bytes) -> Response {
    let mut faults = host.options.faults.clone();
    loop {
        match *faults.borrow_and_update() {
            Fault::None | Fault::WarmingUp => break,
            Fault::Down => return broken(),
            Fault::Timeout => {}
        }
        wait_for_change(&mut faults).await;
    }
    let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
        return respond(&Value::Null, Err(RpcError::new(-32_700, "Parse error")));
    };
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    let mut params = match request["params"].take() {
        Value::Null => json!([]),
        params => params,
    };
    if *faults.borrow() == Fault::WarmingUp {
        let starting = RpcError::new(RpcError::IN_WARMUP, "Loading block index…");
        return respond(&request, Err(starting));
    }
    if method == "getblocktemplate" && params[0]["longpollid"].is_string() {
        host.hold(params[0]["longpollid"].as_str().unwrap_or_default()).await;
        params[0].as_object_mut().expect("it has a field").remove("longpollid");
    }
    let outcome = host.call(&method, &params);
    let answer_bytes = outcome.as_ref().map_or(0, |answer| answer.get().len());
    tokio::time::sleep((host.options.delay)(&Call { method: &method, answer_bytes })).await;
    match *faults.borrow() {
        Fault::Down => broken(),
        _ => respond(&request, outcome),
    }
}

impl Host {
    /// Waits as a long poll does: until the tip or the mempool is not the template's any more.
    async fn hold(&mut self, longpollid: &str) {
        let known = match &*self.served.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((served, count)) if served == longpollid => *count,
            _ => *self.changes.borrow(),
        };
        let params = json!([]);
        let tip: Option<String> =
            (&mut self.node as &mut dyn super::Node).ask("getbestblockhash", &params).ok();
        if tip.is_some_and(|tip| !longpollid.starts_with(&tip)) {
            return;
        }
        let mut changes = self.changes.clone();
        let changed = async {
            while *changes.borrow_and_update() == known {
                wait_for_change(&mut changes).await;
            }
        };
        // At the limit the answer is the same template, as it may be bitcoind's.
        let _ = tokio::time::timeout(LONG_POLL_LIMIT, changed).await;
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        match method {
            "getblocktemplate" => {
                self.node.set_time(self.env.wall.unix_ms() / 1000)?;
                let answer = self.node.call(method, params)?;
                self.note_template(&answer);
                Ok(answer)
            }
            "submitblock" => {
                let outcome = self.node.call(method, params);
                self.note_submission(params, &outcome);
                outcome
            }
            _ => self.node.call(method, params),
        }
    }

    fn note_template(&self, answer: &RawValue) {
        #[derive(serde::Deserialize)]
        struct Id {
            longpollid: String,
        }
        // A proposal's verdict has no id.
        if let Ok(Id { longpollid }) = serde_json::from_str(answer.get()) {
            let count = *self.changes.borrow();
            *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Some((longpollid, count));
        }
    }

    fn note_submission(&self, params: &Value, outcome: &Result<Answer, RpcError>) {
        let result = outcome
            .as_ref()
            .map(|answer| serde_json::from_str(answer.get()).unwrap_or_default())
            .map_err(RpcError::clone);
        let submission = Submission {
            at_unix_ms: self.env.wall.unix_ms(),
            block: params[0].as_str().unwrap_or_default().to_owned(),
            result,
        };
        self.options.submissions.lock().unwrap_or_else(PoisonError::into_inner).push(submission);
    }
}

/// The answer in the dialect of the request: version 2.0 carries errors under HTTP 200, the one
/// before under 500, and under 404 for a method that does not exist.
fn respond(request: &Value, outcome: Result<Answer, RpcError>) -> Response {
    let second = request["jsonrpc"] == "2.0";
    let id = &request["id"];
    let (status, body) = match outcome {
        Ok(answer) => {
            let envelope = if second { r#""jsonrpc":"2.0","# } else { "" };
            let end = if second { "" } else { r#","error":null"# };
            let body = format!("{{{envelope}\"result\":{answer}{end},\"id\":{id}}}\n");
            (StatusCode::OK, body)
        }
        Err(error) => {
            let code = error.code;
            let failure = json!({ "code": code, "message": error.message });
            let (status, body) = if second {
                let body = json!({ "jsonrpc": "2.0", "error": failure, "id": id });
                (StatusCode::OK, body)
            } else {
                let missing = code == RpcError::METHOD_NOT_FOUND;
                let status = if missing { 404_u16 } else { 500 };
                let status = StatusCode::from_u16(status).expect("both are HTTP's");
                (status, json!({ "result": null, "error": failure, "id": id }))
            };
            (status, format!("{body}\n"))
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An answer that ends before it began, so that the connection breaks.
fn broken() -> Response {
    let cut =
        futures_util::stream::once(async { Err::<Bytes, _>(io::Error::other("host is down")) });
    Body::from_stream(cut).into_response()
}

#[cfg(test)]
mod tests;
