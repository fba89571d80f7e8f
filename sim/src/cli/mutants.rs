//! `sim mutants`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Error, Result, bail};
use clap::Args;

use super::play::processors;
use super::{FAILED, root, say};
use crate::mutants::{BUILT_IN, Board, Hunt, Mutant, Row, hunt};
use crate::report;
use crate::report::github::GitHub;
use crate::report::progress::Counter;
use crate::scenario::{Catalogue, unknown_name};

/// Options of `sim mutants`.
#[derive(Args)]
pub(super) struct MutantsArgs {
    /// The bugs to hunt; default: every one
    mutants: Vec<String>,
    /// One short trial of each, for a gate
    #[arg(long)]
    smoke: bool,
    /// Trials of each bug; their median is shown
    #[arg(long, default_value_t = 3)]
    trials: u32,
    /// A trial gives up after so many seeds
    #[arg(long, default_value_t = 150)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many bugs are hunted at once; default: as many as there are processors
    #[arg(short)]
    jobs: Option<usize>,
    /// Where the board goes; default: `reports` in the source tree
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
}

/// Hunts every bug and shows the board.
pub(super) fn run(catalogue: &Catalogue, args: &MutantsArgs) -> Result<u8> {
    if !BUILT_IN {
        bail!("this build carries no bugs; `cargo ci mutants` builds one that does and runs it");
    }
    let mutants = select(&args.mutants)?;
    let jobs = args.jobs.unwrap_or_else(processors).max(1);
    let trials = if args.smoke { 1 } else { args.trials.max(1) };
    let settings = Hunt { first: args.first, trials, seeds: args.seeds.max(1) };
    let rows = hunt_all(catalogue, &mutants, settings, jobs)?;
    let board = Board { rows };
    say(report::board_in_words(&board));
    let reports = args.reports.clone().unwrap_or_else(|| root().join("reports"));
    let page = report::write_board(&reports.join("mutants"), &board).context("reports")?;
    say(format!("  report  {}", page.display()));
    GitHub::of_this_process().summarise(&report::board_in_markdown(&board))?;
    Ok(if board.is_proven() { 0 } else { FAILED })
}

fn select(names: &[String]) -> Result<Vec<Mutant>> {
    if names.is_empty() {
        return Ok(Mutant::ALL.to_vec());
    }
    names.iter().map(|name| by_name(name).map_err(Error::msg)).collect()
}

/// The bug of this name.
pub(super) fn by_name(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.iter().find(|mutant| mutant.as_str() == name);
    found.copied().ok_or_else(|| {
        let names = Mutant::ALL.iter().map(|mutant| mutant.as_str());
        format!("bug \"{name}\" {}", unknown_name(name, names))
    })
}

fn hunt_all(
    catalogue: &Catalogue,
    mutants: &[Mutant],
    settings: Hunt,
    jobs: usize,
) -> Result<Vec<Row>> {
    let display = Counter::new(Some(mutants.len() as u64), std::io::stderr().is_terminal());
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(mutants.len()) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = hunt(catalogue, *mutant, settings);
                    if let Ok(row) = &row {
                        display.at(&format!("{}: {}", row.mutant, report::catch_in_words(row)));
                    }
                    let mut rows = rows.lock().expect("nothing panics while it holds the rows");
                    rows.push((*mutant, row));
                }
            });
        }
    });
    display.finish();
    let mut rows = rows.into_inner().expect("nothing panics while it holds the rows");
    rows.sort_by_key(|(mutant, _)| *mutant);
    rows.into_iter().map(|(_, row)| Ok(row?)).collect()
}
