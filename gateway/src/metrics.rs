//! What is counted. Label sets are closed: no id, name or address is a label.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_core::event::{Event, LogFault, Sv2Response};
use gateway_core::reason::ReasonCode;
use gateway_core::session::Notice;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

use crate::config::EscapeHatch;

type Label = [(&'static str, Cow<'static, str>); 1];
type CounterBy = Family<Label, Counter>;
type GaugeBy = Family<Label, Gauge>;

/// Upper bounds of the latency histograms, seconds.
const LATENCY_BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Upper bounds for how long a tip takes to go out to one of many miners, seconds.
const SENT_BUCKETS: [f64; 17] = [
    0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.003, 0.004, 0.005, 0.007_5, 0.01, 0.015, 0.02, 0.03,
    0.05, 0.1, 0.25, 1.0,
];

/// Every metric of the gateway.
pub(crate) struct Metrics {
    registry: Registry,
    described: Vec<Described>,
    /// What `shares` counts, for the status report.
    submissions: Mutex<BTreeMap<&'static str, u64>>,
    shares: CounterBy,
    share_results: CounterBy,
    verdicts: CounterBy,
    verdict_seconds: Histogram,
    switches: CounterBy,
    switch_seconds: Histogram,
    pub(crate) prevhash_sent_seconds: Histogram,
    connections_closed: CounterBy,
    blocks: CounterBy,
    reloads: CounterBy,
    notices: CounterBy,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) ignored_verdicts: CounterBy,
    pub(crate) overdue_verdicts: Counter,
    pub(crate) link_faults: CounterBy,
    pub(crate) up: GaugeBy,
    pub(crate) queue_length: GaugeBy,
    pub(crate) queue_capacity: GaugeBy,
    pub(crate) events_dropped: Counter,
    log_stalls: CounterBy,
    pub(crate) log_stalled_seconds: Gauge<f64, AtomicU64>,
    pub(crate) memory_bound: GaugeBy,
    pub(crate) template_age_seconds: Gauge<f64, AtomicU64>,
    hatches: GaugeBy,
}

/// A metric as the reference tells it, without the prefix `gateway_`.
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
}

/// The one label that a metric has, and what its values are.
pub(crate) struct MetricLabel {
    pub(crate) metric: &'static str,
    pub(crate) name: &'static str,
    pub(crate) values: &'static str,
}

const fn labelled(metric: &'static str, name: &'static str, values: &'static str) -> MetricLabel {
    MetricLabel { metric, name, values }
}

/// Every label.
pub(crate) const LABELS: &[MetricLabel] = &[
    labelled("shares", "answer", "success, or a reason code"),
    labelled("share_results", "result", "accepted, or a reason code"),
    labelled("template_verdicts", "code", "ok, or a verdict code"),
    labelled("prevhash_switches", "outcome", "switched, rejected, superseded, disconnected"),
    labelled("connections_closed", "reason", "peer_left, or a reason code"),
    labelled("blocks_found", "fate", "accepted, rejected, unanswered"),
    labelled("config_reloads", "outcome", "applied, refused"),
    labelled(
        "session_notices",
        "notice",
        "what was noticed, with a reason code where it was refused",
    ),
    labelled(
        "verdicts_ignored",
        "cause",
        "unknown_proposal, older_tip, older_template, contradiction, unable",
    ),
    labelled("link_faults", "reason", "a reason code of the category framing"),
    labelled("up", "of", "log, template_source, verifier, share_upstream"),
    labelled("queue_length", "queue", QUEUES),
    labelled("queue_capacity", "queue", QUEUES),
    labelled("log_stalls", "cause", "disk_full, io_error"),
    labelled("memory_bound_bytes", "part", PARTS),
    labelled("escape_hatch_active", "name", "the hatch's environment variable"),
];

const QUEUES: &str = "connections, channels, workers, replay_window, templates, forward_queue, forward_in_flight, blocks, log_batches";
const PARTS: &str = "connections, addresses, channels, workers, replay_window, templates, log, forward, blocks, events, verifiers";

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("gateway"),
            described: Vec::new(),
            submissions: Mutex::default(),
            shares: Family::default(),
            share_results: Family::default(),
            verdicts: Family::default(),
            verdict_seconds: Histogram::new(LATENCY_BUCKETS),
            switches: Family::default(),
            switch_seconds: Histogram::new(LATENCY_BUCKETS),
            prevhash_sent_seconds: Histogram::new(SENT_BUCKETS),
            connections_closed: Family::default(),
            blocks: Family::default(),
            reloads: Family::default(),
            notices: Family::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            ignored_verdicts: Family::default(),
            overdue_verdicts: Counter::default(),
            link_faults: Family::default(),
            up: Family::default(),
            queue_length: Family::default(),
            queue_capacity: Family::default(),
            events_dropped: Counter::default(),
            log_stalls: Family::default(),
            log_stalled_seconds: Gauge::default(),
            memory_bound: Family::default(),
            template_age_seconds: Gauge::default(),
            hatches: Family::default(),
        };
        all.register();
        // Whoever watches for the first of these needs to see that there was none.
        for cause in LogFault::ALL {
            drop(all.log_stalls.get_or_create(&label("cause", cause.as_str())));
        }
        all
    }

    fn register(&mut self) {
        self.add("shares", "Submissions by answer or reason", self.shares.clone());
        self.add("share_results", "Results by reason", self.share_results.clone());
        self.add("template_verdicts", "Verdicts by code", self.verdicts.clone());
        self.add(
            "template_verdict_seconds",
            "From proposal to verdict",
            self.verdict_seconds.clone(),
        );
        self.add("prevhash_switches", "Tips by outcome", self.switches.clone());
        self.add(
            "prevhash_switch_seconds",
            "From a tip's first template to its end",
            self.switch_seconds.clone(),
        );
        self.add(
            "prevhash_sent_seconds",
            "From the decision for a new tip until a miner was written it",
            self.prevhash_sent_seconds.clone(),
        );
        self.add(
            "connections_closed",
            "Ended miner connections by reason",
            self.connections_closed.clone(),
        );
        self.add("blocks_found", "Blocks by fate", self.blocks.clone());
        self.add("config_reloads", "Reloads by outcome", self.reloads.clone());
        self.add("session_notices", "What miners did", self.notices.clone());
        self.register_state();
    }

    /// What stands, beside what has happened.
    fn register_state(&mut self) {
        self.add("connections", "Miner connections", self.connections.clone());
        self.add(
            "connections_refused",
            "Connections refused before the handshake",
            self.connections_refused.clone(),
        );
        self.add(
            "verdicts_ignored",
            "Verdicts that changed nothing, by cause (contradiction: another verifier decided \
             otherwise; unable: the verifier cannot judge, and another may)",
            self.ignored_verdicts.clone(),
        );
        self.add(
            "verdicts_overdue",
            "Proposals whose verdict a verifier owes for 5 s or more",
            self.overdue_verdicts.clone(),
        );
        self.add("link_faults", "Internal link faults", self.link_faults.clone());
        let help =
            "Whether it can be reached or written (verifier: one is linked and has answered)";
        self.add("up", help, self.up.clone());
        self.add("queue_length", "What waits in a queue", self.queue_length.clone());
        self.add("queue_capacity", "Bound of a queue", self.queue_capacity.clone());
        self.add(
            "events_dropped",
            "Events other than shares that the failing log had no room for",
            self.events_dropped.clone(),
        );
        let help = "Times that the log took nothing, and no share was acknowledged, by cause";
        self.add("log_stalls", help, self.log_stalls.clone());
        let help = "How long the log has taken nothing; 0 while it takes what comes";
        self.add("log_stalled_seconds", help, self.log_stalled_seconds.clone());
        let help = "The most memory that the limits allow, by part";
        self.add("memory_bound_bytes", help, self.memory_bound.clone());
        self.add(
            "template_age_seconds",
            "Age of the work that miners are on; NaN while there is none",
            self.template_age_seconds.clone(),
        );
        let help = "Open escape hatches: what is forbidden by default and allowed here";
        self.add("escape_hatch_active", help, self.hatches.clone());
    }

    /// Serves a metric under this name, and remembers it for the reference.
    fn add<M: Metric + TypedMetric>(&mut self, name: &'static str, help: &'static str, metric: M) {
        let kind = match M::TYPE {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            _ => "unknown",
        };
        self.described.push(Described { name, kind, help });
        self.registry.register(name, help, metric);
    }

    /// Every metric, in the order of the reference.
    pub(crate) fn described(&self) -> &[Described] {
        &self.described
    }

    /// Shows the open hatches, each as a gauge that is 1.
    pub(crate) fn show_hatches(&self, open: impl Iterator<Item = EscapeHatch>) {
        for hatch in open {
            self.hatches.get_or_create(&label("name", hatch.variable())).set(1);
        }
    }

    /// The log takes nothing from now on.
    pub(crate) fn log_stalled(&self, cause: LogFault) {
        self.log_stalls.get_or_create(&label("cause", cause.as_str())).inc();
    }

    /// Counts what an event tells.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::ShareAccepted(event) => {
                let answer = match event.sv2_response {
                    Sv2Response::Success => "success",
                    Sv2Response::Error(reason) => reason.as_str(),
                };
                self.shares.get_or_create(&label("answer", answer)).inc();
                *self.by_answer().entry(answer).or_default() += 1;
            }
            Event::ShareForwardResult(event) => {
                let result = event.reason_code.map_or("accepted", ReasonCode::as_str);
                self.share_results.get_or_create(&label("result", result)).inc();
            }
            Event::TemplateVerdict(event) => {
                let code = label("code", event.verdict.reason_code.clone());
                self.verdicts.get_or_create(&code).inc();
                self.verdict_seconds.observe(event.latency.as_secs_f64());
            }
            Event::PrevhashSwitch(event) => {
                let outcome = label("outcome", event.outcome.as_str());
                self.switches.get_or_create(&outcome).inc();
                self.switch_seconds.observe(event.ended_after.as_secs_f64());
            }
            Event::ConnectionClosed(event) => {
                let reason = event.reason_code.map_or("peer_left", ReasonCode::as_str);
                self.connections_closed.get_or_create(&label("reason", reason)).inc();
            }
            Event::BlockFound(event) => {
                let fate = match event.accepted {
                    Some(true) => "accepted",
                    Some(false) => "rejected",
                    None => "unanswered",
                };
                self.blocks.get_or_create(&label("fate", fate)).inc();
            }
            Event::ConfigReloaded(event) => {
                let outcome = if event.applied { "applied" } else { "refused" };
                self.reloads.get_or_create(&label("outcome", outcome)).inc();
            }
            _ => {}
        }
    }

    /// Submissions by answer.
    pub(crate) fn submissions(&self) -> BTreeMap<&'static str, u64> {
        self.by_answer().clone()
    }

    fn by_answer(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.submissions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a session noticed.
    pub(crate) fn notice(&self, notice: Notice) {
        let (name, reason) = match notice {
            Notice::UnknownExtension => ("unknown_extension", None),
            Notice::WrongChannelBit => ("wrong_channel_bit", None),
            Notice::UnexpectedTlv => ("unexpected_tlv", None),
            Notice::WorkerMissing => ("worker_missing", None),
            Notice::WorkerOverCap => ("worker_over_cap", None),
            Notice::ChannelOpened => ("channel_opened", None),
            Notice::ChannelClosed => ("channel_closed", None),
            Notice::OpenRefused(reason) => ("open_refused", Some(reason)),
            Notice::UpdateRefused(reason) => ("update_refused", Some(reason)),
            Notice::CustomJobRefused => ("custom_job_refused", None),
            _ => ("other", None),
        };
        let name = reason.map_or(Cow::Borrowed(name), |reason| format!("{name}:{reason}").into());
        self.notices.get_or_create(&label("notice", name)).inc();
    }

    /// The text that `/metrics` serves (OpenMetrics).
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string cannot fail");
        text
    }
}

pub(crate) fn label(name: &'static str, value: impl Into<Cow<'static, str>>) -> Label {
    [(name, value.into())]
}
