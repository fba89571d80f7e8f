//! From a run that fails to the least of it that still does.
//!
//! What is taken away: everything after the failure, faults, the scenario's own events, miners; and
//! faults that stay are made as short as they may be. Each attempt is a whole run, so the same
//! property must fail in it, wherever it does.

mod ddmin;

use std::time::Duration;

use ddmin::ddmin;

use crate::report::progress::Clock;
use crate::scenario::{Event, Plan};
use crate::sweep::{Case, Failure, play};

/// What shrinking came to.
#[derive(Clone)]
pub struct Shrunk {
    /// The least plan that still fails.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// How many runs it took.
    pub tried: u32,
}

/// What a run goes on for after its last failure.
const AFTER: Duration = Duration::from_secs(1);
/// A fault is not made shorter than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// Shrinks a case that fails as `failure` says, in at most `budget` runs. `tell` hears of each
/// success.
pub fn shrink(
    case: &Case,
    failure: &Failure,
    budget: u32,
    mut tell: impl FnMut(&Plan, u32),
) -> Shrunk {
    let best = Shrunk { plan: case.plan.clone(), failure: failure.clone(), tried: 0 };
    let mut search = Search { case, budget, best, tell: &mut tell };
    search.cut_off();
    search.events(|plan| &mut plan.faults);
    search.events(|plan| &mut plan.events);
    search.miners();
    search.durations();
    search.cut_off();
    // What was needed beside other faults may be needed no longer.
    search.events(|plan| &mut plan.faults);
    search.best
}

struct Search<'a> {
    case: &'a Case,
    budget: u32,
    best: Shrunk,
    tell: &'a mut dyn FnMut(&Plan, u32),
}

impl Search<'_> {
    /// Whether the same property fails with this plan, which then is the best. `None`: no more
    /// questions.
    fn fails(&mut self, mut plan: Plan) -> Option<bool> {
        if self.best.tried >= self.budget {
            return None;
        }
        plan.arrange();
        if plan == self.best.plan {
            return Some(true);
        }
        self.best.tried += 1;
        let trial = play(&self.case.with(plan.clone()), &Clock::default());
        let Some(failure) = trial.failure_of(&self.best.failure.property) else {
            return Some(false);
        };
        (self.best.plan, self.best.failure) = (plan, failure);
        (self.tell)(&self.best.plan, self.best.tried);
        Some(true)
    }

    /// Ends the run soon after the failure.
    fn cut_off(&mut self) {
        let Some(at) = self.best.failure.at_ms.map(Duration::from_millis) else { return };
        for after in [AFTER, 4 * AFTER, 16 * AFTER] {
            let end = at + after;
            if end >= self.best.plan.duration
                || self.fails(ending(&self.best.plan, end)) != Some(false)
            {
                return;
            }
        }
    }

    /// Takes away events of one list.
    fn events(&mut self, list: fn(&mut Plan) -> &mut Vec<Event>) {
        let mut plan = self.best.plan.clone();
        let all = std::mem::take(list(&mut plan));
        ddmin(all, |events| {
            let mut plan = self.best.plan.clone();
            *list(&mut plan) = events.to_vec();
            self.fails(plan)
        });
    }

    fn miners(&mut self) {
        let all = self.best.plan.miners.clone();
        ddmin(all, |miners| {
            let plan = Plan { miners: miners.to_vec(), ..self.best.plan.clone() };
            self.fails(plan)
        });
    }

    /// Halves how long each fault lasts, while it may.
    fn durations(&mut self) {
        for index in 0..self.best.plan.faults.len() {
            loop {
                let mut plan = self.best.plan.clone();
                let Some(fault) = plan.faults.get_mut(index) else { break };
                let Some(until) = fault.until else { break };
                let half = until.saturating_sub(fault.at) / 2;
                if half < SHORTEST {
                    break;
                }
                fault.until = Some(fault.at + half);
                if self.fails(plan) != Some(true) {
                    break;
                }
            }
        }
    }
}

/// The plan up to `end`.
pub fn ending(plan: &Plan, end: Duration) -> Plan {
    let mut plan = plan.clone();
    plan.duration = end;
    plan.quiet_from = plan.quiet_from.min(end);
    for list in [&mut plan.events, &mut plan.faults] {
        list.retain(|event| event.at <= end);
        for event in list {
            event.until = event.until.map(|until| until.min(end));
        }
    }
    plan.arrange();
    plan
}
