//! A node as far as the verifier asks one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use platform::{Env, Tasks};
use serde_json::{Value, json};

/// Where it serves.
pub(crate) const NODE: &str = "127.0.0.1:8332";

#[derive(Clone)]
pub(crate) struct Behaviour {
    /// Transaction ids as the node prints them.
    pub(crate) mempool: Vec<String>,
    /// What proposal mode answers, and how long it takes.
    pub(crate) proposal: Value,
    pub(crate) proposal_delay: Duration,
    pub(crate) warming_up: bool,
    /// The blocks put to proposal mode, in hex.
    pub(crate) proposed: Vec<String>,
}

pub(crate) struct FakeNode {
    behaviour: Arc<Mutex<Behaviour>>,
    tasks: Tasks,
}

impl FakeNode {
    pub(crate) fn new(mempool: &[String]) -> Self {
        let behaviour = Behaviour {
            mempool: mempool.to_vec(),
            proposal: Value::Null,
            proposal_delay: Duration::ZERO,
            warming_up: false,
            proposed: Vec::new(),
        };
        Self { behaviour: Arc::new(Mutex::new(behaviour)), tasks: Tasks::new() }
    }

    pub(crate) async fn start(&mut self, env: &Env) {
        self.tasks = Tasks::new();
        let listener = env.net.listen(NODE).await.unwrap();
        let router = Router::new().route("/", post(answer));
        let router = router
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&self.behaviour));
        let serve = platform::serve::serve(listener, router, self.tasks.clone());
        drop(self.tasks.spawn("node", serve));
    }

    pub(crate) fn stop(&self) {
        self.tasks.abort_all();
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    pub(crate) fn proposed(&self) -> Vec<String> {
        self.behaviour.lock().unwrap().proposed.clone()
    }
}

async fn answer(State(behaviour): State<Arc<Mutex<Behaviour>>>, body: String) -> Response {
    let now = behaviour.lock().unwrap().clone();
    if now.warming_up {
        let body = json!({ "result": null, "id": 0,
            "error": { "code": -28, "message": "Loading block index…" } });
        return (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response();
    }
    let request: Value = serde_json::from_str(&body).unwrap();
    let result = match request["method"].as_str().unwrap() {
        "getrawmempool" => json!(now.mempool),
        "getblocktemplate" => {
            assert_eq!(request["params"][0]["mode"], "proposal");
            let block = request["params"][0]["data"].as_str().unwrap().to_owned();
            behaviour.lock().unwrap().proposed.push(block);
            tokio::time::sleep(now.proposal_delay).await;
            now.proposal
        }
        method => panic!("the verifier never calls {method}"),
    };
    json!({ "jsonrpc": "2.0", "result": result, "id": 0 }).to_string().into_response()
}
