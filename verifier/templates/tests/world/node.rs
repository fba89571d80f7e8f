//! A node as far as its JSON-RPC interface shows one.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use platform::{Env, Tasks};
use serde_json::{Value, json};
use tokio::sync::watch;

/// `assay:hunter2` as HTTP Basic.
const PASSWORD: &str = "Basic YXNzYXk6aHVudGVyMg==";

/// What a node answers with; changing it wakes its long polls when the tip moved.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) network: &'static str,
    pub(crate) tip: u8,
    pub(crate) height: u32,
    pub(crate) fees: u64,
    pub(crate) mempool: u64,
    pub(crate) curtime: u32,
    pub(crate) long_poll: bool,
    pub(crate) warming_up: bool,
    pub(crate) authorization: String,
    /// How long a plain template takes from being made to being answered.
    pub(crate) template_delay: Duration,
    /// How long the node takes to count its mempool.
    pub(crate) mempool_delay: Duration,
    /// Bytes that a template is larger by.
    pub(crate) padding: usize,
    /// What `submitblock` answers.
    pub(crate) submit: Value,
    /// The error that `submitblock` answers instead.
    pub(crate) submit_error: Option<(i64, &'static str)>,
    pub(crate) submitted: Vec<String>,
}

/// A node that serves until it is stopped.
pub(crate) struct FakeNode {
    chain: watch::Sender<Chain>,
    tasks: Tasks,
}

/// A tip's hash as the node writes it.
pub(crate) fn hash(tip: u8) -> String {
    format!("{tip:064x}")
}

impl FakeNode {
    pub(crate) fn new() -> Self {
        let chain = Chain {
            network: "regtest",
            tip: 1,
            height: 101,
            fees: 0,
            mempool: 0,
            curtime: 1_700_000_000,
            long_poll: true,
            warming_up: false,
            authorization: PASSWORD.to_owned(),
            template_delay: Duration::ZERO,
            mempool_delay: Duration::ZERO,
            padding: 0,
            submit: Value::Null,
            submit_error: None,
            submitted: Vec::new(),
        };
        Self { chain: watch::Sender::new(chain), tasks: Tasks::new() }
    }

    /// Serves at `name:1` of the environment's network.
    pub(crate) async fn start(mut self, env: &Env, name: &str) -> Self {
        self.tasks = Tasks::new();
        let listener = env.net.listen(&format!("{name}:1")).await.unwrap();
        let router = Router::new().route("/", post(answer)).with_state(self.chain.clone());
        let serve = platform::serve::serve(listener, router, self.tasks.clone());
        drop(self.tasks.spawn("node", serve));
        self
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Chain)) {
        self.chain.send_modify(change);
    }

    pub(crate) fn submitted(&self) -> Vec<String> {
        self.chain.borrow().submitted.clone()
    }

    /// A new tip on top of the last.
    pub(crate) fn mine(&self, tip: u8) {
        self.set(|chain| {
            (chain.tip, chain.height) = (tip, chain.height + 1);
            (chain.fees, chain.mempool) = (0, 0);
        });
    }

    /// Cuts every connection and listens no more. It can be started again.
    pub(crate) fn stop(&self) {
        self.tasks.abort_all();
    }
}

async fn answer(
    State(chain): State<watch::Sender<Chain>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let now = chain.borrow().clone();
    if headers["authorization"] != now.authorization {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if now.warming_up {
        let body = json!({ "result": null, "id": 0,
            "error": { "code": -28, "message": "Loading block index…" } });
        return (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response();
    }
    let request: Value = serde_json::from_str(&body).unwrap();
    let result = match request["method"].as_str().unwrap() {
        "getblockchaininfo" => json!({ "chain": now.network }),
        "getmempoolinfo" => {
            tokio::time::sleep(now.mempool_delay).await;
            json!({ "size": now.mempool, "bytes": now.mempool * 200 })
        }
        "getrawmempool" => json!([hash(7)]),
        "submitblock" => {
            let block = request["params"][0].as_str().unwrap().to_owned();
            chain.send_modify(|chain| chain.submitted.push(block));
            if let Some((code, message)) = now.submit_error {
                let error = json!({ "code": code, "message": message });
                let body = json!({ "jsonrpc": "2.0", "error": error, "id": 0 });
                return body.to_string().into_response();
            }
            now.submit
        }
        "getblocktemplate" => {
            let watched = request["params"][0]["longpollid"].as_str();
            let seen = match watched {
                Some(id) => {
                    let moved = |chain: &Chain| chain.tip != id[..2].parse::<u8>().unwrap();
                    chain.subscribe().wait_for(moved).await.unwrap().clone()
                }
                None => {
                    tokio::time::sleep(now.template_delay).await;
                    now
                }
            };
            template(&seen)
        }
        method => panic!("the daemon never calls {method}"),
    };
    json!({ "jsonrpc": "2.0", "result": result, "id": 0 }).to_string().into_response()
}

fn template(chain: &Chain) -> Value {
    let mut template = json!({
        "version": 0x2000_0000,
        "previousblockhash": hash(chain.tip),
        "transactions": [],
        "coinbasevalue": 5_000_000_000u64 + chain.fees,
        "mintime": 1_600_000_000,
        "curtime": chain.curtime,
        "bits": "207fffff",
        "height": chain.height,
    });
    if chain.padding > 0 {
        template["padding"] = json!("x".repeat(chain.padding));
    }
    if chain.long_poll {
        template["longpollid"] = json!(format!("{:02}-{}", chain.tip, chain.fees));
    }
    template
}
