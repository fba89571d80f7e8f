//! Certification: what a gateway does for many real miners, in real time, on this machine.
//!
//! The load is open loop. Each miner's shares and each connection are due at moments that were
//! drawn beforehand, and latency counts from the moment that something was due, so that a gateway
//! which stalls is charged for everything that it kept waiting.
//!
//! It starts the real programs beside a regtest bitcoind, or loads a gateway that runs elsewhere.
//! This module drives the real machine on purpose, so it uses what the simulated world forbids.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod certificate;
mod course;
mod curves;
mod join;
mod limit;
mod load;
mod machine;
mod measure;
mod miner;
mod page;
mod peer;
mod pool;
mod promises;
mod story;
mod targets;
mod threads;
mod tips;
pub(crate) mod usage;
mod versus;

use std::path::PathBuf;
use std::time::Duration;

use sv2_noise::AuthorityPublicKey;

pub use certificate::{Certificate, Outcome};
pub use curves::{Curves, measure as curves};
pub use targets::{Targets, measure as targets};
pub use versus::{Versus, measure as versus};

use crate::node::{RpcError, ScriptError, StartError};
use crate::walk::WalkError;

/// What is certified, and under which load.
#[derive(Clone, Debug)]
pub struct Options {
    /// A gateway that runs already; without it the programs are started here.
    pub gateway: Option<Outside>,
    /// The folder of the programs; the running program's own without it.
    pub programs: Option<PathBuf>,
    /// How many miners.
    pub miners: u32,
    /// How many of them connect in a second.
    pub connects_per_second: f64,
    /// Each miner's mean time between two shares.
    pub share_interval: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// How long the load lasts before anything is measured.
    pub warm_up: Duration,
    /// The time between two new tips (not of a gateway that runs elsewhere).
    pub tip_interval: Duration,
    /// Transactions in each template (not of a gateway that runs elsewhere).
    pub transactions: usize,
    /// The gateway's `log.sync` (not of one that runs elsewhere).
    pub log_sync: String,
    /// Shares in one write of miners that send as many as are answered, instead of at their rate.
    pub burst: Option<u32>,
}

/// A gateway that runs elsewhere.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Its miner port, `host:port`.
    pub address: String,
    /// Its pool's key; without it any certificate will do.
    pub authority: Option<AuthorityPublicKey>,
    /// What miners' names begin with.
    pub identity: String,
}

/// Why nothing can be certified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// The programs or their folder.
    #[error(transparent)]
    Site(#[from] WalkError),
    /// The node did not start.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The chain could not be driven.
    #[error("the chain could not be driven: {0}")]
    Chain(#[from] ScriptError),
    /// The node refused a question.
    #[error("bitcoind: {0}")]
    Rpc(#[from] RpcError),
    /// The load cannot be made here.
    #[error("{0}")]
    Load(String),
    /// Too few miners came to work.
    #[error(
        "{working} of {miners} miners have work after {} s; {last}",
        .after.as_secs()
    )]
    Idle {
        /// How many have work.
        working: usize,
        /// How many there are.
        miners: u32,
        /// How long was waited.
        after: Duration,
        /// What keeps the others, where that is known.
        last: String,
    },
}

/// Loads the gateway and says what it promises. Progress is told step by step.
///
/// # Errors
/// Where no load can be made; a promise that does not hold is no error.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, CertifyError> {
    machine::room_for(options.miners)?;
    let machine = machine::Machine::look();
    let fan_out_ms = limit::of_tips(options, progress)?;
    let machine = machine::Machine { fan_out_ms, ..machine };
    let runtime = threads::for_load(options)
        .map_err(|source| WalkError::machine("threads cannot be started", source))?;
    runtime.block_on(async {
        let env = platform::real::env();
        let measured = match &options.gateway {
            Some(outside) => story::outside(&env, machine, options, outside, progress).await,
            None => story::inside(&env, machine, options, progress).await,
        };
        env.tasks.abort_all();
        let (certificate, measures) = measured?;
        Ok(Report { certificate, measures })
    })
}

/// What was measured.
pub struct Report {
    /// What it comes to.
    pub certificate: Certificate,
    measures: measure::Measures,
}

impl Report {
    /// Writes `certificate.json`, `certificate.html`, and the histograms as `latency.hlog` and one
    /// `.hgrm` each. The path of the HTML file.
    ///
    /// # Errors
    /// When a file cannot be written; the error names it.
    pub fn write(&self, directory: &std::path::Path) -> std::io::Result<PathBuf> {
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, bytes).map_err(|error| {
                std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })
        };
        std::fs::create_dir_all(directory)?;
        write("certificate.json", self.certificate.json().as_bytes())?;
        for (name, text) in self.measures.hgrm() {
            write(&format!("{name}.hgrm"), text.as_bytes())?;
        }
        write("latency.hlog", &self.measures.hlog(self.certificate.load.measured_s)?)?;
        write("certificate.html", page::render(&self.certificate, &self.measures).as_bytes())?;
        Ok(directory.join("certificate.html"))
    }
}
