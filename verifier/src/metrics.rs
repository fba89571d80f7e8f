//! What is counted. Label values come from closed sets only.

use policy::Policy;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use verifier_protocol::{LinkFault, TemplateVerdict, VerdictCode};

use crate::ground::{NodeSays, ViewState};
use crate::skipped;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Code {
    reason_code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Check {
    check: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct State {
    state: &'static str,
}

/// Buckets of the time to a verdict, in seconds.
const JUDGEMENT_BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// The daemon's metrics.
pub(crate) struct Metrics {
    registry: Registry,
    verdicts: Family<Code, Counter>,
    warnings: Family<Code, Counter>,
    skipped: Family<Check, Counter>,
    judgement: Histogram,
    policy_reloads: Family<Outcome, Counter>,
    link_faults: Family<Code, Counter>,
    mempool_polls: Family<Outcome, Counter>,
    mempool_view: Family<State, Gauge>,
    mempool_transactions: Gauge,
    node_proposals: Family<Outcome, Counter>,
    pub(crate) links: Gauge,
    pub(crate) links_refused: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) unknown_messages: Counter,
    pub(crate) dropped_lines: Counter,
    pub(crate) history_lost: Counter,
    pub(crate) transactions_known: Counter,
    pub(crate) transactions_missing: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("verifier"),
            verdicts: Family::default(),
            warnings: Family::default(),
            skipped: Family::default(),
            judgement: Histogram::new(JUDGEMENT_BUCKETS),
            policy_reloads: Family::default(),
            link_faults: Family::default(),
            mempool_polls: Family::default(),
            mempool_view: Family::default(),
            mempool_transactions: Gauge::default(),
            node_proposals: Family::default(),
            links: Gauge::default(),
            links_refused: Counter::default(),
            waiting: Gauge::default(),
            unknown_messages: Counter::default(),
            dropped_lines: Counter::default(),
            history_lost: Counter::default(),
            transactions_known: Counter::default(),
            transactions_missing: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("verdicts", "Verdicts by reason code", self.verdicts.clone());
        registry.register("warnings", "Advisories by code", self.warnings.clone());
        registry.register(
            "checks_skipped",
            "Checks that did not run, by cause; never agreement",
            self.skipped.clone(),
        );
        registry.register(
            "judgement_seconds",
            "From a proposal's last line to its verdict",
            self.judgement.clone(),
        );
        registry.register(
            "policy_reloads",
            "Attempts to replace the policy",
            self.policy_reloads.clone(),
        );
        registry.register(
            "link_faults",
            "Faults of gateways' lines by reason code",
            self.link_faults.clone(),
        );
        registry.register("links", "Gateways connected", self.links.clone());
        registry.register(
            "links_refused",
            "Gateways turned away over max_links",
            self.links_refused.clone(),
        );
        registry.register("waiting_proposals", "Proposals not yet judged", self.waiting.clone());
        registry.register(
            "unknown_messages",
            "Lines of a msg_type we do not know",
            self.unknown_messages.clone(),
        );
        registry.register(
            "dropped_lines",
            "Lines that answer nothing we asked for",
            self.dropped_lines.clone(),
        );
        registry.register(
            "history_lost",
            "Verdicts that are not in the history on disk",
            self.history_lost.clone(),
        );
        registry.register(
            "transactions_known",
            "Transactions of proposals that were named instead of sent",
            self.transactions_known.clone(),
        );
        registry.register(
            "transactions_missing",
            "Transactions that were named and had to be asked for",
            self.transactions_missing.clone(),
        );
        self.register_ground();
    }

    fn register_ground(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "mempool_polls",
            "Attempts to see the node's mempool",
            self.mempool_polls.clone(),
        );
        registry.register(
            "mempool_view",
            "1 for the state the mempool view is in",
            self.mempool_view.clone(),
        );
        registry.register(
            "mempool_transactions",
            "Transactions in the last mempool view",
            self.mempool_transactions.clone(),
        );
        registry.register(
            "node_proposals",
            "What the node's proposal mode said",
            self.node_proposals.clone(),
        );
    }

    /// One verdict, with the policy in force.
    #[allow(clippy::cast_precision_loss)] // A judgement takes less than 2^53 microseconds.
    pub(crate) fn judged(&self, judged: &TemplateVerdict, policy: Option<&Policy>) {
        let verdict = &judged.verdict;
        self.verdicts.get_or_create(&code(verdict.reason_code)).inc();
        for warning in &verdict.warnings {
            self.warnings.get_or_create(&code(*warning)).inc();
        }
        for (check, cause) in skipped::causes(verdict, policy) {
            self.skipped.get_or_create(&Check { check, cause: cause.as_str() }).inc();
        }
        self.judgement.observe(judged.judged_in_us as f64 / 1e6);
    }

    pub(crate) fn fault(&self, fault: LinkFault) {
        self.link_faults.get_or_create(&Code { reason_code: fault.as_str() }).inc();
    }

    /// One poll; `outcome` is a word of a closed set.
    pub(crate) fn mempool_polled(&self, outcome: &'static str, count: Option<usize>) {
        self.mempool_polls.get_or_create(&Outcome { outcome }).inc();
        if let Some(count) = count {
            self.mempool_transactions.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn mempool_view(&self, now: ViewState) {
        for state in ViewState::ALL {
            let label = State { state: state.as_str() };
            self.mempool_view.get_or_create(&label).set((state == now).into());
        }
    }

    pub(crate) fn node_said(&self, says: &NodeSays) {
        self.node_proposals.get_or_create(&Outcome { outcome: says.label() }).inc();
    }

    pub(crate) fn policy_replaced(&self, succeeded: bool) {
        let outcome = if succeeded { "replaced" } else { "refused" };
        self.policy_reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}

fn code(code: VerdictCode) -> Code {
    Code { reason_code: code.as_str() }
}
