//! A verifier on a network in memory, a gateway that talks to it, and blocks to propose.

mod net;
mod node;
mod template;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::{Env, Offload, Reload, Shutdown, Stream, TaskHandle, Wall};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use verifier::{Config, Error};
use verifier_protocol::{
    LineDecoder, Message, TemplateVerdict, Verdict, body_lines, decode, encode,
};

pub(crate) use node::{FakeNode, NODE};
pub(crate) use template::{Draft, Template};

/// Where gateways connect.
pub(crate) const LINK: &str = "127.0.0.1:5001";

/// The time at which every test begins, in Unix milliseconds.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

struct TestWall(AtomicU64);

impl Wall for TestWall {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Inline;

impl Offload for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// A running verifier.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) shutdown: Shutdown,
    pub(crate) reload: Reload,
    pub(crate) policy_file: PathBuf,
    running: TaskHandle<Result<(), Error>>,
    wall: Arc<TestWall>,
    _directory: tempfile::TempDir,
}

impl World {
    /// Starts with a policy that accepts every fee.
    pub(crate) async fn start() -> Self {
        Self::with_policy("[policy]\nmin_avg_fee_hi = 1\n").await
    }

    pub(crate) async fn with_policy(policy: &str) -> Self {
        Self::with_config(policy, |_| ()).await
    }

    pub(crate) async fn with_config(policy: &str, change: impl FnOnce(&mut Config)) -> Self {
        Self::prepared(policy, change).started().await
    }

    /// Everything but the verifier itself.
    pub(crate) fn prepared(policy: &str, change: impl FnOnce(&mut Config)) -> Prepared {
        let directory = tempfile::tempdir().unwrap();
        let policy_file = directory.path().join("policy.toml");
        let wall = Arc::new(TestWall(AtomicU64::new(NOW_MS)));
        let env = Env {
            net: Arc::new(net::MemoryNet::default()),
            wall: Arc::clone(&wall) as Arc<dyn Wall>,
            cpu: Arc::new(Inline),
            ..platform::real::env()
        };
        env.storage.write_atomic(&policy_file, policy.as_bytes()).unwrap();
        let mut config = Config { policy_file: Some(policy_file.clone()), ..Config::default() };
        change(&mut config);
        Prepared { env, config, policy_file, wall, directory }
    }

    pub(crate) fn pass_ms(&self, millis: u64) {
        self.wall.0.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) fn write_policy(&self, policy: &str) {
        self.env.storage.write_atomic(&self.policy_file, policy.as_bytes()).unwrap();
    }

    pub(crate) async fn gateway(&self) -> Gateway {
        Gateway::on(self.env.net.connect(LINK).await.unwrap())
    }

    /// The status and the body of the answer.
    pub(crate) async fn http(
        &self,
        address: &str,
        request: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String) {
        let mut stream = self.env.net.connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: v\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer[9..12].parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.http("127.0.0.1:8081", &format!("GET {path}"), "", "").await
    }

    /// Shuts the verifier down; nothing of it may be left.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("a clean end");
        assert_eq!(self.env.tasks.names(), [""; 0]);
    }
}

/// What a verifier runs in.
pub(crate) struct Prepared {
    pub(crate) env: Env,
    config: Config,
    policy_file: PathBuf,
    wall: Arc<TestWall>,
    directory: tempfile::TempDir,
}

impl Prepared {
    pub(crate) async fn started(self) -> World {
        let Self { env, config, policy_file, wall, directory } = self;
        let (shutdown, reload) = (Shutdown::new(), Reload::new());
        let run = verifier::run_reloadable(env.clone(), config, shutdown.clone(), reload.clone());
        let running = env.tasks.spawn("verifier", run);
        tokio::task::yield_now().await;
        World { env, shutdown, reload, policy_file, running, wall, _directory: directory }
    }
}

/// The gateway's end of a link.
pub(crate) struct Gateway {
    pub(crate) stream: Stream,
    decoder: LineDecoder,
}

impl Gateway {
    pub(crate) fn on(stream: Stream) -> Self {
        Self { stream, decoder: LineDecoder::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a proposal with all its lines.
    pub(crate) async fn propose(&mut self, template: &Template) {
        for line in template.lines() {
            self.send(&line).await;
        }
    }

    /// Sends a proposal and waits for its verdict.
    pub(crate) async fn judge(&mut self, template: &Template) -> Verdict {
        self.propose(template).await;
        let judged = self.verdict().await;
        assert_eq!(judged.proposal_id, template.propose.proposal_id);
        judged.verdict
    }

    pub(crate) async fn verdict(&mut self) -> TemplateVerdict {
        match self.receive().await {
            Some(Message::TemplateVerdict(verdict)) => verdict,
            other => panic!("no verdict: {other:?}"),
        }
    }

    /// The next message, `None` when the verifier has closed the link.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(line) = self.decoder.next_line().unwrap() {
                return Some(decode(line).unwrap());
            }
            let mut buffer = [0; 4096];
            let read = timeout(Duration::from_secs(60), self.stream.read(&mut buffer));
            let count = read.await.expect("an answer within a minute").unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.decoder.feed(&buffer[..count]);
        }
    }
}

impl Template {
    /// The lines that propose it.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let propose = encode(&Message::TemplatePropose(self.propose.clone()));
        let body = body_lines(self.propose.proposal_id, &self.block);
        std::iter::once(propose).chain(body).collect()
    }
}
