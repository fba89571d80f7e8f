//! What operators measure.

use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The name of a configured node.
type NodeLabel = [(&'static str, String); 1];
/// A node's name and one word of a closed set.
type NodeAndLabel = [(&'static str, String); 2];

pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    announced: Family<NodeAndLabel, Counter>,
    template_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    tip_height: Gauge,
    node_up: Family<NodeLabel, Gauge>,
    node_failures: Family<NodeAndLabel, Counter>,
    rpc_duration: Family<NodeAndLabel, Histogram>,
    tip_lag: Family<NodeLabel, Histogram>,
    blocks_behind: Family<NodeLabel, Gauge>,
    pub(crate) waiters: Gauge,
    blocks_submitted: Family<NodeAndLabel, Counter>,
}

fn duration_buckets() -> Histogram {
    // 0.25 ms to 16 s: from an empty template on loopback to a node that chokes.
    Histogram::new(exponential_buckets(0.000_25, 2.0, 17))
}

impl Metrics {
    pub(crate) fn new(nodes: &[String]) -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("template_manager")),
            announced: Family::default(),
            template_age: Gauge::default(),
            tip_height: Gauge::default(),
            node_up: Family::default(),
            node_failures: Family::default(),
            rpc_duration: Family::new_with_constructor(duration_buckets),
            tip_lag: Family::new_with_constructor(duration_buckets),
            blocks_behind: Family::default(),
            waiters: Gauge::default(),
            blocks_submitted: Family::default(),
        };
        metrics.register();
        for node in nodes {
            metrics.node_up(node, false);
        }
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().expect("no panic while it was held");
        let registry = &mut *registry;
        registry.register(
            "templates_announced",
            "Templates announced, by node and by what changed",
            self.announced.clone(),
        );
        registry.register_with_unit(
            "template_age",
            "Time since the current template was received",
            Unit::Seconds,
            self.template_age.clone(),
        );
        registry.register(
            "tip_height",
            "Height of the tip that the current template builds on",
            self.tip_height.clone(),
        );
        registry.register(
            "node_up",
            "Whether the node's last answer was a template",
            self.node_up.clone(),
        );
        registry.register(
            "node_failures",
            "Calls to a node that gave no template, by kind",
            self.node_failures.clone(),
        );
        registry.register_with_unit(
            "rpc_duration",
            "Time of a call to a node, by method",
            Unit::Seconds,
            self.rpc_duration.clone(),
        );
        registry.register_with_unit(
            "node_tip_lag",
            "How long after the first node a node told of the same tip",
            Unit::Seconds,
            self.tip_lag.clone(),
        );
        registry.register(
            "node_blocks_behind",
            "How many blocks a node is behind the highest",
            self.blocks_behind.clone(),
        );
        registry.register("waiters", "Clients waiting for a new template", self.waiters.clone());
        registry.register(
            "blocks_submitted",
            "Blocks handed to a node, by outcome",
            self.blocks_submitted.clone(),
        );
    }

    pub(crate) fn announced(&self, node: &str, cause: &'static str, tip_height: u32) {
        self.announced.get_or_create(&with(node, "cause", cause)).inc();
        self.tip_height.set(i64::from(tip_height));
    }

    pub(crate) fn node_up(&self, node: &str, up: bool) {
        self.node_up.get_or_create(&only(node)).set(i64::from(up));
    }

    pub(crate) fn node_failed(&self, node: &str, kind: &'static str) {
        self.node_failures.get_or_create(&with(node, "kind", kind)).inc();
        self.node_up(node, false);
    }

    pub(crate) fn rpc(&self, node: &str, method: &'static str, took: Duration) {
        self.rpc_duration.get_or_create(&with(node, "method", method)).observe(took.as_secs_f64());
    }

    pub(crate) fn tip_lag(&self, node: &str, lag: Duration) {
        self.tip_lag.get_or_create(&only(node)).observe(lag.as_secs_f64());
    }

    pub(crate) fn blocks_behind(&self, node: &str, blocks: u32) {
        self.blocks_behind.get_or_create(&only(node)).set(i64::from(blocks));
    }

    pub(crate) fn block_submitted(&self, node: &str, outcome: &'static str) {
        self.blocks_submitted.get_or_create(&with(node, "outcome", outcome)).inc();
    }

    /// Everything as OpenMetrics text.
    pub(crate) fn encode(&self, template_age: Option<Duration>) -> String {
        self.template_age.set(template_age.map_or(f64::NAN, |age| age.as_secs_f64()));
        let mut text = String::new();
        let registry = self.registry.lock().expect("no panic while it was held");
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a String does not fail");
        text
    }
}

fn only(node: &str) -> NodeLabel {
    [("node", node.to_owned())]
}

fn with(node: &str, label: &'static str, value: &'static str) -> NodeAndLabel {
    [("node", node.to_owned()), (label, value.to_owned())]
}
