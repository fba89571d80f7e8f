//! From a run that fails to the least of it that still does.
//!
//! What is taken away: everything after the failure, faults, the scenario's own events, miners; and
//! what stays is made as short as it may be. Each attempt is a whole run, so the same property must
//! fail in it, wherever it does. No attempt may fail for a reason of its own: each keeps the quiet
//! tail, in which the programs recover, and everything that makes whole what is broken.

mod ddmin;

use std::time::Duration;

use ddmin::ddmin;

use crate::report::progress::Clock;
use crate::scenario::{Event, Expect, Plan};
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

/// What a run goes on for after its last failure, before its quiet tail.
const AFTER: Duration = Duration::from_secs(1);
/// A fault is not made shorter than this.
const SHORTEST: Duration = Duration::from_millis(1);
/// Before this the programs find each other: no run is quiet from earlier on.
const CALM_START: Duration = Duration::from_secs(2);
/// To which of its lengths a run is cut whose failure shows at its end only, again and again.
const PARTS: [f64; 2] = [0.5, 0.75];

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
    if is_missing(case, failure) {
        // With less of the story it would be missing all the more.
        search.events(|plan| &mut plan.faults);
        return search.best;
    }
    search.cut_off();
    search.events(|plan| &mut plan.faults);
    search.events(|plan| &mut plan.events);
    search.miners();
    search.durations(|plan| &mut plan.faults);
    search.durations(|plan| &mut plan.events);
    search.cut_off();
    // What was needed beside other faults may be needed no longer.
    search.events(|plan| &mut plan.faults);
    search.best
}

/// Whether what failed is that something never happened.
fn is_missing(case: &Case, failure: &Failure) -> bool {
    case.scenario
        .expect
        .iter()
        .any(|expect| matches!(expect, Expect::Sometimes(_)) && expect.name() == failure.property)
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

    /// Ends the run soon after the failure; where that shows at the end only, wherever that is,
    /// as soon as it may be.
    fn cut_off(&mut self) {
        let plan = &self.best.plan;
        let seen = self.best.failure.at_ms.map(Duration::from_millis);
        match seen.filter(|at| *at + AFTER < plan.quiet_from) {
            Some(at) => self.cut_off_after(at),
            None => self.shorten(),
        }
    }

    fn cut_off_after(&mut self, at: Duration) {
        for after in [AFTER, 4 * AFTER, 16 * AFTER] {
            let quiet_from = at + after;
            if quiet_from >= self.best.plan.quiet_from
                || self.fails(ending(&self.best.plan, quiet_from)) != Some(false)
            {
                return;
            }
        }
    }

    fn shorten(&mut self) {
        for part in PARTS {
            loop {
                let quiet_from = self.best.plan.quiet_from.mul_f64(part);
                if quiet_from < CALM_START
                    || self.fails(ending(&self.best.plan, quiet_from)) != Some(true)
                {
                    break;
                }
            }
        }
    }

    /// Takes away events of one list, but for those that make something whole.
    fn events(&mut self, list: fn(&mut Plan) -> &mut Vec<Event>) {
        let mut plan = self.best.plan.clone();
        let all = std::mem::take(list(&mut plan)).into_iter().enumerate();
        let (cures, others): (Vec<_>, Vec<_>) = all.partition(|(_, event)| event.action.is_cure());
        ddmin(others, |kept| {
            let mut events = [&cures[..], kept].concat();
            events.sort_by_key(|(index, _)| *index);
            let mut plan = self.best.plan.clone();
            *list(&mut plan) = events.into_iter().map(|(_, event)| event).collect();
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

    /// Halves how long each event of one list lasts, while it may.
    fn durations(&mut self, list: fn(&mut Plan) -> &mut Vec<Event>) {
        for index in 0..list(&mut self.best.plan).len() {
            loop {
                let mut plan = self.best.plan.clone();
                let Some(event) = list(&mut plan).get_mut(index) else { break };
                let Some(until) = event.until else { break };
                let half = until.saturating_sub(event.at) / 2;
                if half < SHORTEST {
                    break;
                }
                event.until = Some(event.at + half);
                if self.fails(plan) != Some(true) {
                    break;
                }
            }
        }
    }
}

/// The plan with nothing new from `quiet_from` on, and then as long a quiet tail as it had. What
/// makes something whole happens by then at the latest.
fn ending(plan: &Plan, quiet_from: Duration) -> Plan {
    let mut plan = plan.clone();
    plan.duration = quiet_from + plan.duration.saturating_sub(plan.quiet_from);
    plan.quiet_from = quiet_from;
    cut(&mut plan, quiet_from);
    plan
}

/// The plan up to `end`, quiet or not.
pub fn stopping(plan: &Plan, end: Duration) -> Plan {
    let mut plan = plan.clone();
    plan.duration = end;
    plan.quiet_from = plan.quiet_from.min(end);
    cut(&mut plan, end);
    plan
}

fn cut(plan: &mut Plan, end: Duration) {
    for list in [&mut plan.events, &mut plan.faults] {
        list.retain(|event| event.at <= end || event.action.is_cure());
        for event in list {
            event.at = event.at.min(end);
            event.until = event.until.map(|until| until.min(end));
        }
    }
    plan.arrange();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn plan(events: &str) -> Plan {
        let text = format!(
            "schema = 1\nname = \"t\"\ndoc = \"d\"\nsim = {{ duration = \"60s\", quiet_tail = \"15s\" }}\n\
             {events}\n[[expect]]\nalways = \"share_join\"\n"
        );
        Scenario::parse("t", "t", &text).unwrap().plan(1)
    }

    #[test]
    fn a_shorter_run_has_the_quiet_tail_of_the_long_one_and_is_made_whole() {
        let long = plan(
            "[[at]]\nt = \"10s\"\ndo = \"cut\"\nlink = \"gateway<->pool\"\nfor = \"20s\"\n\
             [[at]]\nt = \"11s\"\ndo = \"crash\"\nhost = \"verifier\"\n\
             [[at]]\nt = \"31s\"\ndo = \"mine\"\n\
             [[at]]\nt = \"40s\"\ndo = \"restart\"\nhost = \"verifier\"",
        );
        let short = ending(&long, Duration::from_secs(15));
        let steps: Vec<_> =
            short.steps.iter().map(|step| (step.at.as_secs(), step.action.to_string())).collect();
        let expected = [
            (10, "cut gateway<->pool"),
            (11, "kill verifier"),
            (15, "heal gateway<->pool"),
            (15, "start verifier"),
        ];
        assert_eq!(steps, expected.map(|(at, what)| (at, what.to_owned())));
        assert_eq!((short.quiet_from.as_secs(), short.duration.as_secs()), (15, 30));
    }

    #[test]
    fn a_stopped_run_ends_at_once() {
        let long = plan("[[at]]\nt = \"10s\"\ndo = \"mine\"\nevery = \"1s\"\ntimes = 9");
        let stopped = stopping(&long, Duration::from_secs(12));
        assert_eq!((stopped.duration.as_secs(), stopped.events.len()), (12, 3));
    }
}
