//! Follows one node: a long poll that the node answers when its tip moves, and plain polls that
//! find what the long poll does not tell (mempool changes, a connection that hangs).

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use platform::{Offload, Shutdown};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::gbt::GbtError;
use crate::large;
use crate::metrics::Metrics;
use crate::node_rpc::{NodeRpc, RpcError};
use crate::pace::Pace;
use crate::store::{Draft, Observation, Store};

/// The waits after failures double from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
/// How long a long poll may stand. It ends earlier when a plain poll shows that it hangs; giving
/// up more often would pile up waiting threads in the node, which does not notice.
const LONG_POLL_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a node may take to count its mempool.
const MEMPOOL_TIMEOUT: Duration = Duration::from_millis(500);

/// One configured node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) rpc: NodeRpc,
    pub(crate) rpc_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    /// Transactions in its mempool as it last said.
    mempool_tx: Mutex<Option<u64>>,
    has_new_template: Notify,
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
    pub(crate) fn new(
        name: String,
        rpc: NodeRpc,
        rpc_timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (mempool_tx, has_new_template) = (Mutex::default(), Notify::new());
        Self { name, rpc, rpc_timeout, metrics, mempool_tx, has_new_template }
    }

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
        let info: MempoolInfo =
            read("getmempoolinfo", &self.call("getmempoolinfo", &json!([])).await?)?;
        *self.mempool_tx.lock().unwrap_or_else(PoisonError::into_inner) = Some(info.size);
        Ok(info)
    }

    fn mempool_tx(&self) -> Option<u64> {
        *self.mempool_tx.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) cpu: Arc<dyn Offload>,
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
            let other = self.store.failed(self.index, error.kind(), error.to_string());
            self.announce(other).await;
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
    ) -> Result<Infallible, SourceError> {
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
        let mut counting = Box::pin(self.count_mempools());
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
                never = &mut counting => match never {},
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
        let (bytes, mempool_tx) = (template.len(), self.node.mempool_tx());
        let read = move || Observation::new(template, mempool_tx, observed, observed_at_ms);
        let observation = large::work(&self.cpu, bytes, read).await?;
        let next = (observation.tip, observation.longpollid.clone());
        self.announce(self.store.observe(self.index, observation)).await;
        self.node.has_new_template.notify_one();
        Ok(next)
    }

    /// Gives clients what the store decided on.
    async fn announce(&self, decided: Option<Draft>) {
        let Some(draft) = decided else { return };
        let announced = large::work(&self.cpu, draft.len(), move || draft.write()).await;
        self.store.publish(announced);
    }

    /// Has the node say how large its mempool is after each template, as a block empties it. No
    /// template waits for that.
    async fn count_mempools(&self) -> Infallible {
        loop {
            self.node.has_new_template.notified().await;
            let counted = tokio::time::timeout(MEMPOOL_TIMEOUT, self.node.mempool()).await;
            if !matches!(counted, Ok(Ok(_))) {
                tracing::debug!(node = self.node.name, "its mempool was not counted");
            }
        }
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
