//! The `[node]` table: the operator's own bitcoind, the verifier's ground truth.

use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::Storage;
use policy::table::TableReader;
use secrecy::SecretString;
use templates::config::NodeAuth;

/// A bitcoind and how long it may take.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its JSON-RPC address, `http://host:port`.
    pub url: String,
    /// How it knows us: `user` with `password` or `password_file`, or `cookie_file`.
    pub auth: NodeAuth,
    /// How long it may take to list its mempool, 100 ms to 10 minutes. Default 5 s.
    pub rpc_timeout: Duration,
    /// How long it may take to judge a proposal, 10 ms to 1 minute. Default 1 s. A later answer
    /// counts as none.
    pub proposal_timeout: Duration,
}

const RPC_TIMEOUT_MS: u64 = 5_000;
const PROPOSAL_TIMEOUT_MS: u64 = 1_000;

impl NodeConfig {
    /// A node with the default deadlines.
    pub fn new(url: impl Into<String>, auth: NodeAuth) -> Self {
        Self {
            url: url.into(),
            auth,
            rpc_timeout: Duration::from_millis(RPC_TIMEOUT_MS),
            proposal_timeout: Duration::from_millis(PROPOSAL_TIMEOUT_MS),
        }
    }

    /// Reads the table; `None` when there is something wrong with it, which is then noted.
    pub(super) fn read(from: &mut TableReader, storage: &dyn Storage) -> Option<Self> {
        let rpc_timeout = from.integer("rpc_timeout_ms", RPC_TIMEOUT_MS, 100..=600_000);
        let proposal_timeout =
            from.integer("proposal_timeout_ms", PROPOSAL_TIMEOUT_MS, 10..=60_000);
        let url = url(from);
        let auth = auth(from, storage);
        Some(Self {
            url: url?,
            auth: auth?,
            rpc_timeout: Duration::from_millis(rpc_timeout),
            proposal_timeout: Duration::from_millis(proposal_timeout),
        })
    }

    /// The keys with their values as TOML, secrets redacted.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("node.url", super::quoted(&self.url))];
        match &self.auth {
            NodeAuth::Password { user, .. } => {
                lines.push(("node.user", super::quoted(user)));
                lines.push(("node.password", super::quoted("[redacted]")));
            }
            NodeAuth::Cookie(path) => {
                lines.push(("node.cookie_file", super::quoted(&path.to_string_lossy())));
            }
        }
        lines.push(("node.rpc_timeout_ms", self.rpc_timeout.as_millis().to_string()));
        lines.push(("node.proposal_timeout_ms", self.proposal_timeout.as_millis().to_string()));
        lines
    }
}

fn url(from: &mut TableReader) -> Option<String> {
    let Some(url) = from.text("url") else {
        from.problem("url", "is missing; write it like \"http://127.0.0.1:8332\"");
        return None;
    };
    let authority = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .map(|rest| rest.split('/').next().unwrap_or(rest));
    match authority {
        // The text is not repeated: it holds a secret.
        Some(authority) if authority.contains('@') => {
            from.problem("url", "holds credentials; move them to user and password");
            None
        }
        Some(authority) if !authority.is_empty() => Some(url),
        _ => {
            from.problem("url", format!("\"{url}\" is no address; write http://host:port"));
            None
        }
    }
}

fn auth(from: &mut TableReader, storage: &dyn Storage) -> Option<NodeAuth> {
    let user = from.text("user");
    let password = super::secret(from, storage, "password", "password_file");
    let cookie = from.text("cookie_file");
    match (user, password, cookie) {
        (None, None, Some(file)) => Some(NodeAuth::Cookie(PathBuf::from(file))),
        (Some(user), Some(password), None) => password_auth(from, user, password),
        (Some(_), None, None) => {
            from.problem("password", "is missing; set password or password_file beside user");
            None
        }
        (None, Some(_), None) => {
            from.problem("user", "is missing; set user beside password");
            None
        }
        (None, None, None) => {
            from.problem("cookie_file", "is missing; set cookie_file, or user and password");
            None
        }
        (_, _, Some(_)) => {
            from.problem("cookie_file", "stands beside user or password; keep one of them");
            None
        }
    }
}

fn password_auth(from: &mut TableReader, user: String, password: SecretString) -> Option<NodeAuth> {
    if user.contains(':') {
        from.problem("user", "holds a colon, which HTTP Basic cannot carry");
        return None;
    }
    Some(NodeAuth::Password { user, password })
}

/// Reads a file that holds a secret and nothing else but white space around it.
pub(super) fn secret_file(storage: &dyn Storage, file: &str) -> Result<SecretString, String> {
    match storage.read(Path::new(file)).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(SecretString::from(text.trim().to_owned())),
        Ok(Err(_)) => Err(format!("{file} is not UTF-8")),
        Err(error) => Err(format!("{file} cannot be read: {error}")),
    }
}
