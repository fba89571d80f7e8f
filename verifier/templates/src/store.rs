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
    cause: &'static str,
    tip_height: u32,
}

/// A template that clients are to be given, not written yet.
pub(crate) struct Draft {
    answer: TemplateAnswer,
    observed: Instant,
    tip: BlockHash,
    cause: &'static str,
    tip_height: u32,
}

impl Draft {
    /// Bytes of the template.
    pub(crate) fn len(&self) -> usize {
        self.answer.template_json().len()
    }

    pub(crate) fn write(self) -> Announced {
        let Self { answer, observed, tip, cause, tip_height } = self;
        let body = answer.encode().expect("the template was read as JSON before");
        Announced { answer, body, observed, tip, cause, tip_height }
    }
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
    /// What was decided on last, whether or not clients have it yet.
    chosen: Option<Chosen>,
}

/// A node's template that was decided on.
#[derive(Clone, Copy)]
struct Chosen {
    node: usize,
    tip: BlockHash,
    digest: [u8; 32],
    observed: Instant,
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
            chosen: None,
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

    /// Takes in a template of a node. What clients are to be given now, if that is another.
    pub(crate) fn observe(&self, node: usize, observation: Observation) -> Option<Draft> {
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
        self.settle(state)
    }

    /// Notes that a node gave no template. What clients are to be given now, if that is another.
    pub(crate) fn failed(&self, node: usize, kind: &'static str, error: String) -> Option<Draft> {
        let mut state = self.lock();
        let health = &mut state.nodes[node].health;
        self.metrics.node_failed(&health.name, kind);
        if health.error.as_ref() != Some(&error) {
            tracing::warn!(node = health.name, error, "node gives no template");
        }
        health.error = Some(error);
        self.settle(&mut state)
    }

    fn measure_heights(&self, state: &State) {
        let heights = || state.nodes.iter().filter_map(|node| Some((node, node.latest.as_ref()?)));
        let highest = heights().map(|(_, latest)| latest.height).max().unwrap_or(0);
        for (node, latest) in heights() {
            self.metrics.blocks_behind(&node.health.name, highest - latest.height);
        }
    }

    /// Decides on the best of the nodes' templates, unless that was decided on before.
    fn settle(&self, state: &mut State) -> Option<Draft> {
        let node = state.best(self.pace.fresh_for())?;
        let latest = state.nodes[node].latest.as_ref().expect("the best node has a template");
        let cause = match state.chosen {
            Some(chosen) if chosen.tip != latest.tip => "tip",
            Some(chosen) if chosen.digest != latest.digest => "transactions",
            Some(chosen) if latest.observed - chosen.observed >= self.pace.refresh_interval() => {
                "time"
            }
            Some(_) => return None,
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
        let Observation { observed, tip, digest, height, .. } = *latest;
        state.next_id += 1;
        state.chosen = Some(Chosen { node, tip, digest, observed });
        Some(Draft { answer, observed, tip, cause, tip_height: height.saturating_sub(1) })
    }

    /// Gives clients a template, unless they have one already that was decided on later.
    pub(crate) fn publish(&self, announced: Announced) {
        let announced = Arc::new(announced);
        let is_newest = self.current.send_if_modified(|current| {
            let new = announced.answer.template_id;
            let is_newer = current.as_ref().is_none_or(|known| known.answer.template_id < new);
            if is_newer {
                *current = Some(Arc::clone(&announced));
            }
            is_newer
        });
        if !is_newest {
            return;
        }
        let Announced { answer, tip, cause, tip_height, .. } = announced.as_ref();
        tracing::info!(
            template_id = answer.template_id.0,
            node = answer.source,
            height = tip_height + 1,
            prev_hash = %tip,
            cause,
            "template announced"
        );
        self.metrics.announced(&answer.source, cause, *tip_height);
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
    /// ones the tip first seen; of several nodes on that tip one whose last answer was a template,
    /// and the one that clients have already.
    fn best(&self, fresh_for: Duration) -> Option<usize> {
        let now = Instant::now();
        let rank = |index: usize| {
            let Node { health, latest } = &self.nodes[index];
            let latest = latest.as_ref()?;
            let order = self.tips.iter().find(|tip| tip.hash == latest.tip).map(|tip| tip.order);
            let fresh = now - latest.observed <= fresh_for;
            let answers = health.error.is_none();
            let is_chosen = self.chosen.is_some_and(|chosen| chosen.node == index);
            Some((fresh, latest.height, Reverse(order), answers, is_chosen, Reverse(index)))
        };
        (0..self.nodes.len())
            .filter(|&index| rank(index).is_some())
            .max_by_key(|&index| rank(index))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pace::Intervals;

    struct StandingStill;

    impl Wall for StandingStill {
        fn unix_ms(&self) -> u64 {
            1_000
        }
    }

    fn store() -> Store {
        let names = ["a", "b"].map(str::to_owned);
        let metrics = Arc::new(Metrics::new(&names));
        let (poll, refresh) = (Duration::from_secs(3), Duration::from_secs(20));
        let pace = Arc::new(Pace::new(Intervals { poll, refresh }, Duration::from_secs(10)));
        Store::new(&names, Arc::new(StandingStill), metrics, pace)
    }

    /// The template of a node on this tip, with these fees.
    fn observation(tip: u8, fees: u64) -> Observation {
        let template = json!({
            "version": 0x2000_0000, "previousblockhash": format!("{tip:064x}"),
            "transactions": [], "coinbasevalue": 5_000_000_000u64 + fees, "mintime": 0,
            "curtime": 1_700_000_000, "bits": "207fffff", "height": 100 + u32::from(tip),
        });
        Observation::new(template.to_string().into(), None, Instant::now(), 1_000).unwrap()
    }

    impl Store {
        /// What clients have: its id and its source.
        fn given(&self) -> (u64, String) {
            let current = self.current().expect("something was published");
            (current.answer.template_id.0, current.answer.source.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_yields_at_once_to_one_on_the_same_tip() {
        let store = store();
        store.publish(store.observe(0, observation(1, 1)).unwrap().write());
        assert!(store.observe(1, observation(1, 2)).is_none(), "clients have this tip");
        store.publish(store.failed(0, "timeout", "no answer".to_owned()).unwrap().write());
        assert_eq!(store.given(), (1_001, "b".to_owned()));
        // The first is back: nothing is gained by going back to it.
        assert!(store.observe(0, observation(1, 1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_does_not_bring_an_older_tip_back() {
        let store = store();
        store.publish(store.observe(0, observation(2, 0)).unwrap().write());
        assert!(store.observe(1, observation(1, 0)).is_none());
        assert!(store.failed(0, "timeout", "no answer".to_owned()).is_none());
        // Until it has answered nothing for too long.
        tokio::time::sleep(Duration::from_secs(20)).await;
        store.publish(store.observe(1, observation(1, 0)).unwrap().write());
        assert_eq!(store.given(), (1_001, "b".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_decided_on_later_stays_whatever_is_written_first() {
        let store = store();
        let first = store.observe(0, observation(1, 0)).unwrap();
        let second = store.observe(1, observation(2, 0)).unwrap();
        assert!(store.observe(0, observation(2, 5)).is_none(), "it was decided, if not given");
        store.publish(second.write());
        store.publish(first.write());
        assert_eq!(store.given(), (1_001, "b".to_owned()));
    }
}
