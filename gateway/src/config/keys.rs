//! The table of keys: the one place that names them, their ranges, their defaults and their meaning.

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`; in the environment `GATEWAY__SECTION__NAME`.
    pub path: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What holds where nobody sets it.
    pub presence: Presence,
    /// What it means, with unit and range where the name does not say them.
    pub doc: &'static str,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown. It may also be given as the path of a file that holds it, under
    /// the key with `_file` appended.
    Secret,
    /// `host:port`.
    Address,
    /// `host:port`, or up to [`crate::limits::VERIFIERS`] of them with commas between.
    Addresses,
    /// `http://…` or `https://…` without credentials.
    Url,
    /// A file or directory.
    Path,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// A number from the first to the second.
    Real(f64, f64),
    /// `true` or `false`.
    Flag,
    /// A list of tables with these members; a member written with a `!` is a secret.
    Entries(&'static [&'static str]),
}

/// What holds where nobody sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// This value, as TOML.
    Default(&'static str),
    /// Nothing: the key must be set.
    Required,
    /// Nothing; the meaning says what follows.
    Optional,
}

use Kind::{Address, Addresses, Choice, Entries, Flag, Path, Real, Secret, Text, Url, Whole};
use Presence::{Default, Optional, Required};

const DAY_SECS: u64 = 86_400;
const HOUR_MS: u64 = 3_600_000;

const fn key(path: &'static str, kind: Kind, presence: Presence, doc: &'static str) -> Key {
    Key { path, kind, presence, doc }
}

impl Key {
    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').expect("every path has a section").0
    }

    /// The part after the dot.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').expect("every path has a section").1
    }

    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("GATEWAY__{}__{}", self.section(), self.name()).to_uppercase()
    }
}

/// The sections in the order of the documentation.
pub const SECTIONS: [&str; 9] =
    ["gateway", "noise", "timing", "share", "auth", "vardiff", "log", "limits", "telemetry"];

/// Every key, by section.
#[rustfmt::skip] // One line a key.
pub const KEYS: &[Key] = &[
    key("gateway.mode", Choice(&["shadow", "observe", "inline"]), Required, "what verdicts decide: shadow serves no miners, observe only records verdicts, inline gives out no job without an accepting one"),
    key("gateway.listen_addr", Address, Default("\"0.0.0.0:3333\""), "where miners connect"),
    key("gateway.http_addr", Address, Default("\"127.0.0.1:8080\""), "where the HTTP interface listens"),
    key("gateway.verifier_addr", Addresses, Default("\"127.0.0.1:5001\""), "where the verifier takes proposals; of several, with commas between, the first to judge decides"),
    key("gateway.verifier_http_url", Url, Optional, "the verifier's HTTP interface; derived from verifier_addr with port 8081 if absent"),
    key("gateway.verifier_tls_cert_file", Path, Optional, "certificate chain (PEM) that verifiers are shown; with it, the links to them are TLS and both ends show certificates (docs/verifier.md)"),
    key("gateway.verifier_tls_key_file", Path, Optional, "its private key (PEM)"),
    key("gateway.verifier_tls_ca_file", Path, Optional, "certificates (PEM) that vouch for the verifiers, or that they show themselves; each must name the host in verifier_addr"),
    key("gateway.https_ca_file", Path, Optional, "certificates (PEM) that vouch for https:// servers (template source, pool) beside the public authorities, or that those show themselves"),
    key("gateway.upstream_url", Url, Required, "the template source"),
    key("gateway.upstream_api_key", Secret, Optional, "sent to the template source in X-API-Key"),
    key("gateway.upstream_failure_policy", Choice(&["fail_closed", "fail_open", "permit_all"]), Required, "what an unreachable template source means for miners: fail_closed closes them, fail_open (also written permit_all) leaves them on the work they have"),
    key("gateway.gateway_instance_id", Text, Default("\"gateway\""), "this gateway among its siblings, 1 to 64 letters, digits, dots, dashes"),
    key("gateway.extended_channels", Flag, Default("true"), "whether extended channels may be opened"),
    key("gateway.job_addressing", Choice(&["channel", "group"]), Default("\"channel\""), "whether jobs for several channels of a connection are addressed to each of them or to their group channel; miners that need it get theirs by channel in any case"),
    key("gateway.extranonce_index", Whole(0, 0x7fff_ffff), Optional, "this gateway's part of the search space: give each gateway of a fleet another, and their miners never do the same work; derived from gateway_instance_id if absent"),
    key("gateway.reconnect_addr", Address, Optional, "where miners are sent when this gateway drains, if reconnect_vendors names theirs; its certificate must be of the same authority"),
    key("gateway.reconnect_vendors", Text, Default("\"\""), "vendors of miners known to follow Reconnect, with commas between; others do not survive it"),
    key("gateway.version_rolling_mask", Whole(0, 0x1fff_ffe0), Default("0x1fffffe0"), "version bits that miners may roll (BIP 323; 0x1fffe000 for BIP 320 firmware)"),
    key("gateway.coinbase_tag", Text, Default("\"/Assay/\""), "text in every coinbase, at most 64 bytes"),
    key("gateway.payout_outputs", Entries(&["address", "script", "parts"]), Optional, "who is paid: an address or a script in hex, and how many parts (1); needed on every network but regtest"),
    key("gateway.http_api_key", Secret, Optional, "asked for in X-API-Key by everything but the probes; needed off loopback"),
    key("gateway.http_tls_cert_file", Path, Optional, "certificate chain (PEM) for HTTPS"),
    key("gateway.http_tls_key_file", Path, Optional, "private key (PEM) for HTTPS"),

    key("noise.noise_key_file", Path, Optional, "this gateway's secret Noise key, as gen-keys writes it"),
    key("noise.noise_cert_file", Path, Optional, "its certificate, signed by the authority"),
    key("noise.authority_secret_key_file", Path, Optional, "the authority's secret key, to sign the certificate at start instead"),
    key("noise.authority_public_key_file", Path, Optional, "the authority's public key, which miners know"),
    key("noise.handshake_timeout_ms", Whole(100, 60_000), Default("5000"), "how long a handshake may take"),
    key("noise.cert_validity_secs", Whole(60, 3650 * DAY_SECS), Default("31536000"), "how long a certificate signed here is valid"),
    key("noise.cert_backdate_secs", Whole(0, 30 * DAY_SECS), Default("86400"), "how far its validity reaches back, for miners whose clocks are slow"),

    key("timing.upstream_poll_interval_ms", Whole(50, 60_000), Default("3000"), "how often the template source is asked where it cannot be waited on"),
    key("timing.upstream_health_timeout_ms", Whole(50, 60_000), Default("5000"), "how long a request to the template source or a probe of the pool may take"),
    key("timing.upstream_stale_max_ms", Whole(500, HOUR_MS), Default("30000"), "silence after which the template source counts as unreachable"),
    key("timing.prevhash_verdict_timeout_ms", Whole(1, 60_000), Default("50"), "how long a new tip waits for its verdict before the old one counts as held"),
    key("timing.prevhash_stale_hold_ms", Whole(1, HOUR_MS), Default("5000"), "how long miners stay on a tip that is no longer the newest"),
    key("timing.health_probe_interval_ms", Whole(100, HOUR_MS), Default("30000"), "how often the pool is probed"),
    key("timing.verifier_heartbeat_interval_ms", Whole(100, HOUR_MS), Default("15000"), "how often the verifier is asked for a sign of life; three missed and the link is down"),
    key("timing.max_template_age_ms", Whole(1_000, HOUR_MS), Default("60000"), "age beyond which a template that was not renewed is no longer given out"),
    key("timing.template_cache_size", Whole(1, 4096), Default("64"), "templates whose jobs can still earn shares"),
    key("timing.max_future_templates", Whole(1, 16), Default("2"), "templates that may wait for a verdict at once"),
    key("timing.job_broadcast_interval_ms", Whole(0, 60_000), Default("100"), "least time between two jobs on the same tip"),
    key("timing.channel_idle_timeout_ms", Whole(1_000, 24 * HOUR_MS), Default("3600000"), "silence after which a connection is closed"),
    key("timing.nonce_expire_secs", Whole(1, 7_200), Default("60"), "how far ntime may run ahead of its job and of the clock under share.ntime_window = \"de_facto\""),
    key("timing.drain_grace_ms", Whole(0, HOUR_MS), Default("10000"), "how long a drain waits for shares and blocks to reach their ends"),

    key("share.share_upstream_url", Url, Required, "where accepted shares are posted"),
    key("share.share_upstream_secret", Secret, Required, "signs the posts (HMAC-SHA256)"),
    key("share.share_upstream_retries", Whole(0, 100), Default("2"), "attempts after the first"),
    key("share.share_upstream_submit_timeout_ms", Whole(10, 60_000), Default("2000"), "how long one post may take"),
    key("share.share_forward_queue_size", Whole(1, 10_000_000), Default("50000"), "shares that may wait"),
    key("share.share_forward_max_in_flight", Whole(1, 4096), Default("256"), "posts under way at once"),
    key("share.share_forward_queue_drop_policy", Choice(&["drop_new", "drop_old"]), Default("\"drop_new\""), "who gives way when the queue is full"),
    key("share.share_batch_interval_ms", Whole(0, 60_000), Default("100"), "how long the first share of a post waits for company"),
    key("share.share_batch_max", Whole(1, 10_000), Default("100"), "shares in one post"),
    key("share.share_dedup_window_size", Whole(1, 100_000_000), Default("10000"), "shares that a replay is recognised among"),
    key("share.initial_difficulty", Real(1e-10, 1e18), Default("1.0"), "a channel's first difficulty where its hash rate says nothing"),
    key("share.validation", Choice(&["full", "enhanced"]), Default("\"full\""), "how deeply inline checks a share"),
    key("share.ntime_window", Choice(&["de_facto", "strict"]), Default("\"de_facto\""), "which ntime a share may carry: strict allows no more than the time that has passed on its job (SV2 5.3.11), de_facto also timing.nonce_expire_secs ahead, as miners in the field need"),
    key("share.ack_batch", Whole(1, 10_000), Default("1"), "accepted shares that one answer gathers"),
    key("share.ack_max_delay_ms", Whole(0, 60_000), Default("1000"), "how long an answer waits to gather them"),

    key("auth.mode", Choice(&["allowlist", "prefix_map", "open"]), Required, "who may mine"),
    key("auth.allowlist", Entries(&["username", "password!"]), Optional, "identities by name, which also cover name.anything; where there is a password, miners send name:password as their user_identity"),
    key("auth.prefix_map", Entries(&["prefix", "secret!"]), Optional, "identities by their beginning, the longest that matches; where there is a secret, miners send name:secret as their user_identity"),
    key("auth.max_worker_id_bytes", Whole(1, 255), Default("128"), "longest identity"),
    key("auth.max_workers_per_channel", Whole(1, 1_000_000), Default("1000"), "worker names that one extended channel may bring"),

    key("vardiff.target_shares_per_minute", Real(0.01, 6_000.0), Default("12.0"), "how often a channel should find a share"),
    key("vardiff.min_difficulty", Real(1e-10, 1e18), Default("0.001"), "easiest difficulty"),
    key("vardiff.max_difficulty", Real(1e-10, 1e18), Default("1e12"), "hardest difficulty, unless a miner asks for a harder one"),
    key("vardiff.retarget_interval_secs", Whole(1, 3_600), Default("60"), "how often a channel's difficulty is reconsidered"),

    key("log.path", Path, Default("\"gateway-log\""), "directory of the durable log"),
    key("log.segment_bytes", Whole(4_096, 1 << 30), Default("67108864"), "size at which a segment is closed"),
    key("log.sync", Choice(&["group", "write"]), Default("\"group\""), "what an acknowledged share survives: group a power loss, write the death of the process"),
    key("log.retention", Whole(0, 1_000_000), Default("16"), "closed segments that are kept"),

    key("limits.max_connections", Whole(1, 1_000_000), Default("10000"), "miner connections"),
    key("limits.max_connections_per_ip", Whole(1, 1_000_000), Default("1000"), "miner connections from one address"),
    key("limits.connections_per_second_per_ip", Whole(1, 100_000), Default("50"), "new connections a second from one address; as many may come at once"),
    key("limits.max_channels_per_connection", Whole(1, 65_535), Default("1000"), "channels of one connection"),
    key("limits.max_frame_bytes", Whole(1_024, 0x00ff_ffff), Default("131072"), "largest message from a miner"),
    key("limits.rate_limit_messages_per_sec", Whole(1, 1_000_000), Default("1000"), "messages a second from one connection"),
    key("limits.rate_limit_bytes_per_sec", Whole(1_024, 1 << 30), Default("1048576"), "bytes a second from one connection"),
    key("limits.shares_per_second", Whole(1, 1_000_000), Default("500"), "shares a second from one connection"),
    key("limits.max_event_subscribers", Whole(1, 1_024), Default("16"), "readers of the event stream"),

    key("telemetry.log_format", Choice(&["human", "json"]), Default("\"human\""), "how log lines are written"),
    key("telemetry.log_filter", Text, Default("\"info\""), "which log lines are written, as a tracing filter"),
];

/// A switch that allows what is forbidden by default, set by an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EscapeHatch {
    /// `drop_old` in inline mode.
    DropOldInline,
    /// `auth.mode = "open"`.
    OpenAuth,
    /// HTTP off loopback without a key.
    NoApiKey,
    /// Miners without Noise.
    Plaintext,
    /// `http://` to a host that is not loopback.
    InsecureHttpUpstream,
    /// Serving miners in inline mode before the pool was reached.
    NoShareUpstreamReadyInline,
}

impl EscapeHatch {
    /// Every hatch.
    pub const ALL: [Self; 6] = [
        Self::DropOldInline,
        Self::OpenAuth,
        Self::NoApiKey,
        Self::Plaintext,
        Self::InsecureHttpUpstream,
        Self::NoShareUpstreamReadyInline,
    ];

    /// What it allows, for the reference.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::DropOldInline => "`drop_old` in inline mode, which loses acknowledged shares",
            Self::OpenAuth => "`auth.mode = \"open\"`: anyone mines under any name",
            Self::NoApiKey => {
                "HTTP off loopback without a key; nothing that changes state is served"
            }
            Self::Plaintext => "miners without Noise, when no key of `[noise]` is set",
            Self::InsecureHttpUpstream => "`http://` to a host that is not loopback",
            Self::NoShareUpstreamReadyInline => "miners in inline mode before the pool was reached",
        }
    }

    /// Its environment variable; open when set to `1` or `true`.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::DropOldInline => "VELDRA_ALLOW_DROP_OLD_INLINE",
            Self::OpenAuth => "VELDRA_GATEWAY_ALLOW_OPEN_AUTH",
            Self::NoApiKey => "VELDRA_ALLOW_NO_API_KEY",
            Self::Plaintext => "VELDRA_ALLOW_PLAINTEXT",
            Self::InsecureHttpUpstream => "VELDRA_ALLOW_INSECURE_HTTP_UPSTREAM",
            Self::NoShareUpstreamReadyInline => "VELDRA_ALLOW_NO_SHARE_UPSTREAM_READY_INLINE",
        }
    }
}
