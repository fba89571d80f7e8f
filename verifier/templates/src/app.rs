//! Puts the daemon together and takes it apart again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::tls::{FileError, Identity, TlsListener};
use platform::{Env, Listener, Reload, Shutdown, Storage};
use tokio::sync::watch;

use crate::config::{Config, is_loopback, tls_key};
use crate::metrics::Metrics;
use crate::node_rpc::NodeRpc;
use crate::pace::{Intervals, Pace};
use crate::service::{self, Service};
use crate::source::{Follower, Node};
use crate::store::Store;

/// How long requests in progress may take to end after the shutdown.
const DRAIN_GRACE: Duration = Duration::from_secs(15);

/// Why the template-manager did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; free it or change http_addr")]
    Listen {
        /// The configured address.
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
}

/// Runs the template-manager until `shutdown`, then lets the requests in progress end. No task of
/// it remains when this returns.
///
/// At a `reload` the certificate is read again, and whoever connects from then on is shown it; one
/// that cannot be used changes nothing.
///
/// # Errors
/// The address cannot be listened on, or the certificate cannot be used. A node that cannot be
/// reached is no error: it is tried again, and `/ready` tells of it.
pub async fn run(
    env: Env,
    config: Config,
    shutdown: Shutdown,
    reload: Reload,
) -> Result<(), Error> {
    let (shown, identity) = watch::channel(identity(&config, env.storage.as_ref())?);
    let listener = env
        .net
        .listen(&config.http_addr)
        .await
        .map_err(|error| Error::Listen { address: config.http_addr.clone(), error })?;
    let tasks = env.tasks.group();
    let env = Env { tasks: tasks.clone(), ..env };
    warn(&config, listener.as_ref());
    let on_loopback = listener.local_addr().ip().is_loopback();
    let service = Arc::new(build(&env, &config, &shutdown, on_loopback));
    for (index, node) in service.nodes.iter().enumerate() {
        let follower = Follower {
            index,
            node: Arc::clone(node),
            store: Arc::clone(&service.store),
            pace: Arc::clone(&service.pace),
            cpu: Arc::clone(&env.cpu),
        };
        drop(env.tasks.spawn("node_follower", follower.run(shutdown.clone())));
    }
    let files = (config, Arc::clone(&env.storage));
    drop(env.tasks.spawn("certificate", keep_certificate(files, shown, reload)));
    let listener = Box::new(TlsListener::new(listener, identity, tasks.clone()));
    let router = service::router(service);
    platform::serve::serve_until(listener, router, &tasks, &shutdown, DRAIN_GRACE).await;
    tasks.end().await;
    Ok(())
}

fn build(env: &Env, config: &Config, shutdown: &Shutdown, on_loopback: bool) -> Service {
    let names: Vec<String> = config.nodes.iter().map(|node| node.name.clone()).collect();
    let metrics = Arc::new(Metrics::new(&names));
    let nodes = config
        .nodes
        .iter()
        .map(|node| {
            let rpc = NodeRpc::new(env, &node.url, node.auth.clone());
            let (name, metrics) = (node.name.clone(), Arc::clone(&metrics));
            Arc::new(Node::new(name, rpc, config.rpc_timeout, metrics))
        })
        .collect();
    let intervals = Intervals { poll: config.poll_interval, refresh: config.refresh_interval };
    let pace = Arc::new(Pace::new(intervals, config.rpc_timeout));
    let (wall, of_store) = (Arc::clone(&env.wall), Arc::clone(&metrics));
    let store = Arc::new(Store::new(&names, wall, of_store, Arc::clone(&pace)));
    Service {
        store,
        pace,
        nodes,
        metrics,
        tasks: env.tasks.clone(),
        settings: Mutex::new(config.settings().to_vec()),
        api_key: config.http_api_key.clone(),
        on_loopback,
        shutdown: shutdown.clone(),
    }
}

fn identity(config: &Config, storage: &dyn Storage) -> Result<Option<Identity>, Error> {
    let files = config.http_tls.as_ref();
    let identity = files.map(|files| files.server(storage)).transpose();
    identity.map_err(|error| Error::Tls { key: tls_key(&error), error })
}

async fn keep_certificate(
    (config, storage): (Config, Arc<dyn Storage>),
    shown: watch::Sender<Option<Identity>>,
    reload: Reload,
) {
    loop {
        reload.requested().await;
        match identity(&config, storage.as_ref()) {
            Ok(identity) => drop(shown.send_replace(identity)),
            Err(error) => tracing::error!(%error, "certificate not reloaded, the old one stays"),
        }
    }
}

fn warn(config: &Config, listener: &dyn Listener) {
    tracing::info!(address = %listener.local_addr(), "serving templates");
    if config.http_api_key.is_none() && !listener.local_addr().ip().is_loopback() {
        tracing::warn!("served off loopback without a key: anyone may read templates");
    }
    for node in &config.nodes {
        let uri: Option<http::Uri> = node.url.parse().ok();
        let in_clear = uri.as_ref().is_some_and(|uri| {
            uri.scheme_str() == Some("http") && !uri.host().is_some_and(is_loopback)
        });
        if in_clear {
            tracing::warn!(node = node.name, "its password crosses the network in clear");
        }
    }
}
