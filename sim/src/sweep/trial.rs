//! One case, played and judged, whatever comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::Case;
use crate::node::EmbeddedNode;
use crate::report::model::{Property, Report, Verdict};
use crate::report::progress::Clock;
use crate::run::{self, Finished, NODE_START_UNIX_S, RunNode};
use crate::scenario::Scenario;

/// What one case came to.
pub struct Trial {
    /// What failed first, if anything did.
    pub failure: Option<Failure>,
    /// What the run leaves; none where the world itself broke down.
    pub finished: Option<Finished>,
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which property; [`Failure::PANIC`] where the world broke down.
    pub property: String,
    /// When, in virtual milliseconds.
    pub at_ms: Option<u64>,
    /// What was seen.
    pub detail: String,
}

impl Failure {
    /// The property of worlds that break down: a panic outside any program, or a harness that
    /// cannot go on.
    pub const PANIC: &'static str = "world_goes_on";

    /// The earliest violation of a report.
    pub fn first(report: &Report) -> Option<Self> {
        let failed = report.properties.iter().filter(|one| one.outcome == Verdict::Fail);
        failed.min_by_key(|one| one.at_ms.unwrap_or(u64::MAX)).map(Self::of)
    }

    /// The violation of this property in a report.
    pub fn named(report: &Report, property: &str) -> Option<Self> {
        let is_it = |one: &&Property| one.outcome == Verdict::Fail && one.name == property;
        report.properties.iter().find(is_it).map(Self::of)
    }

    fn of(property: &Property) -> Self {
        Self {
            property: property.name.clone(),
            at_ms: property.at_ms,
            detail: property.detail.clone(),
        }
    }
}

impl Trial {
    /// The violation of this very property.
    pub fn failure_of(&self, property: &str) -> Option<Failure> {
        match (&self.finished, &self.failure) {
            (Some(finished), _) => Failure::named(&finished.outcome.report, property),
            (None, failure) => failure.clone().filter(|failure| failure.property == property),
        }
    }
}

/// Plays a case on the embedded chain.
pub fn play(case: &Case, clock: &Clock) -> Trial {
    let node = RunNode { node: Box::new(embedded(&case.scenario)), kind: "embedded" };
    let run = || run::run(&case.scenario, &case.plan, node, clock);
    let broke = |detail: String| Trial {
        failure: Some(Failure { property: Failure::PANIC.to_owned(), at_ms: None, detail }),
        finished: None,
    };
    mutant::arm(case.mutant);
    // A world lives on its own thread and leaves nothing behind when it breaks down.
    let outcome = catch_unwind(AssertUnwindSafe(run));
    mutant::arm(None);
    match outcome {
        Ok(Ok(finished)) => {
            Trial { failure: Failure::first(&finished.outcome.report), finished: Some(finished) }
        }
        Ok(Err(error)) => broke(error.to_string()),
        Err(panic) => broke(words(panic.as_ref())),
    }
}

fn embedded(scenario: &Scenario) -> EmbeddedNode {
    match scenario.sim.bits {
        None => EmbeddedNode::new(NODE_START_UNIX_S),
        Some(bits) => {
            let bits = bitcoin::CompactTarget::from_consensus(bits);
            EmbeddedNode::with_bits(NODE_START_UNIX_S, bits)
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.as_deref().unwrap_or("without a message"))
}
