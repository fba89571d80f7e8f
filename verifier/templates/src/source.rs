//! Follows one node: a long poll that the node answers when its tip moves, and plain polls that
//! find what the long poll does not tell (mempool changes, a connection that hangs).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use platform::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gbt::GbtError;
use crate::metrics::Metrics;
use crate::node_rpc::{NodeRpc, RpcError};
use crate::pace::Pace;
use crate::store::{Observation, Store};

/// The waits after failures double from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
/// How long a long poll may stand. It ends earlier when a plain poll shows that it hangs; giving
/// up more often would pile up waiting threads in the node, which does not notice.
const LONG_POLL_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a template waits for the size of its mempool.
const MEMPOOL_TIMEOUT: Duration = Duration::from_millis(500);

/// One configured node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) rpc: NodeRpc,
    pub(crate) rpc_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
}

/// What a node says of its mempool.
#[derive(Deserialize)]
pub(crate) struct MempoolInfo {
    pub(crate) size: u64,
    pub(crate) bytes: u64,
}

impl Node {
    /// Calls a method within the configured time.
    pub(crate) async fn call(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<Bytes, RpcError> {
        let started = Instant::now();
        let result = self.rpc.call(method, params, self.rpc_timeout).await;
        self.metrics.rpc(&self.name, method, started.elapsed());
        result
    }

    pub(crate) async fn mempool(&self) -> Result<MempoolInfo, RpcError> {
        read("getmempoolinfo", &self.call("getmempoolinfo", &json!([])).await?)
    }

    async fn chain(&self) -> Result<String, RpcError> {
        let info: ChainInfo =
            read("getblockchaininfo", &self.call("getblockchaininfo", &json!([])).await?)?;
        Ok(info.chain)
    }
}

fn read<T: serde::de::DeserializeOwned>(method: &str, result: &[u8]) -> Result<T, RpcError> {
    serde_json::from_slice(result)
        .map_err(|error| RpcError::Malformed(format!("{method}: {error}")))
}

/// Why a node gives no template.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("{0}")]
    Rpc(#[from] RpcError),
    #[error("{0}")]
    Template(#[from] GbtError),
    #[error("is on {this}, but the other nodes are on {others}; configure nodes of one network")]
    Network { this: String, others: String },
}

impl SourceError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Rpc(error) => error.kind(),
            Self::Template(_) => "malformed",
            Self::Network { .. } => "network",
        }
    }
}

/// Doubling waits.
struct Backoff(Duration);

impl Backoff {
    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LAST_BACKOFF);
        wait
    }

    fn reset(&mut self) {
        self.0 = FIRST_BACKOFF;
    }
}

/// Keeps the store supplied with one node's templates.
pub(crate) struct Follower {
    pub(crate) index: usize,
    pub(crate) node: Arc<Node>,
    pub(crate) store: Arc<Store>,
    pub(crate) pace: Arc<Pace>,
}

impl Follower {
    /// Follows the node, through its failures, until shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff(FIRST_BACKOFF);
        let mut calls = self.pace.calls();
        loop {
            let error = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                error = self.follow(&mut backoff, &mut calls) => error,
            };
            self.store.failed(self.index, error.kind(), error.to_string());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = calls.changed() => {}
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    /// Follows the node until it fails.
    async fn follow(&self, backoff: &mut Backoff, calls: &mut watch::Receiver<u64>) -> SourceError {
        match self.try_follow(backoff, calls).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_follow(
        &self,
        backoff: &mut Backoff,
        calls: &mut watch::Receiver<u64>,
    ) -> Result<std::convert::Infallible, SourceError> {
        let chain = self.node.chain().await?;
        self.store
            .agree_on_network(&chain)
            .map_err(|others| SourceError::Network { this: chain.clone(), others })?;
        let rules = if chain == "signet" { json!(["segwit", "signet"]) } else { json!(["segwit"]) };

        let (mut tip, longpollid) = self.take(self.template(&rules).await?).await?;
        backoff.reset();
        let mut long_backoff = Backoff(FIRST_BACKOFF);
        let mut long = Box::pin(self.long_poll(&rules, longpollid, Duration::ZERO));
        let mut poll = Box::pin(self.poll(&rules, self.pace.poll_interval()));
        let mut called = false;
        loop {
            tokio::select! {
                biased;
                (asked_with, answer) = &mut long => {
                    let longpollid = match answer {
                        Ok(template) => {
                            let longpollid;
                            (tip, longpollid) = self.take(template).await?;
                            longpollid
                        }
                        Err(error) => {
                            tracing::debug!(node = self.node.name, %error, "long poll failed");
                            asked_with.clone()
                        }
                    };
                    // An answer that tells nothing new is as good as none: not in a busy loop.
                    let wait = if longpollid == asked_with {
                        long_backoff.next()
                    } else {
                        long_backoff.reset();
                        Duration::ZERO
                    };
                    long = Box::pin(self.long_poll(&rules, longpollid, wait));
                    // A plain poll asked before this may be answered after it, with the old tip.
                    called = false;
                    poll = Box::pin(self.poll(&rules, self.pace.poll_interval()));
                }
                // One call at a time: however often it is called, an answer comes.
                _ = calls.changed(), if !called => {
                    called = true;
                    poll = Box::pin(self.poll(&rules, Duration::ZERO));
                }
                template = &mut poll => {
                    called = false;
                    let (polled_tip, longpollid) = self.take(template?).await?;
                    if polled_tip != tip {
                        // The long poll waits for a tip that came: it hangs, or is answered now.
                        tip = polled_tip;
                        long = Box::pin(self.long_poll(&rules, longpollid, Duration::ZERO));
                    }
                    poll = Box::pin(self.poll(&rules, self.pace.poll_interval()));
                }
            }
        }
    }

    /// Hands a template to the store. Returns its tip and the id for the next long poll.
    async fn take(
        &self,
        template: Bytes,
    ) -> Result<(bitcoin::BlockHash, Option<String>), SourceError> {
        let (observed, observed_at_ms) = (Instant::now(), self.store.unix_ms());
        // Asked anew for each template: a block empties the mempool, and the policy's tier with it.
        let mempool = tokio::time::timeout(MEMPOOL_TIMEOUT, self.node.mempool()).await;
        let mempool_tx = mempool.ok().and_then(Result::ok).map(|info| info.size);
        let observation = Observation::new(template, mempool_tx, observed, observed_at_ms)?;
        let next = (observation.tip, observation.longpollid.clone());
        self.store.observe(self.index, observation);
        Ok(next)
    }

    async fn poll(&self, rules: &Value, wait: Duration) -> Result<Bytes, RpcError> {
        tokio::time::sleep(wait).await;
        self.template(rules).await
    }

    async fn template(&self, rules: &Value) -> Result<Bytes, RpcError> {
        self.node.call("getblocktemplate", &json!([{ "rules": rules }])).await
    }

    /// Waits for the node to have another template than `longpollid` names (BIP 22). Without an
    /// id, which a node that cannot do it does not give, this never ends.
    async fn long_poll(
        &self,
        rules: &Value,
        longpollid: Option<String>,
        wait: Duration,
    ) -> (Option<String>, Result<Bytes, RpcError>) {
        let Some(id) = longpollid else { return std::future::pending().await };
        tokio::time::sleep(wait).await;
        let params = json!([{ "rules": rules, "longpollid": id }]);
        let answer = self.node.rpc.call("getblocktemplate", &params, LONG_POLL_TIMEOUT).await;
        (Some(id), answer)
    }
}
