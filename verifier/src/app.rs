//! Puts the daemon together and takes it apart again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::tls::{FileError, Identity, MutualFiles, ServerFiles, TlsListener};
use platform::{Env, Listener, Reload, Shutdown, Storage, TaskHandle, Tasks};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::config::{Config, http_tls_key, tls_key};
use crate::ground::Ground;
use crate::history::{History, MAX_UNWRITTEN};
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::service::Service;
use crate::shelf::Shelf;
use crate::tx_cache::TxCache;
use crate::verdict_log::VerdictLog;
use crate::{ground, http, link};

/// How long judgements under way may take after the shutdown.
const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// How long the last answers may take to leave their connections.
const LINGER: Duration = Duration::from_millis(20);
/// How long to wait when a connection cannot be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Why the verifier did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}; free it or change {key}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        address: String,
        /// Why not.
        error: std::io::Error,
    },
    /// A certificate cannot be used.
    #[error("{key}: {error}")]
    Tls {
        /// The configuration key.
        key: &'static str,
        /// Why not.
        error: FileError,
    },
    /// The verdict history cannot be opened.
    #[error("state_dir {}: verdict history: {error}; make it readable and writable", path.display())]
    History {
        /// Its directory.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

/// Runs the verifier until `shutdown`, then judges what it already holds. No task of it remains
/// when this returns or is dropped.
///
/// # Errors
/// An address cannot be listened on, a certificate cannot be used, or the history cannot be opened.
/// A policy that cannot be loaded is no error here: everything is rejected with `policy_load_error`
/// until one is.
pub async fn run(env: Env, config: Config, shutdown: Shutdown) -> Result<(), Error> {
    run_reloadable(env, config, shutdown, Reload::new()).await
}

/// Like [`run`], with a way to have the policy file and the certificates read again. A policy with
/// problems is refused, and the old one stays; so with certificates, which whoever connects from
/// then on is shown.
///
/// # Errors
/// As [`run`].
pub async fn run_reloadable(
    env: Env,
    config: Config,
    shutdown: Shutdown,
    reload: Reload,
) -> Result<(), Error> {
    let tls = Tls::load(&config, env.storage.as_ref())?;
    let gateways = listen(&env, "listen_addr", &config.listen_addr).await?;
    let operators = listen(&env, "http_addr", &config.http_addr).await?;
    let tasks = OwnTasks(env.tasks.group());
    let env = Env { tasks: tasks.0.clone(), ..env };
    let (service, writing) = build(env, &config, shutdown.clone())?;
    announce(&service, gateways.as_ref(), operators.as_ref(), config.tls.is_some());

    let gateways = Box::new(TlsListener::new(gateways, tls.link.subscribe(), tasks.0.clone()));
    let on_loopback = operators.local_addr().ip().is_loopback();
    let operators = Box::new(TlsListener::new(operators, tls.http.subscribe(), tasks.0.clone()));
    let router = http::router(Arc::clone(&service), on_loopback);
    let links = Arc::new(Semaphore::new(config.max_links));
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = platform::serve::serve(operators, router, tasks.0.clone()) => {}
        () = accept(gateways, Arc::clone(&service), Arc::clone(&links)) => {}
        () = reloads(&service, &tls, reload) => {}
        () = ground::keep_view(&service) => {}
    }
    let all = u32::try_from(config.max_links).unwrap_or(u32::MAX);
    if timeout(DRAIN_GRACE, links.acquire_many(all)).await.is_err() {
        tracing::warn!("judgements still under way are cut off");
    }
    service.history.close();
    if let Some(writing) = writing
        && timeout(DRAIN_GRACE, writing).await.is_err()
    {
        tracing::warn!("the last verdicts are not in the history on disk");
    }
    tokio::time::sleep(LINGER).await;
    tasks.end().await;
    Ok(())
}

async fn listen(env: &Env, key: &'static str, address: &str) -> Result<Box<dyn Listener>, Error> {
    let listening = env.net.listen(address).await;
    listening.map_err(|error| Error::Listen { key, address: address.to_owned(), error })
}

/// Whoever writes the history down; it ends once the history is closed.
type Writing = Option<TaskHandle<()>>;

fn build(env: Env, config: &Config, shutdown: Shutdown) -> Result<(Arc<Service>, Writing), Error> {
    let metrics = Arc::new(Metrics::new());
    let (history, writing) = open_history(&env, config, &metrics)?;
    let state_dir = config.state_dir.as_deref();
    let service = Service {
        policies: Policies::load(Arc::clone(&env.storage), config.policy_file.clone(), state_dir),
        ground: Ground::new(&env, config.node.as_ref()),
        history,
        shelf: Shelf::new(config.kept_templates),
        tx_cache: Arc::new(TxCache::new(config.tx_cache_bytes)),
        waiting_proposals: config.max_waiting_proposals,
        proposal_deadline: config.proposal_deadline,
        metrics,
        shutdown,
        http_api_key: config.http_api_key.clone(),
        started_at_ms: env.wall.unix_ms(),
        env,
    };
    Ok((Arc::new(service), writing))
}

fn open_history(
    env: &Env,
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(History, Writing), Error> {
    let size = config.verdict_history_size;
    let Some(state_dir) = &config.state_dir else {
        return Ok((History::new(size, Vec::new(), None), None));
    };
    let path = state_dir.join("verdicts");
    let (log, earlier) = VerdictLog::open(Arc::clone(&env.storage), path.clone(), size)
        .map_err(|error| Error::History { path, error })?;
    let (writer, unwritten) = mpsc::channel(MAX_UNWRITTEN);
    let writing = env.tasks.spawn("verdict_log", log.write(unwritten, Arc::clone(metrics)));
    Ok((History::new(size, earlier, Some(writer)), Some(writing)))
}

fn announce(
    service: &Service,
    gateways: &dyn Listener,
    operators: &dyn Listener,
    with_certificates: bool,
) {
    tracing::info!(
        listen_addr = %gateways.local_addr(),
        http_addr = %operators.local_addr(),
        "serving verdicts"
    );
    if service.http_api_key.is_none() && !operators.local_addr().ip().is_loopback() {
        tracing::warn!("HTTP is served off loopback without a key: anyone may read verdicts");
    }
    if !with_certificates && !gateways.local_addr().ip().is_loopback() {
        tracing::warn!("anyone who reaches listen_addr may propose: set the tls_... files");
    }
    match service.policies.current() {
        Ok(versioned) => {
            tracing::info!(policy_hash = versioned.hash, "policy loaded");
            Service::warn_of_gaps(&versioned);
        }
        Err(problems) => {
            tracing::error!(problems, "no policy: every template will be rejected");
        }
    }
}

async fn accept(mut gateways: Box<dyn Listener>, service: Arc<Service>, links: Arc<Semaphore>) {
    loop {
        let stream = match gateways.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "gateway not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&links).try_acquire_owned() else {
            tracing::warn!(peer = %stream.peer, "gateway refused: max_links are connected");
            service.metrics.links_refused.inc();
            continue;
        };
        let served = link::serve(Arc::clone(&service), stream);
        drop(service.env.tasks.spawn("gateway_link", async move {
            served.await;
            drop(permit);
        }));
    }
}

async fn reloads(service: &Service, tls: &Tls, reload: Reload) {
    loop {
        reload.requested().await;
        service.reload_policy();
        tls.reload(service.env.storage.as_ref());
    }
}

/// What is shown to whoever connects from now on; nothing where connections are plain TCP.
struct Tls {
    files: TlsFiles,
    link: watch::Sender<Option<Identity>>,
    http: watch::Sender<Option<Identity>>,
}

/// Those of the link to gateways, and those of HTTPS.
type TlsFiles = (Option<MutualFiles>, Option<ServerFiles>);

impl Tls {
    fn load(config: &Config, storage: &dyn Storage) -> Result<Self, Error> {
        let files = (config.tls.clone(), config.http_tls.clone());
        let (link, http) = read_identities(&files, storage)?;
        Ok(Self { files, link: watch::Sender::new(link), http: watch::Sender::new(http) })
    }

    /// Reads the files again; those that cannot be used change nothing.
    fn reload(&self, storage: &dyn Storage) {
        match read_identities(&self.files, storage) {
            Ok((link, http)) => {
                self.link.send_replace(link);
                self.http.send_replace(http);
            }
            Err(error) => tracing::error!(%error, "certificates not reloaded, the old ones stay"),
        }
    }
}

fn read_identities(
    (link, http): &TlsFiles,
    storage: &dyn Storage,
) -> Result<(Option<Identity>, Option<Identity>), Error> {
    let link = link.as_ref().map(|files| files.server(storage)).transpose();
    let link = link.map_err(|error| Error::Tls { key: tls_key(&error), error })?;
    let http = http.as_ref().map(|files| files.server(storage)).transpose();
    let http = http.map_err(|error| Error::Tls { key: http_tls_key(&error), error })?;
    Ok((link, http))
}

/// The daemon's tasks, kept apart from those of whoever runs it, so that they can be ended alone.
struct OwnTasks(Tasks);

impl OwnTasks {
    /// Ends the tasks and waits until they are gone.
    async fn end(&self) {
        self.0.end().await;
    }
}

impl Drop for OwnTasks {
    /// A daemon that is cut off takes its tasks with it.
    fn drop(&mut self) {
        self.0.abort_all();
    }
}
