//! When miners are let in: at once, or in inline mode once the pool was reached.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gateway_core::mode::Mode;
use platform::{Env, Net, Shutdown};
use tokio::sync::{mpsc, watch};

use super::Error;
use crate::admission::Admission;
use crate::config::EscapeHatch;
use crate::connection::MinerSide;
use crate::listener::MinerListener;
use crate::live::{Follower, Live};

/// How soon an unreachable pool is probed again.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// What the pool is probed with.
const POOL_KEYS: [&str; 3] = [
    "share.share_upstream_url",
    "timing.upstream_health_timeout_ms",
    "timing.health_probe_interval_ms",
];
/// How soon a port that was taken meanwhile is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Opens the miner port, and closes it while the mode serves no miners.
pub(super) struct Door {
    pub(super) env: Env,
    pub(super) live: Live,
    pub(super) side: Arc<MinerSide>,
    pub(super) admission: Arc<Admission>,
    pub(super) pool_up: watch::Receiver<bool>,
    pub(super) alive: mpsc::Sender<()>,
    pub(super) fatal: mpsc::Sender<Error>,
}

impl Door {
    /// Accepts miners as the configuration wants it, until `stop`.
    pub(super) async fn run(mut self, stop: Shutdown) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        let mut changes = self.live.follow();
        let last_id = Arc::new(AtomicU64::new(0));
        let mut was_open = false;
        loop {
            self.until_opening(&mut changes).await;
            let address = changes.now().gateway.listen_addr.clone();
            let listener = match self.env.net.listen(&address).await {
                Ok(listener) => listener,
                Err(source) if !was_open => {
                    let error = Error::Listen { key: "gateway.listen_addr", address, source };
                    // If another failure came first, that one is told.
                    let _ = self.fatal.try_send(error);
                    return;
                }
                Err(error) => {
                    tracing::error!(address, %error, "miners cannot connect: cannot listen");
                    tokio::time::sleep(LISTEN_AGAIN).await;
                    continue;
                }
            };
            was_open = true;
            tracing::info!(address = %listener.local_addr(), "miners may connect");
            let listener = MinerListener {
                listener,
                side: Arc::clone(&self.side),
                admission: Arc::clone(&self.admission),
                tasks: self.env.tasks.clone(),
                alive: self.alive.clone(),
                last_id: Arc::clone(&last_id),
            };
            tokio::select! {
                biased;
                _ = changes.until(|config| !opens_in(config.gateway.mode)) => {}
                () = listener.run() => {}
            }
            tracing::info!("miners may no longer connect");
        }
    }

    /// Waits for a mode that serves miners, and in inline mode for the pool.
    async fn until_opening(&mut self, changes: &mut Follower) {
        loop {
            let config = changes.now();
            let mode = config.gateway.mode;
            let needs_pool = mode == Mode::Inline
                && !config.hatches.contains(&EscapeHatch::NoShareUpstreamReadyInline);
            let pool_is_up = *self.pool_up.borrow_and_update();
            if opens_in(mode) && (pool_is_up || !needs_pool) {
                return;
            }
            tokio::select! {
                biased;
                _ = changes.next() => {}
                // The probe ends after the door.
                Ok(()) = self.pool_up.changed() => {}
            }
        }
    }
}

/// Whether miners may connect.
fn opens_in(mode: Mode) -> bool {
    mutant::pick!(ShadowOpensPort, true, mode.serves_miners())
}

/// Probes the pool until `stop`: whether its port takes connections.
pub(super) async fn probe_pool(
    net: Arc<dyn Net>,
    live: Live,
    up: watch::Sender<bool>,
    stop: Shutdown,
) {
    let mut changes = live.follow();
    let mut was_reached = None;
    loop {
        let config = changes.now();
        let address = address_of(&config.share.upstream_url);
        let timing = &config.timing;
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
            _ = changes.until_changed(&config, &POOL_KEYS) => {}
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
