//! What surrounds the gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use gateway::{ConfigSource, Control, gen_keys};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use platform::http_client::HttpClient;
use platform::{Env, Stream, TaskHandle, Tasks};
use serde_json::{Value, json};
use sv2_noise::AuthorityPublicKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, mpsc};
use verifier_protocol::{
    BodyAssembler, Heartbeat, HeartbeatAck, LineDecoder, Message, TemplateVerdict, Verdict, decode,
    encode,
};

const TIP: &str = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
const SECRET: &str = "pool-secret";

/// A template source, a pool, a disk, and the keys of a gateway.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) miner_address: String,
    pub(crate) authority: AuthorityPublicKey,
    pub(crate) http_address: String,
    verifier_address: String,
    config: String,
    directory: tempfile::TempDir,
    surroundings: Arc<Surroundings>,
    blocks: Mutex<mpsc::UnboundedReceiver<Value>>,
    posts: Mutex<mpsc::UnboundedReceiver<Value>>,
    /// Tasks of the surroundings, which are not the gateway's.
    outside: Tasks,
}

struct Surroundings {
    started_at_ms: u64,
    pool_status: AtomicU16,
    /// What posts must be signed with.
    secret: std::sync::Mutex<String>,
    /// What the only node answers to a block.
    node_answer: std::sync::Mutex<Value>,
    blocks: mpsc::UnboundedSender<Value>,
    posts: mpsc::UnboundedSender<Value>,
}

/// A gateway that runs.
pub(crate) struct Running {
    tasks: Tasks,
    pub(crate) control: Control,
    task: TaskHandle<Result<(), gateway::Error>>,
}

impl Running {
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.control.shutdown.cancel();
        self.ended().await
    }

    pub(crate) async fn ended(self) -> Result<(), String> {
        self.task.await.expect("the gateway does not panic").map_err(|error| error.to_string())
    }

    /// Ends every task where it stands.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_none());
        self.tasks.abort_all();
        while self.tasks.live() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let env = platform::real::env();
        let outside = Tasks::new();
        let directory = tempfile::tempdir().unwrap();
        let (blocks, blocks_seen) = mpsc::unbounded_channel();
        let (posts, posts_seen) = mpsc::unbounded_channel();
        let pool_status = AtomicU16::new(200);
        let surroundings = Arc::new(Surroundings {
            started_at_ms: env.wall.unix_ms(),
            pool_status,
            secret: std::sync::Mutex::new(SECRET.to_owned()),
            node_answer: std::sync::Mutex::new(json!({ "result": null, "error": null })),
            blocks,
            posts,
        });
        let listener = env.net.listen("127.0.0.1:0").await.unwrap();
        let source = listener.local_addr();
        let router = Router::new()
            .route("/template", get(template))
            .route("/block", post(block))
            .route("/shares", post(shares))
            .with_state(Arc::clone(&surroundings));
        drop(outside.spawn("world", platform::serve::serve(listener, router, outside.clone())));

        let authority = write_keys(&env, directory.path());
        let (miner_address, http_address) = (free_address(&env).await, free_address(&env).await);
        let verifier_address = free_address(&env).await;
        let files = directory.path().display();
        let config = format!(
            r#"
            [gateway]
            mode = "observe"
            listen_addr = "{miner_address}"
            http_addr = "{http_address}"
            verifier_addr = "{verifier_address}"
            upstream_url = "http://{source}"
            upstream_failure_policy = "fail_closed"
            [noise]
            noise_key_file = "{files}/noise.key"
            noise_cert_file = "{files}/noise.cert"
            authority_public_key_file = "{files}/authority.pub"
            [share]
            share_upstream_url = "http://{source}/shares"
            share_upstream_secret = "{SECRET}"
            share_batch_interval_ms = 1
            initial_difficulty = 1e-9
            [vardiff]
            min_difficulty = 1e-9
            [auth]
            mode = "open"
            [log]
            path = "{files}/log"
            "#
        );
        Self {
            env,
            miner_address,
            authority,
            http_address,
            verifier_address,
            config,
            directory,
            surroundings,
            blocks: Mutex::new(blocks_seen),
            posts: Mutex::new(posts_seen),
            outside,
        }
    }

    pub(crate) fn start_gateway(&self, mode: &str) -> Running {
        self.start_gateway_with(&[("GATEWAY__GATEWAY__MODE", mode)])
    }

    /// Starts a gateway whose configuration is changed by these variables.
    pub(crate) fn start_gateway_with(&self, variables: &[(&str, &str)]) -> Running {
        let hatch = ("VELDRA_GATEWAY_ALLOW_OPEN_AUTH", "1");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = variables.iter().chain([&hatch]).map(owned).collect();
        self.write_config(&[]);
        let source = ConfigSource { file: Some(self.config_file()), environment };
        let config = source.load(&self.env).unwrap();
        let (tasks, control) = (Tasks::new(), Control::default());
        let env = Env { tasks: tasks.clone(), ..self.env.clone() };
        let running = gateway::run_reloadable(env, config, source, control.clone());
        let task = self.outside.spawn("gateway", running);
        Running { tasks, control, task }
    }

    /// Writes the configuration anew, with these texts of it replaced.
    pub(crate) fn write_config(&self, changes: &[(&str, &str)]) {
        let mut text = self.config.clone();
        for (old, new) in changes {
            assert!(text.contains(old), "{old} is not in the configuration");
            text = text.replace(old, new);
        }
        self.env.storage.write_atomic(&self.config_file(), text.as_bytes()).unwrap();
    }

    /// Gives the gateway new keys and a certificate of another authority.
    pub(crate) fn rotate_keys(&self) -> AuthorityPublicKey {
        write_keys(&self.env, self.directory.path())
    }

    /// Has the pool expect signatures under another secret.
    pub(crate) fn pool_expects(&self, secret: &str) {
        secret.clone_into(&mut self.surroundings.secret.lock().unwrap());
    }

    /// Writes a file into the gateway's directory.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        self.env.storage.write_atomic(&path, text.as_bytes()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn config_file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    /// A verifier that takes every proposal's body and then gives the same judgement; it tells how
    /// long each body was.
    pub(crate) async fn start_verifier(&self, verdict: Verdict) -> mpsc::UnboundedReceiver<usize> {
        let mut listener = self.env.net.listen(&self.verifier_address).await.unwrap();
        let (judged, bodies) = mpsc::unbounded_channel();
        drop(self.outside.spawn("verifier", async move {
            let stream = listener.accept().await.unwrap();
            judge(stream, &verdict, &judged).await;
        }));
        bodies
    }

    pub(crate) fn pool_answers(&self, status: u16) {
        self.surroundings.pool_status.store(status, Ordering::Relaxed);
    }

    /// Has the node answer blocks so from now on.
    pub(crate) fn node_answers(&self, answer: Value) {
        *self.surroundings.node_answer.lock().unwrap() = answer;
    }

    pub(crate) async fn next_block(&self) -> Value {
        self.blocks.lock().await.recv().await.unwrap()
    }

    /// The next post with the right signature.
    pub(crate) async fn next_post(&self) -> Value {
        self.posts.lock().await.recv().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path).await
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, String) {
        self.request("POST", path).await
    }

    pub(crate) async fn until_healthy(&self) {
        while self.request("GET", "/health").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn until_ready(&self) {
        while self.request("GET", "/ready").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    }

    /// The events from the log's first on, until `count` of them have this name.
    pub(crate) async fn events_until(&self, name: &str, count: usize) -> Vec<Value> {
        self.until_healthy().await;
        let uri = format!("http://{}/gateway/events?since=0", self.http_address);
        let request = Request::get(uri).body(Full::default()).unwrap();
        let mut body = self.client().open(request).await.unwrap().into_body();
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        while events.iter().filter(|event: &&Value| event["event"] == name).count() < count {
            bytes.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
            let lines = bytes.drain(..whole).collect::<Vec<u8>>();
            let lines = String::from_utf8(lines).unwrap();
            events.extend(lines.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], index + 1, "no event is missing");
        }
        events
    }

    pub(crate) async fn no_task_is_left(&self, before: usize) {
        assert_eq!(self.env.tasks.live(), before);
    }

    async fn request(&self, method: &str, path: &str) -> (u16, String) {
        let uri = format!("http://{}{path}", self.http_address);
        let request = Request::builder().method(method).uri(uri).body(Full::default()).unwrap();
        match self.client().send(request, Duration::from_secs(10), 1 << 20).await {
            Ok(answer) => {
                let body = String::from_utf8(answer.body().to_vec()).unwrap();
                (answer.status().as_u16(), body)
            }
            Err(_) => (0, String::new()),
        }
    }

    fn client(&self) -> HttpClient {
        HttpClient::new(&Env { tasks: self.outside.clone(), ..self.env.clone() })
    }
}

/// Makes the gateway's keys in `directory`.
fn write_keys(env: &Env, directory: &Path) -> AuthorityPublicKey {
    let day = Duration::from_secs(86_400);
    let keys = gen_keys::generate(env, None, day, day).unwrap();
    let path = |name: &str| directory.join(name);
    let write = |name: &str, text: &str| {
        env.storage.write_atomic(&path(name), text.as_bytes()).unwrap();
    };
    write("noise.key", &keys.noise_key);
    write("noise.cert", &keys.certificate);
    write("authority.pub", &keys.authority_public_key.to_string());
    keys.authority_public_key
}

async fn judge(mut stream: Stream, verdict: &Verdict, judged: &mpsc::UnboundedSender<usize>) {
    let (mut decoder, mut chunk) = (LineDecoder::new(), [0; 4096]);
    let mut body = None;
    loop {
        let length = stream.read.read(&mut chunk).await.unwrap_or_default();
        if length == 0 {
            return;
        }
        decoder.feed(&chunk[..length]);
        while let Some(line) = decoder.next_line().unwrap() {
            let answer = match decode(line).unwrap() {
                Message::TemplatePropose(proposal) => {
                    body = Some(BodyAssembler::new(&proposal.body).unwrap());
                    continue;
                }
                Message::TemplateBody(piece) => {
                    let Some(body) = body.as_mut().unwrap().push(&piece).unwrap() else { continue };
                    judged.send(body.bytes.len()).unwrap();
                    Message::TemplateVerdict(TemplateVerdict {
                        proposal_id: piece.proposal_id,
                        verdict: verdict.clone(),
                        policy_hash: "policy".to_owned(),
                        judged_in_us: 1,
                    })
                }
                Message::Heartbeat(Heartbeat { seq }) => {
                    Message::HeartbeatAck(HeartbeatAck { seq, tx_known: false })
                }
                other => panic!("unexpected {}", other.msg_type()),
            };
            // The gateway may have ended.
            let _ = stream.write.write_all(&encode(&answer)).await;
        }
    }
}

async fn free_address(env: &Env) -> String {
    env.net.listen("127.0.0.1:0").await.unwrap().local_addr().to_string()
}

async fn template(
    State(world): State<Arc<Surroundings>>,
    RawQuery(query): RawQuery,
) -> (StatusCode, String) {
    if query.is_some_and(|query| query.contains("after=")) {
        // There is never a newer one.
        std::future::pending::<()>().await;
    }
    let answer = json!({
        "template_id": 1, "source": "node", "network": "regtest",
        "observed_at_ms": world.started_at_ms, "mempool_tx": null,
        "template": {
            "version": 0x2000_0000, "rules": [], "previousblockhash": TIP, "transactions": [],
            "coinbasevalue": 5_000_000_000_u64, "mintime": 1_296_688_603,
            "curtime": 1_700_000_000, "bits": "207fffff", "height": 102, "sigoplimit": 80_000,
            "weightlimit": 4_000_000,
        },
    });
    (StatusCode::OK, answer.to_string())
}

async fn block(State(world): State<Arc<Surroundings>>, body: Bytes) -> String {
    world.blocks.send(serde_json::from_slice(&body).unwrap()).unwrap();
    let mut result = world.node_answer.lock().unwrap().clone();
    let accepted = result["error"].is_null();
    result["node"] = "node".into();
    json!({ "accepted": accepted, "results": [result] }).to_string()
}

async fn shares(
    State(world): State<Arc<Surroundings>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let secret = world.secret.lock().unwrap().clone();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [header("x-timestamp").as_bytes(), b".", &body].concat();
    let signature = header("x-signature");
    let signature = const_hex::decode(signature.strip_prefix("sha256=").unwrap()).unwrap();
    ring::hmac::verify(&key, &signed, &signature).expect("the signature is right");
    let post: Value = serde_json::from_slice(&body).unwrap();
    let shares = post["shares"].as_array().unwrap().iter();
    let results: Vec<Value> = shares
        .map(|share| json!({ "share_id": share["share_id"], "accepted": true, "error": null }))
        .collect();
    // The test may have seen all it wants.
    let _ = world.posts.send(post.clone());
    let status = world.pool_status.load(Ordering::Relaxed);
    (StatusCode::from_u16(status).unwrap(), json!({ "results": results }).to_string())
}
