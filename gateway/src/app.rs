//! The whole program: builds the parts, lets them run, and ends them in order.

mod door;
mod drain;
mod links;
mod parts;
pub(crate) mod settings;
mod task_group;

use std::sync::Arc;

use platform::{Env, Shutdown};
use tokio::sync::mpsc;

use self::parts::{Parts, Start};
use crate::config::{Config, ConfigProblem, ConfigSource, tls_identity};
use crate::log::{self, LogError, Recovered};
use crate::noise_identity::IdentityError;
use crate::reload::{Reload, serving};

/// Why the gateway ended other than cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cryptography does not work as it must.
    #[error("self-test of the Noise transport: {0}")]
    SelfTest(#[from] sv2_noise::SelfTestError),
    /// The keys for miners cannot be used.
    #[error("noise: {0}")]
    Identity(#[from] IdentityError),
    /// A file that the configuration names cannot be used.
    #[error("{0}")]
    Config(ConfigProblem),
    /// The durable log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An address cannot be listened on.
    #[error("{key} = {address:?}: cannot listen there: {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        address: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A part of the gateway broke: a defect.
    #[error("the task {0} panicked; this is a defect, please report it with the log before it")]
    Panicked(&'static str),
    /// The grace of a drain ran out. Shares without a result are in the log and will be sent at
    /// the next start.
    #[error(
        "the drain ended after timing.drain_grace_ms with {shares_queued} shares queued, {posts} \
         posts and {blocks} blocks under way; start again to send the shares"
    )]
    DrainIncomplete {
        /// Shares that wait.
        shares_queued: usize,
        /// Posts under way.
        posts: usize,
        /// Block submissions under way.
        blocks: usize,
    },
}

/// Runs the gateway until `shutdown` and a drain. When it returns, no task of it is left.
///
/// # Errors
/// What kept it from starting, from going on, or from draining cleanly.
pub async fn run(env: Env, config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_with(env, config, None, Control { shutdown, ..Control::default() }).await
}

/// What moves a running gateway from outside.
#[derive(Clone, Default)]
pub struct Control {
    /// Drains and ends it; also cancelled by the gateway once it drains for another reason.
    pub shutdown: Shutdown,
    /// Has it read its configuration again.
    pub reload: Reload,
    /// Cancelled by the gateway once everything is started and HTTP is served.
    pub started: Shutdown,
}

/// As [`run`]; `config` was loaded from `source`, which is read again whenever `control` or the HTTP
/// interface asks for it.
///
/// # Errors
/// As [`run`].
pub async fn run_reloadable(
    env: Env,
    config: Config,
    source: ConfigSource,
    control: Control,
) -> Result<(), Error> {
    run_with(env, config, Some(source), control).await
}

async fn run_with(
    env: Env,
    config: Config,
    source: Option<ConfigSource>,
    control: Control,
) -> Result<(), Error> {
    let Control { shutdown, reload, started } = control;
    for hatch in &config.hatches {
        tracing::warn!(variable = hatch.variable(), "ESCAPE HATCH OPEN: a safeguard is off");
    }
    if config.noise.is_none() {
        let address = &config.gateway.listen_addr;
        tracing::warn!(
            address,
            "miners are served without encryption: whoever can read the network between them and \
             this address reads worker names and passwords, and can change work and shares; allow \
             it on a trusted network only"
        );
    } else {
        sv2_noise::self_test()?;
    }
    let serving = serving(&config, &env)?;
    let tls = tls_identity(&config, env.storage.as_ref()).map_err(Error::Config)?;
    let recovered = recover(&env, &config).await?;
    let http_addr = config.gateway.http_addr.clone();
    let http = env.net.listen(&http_addr).await.map_err(|source| Error::Listen {
        key: "gateway.http_addr",
        address: http_addr,
        source,
    })?;
    let (fatal_sender, mut fatal) = mpsc::channel(1);
    let start = Start { config: Arc::new(config), serving, tls, recovered, http, source, reload };
    let mut parts = Parts::start(env, start, fatal_sender).await?;
    started.cancel();
    let drain_asked = parts.drain_asked();
    let failure = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        () = drain_asked.cancelled() => None,
        Some(error) = fatal.recv() => Some(error),
        ended = parts.log_ended() => Some(ended),
    };
    shutdown.cancel();
    match &failure {
        None => tracing::info!("draining"),
        Some(error) => tracing::error!(%error, "ending"),
    }
    let drained = parts.drain().await;
    failure.map_or(drained, Err)
}

/// Reads the log away from the event loop: it may have gigabytes.
async fn recover(env: &Env, config: &Config) -> Result<Recovered, Error> {
    let (storage, path) = (Arc::clone(&env.storage), config.log.path.clone());
    let remembered = config.share.dedup_window_size;
    let read = move || log::recover(storage.as_ref(), &path, remembered);
    let recovered = platform::offload(&env.cpu, read).await?;
    if let Some(torn) = &recovered.torn {
        let log::recovery::Torn { name, offset, bytes, what } = torn;
        tracing::warn!(segment = name, offset, bytes, what, "torn end of the log is cut");
    }
    let unresolved = recovered.unresolved.len();
    tracing::info!(next_seq = recovered.next_seq, unresolved, "log read");
    Ok(recovered)
}
