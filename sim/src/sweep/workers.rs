//! Cases dealt out to as many threads as may run at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use crate::scenario::Scenario;

/// One seed of one scenario.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The seed.
    pub seed: u64,
}

/// Which seeds, in which order.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// Seeds take turns between these.
    pub scenarios: &'a [&'a Scenario],
    /// The first seed.
    pub first: u64,
    /// How many runs; none goes on until told to stop.
    pub count: Option<u64>,
}

impl<'a> Order<'a> {
    /// The run number `index`, counted from 0; `None` after the last.
    pub fn job(&self, index: u64) -> Option<Job<'a>> {
        let is_over = self.count.is_some_and(|count| index >= count);
        let scenarios = self.scenarios.len() as u64;
        if is_over || scenarios == 0 {
            return None;
        }
        let scenario = self.scenarios[(index % scenarios) as usize];
        Some(Job { scenario, seed: self.first.saturating_add(index) })
    }
}

/// Does `work` for every job on `jobs` threads, and `take`s each result on this one, in the order
/// in which they come. Ends early where `take` says so.
pub fn over<'a, T: Send>(
    order: Order<'a>,
    jobs: usize,
    work: impl Fn(Job<'a>) -> T + Sync,
    mut take: impl FnMut(Job<'a>, T) -> bool,
) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // Bounded: threads must not run ahead of whoever decides when it is enough.
    let (sender, results) = mpsc::sync_channel(jobs.max(1));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed)
                    && let Some(job) = order.job(next.fetch_add(1, Ordering::Relaxed))
                    && sender.send((job, work(job))).is_ok()
                {}
            });
        }
        drop(sender);
        for (job, result) in results {
            if !take(job, result) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str) -> Scenario {
        let text = format!(
            "schema = 1\nname = \"{name}\"\ndoc = \"d\"\nsim = {{ duration = \"9s\" }}\n\
             [[expect]]\nalways = \"share_join\"\n"
        );
        Scenario::parse(name, name, &text).unwrap()
    }

    #[test]
    fn seeds_take_turns_between_scenarios_and_every_one_is_done() {
        let (one, two) = (scenario("one"), scenario("two"));
        let scenarios = [&one, &two];
        let order = Order { scenarios: &scenarios, first: 10, count: Some(5) };
        let mut done = Vec::new();
        over(
            order,
            3,
            |job| job.seed * 2,
            |job, doubled| {
                assert_eq!(doubled, job.seed * 2);
                done.push(format!("{}@{}", job.seed, job.scenario.name));
                true
            },
        );
        done.sort();
        assert_eq!(done, ["10@one", "11@two", "12@one", "13@two", "14@one"]);
    }

    #[test]
    fn an_endless_order_ends_when_told_to() {
        let one = scenario("one");
        let order = Order { scenarios: &[&one], first: 0, count: None };
        let mut taken = 0;
        over(
            order,
            2,
            |_| (),
            |_, ()| {
                taken += 1;
                taken < 20
            },
        );
        assert!((20..=26).contains(&taken), "{taken}");
    }
}
