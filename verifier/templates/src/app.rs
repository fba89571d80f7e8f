//! Puts the daemon together and takes it apart again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::{Env, Listener, Shutdown};

use crate::config::{Config, is_loopback};
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
}

/// Runs the template-manager until `shutdown`, then lets the requests in progress end. No task of
/// it remains when this returns.
///
/// # Errors
/// The address cannot be listened on. A node that cannot be reached is no error: it is tried
/// again, and `/ready` tells of it.
pub async fn run(env: Env, config: Config, shutdown: Shutdown) -> Result<(), Error> {
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
        };
        drop(env.tasks.spawn("node_follower", follower.run(shutdown.clone())));
    }
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
            Arc::new(Node {
                name: node.name.clone(),
                rpc: NodeRpc::new(env, &node.url, node.auth.clone()),
                rpc_timeout: config.rpc_timeout,
                metrics: Arc::clone(&metrics),
            })
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
