//! The configuration: a TOML file, overridden by `TEMPLATES__KEY` environment variables.

mod keys;
mod reader;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use platform::Storage;
use platform::tls::ServerFiles;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

pub use keys::{KEYS, Key, NODE_KEYS};
pub use reader::Origin;
use reader::Reader;
pub(crate) use tls::key_of as tls_key;

use crate::pace::{POLL_INTERVAL_MS, REFRESH_INTERVAL_MS};

/// Serves HTTP off loopback although no key is configured. Loud: it is warned about at start.
pub const ALLOW_NO_API_KEY: &str = "VELDRA_ALLOW_NO_API_KEY";

/// How many nodes may be configured.
pub const MAX_NODES: usize = 16;

/// What the template-manager was told to do; every value is within its range.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the HTTP interface listens.
    pub http_addr: String,
    /// The key that `/template`, `/block`, `/mempool` and `/settings` ask for in `X-API-Key`.
    /// Always present when `http_addr` is not loopback, unless [`ALLOW_NO_API_KEY`] is set.
    pub http_api_key: Option<SecretString>,
    /// Certificate and key for HTTPS; without them HTTP is plaintext.
    pub http_tls: Option<ServerFiles>,
    /// How often each node is asked for a template beside the long poll.
    pub poll_interval: Duration,
    /// How old an unchanged template may grow before it is announced anew with the node's time.
    pub refresh_interval: Duration,
    /// How long one call to a node may take (a long poll aside).
    pub rpc_timeout: Duration,
    /// The nodes, at least one, with different names.
    pub nodes: Vec<NodeConfig>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `tracing` filters.
    pub log_filter: String,
    settings: Vec<Setting>,
}

/// One bitcoind.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name in answers, logs and metrics.
    pub name: String,
    /// Its JSON-RPC address, `http://host:port`.
    pub url: String,
    /// How it knows us.
    pub auth: NodeAuth,
}

/// How a node is told who asks.
#[derive(Clone, Debug)]
pub enum NodeAuth {
    /// `rpcuser` and `rpcpassword` (or `rpcauth`).
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// The file that bitcoind writes anew at each start; it need not exist yet.
    Cookie(PathBuf),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key's path, such as `nodes[0].url`.
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
}

impl Config {
    /// Reads a configuration. `environment` is the process's, `storage` holds the files that
    /// `*_file` keys name.
    ///
    /// # Errors
    /// Every problem there is, not just the first.
    pub fn from_toml(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &dyn Storage,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut reader = Reader::new(text, environment, storage)?;
        let http_addr = reader.text(&KEYS, "http_addr");
        let http_api_key = reader.secret("http_api_key");
        let http_tls = tls::read(&mut reader, storage);
        let poll_interval = reader.millis("poll_interval_ms", POLL_INTERVAL_MS);
        let refresh_interval = reader.millis("refresh_interval_ms", REFRESH_INTERVAL_MS);
        let rpc_timeout = reader.millis("rpc_timeout_ms", 100..=600_000);
        let log_format = match reader.text(&KEYS, "log_format").as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                reader.problem("log_format", format!("{other:?} is neither \"text\" nor \"json\""));
                LogFormat::Text
            }
        };
        let log_filter = reader.text(&KEYS, "log_filter");
        if let Err(error) = EnvFilter::try_new(&log_filter) {
            let problem = format!("is no filter: {error}; write it like \"info,templates=debug\"");
            reader.problem("log_filter", problem);
        }
        let nodes = read_nodes(&mut reader);
        let unguarded = http_api_key.is_none() && !environment.contains_key(ALLOW_NO_API_KEY);
        check_address(&mut reader, &http_addr, unguarded);
        let settings = reader.finish()?;
        Ok(Self {
            http_addr,
            http_api_key,
            http_tls,
            poll_interval,
            refresh_interval,
            rpc_timeout,
            nodes,
            log_format,
            log_filter,
            settings,
        })
    }

    /// Every effective value, secrets redacted, in the order of the documentation.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The effective configuration as TOML, secrets redacted, each line with its origin.
    pub fn print(&self) -> String {
        let (nodes, top): (Vec<_>, Vec<_>) =
            self.settings.iter().partition(|setting| setting.key.starts_with("nodes["));
        let mut text = String::new();
        for setting in top {
            text.push_str(&format!("{} = {}  # {}\n", setting.key, setting.value, setting.origin));
        }
        let mut table = "";
        for setting in nodes {
            let (prefix, key) = setting.key.split_once('.').expect("a node's key has a dot");
            if prefix != table {
                text.push_str("\n[[nodes]]\n");
                table = prefix;
            }
            text.push_str(&format!("{key} = {}  # {}\n", setting.value, setting.origin));
        }
        text
    }
}

fn check_address(reader: &mut Reader<'_>, address: &str, unguarded: bool) {
    let host = match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => host,
        _ => {
            return reader.problem(
                "http_addr",
                format!("{address:?} is no host:port; write it like \"127.0.0.1:8082\""),
            );
        }
    };
    if unguarded && !is_loopback(host) {
        reader.problem(
            "http_api_key",
            format!(
                "is missing, and {address} is not loopback; set a key (or, knowing that anyone \
                 who reaches the address may use it, {ALLOW_NO_API_KEY}=1)"
            ),
        );
    }
}

/// Whether only this machine reaches `host`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_nodes(reader: &mut Reader<'_>) -> Vec<NodeConfig> {
    let count = reader.node_count();
    if count == 0 {
        reader.problem("nodes", "no node is configured; add a [[nodes]] table".to_owned());
    }
    if count > MAX_NODES {
        reader
            .problem("nodes", format!("{count} nodes are configured; at most {MAX_NODES} may be"));
    }
    let mut nodes: Vec<NodeConfig> = Vec::new();
    for index in 0..count.min(MAX_NODES) {
        reader.enter_node(index);
        let name = reader.text(&NODE_KEYS, "name");
        if !name.is_empty() && nodes.iter().any(|node| node.name == name) {
            reader.problem("name", format!("{name:?} names another node too; names must differ"));
        } else if !is_name(&name) {
            reader.problem(
                "name",
                format!("{name:?} is no name; use 1 to 32 letters, digits, dots, dashes"),
            );
        }
        let url = reader.text(&NODE_KEYS, "url");
        if let Some(problem) = url_problem(&url) {
            reader.problem("url", problem);
        }
        let auth = read_auth(reader);
        nodes.push(NodeConfig { name, url, auth });
    }
    reader.leave_node();
    nodes
}

fn read_auth(reader: &mut Reader<'_>) -> NodeAuth {
    let user = reader.optional_text("user");
    let password = reader.secret("password");
    let cookie = reader.optional_text("cookie_file");
    match (user, password, cookie) {
        (None, None, Some(file)) => return NodeAuth::Cookie(PathBuf::from(file)),
        (Some(user), Some(password), None) if !user.contains(':') => {
            return NodeAuth::Password { user, password };
        }
        (Some(_), Some(_), None) => {
            reader.problem("user", "holds a colon, which HTTP Basic cannot carry".to_owned());
        }
        (Some(_), None, None) => reader.problem(
            "password",
            "is missing; set password or password_file beside user".to_owned(),
        ),
        (None, Some(_), None) => {
            reader.problem("user", "is missing; set user beside password".to_owned());
        }
        (None, None, None) => reader
            .problem("cookie_file", "is missing; set cookie_file, or user and password".to_owned()),
        (_, _, Some(_)) => reader.problem(
            "cookie_file",
            "stands beside user or password; use one or the other".to_owned(),
        ),
    }
    NodeAuth::Cookie(PathBuf::new())
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn url_problem(url: &str) -> Option<String> {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Some("is no URL; write it like \"http://127.0.0.1:8332\"".to_owned());
    };
    let Some(authority) = uri.authority() else {
        return Some("names no host; write it like \"http://127.0.0.1:8332\"".to_owned());
    };
    if authority.as_str().contains('@') {
        // The text is not repeated: it holds a secret.
        return Some("holds credentials; move them to user and password".to_owned());
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some(format!("{url:?} is neither an http:// nor an https:// address"));
    }
    None
}

#[cfg(test)]
mod tests;
