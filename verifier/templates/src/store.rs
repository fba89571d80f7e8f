//! The current template: which of the nodes' templates is handed on, and when it is a new one.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::BlockHash;
use bytes::Bytes;
use platform::Wall;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gbt::{GbtError, TemplateView};
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::wire::{TemplateAnswer, TemplateId};

/// How many tips are remembered, to tell which node was first.
const MAX_TIPS: usize = 64;

/// The template that clients are given.
pub(crate) struct Announced {
    pub(crate) answer: TemplateAnswer,
    /// The answer as it goes over the wire.
    pub(crate) body: Bytes,
    /// When it was received.
    pub(crate) observed: Instant,
    tip: BlockHash,
    digest: [u8; 32],
    node: usize,
}

/// One template of one node.
pub(crate) struct Observation {
    pub(crate) template: Bytes,
    pub(crate) mempool_tx: Option<u64>,
    pub(crate) tip: BlockHash,
    pub(crate) longpollid: Option<String>,
    height: u32,
    digest: [u8; 32],
    observed: Instant,
    observed_at_ms: u64,
}

impl Observation {
    pub(crate) fn new(
        template: Bytes,
        mempool_tx: Option<u64>,
        observed: Instant,
        observed_at_ms: u64,
    ) -> Result<Self, GbtError> {
        let view = TemplateView::parse(&template)?;
        let (tip, height, digest) = (view.previous_block_hash()?, view.height, view.digest());
        let longpollid = view.longpollid().map(str::to_owned);
        Ok(Self { template, mempool_tx, tip, longpollid, height, digest, observed, observed_at_ms })
    }
}

/// How one node does.
#[derive(Clone)]
pub(crate) struct NodeHealth {
    pub(crate) name: String,
    /// Why the last exchange with it gave no template.
    pub(crate) error: Option<String>,
    /// How long ago it gave its last template.
    pub(crate) answered_ago: Option<Duration>,
    /// How much later than the first node it told of its tip; zero for the first.
    pub(crate) tip_lag: Duration,
}

/// When a node last gave a template on the current tip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed {
    pub(crate) ago: Duration,
    pub(crate) at_ms: u64,
}

pub(crate) struct Store {
    wall: Arc<dyn Wall>,
    metrics: Arc<Metrics>,
    pace: Arc<Pace>,
    state: Mutex<State>,
    current: watch::Sender<Option<Arc<Announced>>>,
}

struct State {
    next_id: u64,
    network: Option<String>,
    nodes: Vec<Node>,
    /// Tips in the order in which they were first seen, the newest last.
    tips: VecDeque<Tip>,
    tips_seen: u64,
}

struct Node {
    health: NodeHealth,
    latest: Option<Observation>,
}

/// What a node's tip is.
enum Seen {
    /// The one that it had.
    Same,
    /// One that no node has told of yet.
    First,
    /// One that another told of, so long before.
    After(Duration),
}

struct Tip {
    hash: BlockHash,
    order: u64,
    first_seen: Instant,
}

impl Store {
    pub(crate) fn new(
        nodes: &[String],
        wall: Arc<dyn Wall>,
        metrics: Arc<Metrics>,
        pace: Arc<Pace>,
    ) -> Self {
        let nodes = nodes
            .iter()
            .map(|name| Node {
                health: NodeHealth {
                    name: name.clone(),
                    error: Some("has not answered yet".to_owned()),
                    answered_ago: None,
                    tip_lag: Duration::ZERO,
                },
                latest: None,
            })
            .collect();
        let state = State {
            next_id: wall.unix_ms(),
            network: None,
            nodes,
            tips: VecDeque::new(),
            tips_seen: 0,
        };
        Self { wall, metrics, pace, state: Mutex::new(state), current: watch::Sender::new(None) }
    }

    /// Changes with each announced template.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Announced>>> {
        self.current.subscribe()
    }

    pub(crate) fn current(&self) -> Option<Arc<Announced>> {
        self.current.borrow().clone()
    }

    /// How the nodes do, in the order of the configuration.
    pub(crate) fn health(&self) -> Vec<NodeHealth> {
        let now = Instant::now();
        let health = |node: &Node| NodeHealth {
            answered_ago: node.latest.as_ref().map(|latest| now - latest.observed),
            ..node.health.clone()
        };
        self.lock().nodes.iter().map(health).collect()
    }

    /// When the current template's tip was last confirmed by a node; `None` without a template.
    pub(crate) fn confirmed(&self) -> Option<Confirmed> {
        let (now, tip) = (Instant::now(), self.current()?.tip);
        let state = self.lock();
        let on_tip = state.nodes.iter().filter_map(|node| node.latest.as_ref());
        let latest = on_tip.filter(|latest| latest.tip == tip).max_by_key(|latest| latest.observed);
        latest.map(|latest| Confirmed { ago: now - latest.observed, at_ms: latest.observed_at_ms })
    }

    /// Whether some node has confirmed the current template lately.
    pub(crate) fn is_fresh(&self) -> bool {
        self.confirmed().is_some_and(|confirmed| confirmed.ago <= self.pace.fresh_for())
    }

    /// The first node to tell its chain decides; the error is that chain.
    pub(crate) fn agree_on_network(&self, network: &str) -> Result<(), String> {
        let mut state = self.lock();
        match &state.network {
            Some(first) if first != network => Err(first.clone()),
            Some(_) => Ok(()),
            None => {
                state.network = Some(network.to_owned());
                Ok(())
            }
        }
    }

    /// Takes in a template of a node and announces it if it is the one to work on.
    pub(crate) fn observe(&self, node: usize, observation: Observation) {
        let mut state = self.lock();
        let state = &mut *state;
        let name = state.nodes[node].health.name.clone();
        match state.see_tip(node, &observation) {
            Seen::Same => {}
            Seen::First => state.nodes[node].health.tip_lag = Duration::ZERO,
            Seen::After(lag) => {
                state.nodes[node].health.tip_lag = lag;
                self.metrics.tip_lag(&name, lag);
            }
        }
        state.nodes[node].health.error = None;
        state.nodes[node].latest = Some(observation);
        self.metrics.node_up(&name, true);
        self.measure_heights(state);
        self.settle(state);
    }

    /// Notes that a node gave no template.
    pub(crate) fn failed(&self, node: usize, kind: &'static str, error: String) {
        let mut state = self.lock();
        let health = &mut state.nodes[node].health;
        self.metrics.node_failed(&health.name, kind);
        if health.error.as_ref() != Some(&error) {
            tracing::warn!(node = health.name, error, "node gives no template");
        }
        health.error = Some(error);
        self.settle(&mut state);
    }

    fn measure_heights(&self, state: &State) {
        let heights = || state.nodes.iter().filter_map(|node| Some((node, node.latest.as_ref()?)));
        let highest = heights().map(|(_, latest)| latest.height).max().unwrap_or(0);
        for (node, latest) in heights() {
            self.metrics.blocks_behind(&node.health.name, highest - latest.height);
        }
    }

    /// Announces the best of the nodes' templates unless clients have it already.
    fn settle(&self, state: &mut State) {
        let current = self.current();
        let Some(node) = state.best(current.as_deref(), self.pace.fresh_for()) else { return };
        let latest = state.nodes[node].latest.as_ref().expect("the best node has a template");
        let cause = match &current {
            Some(current) if current.tip != latest.tip => "tip",
            Some(current) if current.digest != latest.digest => "transactions",
            Some(current) if latest.observed - current.observed >= self.pace.refresh_interval() => {
                "time"
            }
            Some(_) => return,
            None => "first",
        };
        let answer = TemplateAnswer::new(
            TemplateId(state.next_id),
            state.nodes[node].health.name.clone(),
            state.network.clone().unwrap_or_default(),
            latest.observed_at_ms,
            latest.mempool_tx,
            latest.template.clone(),
        );
        let body = answer.encode().expect("the template was read as JSON before");
        tracing::info!(
            template_id = answer.template_id.0,
            node = answer.source,
            height = latest.height,
            prev_hash = %latest.tip,
            cause,
            "template announced"
        );
        self.metrics.announced(&answer.source, cause, latest.height.saturating_sub(1));
        state.next_id += 1;
        let (observed, tip, digest) = (latest.observed, latest.tip, latest.digest);
        self.current.send_replace(Some(Arc::new(Announced {
            answer,
            body,
            observed,
            tip,
            digest,
            node,
        })));
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.wall.unix_ms()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Remembers a tip, and tells whether another node told of it before.
    fn see_tip(&mut self, node: usize, observation: &Observation) -> Seen {
        let before = self.nodes[node].latest.as_ref().map(|latest| latest.tip);
        if before == Some(observation.tip) {
            return Seen::Same;
        }
        if let Some(tip) = self.tips.iter().find(|tip| tip.hash == observation.tip) {
            return Seen::After(observation.observed - tip.first_seen);
        }
        if self.tips.len() == MAX_TIPS {
            self.tips.pop_front();
        }
        self.tips.push_back(Tip {
            hash: observation.tip,
            order: self.tips_seen,
            first_seen: observation.observed,
        });
        self.tips_seen += 1;
        Seen::First
    }

    /// The node whose template is worked on: one that answers, with the highest tip, of equal
    /// ones the tip first seen; of several nodes on that tip the one that clients have already.
    fn best(&self, current: Option<&Announced>, fresh_for: Duration) -> Option<usize> {
        let now = Instant::now();
        let rank = |index: usize| {
            let latest = self.nodes[index].latest.as_ref()?;
            let order = self.tips.iter().find(|tip| tip.hash == latest.tip).map(|tip| tip.order);
            let fresh = now - latest.observed <= fresh_for;
            let is_current = current.is_some_and(|current| current.node == index);
            Some((fresh, latest.height, Reverse(order), is_current, Reverse(index)))
        };
        (0..self.nodes.len())
            .filter(|&index| rank(index).is_some())
            .max_by_key(|&index| rank(index))
    }
}
