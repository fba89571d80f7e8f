//! Plays a plan: builds a world, lets it live through the steps, and judges what was seen.

mod faults;
mod guest;
mod logs;
mod programs;
mod settings;
mod story;
mod watched_node;

use std::collections::BTreeMap;

use crate::node::{Node, ScriptError};
use crate::properties::{Record, Setting, judge_all, summarise, trace};
use crate::report::model::{self, Header, Outcome, Report};
use crate::report::progress::Clock;
use crate::scenario::{Plan, Scenario};
use crate::world;

pub use guest::{Guest, with_guest};

/// The clock of a node when it is made, in seconds since the Unix epoch: some time before the
/// world begins, so that the blocks mined beforehand lie in its past.
pub const NODE_START_UNIX_S: u64 = world::EPOCH_UNIX_MS / 1000 - 3 * 3600;

/// Why a run says nothing about the programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The scenario configures a program wrongly.
    #[error("configuration of the {0}")]
    Config(String),
    /// The chain cannot be driven as the scenario asks.
    #[error("the node: {0}")]
    Chain(#[from] ScriptError),
    /// The node's answers do not count.
    #[error("the node: {0}")]
    Node(String),
    /// A link of the scenario does not exist.
    #[error("links: {0}")]
    Link(#[from] crate::net::LinkError),
}

/// The node of a run, and what to call it in the report.
pub struct RunNode {
    /// The node; its clock must be at [`NODE_START_UNIX_S`].
    pub node: Box<dyn Node>,
    /// `bitcoind`, `replay` or `embedded`.
    pub kind: &'static str,
}

/// What a run leaves for people, beside its outcome.
pub struct Finished {
    /// The outcome.
    pub outcome: Outcome,
    /// The log lines of every program, in order.
    pub log: String,
}

/// Plays a scenario with one seed. Equal arguments give equal outcomes, on every machine.
///
/// # Errors
/// What kept it from being played; a violated property is no error.
pub fn run(
    scenario: &Scenario,
    plan: &Plan,
    node: RunNode,
    clock: &Clock,
) -> Result<Finished, RunError> {
    let kind = node.kind;
    let version = node.node.version().to_owned();
    let lived = world::run(plan.seed, move |world| async move {
        story::live(world, scenario, plan, node.node, clock).await
    })?;
    let mut outcome = judged(scenario, plan, &lived);
    outcome.report.header.node = model::Node { kind: kind.to_owned(), version };
    outcome.trace.push(format!("traffic {}", lived.traffic));
    Ok(Finished { outcome, log: lived.log })
}

fn judged(scenario: &Scenario, plan: &Plan, lived: &story::Lived) -> Outcome {
    let setting = Setting {
        mode: settings::mode(scenario),
        miners: plan.miners.len() as u32,
        verdict_window: settings::timing(
            scenario,
            "prevhash_verdict_timeout_ms",
            std::time::Duration::from_millis(50),
        ),
        stale_hold: settings::timing(
            scenario,
            "prevhash_stale_hold_ms",
            std::time::Duration::from_secs(5),
        ),
        transit: settings::longest_transit(scenario),
        epoch_ms: world::EPOCH_UNIX_MS,
        payouts: settings::payouts(scenario),
        drop_old: settings::drops_old(scenario),
        shares_per_second: settings::least_share_rate(scenario, plan),
        template_cache: settings::template_cache(scenario),
        secrets: lived.secrets.clone(),
    };
    let record = Record { observations: &lived.observations, setting: &setting };
    let properties = judge_all(&scenario.expect, &record);
    let summary = summarise(&record);
    let (trace, trace_digest) = trace(&lived.observations);
    let events = record.event_lines();
    let report = Report {
        header: header(scenario, plan, lived.parameters.clone()),
        properties,
        reason_codes: summary.reason_codes,
        verdict_codes: summary.verdict_codes,
        shares: summary.shares,
        latencies: summary.latencies,
        timeline: summary.timeline,
        series: summary.series,
        trace_digest,
    };
    Outcome { report, trace, events }
}

fn header(scenario: &Scenario, plan: &Plan, parameters: BTreeMap<String, String>) -> Header {
    Header {
        schema: model::SCHEMA,
        scenario: scenario.name.clone(),
        family: scenario.family.clone(),
        doc: scenario.doc.clone(),
        scenario_sha256: scenario.sha256.clone(),
        seed: plan.seed,
        node: model::Node { kind: String::new(), version: String::new() },
        parameters,
        duration_ms: plan.duration.as_millis() as u64,
    }
}
