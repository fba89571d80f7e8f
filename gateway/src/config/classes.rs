//! When a changed key takes effect.

use super::keys::Key;

/// When the new value of a key takes effect after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// At once, for everyone.
    Live,
    /// For connections made, and channels opened, from then on.
    NewConnections,
    /// When the gateway is started again; until then the old value stays in force.
    Restart,
}

impl Class {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NewConnections => "new connections",
            Self::Restart => "restart",
        }
    }
}

/// Keys that are read once: addresses, names and sizes that the rest is built on.
const RESTART: &[&str] = &[
    "gateway.listen_addr",
    "gateway.http_addr",
    "gateway.gateway_instance_id",
    // Another source numbers its templates anew, and an old number is no newer template.
    "gateway.upstream_url",
    "timing.template_cache_size",
    "share.share_dedup_window_size",
    "log.path",
    "log.segment_bytes",
    "log.sync",
    "log.retention",
    "limits.max_event_subscribers",
    "telemetry.log_format",
    "telemetry.log_filter",
];

/// Keys that are read as a connection is made or a channel opened.
const NEW_CONNECTIONS: &[&str] = &[
    "gateway.http_tls_cert_file",
    "gateway.http_tls_key_file",
    "noise.noise_key_file",
    "noise.noise_cert_file",
    "noise.authority_secret_key_file",
    "noise.authority_public_key_file",
    "noise.handshake_timeout_ms",
    "noise.cert_validity_secs",
    "noise.cert_backdate_secs",
    "share.initial_difficulty",
    "auth.max_worker_id_bytes",
    "limits.max_connections",
    "limits.max_connections_per_ip",
    "limits.connections_per_second_per_ip",
    "limits.max_channels_per_connection",
    "limits.max_frame_bytes",
];

impl Key {
    /// When a new value takes effect.
    pub fn class(&self) -> Class {
        if RESTART.contains(&self.path) {
            Class::Restart
        } else if NEW_CONNECTIONS.contains(&self.path) {
            Class::NewConnections
        } else {
            Class::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    #[test]
    fn every_classified_key_exists_and_has_one_class() {
        for path in RESTART.iter().chain(NEW_CONNECTIONS) {
            assert!(KEYS.iter().any(|key| key.path == *path), "{path} is no key");
        }
        assert!(RESTART.iter().all(|path| !NEW_CONNECTIONS.contains(path)));
    }
}
