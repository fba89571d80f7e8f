//! What the operator's own node knows: the ground truth that a template is held against.

mod mempool;
mod node;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use platform::{Env, Offload};
use policy::Policy;
use templates::node_rpc::RpcError;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::NodeConfig;
use crate::proposed::ProposedBlock;
use crate::service::Service;
pub(crate) use mempool::{Sight, View, ViewState, compare};
use node::Node;
pub(crate) use node::NodeSays;

/// How soon a poll that failed is tried again, where the interval is not shorter.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The node, where one is configured, and the last view of its mempool.
pub(crate) struct Ground {
    node: Option<Node>,
    last: Mutex<Last>,
    /// Why the node did not answer the latest proposal, if it did not.
    unanswered: Mutex<Option<String>>,
    wake: Notify,
}

#[derive(Default)]
struct Last {
    view: Option<Arc<View>>,
    /// Why the latest poll brought none.
    failure: Option<String>,
}

impl Ground {
    pub(crate) fn new(env: &Env, config: Option<&NodeConfig>) -> Self {
        Self {
            node: config.map(|config| Node::new(env, config)),
            last: Mutex::default(),
            unanswered: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// What is known of the mempool now.
    pub(crate) fn sight(&self, policy: &Policy) -> Sight {
        let last = self.last();
        let max_stale = Duration::from_secs(policy.mempool.max_stale_secs);
        Sight::of(last.view.clone(), last.failure.clone(), Instant::now(), max_stale)
    }

    /// Puts a block to the node's proposal mode.
    pub(crate) async fn proposal(
        &self,
        cpu: &Arc<dyn Offload>,
        block: Arc<ProposedBlock>,
    ) -> NodeSays {
        let says = match &self.node {
            Some(node) => node.proposal(cpu, block).await,
            None => NodeSays::Nothing { cause: "no_node", detail: NO_NODE.to_owned() },
        };
        *self.unanswered() = match &says {
            NodeSays::Nothing { detail, .. } => Some(detail.clone()),
            _ => None,
        };
        says
    }

    /// What the policy asks for and cannot be had now.
    pub(crate) fn missing(&self, policy: &Policy) -> Vec<String> {
        let mut missing = Vec::new();
        if policy.mempool.enforce {
            let sight = self.sight(policy);
            if !sight.is_usable() {
                missing.push(format!("mempool view: {}", sight.state_detail()));
            }
        }
        if policy.node.proposal_check {
            let unanswered = match &self.node {
                Some(_) => self.unanswered().clone(),
                None => Some(NO_NODE.to_owned()),
            };
            missing.extend(unanswered.map(|why| format!("proposal check: {why}")));
        }
        missing
    }

    /// Has the view renewed at once, because the policy changed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    async fn poll(&self, node: &Node, cpu: &Arc<dyn Offload>) -> Result<usize, RpcError> {
        // The list is at least as young as the question.
        let asked_at = Instant::now();
        let polled = node.mempool(cpu).await;
        let mut last = self.last();
        match polled {
            Ok(txids) => {
                let count = txids.len();
                *last = Last { view: Some(Arc::new(View::new(txids, asked_at))), failure: None };
                Ok(count)
            }
            Err(error) => {
                last.failure = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn unanswered(&self) -> MutexGuard<'_, Option<String>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NO_NODE: &str = "no node is configured; set [node]";

/// Renews the view as often as the policy in force says; never ends.
pub(crate) async fn keep_view(service: &Service) {
    let ground = &service.ground;
    let Some(node) = &ground.node else { return std::future::pending().await };
    let mut failed_before = false;
    loop {
        let policy = service.policies.current();
        let rules = policy.map(|versioned| versioned.policy.mempool.clone()).unwrap_or_default();
        let mut wait = Duration::from_secs(rules.poll_interval_secs);
        match ground.poll(node, &service.env.cpu).await {
            Ok(count) => {
                service.metrics.mempool_polled("ok", Some(count));
                if std::mem::take(&mut failed_before) {
                    tracing::info!(count, "the node's mempool is seen again");
                }
            }
            Err(error) => {
                service.metrics.mempool_polled(error.kind(), None);
                if !std::mem::replace(&mut failed_before, true) {
                    tracing::warn!(%error, "the node's mempool cannot be seen");
                }
                wait = wait.min(RETRY_AFTER_FAILURE);
            }
        }
        // Whether it slept or was woken, the next poll is due.
        let _ = tokio::time::timeout(wait, ground.wake.notified()).await;
    }
}
