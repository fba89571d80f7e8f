//! The table of keys: the one place that names them, their defaults and what they mean.

/// One configuration key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the file; in the environment it is `TEMPLATES__NAME` in capitals.
    pub name: &'static str,
    /// Its default as TOML; `None` where there is none.
    pub default: Option<&'static str>,
    /// Whether its value is a secret, which is never shown. A secret may also be given as the
    /// path of a file that holds it, under the name with `_file` appended.
    pub secret: bool,
    /// What it means.
    pub doc: &'static str,
}

const fn key(name: &'static str, default: Option<&'static str>, doc: &'static str) -> Key {
    Key { name, default, secret: false, doc }
}

const fn secret(name: &'static str, doc: &'static str) -> Key {
    Key { name, default: None, secret: true, doc }
}

/// The keys outside `[[nodes]]`.
pub const KEYS: [Key; 9] = [
    key("http_addr", Some("\"127.0.0.1:8082\""), "where the HTTP interface listens"),
    secret(
        "http_api_key",
        "asked for in X-API-Key by everything but the probes; required off loopback",
    ),
    key("http_tls_cert_file", None, "certificate chain (PEM) for HTTPS"),
    key("http_tls_key_file", None, "private key (PEM) for HTTPS"),
    key(
        "poll_interval_ms",
        Some("3000"),
        "how often a node is asked for a template beside the long poll, 50 to 60000",
    ),
    key(
        "refresh_interval_ms",
        Some("20000"),
        "how old an unchanged template grows before it is announced anew, 1000 to 600000",
    ),
    key(
        "rpc_timeout_ms",
        Some("10000"),
        "how long one call to a node may take, long polls aside, 100 to 600000",
    ),
    key("log_format", Some("\"text\""), "how log lines are written: text or json"),
    key("log_filter", Some("\"info\""), "which log lines are written, as a tracing filter"),
];

/// The keys of one `[[nodes]]` table; in the environment `TEMPLATES__NODES__<index>__NAME`.
pub const NODE_KEYS: [Key; 5] = [
    key("name", None, "the node's name in answers, logs and metrics"),
    key("url", None, "the node's JSON-RPC address, http://host:port"),
    key("user", None, "rpcuser; needs password"),
    secret("password", "rpcpassword"),
    key("cookie_file", None, "bitcoind's .cookie file, instead of user and password"),
];
