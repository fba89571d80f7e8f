//! Other people's programs against the real gateway, and the reference pool under our suite.
//!
//! `translator_sv2` and `mining_device` are what a pool's users run; both come from the Rust
//! package registry by name and version. They meet the gateway as the walk sets it up: real
//! processes, real sockets, a regtest bitcoind, a pool that checks every share. In front of the
//! translator stand Stratum V1 miners of ours, which know the `share_id` of what they send, so
//! that each share is followed from a V1 `mining.submit` to the pool's credit.
//!
//! This module drives the real machine on purpose, so it uses what the simulated world forbids.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod accounts;
mod device;
mod install;
mod pool;
mod sv1;
mod table;
pub(crate) mod template_provider;
mod translator;

use std::path::Path;

use platform::Env;

use crate::walk::process::Programs;
use crate::walk::scene::Scene;
use crate::walk::stage::Stage;
use crate::walk::{self, WalkError};

pub(crate) use install::ensure_optimised;
pub use install::{MINING_DEVICE, POOL, Published, TRANSLATOR, ensure};
pub use pool::{Judged, judge_pool};
pub(crate) use pool::{Manners, Pool};
pub use table::{Row, Table};

pub use crate::walk::Options;

/// What the gateway is told for the device.
const BY_GROUP: &str = "[gateway]\njob_addressing = \"group\"\n";

/// Why nothing can be said about other people's programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InteropError {
    /// There is no folder to build programs into.
    #[error("none of ASSAY_CACHE, XDG_CACHE_HOME and HOME is set; set ASSAY_CACHE to a folder")]
    NoCache,
    /// A program cannot be had here.
    #[error(
        "{package} {version} cannot be installed: {reason} (it needs cmake, a C compiler, \
         capnproto with its headers and the package registry); `cargo install {package} --version {version} \
         --locked` shows it alone"
    )]
    NotInstalled {
        /// The package.
        package: &'static str,
        /// Its version.
        version: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// A load could not be made.
    #[error(transparent)]
    Measure(Box<crate::certify::CertifyError>),
    /// The gateway's own world could not be set up.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

/// Runs every trial, a minute and a half, and tells `progress` each step as it begins. Whatever
/// happens, no process is left behind.
///
/// # Errors
/// When nothing can be tried; what is tried and fails is in the table.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Table, InteropError> {
    let folder = ensure(&[MINING_DEVICE, TRANSLATOR], progress)?;
    let ours = Programs::find(options.programs.as_deref(), false)?;
    let theirs = Programs::at(folder);
    let bitcoind = walk::bitcoind(options.bitcoind.clone())?;
    let keep = options.keep;
    let table = walk::on_this_machine(async |env| {
        let mut table = Table::default();
        for setup in translator::SETUPS {
            let scene = set(&env, &ours, &bitcoind, keep, &setup.gateway(), progress).await?;
            translator::tried(scene, &theirs, setup, &mut table).await;
        }
        let scene = set(&env, &ours, &bitcoind, keep, BY_GROUP, progress).await?;
        device::tried(scene, &theirs, &mut table).await;
        Ok(table)
    })?;
    Ok(table)
}

/// The gateway, with this configuration besides the site's, and everything around it, ready for
/// miners.
async fn set<'a>(
    env: &Env,
    ours: &'a Programs,
    bitcoind: &Path,
    keep: bool,
    gateway: &str,
    progress: &'a mut dyn FnMut(&str),
) -> Result<Scene<'a>, WalkError> {
    let stage = Stage::begin(env, ours, bitcoind, keep, progress).await?;
    let mut scene = Scene::open(stage);
    scene.start_programs(gateway).await?;
    Ok(scene)
}
