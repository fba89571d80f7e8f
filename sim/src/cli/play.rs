//! Plays scenarios, some at once, and shows what they came to.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::{Context, Result};

use super::node::{Source, cassette};
use super::{FAILED, HARNESS, RunArgs, root};
use crate::report::github::{self, GitHub};
use crate::report::golden::{self, Check};
use crate::report::model::Outcome;
use crate::report::progress::Progress;
use crate::report::terminal::{self, Style};
use crate::report::{self, Broken, Judged, junit};
use crate::run;
use crate::scenario::{Catalogue, NodeChoice, Scenario};

/// What to play and how.
pub(super) struct Request<'a> {
    pub(super) scenarios: Vec<&'a Scenario>,
    pub(super) seed: Option<u64>,
    pub(super) node: Option<NodeChoice>,
    pub(super) record: bool,
    pub(super) jobs: usize,
}

/// One scenario that was played.
pub(super) struct Played {
    pub(super) outcome: Outcome,
    pub(super) log: String,
}

/// `sim run`.
pub(super) fn run(catalogue: &Catalogue, args: &RunArgs) -> Result<u8> {
    let scenarios = catalogue.select(&args.scenario)?;
    let request = Request {
        jobs: args.jobs.unwrap_or_else(processors).max(1),
        seed: args.seed,
        node: args.node.map(super::NodeArg::choice),
        record: args.record,
        scenarios,
    };
    let reports = args.reports.clone().unwrap_or_else(|| root().join("reports"));
    let style =
        Style::new(std::io::stdout().is_terminal(), std::env::var("NO_COLOR").ok().as_deref());
    let single = request.scenarios.len() == 1;
    let github = GitHub::of_this_process();
    let (mut runs, mut broken, mut code) = (Vec::new(), Vec::new(), 0);
    play(&request, &mut |name, played| {
        let (run, html) = match played.and_then(|played| keep(played, &reports, !args.no_golden)) {
            Ok(kept) => kept,
            Err(error) => {
                code = HARNESS;
                let one =
                    Broken { scenario: name.to_owned(), error: platform::in_full(error.as_ref()) };
                github.annotate_broken(&one);
                let line = format!("{name}: {}", one.error);
                broken.push(one);
                return line;
            }
        };
        if !run.passed() && code == 0 {
            code = FAILED;
        }
        github.annotate_run(&run);
        let text = if single || !run.passed() {
            terminal::render(&run, &html, style)
        } else {
            terminal::line(&run, style)
        };
        runs.push(run);
        text
    })?;
    github.summarise(&github::runs_in_markdown(&runs, &broken))?;
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::render(&runs, &broken))
            .with_context(|| path.display().to_string())?;
    }
    Ok(code)
}

/// Writes a run's files and holds it against its golden.
fn keep(played: Played, reports: &Path, with_golden: bool) -> Result<(Judged, PathBuf)> {
    let Played { outcome: Outcome { report, trace, events }, log } = played;
    let header = &report.header;
    let directory = reports.join(&header.scenario).join(header.seed.to_string());
    let html = report::write(&directory, &report, &events)?;
    for (name, text) in [("trace.txt", trace.join("\n") + "\n"), ("log.txt", log)] {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    let golden = if with_golden { golden::check(&root(), &report)? } else { Check::NotChecked };
    let run = Judged { report, golden };
    let path = directory.join("junit.xml");
    std::fs::write(&path, junit::render(std::slice::from_ref(&run), &[]))
        .with_context(|| path.display().to_string())?;
    Ok((run, html))
}

/// Plays every scenario of a request and shows each as `show` puts it.
pub(super) fn play(
    request: &Request<'_>,
    show: &mut dyn FnMut(&str, Result<Played>) -> String,
) -> Result<()> {
    let root = root();
    let progress = Progress::new(request.scenarios.len() as u64, std::io::stderr().is_terminal());
    let choice = |scenario: &Scenario| request.node.unwrap_or(scenario.sim.node);
    let mut choices: Vec<NodeChoice> =
        request.scenarios.iter().map(|scenario| choice(scenario)).collect();
    choices.sort_by_key(|choice| choice.as_str());
    choices.dedup();
    let mut sources = Vec::new();
    for choice in choices {
        let source = Source::new(choice, &root)?;
        progress.line(format!("node: {}", source.describe()));
        if choice == NodeChoice::Auto && matches!(source, Source::Embedded) {
            progress.line("for a real one: cargo sim node install".to_owned());
        }
        sources.push((choice, source));
    }
    let source_of = |scenario: &Scenario| {
        let wanted = choice(scenario);
        let found = sources.iter().find(|(choice, _)| *choice == wanted);
        &found.expect("every choice has its source").1
    };
    let queue: Mutex<VecDeque<&Scenario>> = Mutex::new(request.scenarios.iter().copied().collect());
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..request.jobs.min(request.scenarios.len()) {
            let (sender, queue, progress) = (sender.clone(), &queue, &progress);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(scenario) = next else { return };
                    let played = play_one(scenario, source_of(scenario), request, progress);
                    if sender.send((scenario.name.clone(), played)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (name, played) in results {
            progress.line(show(&name, played));
        }
    });
    progress.finish();
    Ok(())
}

fn play_one(
    scenario: &Scenario,
    source: &Source,
    request: &Request<'_>,
    progress: &Progress,
) -> Result<Played> {
    let seed = request.seed.unwrap_or_else(|| scenario.sim.first_seed());
    let plan = scenario.plan(seed);
    let (node, recording) = source.node(scenario, seed, request.record)?;
    let clock = progress.run(&scenario.name, plan.duration.as_millis() as u64);
    let finished = run::run(scenario, &plan, node, &clock)?;
    if let Some(recording) = recording {
        let path = cassette(&root().join("scenarios/cassettes"), scenario, seed);
        std::fs::write(&path, recording.text()).with_context(|| path.display().to_string())?;
    }
    Ok(Played { outcome: finished.outcome, log: finished.log })
}

/// How many worlds may live at once.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
