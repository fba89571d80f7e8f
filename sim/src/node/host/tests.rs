//! The host as its clients see it, over pipes and in virtual time.

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::http::Request;
use http_body_util::Full;
use platform::http_client::{HttpClient, HttpError};
use platform::{Listener, Net, Stream, Wall};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::{ChainScript, EmbeddedNode};
use super::*;

const START: u64 = 1_700_000_000;
const DELAY: Duration = Duration::from_millis(3);

/// One listener at a time, and pipes to it.
#[derive(Default)]
struct Pipes(Arc<Mutex<Option<mpsc::UnboundedSender<Stream>>>>);

#[async_trait]
impl Net for Pipes {
    async fn connect(&self, _: &str) -> io::Result<Stream> {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let sender = self.0.lock().unwrap().clone();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        sender.ok_or_else(refused)?.send(stream(there)).map_err(|_| refused())?;
        Ok(stream(here))
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.lock().unwrap() = Some(sender);
        Ok(Box::new(Accepts(receiver)))
    }
}

struct Accepts(mpsc::UnboundedReceiver<Stream>);

#[async_trait]
impl Listener for Accepts {
    async fn accept(&mut self) -> io::Result<Stream> {
        match self.0.recv().await {
            Some(stream) => Ok(stream),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }
}

fn stream(pipe: tokio::io::DuplexStream) -> Stream {
    let (read, write) = tokio::io::split(pipe);
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    Stream { read: Box::new(read), write: Box::new(write), peer: address, local: address }
}

/// A wall clock that follows virtual time.
struct VirtualWall(Instant);

impl Wall for VirtualWall {
    fn unix_ms(&self) -> u64 {
        START * 1000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// A served embedded chain, its driver, and a client.
struct Bench {
    node: SharedNode,
    script: ChainScript,
    changes: watch::Sender<u64>,
    faults: watch::Sender<Fault>,
    submissions: Submissions,
    client: HttpClient,
}

impl Bench {
    async fn start() -> Self {
        let env = Env {
            net: Arc::new(Pipes::default()),
            wall: Arc::new(VirtualWall(Instant::now())),
            ..platform::real::env()
        };
        let node = SharedNode::new(Box::new(EmbeddedNode::new(START)));
        let (changes, changes_seen) = watch::channel(0);
        let (faults, faults_seen) = watch::channel(Fault::None);
        let submissions = Submissions::default();
        let options = HostOptions {
            delay: Arc::new(|_| DELAY),
            faults: faults_seen,
            submissions: Arc::clone(&submissions),
        };
        let (served, shared) = (env.clone(), node.clone());
        env.tasks.spawn("node_host", async move {
            serve_node(served, "node:8332", shared, options, changes_seen).await.unwrap();
        });
        tokio::task::yield_now().await;
        let mut script = ChainScript::new(1, START);
        script.premine(&mut node.clone(), 102, 10).unwrap();
        let client = HttpClient::new(&env);
        Self { node, script, changes, faults, submissions, client }
    }

    async fn post(&self, request: &Value) -> Result<(u16, Value), HttpError> {
        let body = Full::from(request.to_string());
        let request = Request::post("http://node:8332/").body(body).unwrap();
        let limit = Duration::from_secs(100);
        let answer = self.client.send(request, limit, REQUEST_BYTES_MAX).await?;
        let body = serde_json::from_slice(answer.body()).unwrap();
        Ok((answer.status().as_u16(), body))
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let (status, mut body) = self.post(&request).await.unwrap();
        assert_eq!((status, &body["id"]), (200, &json!(7)));
        body["result"].take()
    }

    async fn template(&self, longpollid: Option<&Value>) -> Value {
        let mut request = json!({ "rules": ["segwit"] });
        if let Some(id) = longpollid {
            request["longpollid"] = id.clone();
        }
        self.call("getblocktemplate", json!([request])).await
    }

    fn mine(&mut self) {
        self.script.mine_empty(&mut self.node, 1).unwrap();
        self.changes.send_modify(|count| *count += 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_the_modelled_delay() {
    let bench = Bench::start().await;
    let asked = Instant::now();
    assert_eq!(bench.call("getblockcount", json!([])).await, 103);
    assert_eq!(asked.elapsed(), DELAY);
}

#[tokio::test(start_paused = true)]
async fn templates_follow_the_virtual_wall_clock() {
    let bench = Bench::start().await;
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(bench.template(None).await["curtime"], START + 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_a_new_tip() {
    let mut bench = Bench::start().await;
    let first = bench.template(None).await;
    let asked = Instant::now();
    let (second, ()) = tokio::join!(biased; bench.template(Some(&first["longpollid"])), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut node = bench.node.clone();
        ChainScript::new(9, START).mine_empty(&mut node, 1).unwrap();
        bench.changes.send_modify(|count| *count += 1);
    });
    assert_eq!(asked.elapsed(), Duration::from_secs(20) + DELAY);
    assert_eq!(second["height"], 105);
    // A tip that came while nobody asked is told at once.
    bench.mine();
    let asked = Instant::now();
    assert_eq!(bench.template(Some(&second["longpollid"])).await["height"], 106);
    assert_eq!(asked.elapsed(), DELAY);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_a_changed_mempool_or_at_the_limit() {
    let mut bench = Bench::start().await;
    let first = bench.template(None).await;
    let asked = Instant::now();
    let second = bench.template(Some(&first["longpollid"])).await;
    assert_eq!(asked.elapsed(), LONG_POLL_LIMIT + DELAY);
    assert_eq!(second["transactions"], json!([]));
    bench.script.fill_mempool(&mut bench.node, 2).unwrap();
    bench.changes.send_modify(|count| *count += 1);
    let third = bench.template(Some(&second["longpollid"])).await;
    assert_eq!(third["transactions"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_have_the_status_of_their_dialect() {
    let bench = Bench::start().await;
    let old = |method: &str| json!({ "id": 1, "method": method, "params": [100_000] });
    let (status, body) = bench.post(&old("nosuch")).await.unwrap();
    assert_eq!((status, &body["error"]["code"]), (404, &json!(RpcError::METHOD_NOT_FOUND)));
    let (status, body) = bench.post(&old("getblockhash")).await.unwrap();
    assert_eq!((status, &body["error"]["code"], &body["result"]), (500, &json!(-8), &Value::Null));
    bench.faults.send(Fault::WarmingUp).unwrap();
    let (status, body) = bench.post(&old("getblockhash")).await.unwrap();
    assert_eq!((status, &body["error"]["code"]), (500, &json!(RpcError::IN_WARMUP)));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_times_out_or_is_down_answers_again_afterwards() {
    let bench = Bench::start().await;
    let request = json!({ "id": 1, "method": "getblockcount" });
    bench.faults.send(Fault::Timeout).unwrap();
    assert!(matches!(bench.post(&request).await, Err(HttpError::Timeout(_))));
    bench.faults.send(Fault::Down).unwrap();
    assert!(matches!(bench.post(&request).await, Err(HttpError::Transport(_))));
    assert!(matches!(bench.post(&request).await, Err(HttpError::Transport(_))));
    bench.faults.send(Fault::None).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.post(&request).await.unwrap().1["result"], 103);
}

#[tokio::test(start_paused = true)]
async fn submitted_blocks_are_noted_with_their_fate() {
    let mut bench = Bench::start().await;
    let block = bench.script.next_block(&mut bench.node).unwrap();
    let hex = bitcoin::consensus::encode::serialize_hex(&block);
    assert_eq!(bench.call("submitblock", json!([hex])).await, Value::Null);
    assert_eq!(bench.call("submitblock", json!([hex])).await, "duplicate");
    bench.call("submitblock", json!(["00"])).await;
    let submissions = bench.submissions.lock().unwrap();
    let results: Vec<_> = submissions.iter().map(|submission| submission.result.clone()).collect();
    assert_eq!(results[..2], [Ok(None), Ok(Some("duplicate".into()))]);
    assert!(results[2].is_err());
    assert_eq!(submissions[0].block, hex);
}
