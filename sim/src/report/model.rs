//! What a run tells: the data behind report.json, report.html and the goldens.
//!
//! Everything in [`Report`] is canonical: maps are ordered, times are virtual milliseconds since
//! the start of the run, ids are stable, and nothing depends on the machine or the directory.
//! Two runs of one scenario with one seed must give equal reports, byte for byte; the one
//! exception, [`Node::version`], is left out of goldens by [`Report::canonical`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the report's schema.
pub const SCHEMA: u32 = 1;

/// What one run of one scenario came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The judged summary.
    pub report: Report,
    /// The full trace, one line an observation, in order; [`Report::trace_digest`] covers it.
    pub trace: Vec<String>,
    /// The gateway's event lines as they were received, in order.
    pub events: Vec<String>,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was run.
    pub header: Header,
    /// Each judged property, in the order of the scenario file.
    pub properties: Vec<Property>,
    /// How often each gateway reason code occurred in the event stream.
    pub reason_codes: BTreeMap<String, u64>,
    /// How often each verdict code occurred.
    pub verdict_codes: BTreeMap<String, u64>,
    /// Where the shares went.
    pub shares: Shares,
    /// Latencies by metric name, e.g. `prevhash_to_miner`.
    pub latencies: BTreeMap<String, Latency>,
    /// Tips, switches, faults, closings and blocks in order of time.
    pub timeline: Vec<TimelineEntry>,
    /// Curves over time by name, e.g. `shares_accepted`.
    pub series: BTreeMap<String, Vec<Point>>,
    /// SHA-256 of the full trace, each line followed by a newline, in hex.
    pub trace_digest: String,
}

/// What was run, from what, and with which choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of this schema: [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name, `family-…`.
    pub scenario: String,
    /// The family it belongs to: the folder of its file.
    pub family: String,
    /// The scenario's one-sentence description.
    pub doc: String,
    /// SHA-256 of the scenario file, in hex.
    pub scenario_sha256: String,
    /// The seed every random choice came from.
    pub seed: u64,
    /// The node that the run stood on.
    pub node: Node,
    /// Every parameter after ranges were drawn, by its path in the scenario file.
    pub parameters: BTreeMap<String, String>,
    /// How long the run took in virtual milliseconds.
    pub duration_ms: u64,
}

/// The node that a run stood on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// `bitcoind`, `replay` or `embedded`; left out of goldens, which hold for each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// What the node calls itself; left out of goldens.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// What kind of promise a property is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PropertyKind {
    /// Holds at every moment.
    Always,
    /// Happens at least once.
    Sometimes,
    /// Does not happen before the end.
    Never,
    /// Happens inside a window of time after something else.
    Within,
    /// Holds at the end.
    Eventually,
    /// A percentile below a bound.
    Latency,
}

impl PropertyKind {
    /// The name as scenario files and reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
            Self::Never => "never",
            Self::Within => "within",
            Self::Eventually => "eventually",
            Self::Latency => "latency",
        }
    }
}

/// How a property was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It held, and there was something to hold it against.
    Pass,
    /// It did not hold.
    Fail,
    /// Nothing happened that it speaks of.
    NotExercised,
}

impl Verdict {
    /// The name as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotExercised => "not-exercised",
        }
    }
}

/// A judged property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Its name, e.g. `share_join`.
    pub name: String,
    /// What kind of promise it is.
    pub kind: PropertyKind,
    /// How it was judged.
    pub outcome: Verdict,
    /// What was seen: counts on success, the first violation on failure.
    pub detail: String,
    /// When it was violated, in virtual milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

/// Where the shares went. Counts are of shares unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Sent by miners.
    pub submitted: u64,
    /// Acknowledged to miners.
    pub accepted: u64,
    /// Refused to miners.
    pub rejected: u64,
    /// Neither acknowledged nor refused before the connection or the run ended.
    pub unanswered: u64,
    /// Delivered to the pool backend and credited there.
    pub forwarded: u64,
    /// Refused by the pool backend.
    pub upstream_rejected: u64,
    /// Closed with a reason instead of a delivery.
    pub undelivered: u64,
    /// Block-class shares.
    pub blocks: u64,
}

/// Percentiles of a latency, in microseconds of virtual time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many samples.
    pub count: u64,
    /// The smallest sample.
    pub min: u64,
    /// Half of the samples are at or below it.
    pub p50: u64,
    /// 90 % of the samples are at or below it.
    pub p90: u64,
    /// 95 % of the samples are at or below it.
    pub p95: u64,
    /// 99 % of the samples are at or below it.
    pub p99: u64,
    /// The largest sample.
    pub max: u64,
}

/// What a moment on the timeline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimelineKind {
    /// The node has a new tip.
    Tip,
    /// The gateway switched, held or gave up a tip.
    Switch,
    /// A verdict that refused a template.
    Verdict,
    /// A fault began.
    Fault,
    /// A fault ended.
    Heal,
    /// A connection was closed by the gateway.
    Close,
    /// A block was found.
    Block,
    /// A host was crashed.
    Crash,
    /// A host was started (again).
    Start,
    /// A workload step of the scenario: transactions, a pool mode, a drain.
    Step,
}

impl TimelineKind {
    /// The name as reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tip => "tip",
            Self::Switch => "switch",
            Self::Verdict => "verdict",
            Self::Fault => "fault",
            Self::Heal => "heal",
            Self::Close => "close",
            Self::Block => "block",
            Self::Crash => "crash",
            Self::Start => "start",
            Self::Step => "step",
        }
    }
}

/// A moment on the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When, in virtual milliseconds.
    pub t_ms: u64,
    /// What it is about.
    pub kind: TimelineKind,
    /// What happened.
    pub text: String,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, in virtual milliseconds.
    pub t_ms: u64,
    /// The value; the curve's name says of what.
    pub value: f64,
}

impl Report {
    /// The report as goldens hold it: without the kind and version of the node, which may be any.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut report = self.clone();
        report.header.node = Node { kind: String::new(), version: String::new() };
        report
    }

    /// The first property that failed, if any.
    pub fn first_failure(&self) -> Option<&Property> {
        self.properties.iter().find(|property| property.outcome == Verdict::Fail)
    }
}
