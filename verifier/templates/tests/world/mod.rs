//! A network in memory and nodes on it, so that the daemon runs whole in paused time.

mod net;
mod node;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use platform::http_client::HttpClient;
use platform::real::{BlockingPool, Disk, OsEntropy};
use platform::{Env, Reload, Shutdown, TaskHandle, Tasks, Wall};
use templates::client::TemplateClient;
use templates::{Config, Error};

use net::MemoryNet;
pub(crate) use node::{FakeNode, hash};

pub(crate) const DAEMON: &str = "127.0.0.1:8082";
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// Stands still unless it is moved.
pub(crate) struct TestWall(pub(crate) AtomicU64);

impl Wall for TestWall {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The daemon, its environment and a client of it.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) shutdown: Shutdown,
    pub(crate) reload: Reload,
    pub(crate) daemon: Option<TaskHandle<Result<(), Error>>>,
    /// The tasks of the daemon's host, where nothing else runs.
    pub(crate) daemon_tasks: Tasks,
    pub(crate) client: TemplateClient,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Env {
            net: Arc::new(MemoryNet::default()),
            wall: Arc::new(TestWall(AtomicU64::new(START_MS))),
            rng: Arc::new(OsEntropy::new()),
            cpu: Arc::new(BlockingPool),
            storage: Arc::new(Disk),
            tasks: Tasks::new(),
        };
        let http = HttpClient::new(&env);
        let (cpu, timeout) = (Arc::clone(&env.cpu), Duration::from_secs(60));
        let client = TemplateClient::new(http, cpu, "http://127.0.0.1:8082", None, timeout);
        let (shutdown, reload) = (Shutdown::new(), Reload::new());
        Self { env, shutdown, reload, daemon: None, daemon_tasks: Tasks::new(), client }
    }

    /// Starts the daemon on nodes `a:1`, `b:1`, … with `more` lines of configuration.
    pub(crate) fn start(&mut self, nodes: &[&str], more: &str) {
        let mut text = more.to_owned();
        for node in nodes {
            text.push_str(&format!(
                "\n[[nodes]]\nname = {node:?}\nurl = \"http://{node}:1\"\n\
                 user = \"assay\"\npassword = \"hunter2\"\n"
            ));
        }
        self.start_with(&text);
    }

    pub(crate) fn start_with(&mut self, config: &str) {
        let config =
            Config::from_toml(config, &BTreeMap::new(), self.env.storage.as_ref()).unwrap();
        let env = Env { tasks: self.daemon_tasks.clone(), ..self.env.clone() };
        let run = templates::run(env, config, self.shutdown.clone(), self.reload.clone());
        self.daemon = Some(self.env.tasks.spawn("daemon", run));
    }

    /// A GET of the daemon: status and body.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        self.get_with_key(path, "").await
    }

    pub(crate) async fn get_with_key(&self, path: &str, key: &str) -> (StatusCode, String) {
        self.send("GET", path, key, "").await
    }

    /// Any request to the daemon: status and body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &str,
    ) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{DAEMON}{path}"))
            .header("x-api-key", key)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        let answer = HttpClient::new(&self.env)
            .send(request, Duration::from_secs(120), 1 << 20)
            .await
            .unwrap();
        (answer.status(), String::from_utf8(answer.body().to_vec()).unwrap())
    }

    /// Whether the daemon's address can be listened on again.
    pub(crate) async fn net_is_free(&self) -> bool {
        self.env.net.listen(DAEMON).await.is_ok()
    }

    /// Lets the daemon do what it does in `time`.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
