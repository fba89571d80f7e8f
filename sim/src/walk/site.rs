//! The walk's own folder, ports, keys and configuration files.

use std::path::{Path, PathBuf};

use platform::Env;
use secrecy::{ExposeSecret as _, SecretString};
use sv2_noise::AuthorityPublicKey;
use tempfile::TempDir;

use super::WalkError;
use crate::node::RealNode;

/// The difficulty of every channel. Its target lies between regtest's and the easiest, so that a
/// miner finds shares that are no blocks in a few tries, and blocks as well.
const DIFFICULTY: &str = "3e-10";

/// What the names of the walk's miners begin with.
pub(crate) const MINER_PREFIX: &str = "walk-";

/// Where everything of the walk is.
pub(crate) struct Site {
    folder: Folder,
    pub(crate) ports: Ports,
    pub(crate) share_secret: SecretString,
}

/// Free ports of loopback.
pub(crate) struct Ports {
    pub(crate) miners: u16,
    pub(crate) gateway_http: u16,
    verifier: u16,
    pub(crate) verifier_http: u16,
    pub(crate) templates_http: u16,
    pub(crate) pool: u16,
    pub(crate) relay: u16,
    /// Of a program between miners and gateway, where there is one.
    pub(crate) proxy: u16,
}

impl Ports {
    async fn free(env: &Env) -> Result<Self, WalkError> {
        let [miners, gateway_http, verifier, verifier_http, templates_http, pool, relay, proxy] =
            free_ports(env).await?;
        Ok(Self {
            miners,
            gateway_http,
            verifier,
            verifier_http,
            templates_http,
            pool,
            relay,
            proxy,
        })
    }
}

/// Ports of loopback, held all at once, so that they differ, and then let go for programs to take.
pub(crate) async fn free_ports<const COUNT: usize>(env: &Env) -> Result<[u16; COUNT], WalkError> {
    let failed = |source| WalkError::machine("free ports cannot be found", source);
    let mut listeners = Vec::new();
    for _ in 0..COUNT {
        listeners.push(env.net.listen("127.0.0.1:0").await.map_err(failed)?);
    }
    Ok(std::array::from_fn(|index| listeners[index].local_addr().port()))
}

/// A folder in the system's temporary one, which goes when this is dropped unless it is kept.
pub(crate) struct Folder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A fresh folder in the system's temporary one.
pub(crate) fn folder(keep: bool) -> Result<Folder, WalkError> {
    let failed = |source| WalkError::machine("a temporary folder cannot be made", source);
    let temporary = tempfile::Builder::new().prefix("assay-walk-").tempdir().map_err(failed)?;
    Ok(match keep {
        true => Folder { path: temporary.keep(), _temporary: None },
        false => Folder { path: temporary.path().to_owned(), _temporary: Some(temporary) },
    })
}

/// Writes a file of a walk's folder.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), WalkError> {
    let path = folder.join(name);
    std::fs::write(&path, text)
        .map_err(|source| WalkError::machine(path.display().to_string(), source))
}

/// `host:port` on loopback.
pub(crate) fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl Site {
    /// A fresh folder in the system's temporary one, and free ports.
    pub(crate) async fn new(
        env: &Env,
        keep: bool,
        secret: SecretString,
    ) -> Result<Self, WalkError> {
        let folder = folder(keep)?;
        let ports = Ports::free(env).await?;
        Ok(Self { folder, ports, share_secret: secret })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gateway's durable log.
    pub(crate) fn log_directory(&self) -> PathBuf {
        self.folder().join("gateway-log")
    }

    /// The public key that `gateway gen-keys` wrote into `keys`.
    pub(crate) fn authority(&self) -> Result<AuthorityPublicKey, WalkError> {
        let path = self.folder().join("keys").join("authority.pub");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| WalkError::machine(path.display().to_string(), source))?;
        text.trim()
            .parse()
            .map_err(|error| WalkError::Violated(format!("{}: {error}", path.display())))
    }

    /// Writes the four configuration files; what `gateway` has, in TOML, replaces keys of the
    /// gateway's.
    pub(crate) fn configure(&self, node: &RealNode, gateway: &str) -> Result<(), WalkError> {
        self.write(GATEWAY, &self.gateway())?;
        self.change_gateway(gateway)?;
        self.write("verifier.toml", &self.verifier())?;
        self.write("policy.toml", POLICY)?;
        self.write("template-manager.toml", &self.templates(node))
    }

    /// Replaces keys of the gateway's configuration by those of `change`, in TOML.
    pub(crate) fn change_gateway(&self, change: &str) -> Result<(), WalkError> {
        let path = self.folder().join(GATEWAY);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| WalkError::machine(path.display().to_string(), source))?;
        self.write(GATEWAY, &changed(&text, change).to_string())
    }

    /// Writes a file of the walk's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), WalkError> {
        write(self.folder(), name, text)
    }

    fn gateway(&self) -> String {
        let Ports { miners, gateway_http, verifier, verifier_http, templates_http, relay, .. } =
            self.ports;
        let secret = self.share_secret.expose_secret();
        format!(
            r#"[gateway]
mode = "inline"
listen_addr = "127.0.0.1:{miners}"
http_addr = "127.0.0.1:{gateway_http}"
verifier_addr = "127.0.0.1:{verifier}"
verifier_http_url = "http://127.0.0.1:{verifier_http}"
upstream_url = "http://127.0.0.1:{templates_http}"
upstream_failure_policy = "fail_closed"

[noise]
noise_key_file = "keys/noise.key"
noise_cert_file = "keys/noise.cert"
authority_public_key_file = "keys/authority.pub"

[share]
share_upstream_url = "http://127.0.0.1:{relay}/shares"
share_upstream_secret = "{secret}"
share_upstream_retries = 10
initial_difficulty = {DIFFICULTY}

[auth]
mode = "prefix_map"
prefix_map = [{{ prefix = "{MINER_PREFIX}" }}]

[vardiff]
min_difficulty = {DIFFICULTY}
max_difficulty = {DIFFICULTY}

[log]
path = "gateway-log"
"#
        )
    }

    fn verifier(&self) -> String {
        let Ports { verifier, verifier_http, .. } = self.ports;
        format!(
            r#"listen_addr = "127.0.0.1:{verifier}"
http_addr = "127.0.0.1:{verifier_http}"
policy_file = "policy.toml"
"#
        )
    }

    fn templates(&self, node: &RealNode) -> String {
        let (http, url) = (self.ports.templates_http, node.rpc_url());
        let cookie = toml::Value::String(node.cookie_file().display().to_string());
        format!(
            r#"http_addr = "127.0.0.1:{http}"

[[nodes]]
name = "regtest"
url = "{url}"
cookie_file = {cookie}
"#
        )
    }
}

/// A configuration with the keys of another in place of its own.
fn changed(text: &str, change: &str) -> toml::Table {
    let parse = |text: &str| text.parse::<toml::Table>().expect("it is written in this program");
    let mut table = parse(text);
    for (name, section) in parse(change) {
        match (table.get_mut(&name), section) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => old.extend(new),
            (_, section) => drop(table.insert(name, section)),
        }
    }
    table
}

/// The gateway's configuration.
const GATEWAY: &str = "gateway.toml";

/// A young regtest chain has blocks without transactions and small fees.
const POLICY: &str = "[policy]
reject_empty_templates = false
min_avg_fee_lo = 0
min_avg_fee_mid = 0
min_avg_fee_hi = 0
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_replaces_keys_and_leaves_the_others() {
        let text = "[a]\nx = 1\ny = 2\n[b]\nz = 3\n";
        let table = changed(text, "[a]\ny = 5\n[c]\nw = 6\n");
        let expected: toml::Table = "[a]\nx=1\ny=5\n[b]\nz=3\n[c]\nw=6\n".parse().unwrap();
        assert_eq!(table, expected);
    }
}
