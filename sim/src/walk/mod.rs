//! The real programs on this machine: real processes, real sockets, real time.
//!
//! Where a scenario proves the programs' code in a simulated world, a walk proves that what was
//! built and installed holds together: `gateway`, `verifier` and `template-manager` as child
//! processes beside a regtest bitcoind, with a miner and a pool of the simulator on loopback. It
//! finds a block, kills the gateway with shares in flight, starts it again on the same log, and
//! accounts for every share; then it drains everything. A [`Trial`] does so with more miners for
//! longer: under load, under attack, or on a full disk.
//!
//! This module drives the real machine on purpose, so it uses what the simulated world forbids.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod crowd;
pub(crate) mod evidence;
mod findings;
mod flood;
mod full_disk;
mod load;
mod party;
pub(crate) mod process;
mod relay;
pub(crate) mod scene;
mod sightings;
pub(crate) mod site;
pub(crate) mod stage;
mod story;
pub(crate) mod summary;

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use self::stage::Stage;
use crate::node::{RpcError, ScriptError, StartError};

pub use findings::{Finding, Findings};
pub use summary::{BlockFound, Crash, Shares, Summary, Timings};

/// How a walk is done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder of the programs; the running program's own without it.
    pub programs: Option<PathBuf>,
    /// The bitcoind to run; the one that [`crate::node::find`] finds without it.
    pub bitcoind: Option<PathBuf>,
    /// Whether configuration, logs and the gateway's durable log stay on disk afterwards.
    pub keep: bool,
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// Programs are not where they should be.
    #[error("{} has no {names}; build them with `cargo build --bins`", .folder.display())]
    Missing {
        /// Which, separated by commas.
        names: String,
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// There is no bitcoind.
    #[error("no bitcoind was found; get one with `sim node install`")]
    NoNode,
    /// The bitcoind did not start.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The chain before the walk could not be made.
    #[error("the chain could not be prepared: {0}")]
    Chain(#[from] ScriptError),
    /// The node refused a question.
    #[error("bitcoind: {0}")]
    Rpc(#[from] RpcError),
    /// The machine refused something.
    #[error("{what}: {source}")]
    Machine {
        /// What was wanted.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A program did not begin, or ended when it should not have, or ended badly.
    #[error("{program} ended with {status} {when}; the end of its log:\n{tail}")]
    Ended {
        /// Which.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// At what point of the walk.
        when: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// Something did not happen in time.
    #[error(
        "waited {} s for this: {what}; the end of the log of {program}:\n{tail}",
        .limit.as_secs()
    )]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
        /// Whose doing it is.
        program: &'static str,
        /// The last lines that it wrote.
        tail: String,
    },
    /// Something that must hold does not.
    #[error("{0}")]
    Violated(String),
}

impl WalkError {
    pub(crate) fn machine(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Machine { what: what.into(), source }
    }
}

/// Does the whole walk, a few seconds, and tells `progress` each step as it begins. Whatever
/// happens, no process is left behind.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn run(options: Options, progress: &mut dyn FnMut(&str)) -> Result<Summary, WalkError> {
    let programs = process::Programs::find(options.programs.as_deref(), false)?;
    let bitcoind = bitcoind(options.bitcoind)?;
    on_this_machine(async |env| {
        let stage = Stage::begin(&env, &programs, &bitcoind, options.keep, progress).await?;
        story::walk(stage, options.keep).await
    })
}

/// Starts the programs without miners and has the conformance suite judge the gateway, a minute
/// and a half. What the suite wrote.
///
/// # Errors
/// A rule that the gateway breaks, or what kept it from being judged.
pub fn judge(options: Options, progress: &mut dyn FnMut(&str)) -> Result<String, WalkError> {
    let programs = process::Programs::find(options.programs.as_deref(), true)?;
    let bitcoind = bitcoind(options.bitcoind)?;
    on_this_machine(async |env| {
        story::judge(Stage::begin(&env, &programs, &bitcoind, options.keep, progress).await?).await
    })
}

/// What many miners are put through.
#[derive(Clone, Copy, Debug)]
pub enum Trial {
    /// Many miners with vardiff, and the operator at work meanwhile.
    Load {
        /// How many.
        miners: u32,
        /// How long.
        lasting: Duration,
    },
    /// Honest miners while others attack.
    Flood {
        /// How long.
        lasting: Duration,
    },
    /// A disk without room, twice.
    FullDisk,
}

/// Starts the programs, puts them to the trial, and says what was shown.
///
/// # Errors
/// What kept it from being shown; what does not hold is no error.
pub fn endure(
    options: Options,
    trial: Trial,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings, WalkError> {
    let programs = process::Programs::find(options.programs.as_deref(), false)?;
    let bitcoind = bitcoind(options.bitcoind)?;
    on_this_machine(async |env| {
        let stage = Stage::begin(&env, &programs, &bitcoind, options.keep, progress).await?;
        match trial {
            Trial::Load { miners, lasting } => load::load(stage, miners, lasting).await,
            Trial::Flood { lasting } => flood::flood(stage, lasting).await,
            Trial::FullDisk => full_disk::full_disk(stage).await,
        }
    })
}

/// The node to run.
pub(crate) fn bitcoind(wanted: Option<PathBuf>) -> Result<PathBuf, WalkError> {
    wanted.or_else(|| crate::node::find().map(|node| node.exe)).ok_or(WalkError::NoNode)
}

/// Runs a story on real threads, sockets and time; no task of it is left afterwards.
pub(crate) fn on_this_machine<T>(
    story: impl AsyncFnOnce(platform::Env) -> Result<T, WalkError>,
) -> Result<T, WalkError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| WalkError::machine("threads cannot be started", source))?;
    runtime.block_on(async {
        let env = platform::real::env();
        let outcome = story(env.clone()).await;
        env.tasks.abort_all();
        outcome
    })
}
