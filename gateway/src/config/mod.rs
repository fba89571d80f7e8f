//! The configuration: a TOML file, overridden by `GATEWAY__SECTION__KEY` environment variables.

mod change;
mod classes;
mod files;
pub mod keys;
mod parsed;
mod raw;
mod rules;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use gateway_core::forward::DropPolicy;
use gateway_core::job::PayoutOutput;
use gateway_core::mode::Mode;
use gateway_core::prevhash::UpstreamFailurePolicy;
use gateway_core::session::ReconnectTo;
use gateway_core::target::Difficulty;
use platform::tls::{MutualFiles, Trust};
use platform::{Env, Storage};
use secrecy::SecretString;

pub(crate) use files::tls_identity;
pub(crate) use rules::is_loopback_address;

pub use classes::Class;
pub use keys::{EscapeHatch, KEYS, Key, Kind, Presence, SECTIONS};
pub use source::ConfigSource;

use crate::log::LogSettings;

/// What the gateway was told to do. Every value is within its range, and they fit each other.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[gateway]`
    pub gateway: GatewayConfig,
    /// `[noise]`; absent when miners are served without Noise.
    pub noise: Option<NoiseConfig>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// `[timing]`
    pub timing: TimingConfig,
    /// `[share]`
    pub share: ShareConfig,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[vardiff]`
    pub vardiff: VardiffConfig,
    /// `[log]`
    pub log: LogSettings,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// What is allowed although it is forbidden by default.
    pub hatches: BTreeSet<EscapeHatch>,
    settings: Vec<Setting>,
}

/// `[gateway]`, as in the table of [`KEYS`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the table of keys documents each")]
pub struct GatewayConfig {
    pub mode: Mode,
    pub listen_addr: String,
    pub http_addr: String,
    /// At least one, each another one.
    pub verifier_addrs: Vec<String>,
    pub verifier_http_url: String,
    /// Absent where the links are plain TCP.
    pub verifier_tls: Option<MutualFiles>,
    /// Who vouches for `https://` servers.
    pub https_trust: Trust,
    pub upstream_url: String,
    pub upstream_api_key: Option<SecretString>,
    pub upstream_failure_policy: UpstreamFailurePolicy,
    pub gateway_instance_id: String,
    pub extended_channels: bool,
    pub group_addressing: bool,
    pub extranonce_index: Option<u32>,
    pub reconnect: Option<ReconnectTo>,
    pub version_rolling_mask: u32,
    pub coinbase_tag: Vec<u8>,
    pub payout_outputs: Vec<Payout>,
    pub http_api_key: Option<SecretString>,
    pub http_tls: Option<TlsFiles>,
}

/// One payee, and the network that its address is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// What the coinbase pays.
    pub output: PayoutOutput,
    /// The address it was written as; absent where it was a script.
    pub address: Option<bitcoin::Address<NetworkUnchecked>>,
}

/// Certificate and key for HTTPS, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// `[noise]`: the keys with which miners are served.
#[derive(Clone, Debug)]
pub struct NoiseConfig {
    /// This gateway's secret key.
    pub key_file: PathBuf,
    /// The authority's public key.
    pub authority_public_key_file: PathBuf,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// It was signed elsewhere.
    File(PathBuf),
    /// It is signed at start.
    Mint {
        /// The authority's secret key.
        authority_secret_key_file: PathBuf,
        /// How long it is valid from now on.
        validity: Duration,
        /// How far its validity reaches back.
        backdate: Duration,
    },
}

/// `[timing]`, as in the table of [`KEYS`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the table of keys documents each")]
pub struct TimingConfig {
    pub upstream_poll_interval: Duration,
    pub upstream_health_timeout: Duration,
    pub upstream_stale_max: Duration,
    pub prevhash_verdict_timeout: Duration,
    pub prevhash_stale_hold: Duration,
    pub health_probe_interval: Duration,
    pub verifier_heartbeat_interval: Duration,
    pub max_template_age: Duration,
    pub template_cache_size: usize,
    pub max_future_templates: usize,
    pub job_broadcast_interval: Duration,
    pub channel_idle_timeout: Duration,
    pub nonce_expire: Duration,
    pub drain_grace: Duration,
}

/// `[share]`, as in the table of [`KEYS`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the table of keys documents each")]
pub struct ShareConfig {
    pub upstream_url: String,
    pub upstream_secret: SecretString,
    pub retries: u32,
    pub submit_timeout: Duration,
    pub queue_size: usize,
    pub max_in_flight: usize,
    pub drop_policy: DropPolicy,
    pub batch_interval: Duration,
    pub batch_max: usize,
    pub dedup_window_size: usize,
    pub initial_difficulty: Difficulty,
    pub enhanced: bool,
    pub strict_ntime: bool,
    pub ack_batch: u32,
    pub ack_max_delay: Duration,
}

/// `[auth]`.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Who may mine.
    pub mode: AuthMode,
    /// Longest identity, bytes.
    pub max_worker_id_bytes: usize,
    /// Worker names that one extended channel may bring.
    pub max_workers_per_channel: usize,
}

/// Who may mine.
#[derive(Clone, Debug)]
pub enum AuthMode {
    /// Only these names, each with its password where it has one.
    Allowlist(BTreeMap<String, Option<SecretString>>),
    /// Names with these beginnings, each with its secret where it has one.
    PrefixMap(BTreeMap<String, Option<SecretString>>),
    /// Anyone.
    Open,
}

/// `[vardiff]`.
#[derive(Clone, Debug)]
pub struct VardiffConfig {
    /// How often a channel should find a share.
    pub target_shares_per_minute: f64,
    /// Easiest difficulty.
    pub min_difficulty: Difficulty,
    /// Hardest difficulty.
    pub max_difficulty: Difficulty,
    /// How often a channel's difficulty is reconsidered.
    pub retarget_interval: Duration,
}

/// `[limits]`, as in the table of [`KEYS`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the table of keys documents each")]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    pub connections_per_second_per_ip: u32,
    pub max_channels_per_connection: usize,
    pub max_frame_bytes: usize,
    pub rate_limit_messages_per_sec: u32,
    pub rate_limit_bytes_per_sec: u32,
    pub shares_per_second: u32,
    pub max_event_subscribers: usize,
}

/// `[telemetry]`.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `tracing` filters.
    pub log_filter: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key's path, such as `share.share_upstream_url`, or the environment variable.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// One effective value and where it came from. Secrets are redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's path.
    pub key: String,
    /// The value as TOML.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// Tells values apart whose text is redacted or stands in a file.
    content: ContentDigest,
}

/// A digest of a value as it was read, secrets and the content of files included.
#[derive(Clone, PartialEq, Eq)]
struct ContentDigest([u8; 32]);

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentDigest(..)")
    }
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
}

impl Origin {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
        }
    }
}

impl Config {
    /// Reads a configuration and judges the files it names as well. `environment` is the
    /// process's.
    ///
    /// # Errors
    /// Every problem there is, not just the first.
    pub fn read(
        text: &str,
        environment: &BTreeMap<String, String>,
        env: &Env,
    ) -> Result<Self, Vec<ConfigProblem>> {
        parsed::read(text, environment, env.storage.as_ref(), Some(env))
    }

    /// As [`Config::read`], but keys and certificates are not looked at before they are used;
    /// `storage` holds the files that `*_file` keys of secrets name.
    ///
    /// # Errors
    /// Every problem there is, not just the first.
    pub fn from_toml(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &dyn Storage,
    ) -> Result<Self, Vec<ConfigProblem>> {
        parsed::read(text, environment, storage, None)
    }

    /// Every effective value, secrets redacted, in the order of the table.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The effective configuration as TOML, secrets redacted, each line with its origin.
    pub fn print(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in &self.settings {
            let (of, name) = setting.key.split_once('.').expect("every path has a section");
            if of != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{of}]\n"));
                section = of;
            }
            let origin = setting.origin.as_str();
            text.push_str(&format!("{name} = {}  # {origin}\n", setting.value));
        }
        text
    }
}

#[cfg(test)]
mod effects;
#[cfg(test)]
pub(crate) mod tests;
