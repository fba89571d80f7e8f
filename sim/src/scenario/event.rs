//! What happens in a run, as data: it can be printed, kept, replayed and taken away again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::quantity::{as_text, as_text_option};

/// A step of the schedule: drawn, so nothing of it is left to chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When, since the start of the run.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// An action with its end: what a plan is made of, and what shrinking takes away, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it begins, since the start of the run.
    #[serde(with = "as_text")]
    pub at: Duration,
    /// When what it broke is whole again; none where it stays so, or breaks nothing.
    #[serde(with = "as_text_option", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Duration>,
    /// What.
    pub action: Action,
}

impl Event {
    /// The step that begins it, and the one that ends it.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        let begins = Step { at: self.at, action: self.action.clone() };
        let ends = self.until.and_then(|at| Some(Step { at, action: self.action.undo()? }));
        [begins].into_iter().chain(ends)
    }
}

/// Every step of these events, in order of time. At equal times what comes first in the lists
/// happens first, and what begins happens before what ends.
pub fn schedule<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Step> {
    let mut steps: Vec<Step> = events.flat_map(Event::steps).collect();
    steps.sort_by_key(|step| step.at);
    steps
}
