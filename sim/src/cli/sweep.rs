//! `sim sweep`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::play::processors;
use super::{FAILED, mutants, root, say};
use crate::bugs::{self, Bug, Kept};
use crate::mutants::{BUILT_IN, Mutant};
use crate::report::github::{Annotation, GitHub};
use crate::report::progress::{Clock, Counter};
use crate::report::{self};
use crate::scenario::{Catalogue, Scenario};
use crate::shrink::shrink;
use crate::sweep::{Case, FailedRun, Job, Order, Tally, Trial, over, play, sweepable};

/// Runs of a sweep that says neither how many nor how long, of scenarios that do not either.
const DEFAULT_RUNS: u64 = 100;
/// So many failures of one property of one scenario are shrunk; more would be the same.
const SHRUNK_ALIKE: u32 = 2;
/// Where no display is drawn, progress is told this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Options of `sim sweep`.
#[derive(Args)]
pub(super) struct SweepArgs {
    /// A scenario, a family, or `all`; several scenarios take turns
    scenario: String,
    /// So many runs from the first seed on, or the seeds A..B
    #[arg(long, value_name = "A..B|N", value_parser = seeds)]
    seeds: Option<Seeds>,
    /// The first seed; default: 0, or what a scenario that is swept alone says
    #[arg(long, value_name = "SEED")]
    first: Option<u64>,
    /// Goes on for so long instead, or ends the runs after so long
    #[arg(long)]
    minutes: Option<f64>,
    /// How many worlds live at once; default: as many as there are processors
    #[arg(short)]
    jobs: Option<usize>,
    /// At most so many runs to shrink a failure; 0 does not shrink
    #[arg(long, default_value_t = 250, value_name = "RUNS")]
    shrink: u32,
    /// Puts this bug into the programs, in a build that carries the seeded bugs
    #[arg(long, value_parser = mutants::by_name, hide = !BUILT_IN)]
    mutant: Option<Mutant>,
    /// The bug base: played first, and grows with every failure
    #[arg(long, value_name = "DIR")]
    bugs: Option<PathBuf>,
    /// Leaves the bug base alone
    #[arg(long)]
    no_bugs: bool,
    /// Where the page goes; default: `reports` in the source tree
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
}

/// What `--seeds` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seeds {
    /// A range says where it begins, a count does not.
    first: Option<u64>,
    count: u64,
}

/// `A..B` or a count.
fn seeds(text: &str) -> Result<Seeds, String> {
    let wrong = |_| format!("\"{text}\" is neither a count nor A..B");
    let (first, end) = match text.split_once("..") {
        Some((first, end)) => (Some(first.parse().map_err(wrong)?), end.parse().map_err(wrong)?),
        None => (None, text.parse().map_err(wrong)?),
    };
    let count = u64::saturating_sub(end, first.unwrap_or(0));
    if count == 0 {
        return Err(format!("\"{text}\" holds no seed"));
    }
    Ok(Seeds { first, count })
}

/// The first seed, and how many there are; none goes on until the time is used up.
fn range(args: &SweepArgs, scenarios: &[&Scenario]) -> Result<(u64, Option<u64>)> {
    let in_range = args.seeds.and_then(|seeds| seeds.first);
    if in_range.is_some() && args.first.is_some() {
        bail!("--seeds A..B and --first both say where to begin; write --seeds N");
    }
    let own = match scenarios {
        [only] => only.sim.seeds,
        _ => None,
    };
    let count = match (args.seeds, args.minutes, own) {
        (Some(seeds), ..) => Some(seeds.count),
        (None, Some(_), _) => None,
        (None, None, Some(own)) => Some(own.high() - own.low() + 1),
        (None, None, None) => Some(DEFAULT_RUNS),
    };
    let first = in_range.or(args.first).or_else(|| own.map(|own| own.low()));
    Ok((first.unwrap_or(0), count))
}

/// Plays seeds until they, or the time, are used up.
pub(super) fn run(catalogue: &Catalogue, args: &SweepArgs) -> Result<u8> {
    let scenarios = sweepable(&catalogue.select(&args.scenario)?);
    let (first, count) = range(args, &scenarios)?;
    let folder = args.bugs.clone().unwrap_or_else(|| root().join("scenarios").join("bugs"));
    let folder = (!args.no_bugs).then_some(folder);
    let kept = match (&folder, &args.bugs) {
        (None, _) => Kept::Nowhere,
        (Some(_), Some(other)) => Kept::In(other.clone()),
        (Some(_), None) => Kept::InTheBase,
    };
    let jobs = args.jobs.unwrap_or_else(processors).max(1);
    let github = GitHub::of_this_process();
    let again = match &folder {
        Some(folder) => replay_all(catalogue, &scenarios, &bugs::all(folder)?, &github),
        None => 0,
    };
    let sweep = Sweep {
        order: Order { scenarios: &scenarios, first, count },
        jobs,
        until: args.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0)),
        shrink: args.shrink,
        mutant: args.mutant,
        folder,
        kept,
        alike: Mutex::default(),
    };
    let summary = sweep.run(&args.scenario, &github)?;
    let reports = args.reports.clone().unwrap_or_else(|| root().join("reports"));
    let page = report::write_sweep(&reports.join("sweep"), &summary).context("reports")?;
    say(report::sweep_in_words(&summary));
    say(format!("  report  {}", page.display()));
    github.summarise(&report::sweep_in_markdown(&summary, again))?;
    Ok(if summary.failed + again > 0 { FAILED } else { 0 })
}

/// Plays the bugs of these scenarios again, as they were found and as they were shrunk; counts
/// those that fail still, or again.
fn replay_all(
    catalogue: &Catalogue,
    scenarios: &[&Scenario],
    bugs: &[Bug],
    github: &GitHub,
) -> u64 {
    let mut failed = 0;
    for bug in bugs {
        let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == bug.scenario) else {
            if catalogue.select(&bug.scenario).is_err() {
                say(format!("bug {}: its scenario {} is gone", bug.id, bug.scenario));
            }
            continue;
        };
        let plans = [&bug.shrunk, &bug.expanded];
        let failure = plans.into_iter().find_map(|plan| {
            play(&Case::judged_in(scenario, plan.clone(), bug.weather), &Clock::default()).failure
        });
        if let Some(failure) = failure {
            failed += 1;
            let bug = bug.clone().failing_as(failure);
            say(bug.line());
            github.annotate(&Annotation::of(&bug));
        }
    }
    if !bugs.is_empty() {
        say(format!("bug base: {} known, {failed} of them fail", bugs.len()));
    }
    failed
}

struct Sweep<'a> {
    order: Order<'a>,
    jobs: usize,
    until: Option<Duration>,
    shrink: u32,
    mutant: Option<Mutant>,
    folder: Option<PathBuf>,
    kept: Kept,
    /// How many failures were shrunk, by scenario and property.
    alike: Mutex<BTreeMap<(String, String), u32>>,
}

/// What a thread hands over.
struct Done {
    case: Case,
    trial: Trial,
    bug: Option<Bug>,
}

impl Sweep<'_> {
    fn run(&self, of: &str, github: &GitHub) -> Result<crate::sweep::Summary> {
        let begun = Instant::now();
        let mut tally = Tally::new(of, self.order.first, self.jobs);
        let is_terminal = std::io::stderr().is_terminal();
        let display = Counter::new(self.order.count, is_terminal);
        let (mut told, mut broken) = (Instant::now(), None);
        over(
            self.order,
            self.jobs,
            |job| self.one(job),
            |_, done| {
                tally.add(&done.case, &done.trial);
                if let Some(bug) = done.bug {
                    display.line(&bug.line());
                    github.annotate(&Annotation::of(&bug));
                    tally.failed(FailedRun::of(&bug));
                    let kept = self.folder.as_ref().map(|folder| bugs::store(folder, &bug));
                    broken = kept.and_then(Result::err).or_else(|| broken.take());
                }
                let took = begun.elapsed();
                display.at(&tally.line(took));
                if !is_terminal && told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    say(tally.line(took));
                }
                broken.is_none() && self.until.is_none_or(|until| took < until)
            },
        );
        display.finish();
        match broken {
            Some(error) => bail!(error),
            None => Ok(tally.summary(begun.elapsed())),
        }
    }

    fn one(&self, job: Job<'_>) -> Done {
        let case = Case::of(job.scenario, job.seed).infected(self.mutant);
        let mut trial = play(&case, &Clock::default());
        let bug = trial.failure.as_ref().map(|failure| {
            let bug = Bug::new(&case.scenario.name, case.weather, &case.plan, failure);
            let bug = bug.kept(self.kept.clone());
            if !self.is_worth_shrinking(&bug) {
                return bug;
            }
            let shrunk = shrink(&case, failure, self.shrink, |_, _| {});
            bug.shrunk_to(shrunk.plan, shrunk.failure)
        });
        // The whole record of a run is megabytes, and only its report is counted.
        if let Some(finished) = &mut trial.finished {
            finished.log.clear();
            finished.outcome.trace.clear();
            finished.outcome.events.clear();
        }
        Done { case, trial, bug }
    }

    fn is_worth_shrinking(&self, bug: &Bug) -> bool {
        let mut alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (bug.scenario.clone(), bug.failure.property.clone());
        let count = alike.entry(key).or_default();
        *count += 1;
        self.shrink > 0 && *count <= SHRUNK_ALIKE
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SweepArgs,
    }

    /// What a command line comes to.
    fn of(line: &str, scenarios: &[&Scenario]) -> Result<(u64, Option<u64>)> {
        let words = ["sweep", "all"].into_iter().chain(line.split_whitespace());
        range(&Line::try_parse_from(words)?.args, scenarios)
    }

    #[rstest]
    #[case("", 0, Some(DEFAULT_RUNS))]
    #[case("--seeds 500", 0, Some(500))]
    #[case("--seeds 64..80", 64, Some(16))]
    #[case("--seeds 500 --first 7", 7, Some(500))]
    #[case("--minutes 2", 0, None)]
    #[case("--minutes 2 --first 7", 7, None)]
    #[case("--minutes 2 --first 7 --seeds 9", 7, Some(9))]
    fn a_sweep_begins_where_it_is_told_to(
        #[case] line: &str,
        #[case] first: u64,
        #[case] count: Option<u64>,
    ) {
        assert_eq!(of(line, &[]).unwrap(), (first, count));
    }

    #[test]
    fn a_scenario_alone_may_bring_its_own_seeds() {
        let text = "schema = 1\nname = \"t\"\ndoc = \"d\"\n\
                    sim = { duration = \"9s\", seeds = \"8..64\" }\n\
                    [[expect]]\nalways = \"share_join\"\n";
        let scenario = Scenario::parse("t", "t", text).unwrap();
        assert_eq!(of("", &[&scenario]).unwrap(), (8, Some(56)));
        assert_eq!(of("--seeds 3", &[&scenario]).unwrap(), (8, Some(3)));
        assert_eq!(of("--first 1", &[&scenario]).unwrap(), (1, Some(56)));
        assert_eq!(of("", &[&scenario, &scenario]).unwrap(), (0, Some(DEFAULT_RUNS)));
    }

    #[rstest]
    #[case("--seeds 5..5", "holds no seed")]
    #[case("--seeds 6..5", "holds no seed")]
    #[case("--seeds 0", "holds no seed")]
    #[case("--seeds x", "neither a count nor A..B")]
    #[case("--seeds 5..9 --first 7", "both say where to begin")]
    fn what_is_no_range_is_refused(#[case] line: &str, #[case] expected: &str) {
        let error = of(line, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
