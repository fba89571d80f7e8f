//! When miners are let in: at once, or in inline mode once the pool was reached.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::mode::Mode;
use platform::{Env, Net, Shutdown};
use tokio::sync::{mpsc, watch};

use super::Error;
use crate::admission::Admission;
use crate::config::{Config, EscapeHatch};
use crate::connection::MinerSide;
use crate::listener::MinerListener;

/// How soon an unreachable pool is probed again.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// Opens the miner port.
pub(super) struct Door {
    pub(super) env: Env,
    pub(super) config: Arc<Config>,
    pub(super) side: Arc<MinerSide>,
    pub(super) admission: Arc<Admission>,
    pub(super) pool_up: watch::Receiver<bool>,
    pub(super) alive: mpsc::Sender<()>,
    pub(super) fatal: mpsc::Sender<Error>,
}

impl Door {
    /// Waits for the pool where it must, then accepts miners until `stop`.
    pub(super) async fn run(mut self, stop: Shutdown) {
        let waits = self.config.gateway.mode == Mode::Inline
            && !self.config.hatches.contains(&EscapeHatch::NoShareUpstreamReadyInline);
        if waits {
            let reached = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                reached = self.pool_up.wait_for(|up| *up) => reached.is_ok(),
            };
            if !reached {
                return;
            }
        }
        let address = self.config.gateway.listen_addr.clone();
        let listener = match self.env.net.listen(&address).await {
            Ok(listener) => listener,
            Err(source) => {
                let error = Error::Listen { key: "gateway.listen_addr", address, source };
                // If another failure came first, that one is told.
                let _ = self.fatal.try_send(error);
                return;
            }
        };
        tracing::info!(address = %listener.local_addr(), "miners may connect");
        let Self { env, side, admission, alive, .. } = self;
        MinerListener { listener, side, admission, tasks: env.tasks, alive }.run(stop).await;
    }
}

/// Probes the pool until `stop`: whether its port takes connections.
pub(super) async fn probe_pool(
    net: Arc<dyn Net>,
    config: Arc<Config>,
    up: watch::Sender<bool>,
    stop: Shutdown,
) {
    let address = address_of(&config.share.upstream_url);
    let timing = &config.timing;
    let mut was_reached = None;
    loop {
        let attempt = tokio::time::timeout(timing.upstream_health_timeout, net.connect(&address));
        let reached = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            reached = attempt => matches!(reached, Ok(Ok(_))),
        };
        up.send_replace(reached);
        if was_reached.replace(reached) != Some(reached) {
            if reached {
                tracing::info!(address, "the pool is reachable");
            } else {
                tracing::warn!(address, "the pool is not reachable");
            }
        }
        let interval = timing.health_probe_interval;
        let wait = if reached { interval } else { interval.min(PROBE_AGAIN) };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// `host:port` of a URL that the configuration has checked.
fn address_of(url: &str) -> String {
    let (port, rest) = match url.strip_prefix("https://") {
        Some(rest) => (443, rest),
        None => (80, url.strip_prefix("http://").unwrap_or(url)),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if has_port { authority.to_owned() } else { format!("{authority}:{port}") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://pool/shares", "pool:80")]
    #[case("https://pool", "pool:443")]
    #[case("http://pool:9000/shares?x=1", "pool:9000")]
    #[case("http://[::1]/shares", "[::1]:80")]
    #[case("http://[::1]:9000", "[::1]:9000")]
    fn addresses(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(address_of(url), expected);
    }
}
