//! The commands, their options and their exit codes.
//!
//! 0 all is well · 1 a property failed or a golden differs · 2 not deterministic · 3 the harness
//! or its configuration is wrong · 4 a code that no scenario provokes · 5 the machine was too busy
//! to measure.
#![allow(clippy::disallowed_methods)] // The commands' own files and processes, never a world's.

mod certify;
mod check;
mod coverage;
mod golden;
mod interop;
mod mine;
mod mutants;
mod node;
mod play;
mod replay;
mod report;
mod sweep;
mod tip_lag;
mod twin;
mod verify_load;
mod walk;

use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario::{Catalogue, NodeChoice};

/// A property failed, or a golden differs.
const FAILED: u8 = 1;
/// Two runs of one seed differ.
const NOT_DETERMINISTIC: u8 = 2;
/// Nothing can be said.
const HARNESS: u8 = 3;
/// A code is provoked by no scenario.
const COVERAGE_SHORT: u8 = 4;

/// The deterministic simulator of gateway and verifier.
#[derive(Parser)]
#[command(name = "sim", version, about)]
struct Cli {
    /// Where the scenario files are; default: those of the source tree
    #[arg(long, global = true, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists the scenarios
    List,
    /// Plays scenarios, judges them, and holds them against their goldens
    Run(RunArgs),
    /// Plays many seeds, with faults that each seed draws, and shrinks what fails
    Sweep(sweep::SweepArgs),
    /// Plays one run of a sweep, or a bug of the bug base, again
    Replay(replay::ReplayArgs),
    /// Looks for the least that still fails
    Shrink(replay::ShrinkArgs),
    /// Draws every page of the reports anew, and one that leads to them
    Report(report::ReportArgs),
    /// Writes a run for other programs to show
    Trace(report::TraceArgs),
    /// Proves on seeded bugs that the bench catches bugs
    Mutants(mutants::MutantsArgs),
    /// Plays each scenario in two processes and compares every byte
    Twin(TwinArgs),
    /// Compares with goldens, or makes what a run came to the golden
    Golden {
        #[command(subcommand)]
        verb: GoldenVerb,
    },
    /// Judges a recorded event stream of a gateway by the properties that a stream alone can show
    Check(CheckArgs),
    /// Says which scenario provokes which reason and verdict code, by the goldens; 4 where any
    /// code is provoked by none
    Coverage(CoverageArgs),
    /// Tells which bitcoind is used, or fetches one
    Node {
        #[command(subcommand)]
        verb: NodeVerb,
    },
    /// Mines against a running gateway on real sockets
    Mine(MineArgs),
    /// Loads a verifier at a fixed rate and tells how late its verdicts are
    VerifyLoad(VerifyLoadArgs),
    /// Times new tips of a real node on their way to a gateway, by push beside polling
    TipLag(TipLagArgs),
    /// Runs the real programs on this machine: finds a block, kills the gateway, counts every share
    Walk(WalkArgs),
    /// Runs other people's programs against the real gateway, or the reference pool under the suite
    Interop(interop::InteropArgs),
    /// Loads a gateway with miners on real sockets, and says how fast it is and what it promises
    Certify(certify::CertifyArgs),
}

#[derive(Args, Clone)]
struct RunArgs {
    /// A scenario, a family, or `all`
    scenario: String,
    /// Every random choice follows from it; default: the scenario's first
    #[arg(long)]
    seed: Option<u64>,
    /// Which node plays bitcoind; default: the scenario's choice
    #[arg(long, value_enum)]
    node: Option<NodeArg>,
    /// Does not compare with goldens
    #[arg(long)]
    no_golden: bool,
    /// How many scenarios play at once; default: as many as there are processors
    #[arg(short)]
    jobs: Option<usize>,
    /// Where the reports go; default: `reports` in the source tree
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
    /// Also writes a JUnit file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Records a real node's answers for `--node replay`
    #[arg(long)]
    record: bool,
}

#[derive(Args)]
struct TwinArgs {
    /// A scenario, a family, `all`, or a run of a sweep: SEED@SCENARIO
    #[arg(value_name = "SCENARIO|SEED@SCENARIO")]
    scenario: String,
    /// Every random choice follows from it; default: the scenario's first
    #[arg(long)]
    seed: Option<u64>,
    /// Which node plays bitcoind; default: the scenario's choice
    #[arg(long, value_enum)]
    node: Option<NodeArg>,
    /// The program of the second run, such as another build; default: this one
    #[arg(long, value_name = "EXE")]
    against: Option<PathBuf>,
}

#[derive(Subcommand)]
enum GoldenVerb {
    /// Says which goldens hold
    Check(GoldenArgs),
    /// Shows what differs
    Diff(GoldenArgs),
    /// Makes what the runs came to the goldens
    Bless(GoldenArgs),
}

#[derive(Args)]
struct GoldenArgs {
    /// A scenario, a family, or `all`
    #[arg(default_value = "all")]
    scenario: String,
    /// Which node plays bitcoind; default: the scenario's choice
    #[arg(long, value_enum)]
    node: Option<NodeArg>,
}

#[derive(Args)]
struct CheckArgs {
    /// Lines as `/gateway/events` sends them
    events: PathBuf,
    /// `share.share_forward_queue_drop_policy` is drop_old
    #[arg(long)]
    drop_old: bool,
    /// `timing.prevhash_verdict_timeout_ms`
    #[arg(long, default_value_t = 50)]
    verdict_window_ms: u64,
    /// `timing.prevhash_stale_hold_ms`
    #[arg(long, default_value_t = 5000)]
    stale_hold_ms: u64,
    /// The lines are a part of a longer stream: what began before it, or has not ended, is left out
    #[arg(long)]
    part: bool,
    /// Secrets that must be in no line, one a line of this file
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

#[derive(Args)]
struct CoverageArgs {
    /// Also writes the matrix as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum NodeVerb {
    /// Tells which bitcoind is used and where it came from
    Status,
    /// Fetches a bitcoind where there is none (on Debian)
    Install,
}

#[derive(Args)]
struct MineArgs {
    /// The gateway
    #[arg(long, value_name = "HOST:PORT")]
    gateway: String,
    /// The pool's authority key; without it any certificate will do
    #[arg(long, value_name = "KEY")]
    authority_key: Option<String>,
    /// Ends after this many accepted shares
    #[arg(long, conflicts_with = "blocks")]
    shares: Option<u64>,
    /// Finds blocks (regtest) and ends after this many
    #[arg(long)]
    blocks: Option<u64>,
    /// How many miners
    #[arg(long, default_value_t = 1)]
    miners: u32,
    /// `user_identity`, to which each miner's number is added
    #[arg(long, default_value = "miner-")]
    identity: String,
    /// Milliseconds between two shares of one miner, on average
    #[arg(long, default_value_t = 1000)]
    interval_ms: u64,
    /// Gives up after this many seconds
    #[arg(long, default_value_t = 60)]
    timeout_secs: u64,
}

#[derive(Args)]
struct VerifyLoadArgs {
    /// The verifier; default: one in this process
    #[arg(long, value_name = "HOST:PORT")]
    verifier: Option<String>,
    /// The verifier's HTTP interface, where `--swaps` puts policies; default: of the one in this
    /// process
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Small proposals a second, sent whatever becomes of those before
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// For how long
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many gateways they come from
    #[arg(long, default_value_t = 4)]
    links: u32,
    /// How often the policy is replaced meanwhile
    #[arg(long, default_value_t = 0)]
    swaps: u32,
    /// Instead: this many full templates, one after another, unseen and then seen
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1000")]
    full: Option<u32>,
}

#[derive(Args)]
struct TipLagArgs {
    /// How many new tips
    #[arg(long, default_value_t = 20)]
    tips: u32,
    /// How many transactions wait for the first of them
    #[arg(long, default_value_t = 0)]
    transactions: usize,
    /// The wait between polls, in ms: the gateway's `timing.upstream_poll_interval_ms`
    #[arg(long, default_value_t = 3000)]
    poll_interval_ms: u32,
}

#[derive(Args)]
struct WalkArgs {
    /// The folder of `gateway`, `verifier` and `template-manager`; default: beside this program
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Keeps configuration, logs and the gateway's durable log
    #[arg(long)]
    keep: bool,
    /// Instead of the walk, the suite of the program `conformance` judges the gateway
    #[arg(long, group = "what")]
    conformance: bool,
    /// Instead of the walk, many miners with vardiff, while the mode, the configuration and the
    /// certificate change
    #[arg(long, group = "what")]
    load: bool,
    /// Instead of the walk, honest miners while others attack
    #[arg(long, group = "what")]
    flood: bool,
    /// Instead of the walk, a disk without room while miners work
    #[arg(long, group = "what")]
    disk_full: bool,
    /// How long the load (default: 2) or the flood (default: 10) lasts
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// How many miners the load has
    #[arg(long, value_name = "N", default_value_t = 200)]
    miners: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NodeArg {
    Auto,
    Bitcoind,
    Replay,
    Embedded,
}

impl NodeArg {
    fn choice(self) -> NodeChoice {
        match self {
            Self::Auto => NodeChoice::Auto,
            Self::Bitcoind => NodeChoice::Bitcoind,
            Self::Replay => NodeChoice::Replay,
            Self::Embedded => NodeChoice::Embedded,
        }
    }
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { HARNESS } else { 0 };
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("sim: {}", platform::in_full(error.as_ref()));
            ExitCode::from(HARNESS)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let directory = cli.scenarios.unwrap_or_else(|| root().join("scenarios"));
    let load = || Catalogue::load(&directory);
    match cli.verb {
        Verb::List => {
            for scenario in load()?.all() {
                say(format!("{:<32} {}", scenario.name, scenario.doc));
            }
            Ok(0)
        }
        Verb::Run(args) => play::run(&load()?, &args),
        Verb::Sweep(args) => sweep::run(&load()?, &args),
        Verb::Replay(args) => replay::run(&load()?, &args),
        Verb::Shrink(args) => replay::shrink_run(&load()?, &args),
        Verb::Report(args) => report::run(&args),
        Verb::Trace(args) => report::trace(&args),
        Verb::Mutants(args) => mutants::run(&load()?, &args),
        Verb::Twin(args) => twin::run(&load()?, &directory, &args),
        Verb::Check(args) => check::run(&args),
        Verb::Coverage(args) => coverage::run(&load()?, &args),
        Verb::Golden { verb } => golden::run(&load()?, &verb),
        Verb::Node { verb: NodeVerb::Status } => {
            say(crate::node::status().trim_end());
            Ok(0)
        }
        Verb::Node { verb: NodeVerb::Install } => node::install().map(|_| 0),
        Verb::Mine(args) => mine::run(args),
        Verb::VerifyLoad(args) => verify_load::run(args),
        Verb::TipLag(args) => tip_lag::run(&args),
        Verb::Walk(args) => walk::run(args),
        Verb::Interop(args) => interop::run(&args),
        Verb::Certify(args) => certify::run(args),
    }
}

/// Prints a line; a reader that has seen enough (`| head`) is no fault.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The source tree, where goldens, reports and recordings are: the one this program was built
/// from, or the current directory where that is gone.
fn root() -> PathBuf {
    match Path::new(env!("CARGO_MANIFEST_DIR")).parent() {
        Some(tree) if tree.is_dir() => tree.to_owned(),
        _ => PathBuf::from("."),
    }
}
