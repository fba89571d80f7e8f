//! The commands that prove the workspace: `cargo ci test` is what its continuous integration
//! runs and what a contributor runs before sending a change.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)] // A build tool: it lives outside the simulated world.

mod bench;
mod mutants;
mod steps;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "ci", about = "The commands that prove the workspace")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Everything a change must pass: format, lints, tidy, tests, scenarios, determinism.
    Test,
    /// What gates a change: goldens, the bug base, a sweep, determinism, the fuzz targets, and the
    /// seeded bugs.
    Gate {
        /// Seeds of the sweep.
        #[arg(long, default_value_t = 500)]
        seeds: u64,
    },
    /// Tries every fuzz target on seeded mutations of known inputs.
    FuzzSmoke {
        /// How long to try each target, in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// What a night is for: a real node recorded anew, a day in virtual time, a long sweep,
    /// determinism of every scenario and across optimisation, a certificate, every seeded bug.
    Nightly {
        /// How long the sweep goes on.
        #[arg(long, default_value_t = 120)]
        minutes: u64,
    },
    /// Builds the simulator with the seeded bugs in it and runs `sim mutants`.
    Mutants {
        /// Arguments of `sim mutants`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Counts the instructions of the hot paths and holds them to the baseline.
    Bench(bench::BenchArgs),
    /// Other people's programs against the real gateway on a real regtest node: builds them into
    /// the cache where they are not there yet, which takes half an hour.
    Interop {
        /// Instead: the reference pool under the conformance suite; writes reports/pool_sv2.md.
        #[arg(long)]
        pool_sv2: bool,
    },
    /// The rules no compiler checks: dependency graph, sizes, banned text.
    Tidy,
    /// Makes a real regtest node available, or says why there is none.
    Node,
}

fn main() -> ExitCode {
    if let Some(code) = mutants::as_compiler() {
        return code;
    }
    let root = workspace_root();
    let outcome = match Arguments::parse().verb {
        Verb::Test => steps::test(&root),
        Verb::Gate { seeds } => steps::gate(&root, seeds),
        Verb::FuzzSmoke { seconds } => steps::fuzz_smoke(&root, seconds),
        Verb::Nightly { minutes } => steps::nightly(&root, minutes),
        Verb::Mutants { arguments } => mutants::Wrapper::keep(&root)
            .and_then(|wrapper| mutants::run(&root, &wrapper, &arguments)),
        Verb::Bench(arguments) => bench::run(&root, &arguments),
        Verb::Interop { pool_sv2 } => steps::interop(&root, pool_sv2),
        Verb::Tidy => tidy::check(&root),
        Verb::Node => steps::node(&root),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ci: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the root manifest: this package's parent.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package ci lies in the workspace")
        .to_path_buf()
}
