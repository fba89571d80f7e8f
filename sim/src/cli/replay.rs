//! `sim replay` and `sim shrink`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{FAILED, mutants, root, say};
use crate::bugs::{self, Bug, Kept};
use crate::mutants::{BUILT_IN, Mutant};
use crate::report::golden::Check;
use crate::report::progress::Clock;
use crate::report::terminal::{self, Style};
use crate::report::{self, Judged};
use crate::run::Finished;
use crate::scenario::{Catalogue, Scenario, show_duration};
use crate::shrink::{shrink, stopping};
use crate::sweep::{Case, Failure, SeedAt, play};

/// Options of `sim replay`.
#[derive(Args)]
pub(super) struct ReplayArgs {
    /// A run of a sweep, SEED@SCENARIO, or the name of a bug in the bug base
    #[arg(value_name = "SEED@SCENARIO|BUG")]
    run: String,
    /// Ends at this virtual time, such as 41.5s
    #[arg(long, value_name = "TIME", value_parser = crate::scenario::parse_duration)]
    until: Option<Duration>,
    /// Prints every observation
    #[arg(long)]
    trace: bool,
    /// Plays a bug as it was found instead of as it was shrunk
    #[arg(long)]
    expanded: bool,
    /// Puts this bug into the programs, in a build that carries the seeded bugs
    #[arg(long, value_parser = mutants::by_name, hide = !BUILT_IN)]
    mutant: Option<Mutant>,
    /// The bug base
    #[arg(long, value_name = "DIR")]
    bugs: Option<PathBuf>,
    /// Where the report goes; default: `reports` in the source tree
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
}

/// Options of `sim shrink`.
#[derive(Args)]
pub(super) struct ShrinkArgs {
    /// A run of a sweep, SEED@SCENARIO, or the name of a bug in the bug base
    #[arg(value_name = "SEED@SCENARIO|BUG")]
    run: String,
    /// At most so many runs
    #[arg(long, default_value_t = 500, value_name = "RUNS")]
    budget: u32,
    /// Puts this bug into the programs, in a build that carries the seeded bugs
    #[arg(long, value_parser = mutants::by_name, hide = !BUILT_IN)]
    mutant: Option<Mutant>,
    /// The bug base, which keeps the result
    #[arg(long, value_name = "DIR")]
    bugs: Option<PathBuf>,
}

/// A run that was named.
struct Named {
    case: Case,
    bug: Option<Bug>,
}

fn named(
    catalogue: &Catalogue,
    run: &str,
    folder: &std::path::Path,
    expanded: bool,
) -> Result<Named> {
    if let Ok(SeedAt { seed, scenario }) = run.parse() {
        let scenario = one(catalogue, &scenario)?;
        return Ok(Named { case: Case::of(scenario, seed), bug: None });
    }
    let bug = bugs::load(folder, run)
        .with_context(|| format!("\"{run}\" is no SEED@SCENARIO, and no bug in the bug base"))?;
    let scenario = one(catalogue, &bug.scenario)?;
    let plan = if expanded { &bug.expanded } else { &bug.shrunk };
    Ok(Named { case: Case::judged_in(scenario, plan.clone(), bug.weather), bug: Some(bug) })
}

/// The scenario of this very name, even where a family has the same.
pub(super) fn one<'a>(catalogue: &'a Catalogue, name: &str) -> Result<&'a Scenario> {
    match catalogue.all().iter().find(|scenario| scenario.name == name) {
        Some(scenario) => Ok(scenario),
        None => match catalogue.select(name) {
            Ok(_) => bail!("\"{name}\" is a family; name one of its scenarios"),
            Err(error) => Err(error.into()),
        },
    }
}

/// Plays one run of a sweep again and shows what led to its failure.
pub(super) fn run(catalogue: &Catalogue, args: &ReplayArgs) -> Result<u8> {
    let folder = args.bugs.clone().unwrap_or_else(|| root().join("scenarios").join("bugs"));
    let Named { mut case, bug } = named(catalogue, &args.run, &folder, args.expanded)?;
    case.mutant = args.mutant;
    if let Some(until) = args.until {
        case.plan = stopping(&case.plan, until.min(case.plan.duration));
    }
    let trial = play(&case, &Clock::default());
    let Some(finished) = trial.finished else {
        let failure = trial.failure.context("a world that is not finished broke down")?;
        say(line(&case, &failure, &args.run));
        say(failure.detail);
        return Ok(FAILED);
    };
    if args.trace {
        for line in &finished.outcome.trace {
            say(line);
        }
    }
    let reports = args.reports.clone().unwrap_or_else(|| root().join("reports"));
    let html = keep(&finished, &reports)?;
    let style =
        Style::new(std::io::stdout().is_terminal(), std::env::var("NO_COLOR").ok().as_deref());
    let judged = Judged { report: finished.outcome.report, golden: Check::NotChecked };
    say(terminal::render(&judged, &html, style).trim_end());
    let Some(failure) = trial.failure else {
        if bug.is_some() {
            say("the bug does not show any more");
        }
        return Ok(0);
    };
    say(terminal::around(&judged.report, &finished.outcome.trace, &failure, style));
    say(line(&case, &failure, &args.run));
    Ok(FAILED)
}

fn line(case: &Case, failure: &Failure, run: &str) -> String {
    let faults = bugs::faults(&case.plan).to_string();
    bugs::fail_line(failure, case.plan.seed, &faults, run)
}

fn keep(finished: &Finished, reports: &std::path::Path) -> Result<PathBuf> {
    let outcome = &finished.outcome;
    let header = &outcome.report.header;
    let directory = reports.join(&header.scenario).join(header.seed.to_string());
    let html = report::write(&directory, &outcome.report, &outcome.events)?;
    for (name, text) in
        [("trace.txt", outcome.trace.join("\n") + "\n"), ("log.txt", finished.log.clone())]
    {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(html)
}

/// Looks for the least that still fails, and keeps it in the bug base.
pub(super) fn shrink_run(catalogue: &Catalogue, args: &ShrinkArgs) -> Result<u8> {
    let folder = args.bugs.clone().unwrap_or_else(|| root().join("scenarios").join("bugs"));
    let Named { mut case, bug } = named(catalogue, &args.run, &folder, false)?;
    case.mutant = args.mutant;
    let Some(failure) = play(&case, &Clock::default()).failure else {
        say(format!("{} does not fail: there is nothing to shrink", args.run));
        return Ok(0);
    };
    let shrunk = shrink(&case, &failure, args.budget, |plan, tried| {
        let (faults, events) = (bugs::faults(plan), plan.events.len());
        let (miners, length) = (plan.miners.len(), show_duration(plan.duration));
        say(format!("run {tried:>4}: {faults} faults, {events} events, {miners} miners, {length}"));
    });
    // A known bug that now fails in another way is another bug.
    let known = bug.filter(|bug| bug.failure.property == failure.property);
    let bug =
        known.unwrap_or_else(|| Bug::new(&case.scenario.name, case.weather, &case.plan, &failure));
    let kept = args.bugs.clone().map_or(Kept::InTheBase, Kept::In);
    let bug = bug.shrunk_to(shrunk.plan, shrunk.failure).kept(kept);
    say(format!("\nafter {} runs, this still fails:", shrunk.tried));
    for step in &bug.shrunk.steps {
        say(format!("  {:>8.3}s  {}", step.at.as_secs_f64(), step.action));
    }
    say(format!("  {:>9}  {}", "", bug.failure.detail));
    say(format!("kept as {}", bugs::store(&folder, &bug)?.display()));
    say(bug.line());
    Ok(FAILED)
}
