//! The daemon's own configuration; the policy is a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use platform::Storage;
use platform::tls::{MutualFiles, ServerFiles};
use policy::table::{self, TableReader};
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

use crate::policies::check_policy_file;

mod node;
mod tls;

pub use node::NodeConfig;
/// Something wrong with a key.
pub use policy::table::Problem as ConfigProblem;
pub(crate) use tls::{http_key_of as http_tls_key, key_of as tls_key};

/// Set in the environment to serve HTTP off loopback without a key (reading only).
const ALLOW_NO_API_KEY: &str = "VELDRA_ALLOW_NO_API_KEY";

/// What the environment's overrides begin with.
const ENVIRONMENT_PREFIX: &str = "VERIFIER__";

const PROPOSAL_DEADLINE_MS: u64 = 10_000;

/// Where the daemon listens and what it keeps.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gateways connect, `host:port`. Default 127.0.0.1:5001.
    pub listen_addr: String,
    /// Where to read our certificate (`tls_cert_file`), its key (`tls_key_file`) and which
    /// gateways are let in (`tls_client_ca_file`); without them the link is plain TCP.
    pub tls: Option<MutualFiles>,
    /// Where HTTP is served, `host:port`. Default 127.0.0.1:8081.
    pub http_addr: String,
    /// Certificate and key for HTTPS (`http_tls_cert_file`, `http_tls_key_file`); without them HTTP
    /// is served.
    pub http_tls: Option<ServerFiles>,
    /// The policy file; without one the default policy judges.
    pub policy_file: Option<PathBuf>,
    /// What `X-API-Key` must be; required where `http_addr` is not loopback.
    pub http_api_key: Option<SecretString>,
    /// The operator's bitcoind; without one there is no mempool view and no proposal check.
    pub node: Option<NodeConfig>,
    /// Where the verdict history, and policies put in force over HTTP, outlive the process; without
    /// one they are kept in memory only.
    pub state_dir: Option<PathBuf>,
    /// How many verdicts `/api/v1/verdicts` remembers, 1 to 100000. Default 1000.
    pub verdict_history_size: usize,
    /// How many templates are kept with their bytes for dry runs, 0 to 1000 and 64 MiB in all.
    /// Default 16.
    pub kept_templates: usize,
    /// How many bytes of transactions are kept so that gateways need not send them again, 0 to 1 GiB.
    /// Default 64 MiB.
    pub tx_cache_bytes: usize,
    /// How many proposals of one gateway may wait to be judged, 1 to 4096; beyond that, and beyond
    /// 16 MiB, the oldest are answered as pushed out. Default 256.
    pub max_waiting_proposals: usize,
    /// How long after its first line a proposal is still judged, 100 ms to 10 minutes; later it is
    /// answered as too late. Default 10 s.
    pub proposal_deadline: Duration,
    /// How many gateways may be connected at once, 1 to 10000. Default 64.
    pub max_links: usize,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are, as `tracing_subscriber` filters. Default `info`.
    pub log_filter: String,
    /// Where the values came from, for [`Config::print`].
    pub origins: Origins,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which keys were set in the file and which in the environment.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    file: BTreeSet<String>,
    environment: BTreeSet<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_addr: "127.0.0.1:5001".to_owned(),
            tls: None,
            http_addr: "127.0.0.1:8081".to_owned(),
            http_tls: None,
            policy_file: None,
            http_api_key: None,
            node: None,
            state_dir: None,
            verdict_history_size: 1000,
            kept_templates: 16,
            tx_cache_bytes: 64 << 20,
            max_waiting_proposals: 256,
            proposal_deadline: Duration::from_millis(PROPOSAL_DEADLINE_MS),
            max_links: 64,
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            origins: Origins::default(),
        }
    }
}

impl Config {
    /// Reads the file's text; `VERIFIER__KEY` in `environment` goes before `key` in the file.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn from_toml(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &dyn Storage,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let (config, problems) = Self::read_all(text, environment, storage);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Like [`Self::from_toml`], and reads the policy file too, which [`crate::run`] can do without.
    ///
    /// # Errors
    /// Every problem there is, those of the policy file last.
    pub fn checked(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &dyn Storage,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let (config, mut problems) = Self::read_all(text, environment, storage);
        if let Some(file) = &config.policy_file
            && let Err(found) = check_policy_file(storage, file)
        {
            problems.extend(found);
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// What can be read, and every problem.
    fn read_all(
        text: &str,
        environment: &BTreeMap<String, String>,
        storage: &dyn Storage,
    ) -> (Self, Vec<ConfigProblem>) {
        let mut table = match table::parse(text) {
            Ok(table) => table,
            Err(problem) => return (Self::default(), vec![problem]),
        };
        let mut origins = Origins { file: key_paths(&table), environment: BTreeSet::new() };
        override_from(environment, &mut table, &mut origins);
        let mut root = TableReader::root(table);
        let config = Self::read(&mut root, storage, origins);
        let unguarded = config.http_api_key.is_none() && !is_loopback(&config.http_addr);
        if unguarded && !environment.contains_key(ALLOW_NO_API_KEY) {
            let text = format!(
                "required because http_addr ({}) is not loopback; set it or http_api_key_file",
                config.http_addr
            );
            root.problem("http_api_key", text);
        }
        if let Err(error) = EnvFilter::try_new(&config.log_filter) {
            root.problem("log_filter", error.to_string());
        }
        (config, root.finish())
    }

    fn read(from: &mut TableReader, storage: &dyn Storage, origins: Origins) -> Self {
        let default = Self::default();
        let listen_addr = address(from, "listen_addr", default.listen_addr);
        let tls = tls::read(from, storage);
        let http_addr = address(from, "http_addr", default.http_addr);
        let http_tls = tls::read_http(from, storage);
        let policy_file = from.text("policy_file").map(PathBuf::from);
        let http_api_key = secret(from, storage, "http_api_key", "http_api_key_file");
        let node = from.optional_section("node").and_then(|mut section| {
            let node = NodeConfig::read(&mut section, storage);
            from.absorb(section);
            node
        });
        Self {
            listen_addr,
            tls,
            http_addr,
            http_tls,
            policy_file,
            http_api_key,
            node,
            state_dir: from.text("state_dir").map(PathBuf::from),
            verdict_history_size: size(from, "verdict_history_size", 1000, 1..=100_000),
            kept_templates: size(from, "kept_templates", 16, 0..=1000),
            tx_cache_bytes: size(from, "tx_cache_bytes", 64 << 20, 0..=1 << 30),
            max_waiting_proposals: size(from, "max_waiting_proposals", 256, 1..=4096),
            proposal_deadline: Duration::from_millis(from.integer(
                "proposal_deadline_ms",
                PROPOSAL_DEADLINE_MS,
                100..=600_000,
            )),
            max_links: size(from, "max_links", 64, 1..=10_000),
            log_format: from
                .choice("log_format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            log_filter: from.text("log_filter").unwrap_or(default.log_filter),
            origins,
        }
    }

    /// The effective values as TOML, each with where it came from; the key is redacted.
    pub fn print(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            let origin = match () {
                () if self.origins.environment.contains(key) => {
                    format!("{ENVIRONMENT_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
                }
                () if self.origins.file.contains(key) => "file".to_owned(),
                () => "default".to_owned(),
            };
            writeln!(text, "{key} = {value} # {origin}").expect("a String takes any text");
        };
        line("listen_addr", quoted(&self.listen_addr));
        for (key, value) in self.tls.iter().flat_map(tls::lines) {
            line(key, value);
        }
        line("http_addr", quoted(&self.http_addr));
        for (key, value) in self.http_tls.iter().flat_map(tls::http_lines) {
            line(key, value);
        }
        if let Some(file) = &self.policy_file {
            line("policy_file", quoted(&file.to_string_lossy()));
        }
        if self.http_api_key.is_some() {
            line("http_api_key", quoted("[redacted]"));
        }
        if let Some(directory) = &self.state_dir {
            line("state_dir", quoted(&directory.to_string_lossy()));
        }
        line("verdict_history_size", self.verdict_history_size.to_string());
        line("kept_templates", self.kept_templates.to_string());
        line("tx_cache_bytes", self.tx_cache_bytes.to_string());
        line("max_waiting_proposals", self.max_waiting_proposals.to_string());
        line("proposal_deadline_ms", self.proposal_deadline.as_millis().to_string());
        line("max_links", self.max_links.to_string());
        let log_format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        line("log_format", quoted(log_format));
        line("log_filter", quoted(&self.log_filter));
        for (key, value) in self.node.iter().flat_map(NodeConfig::lines) {
            line(key, value);
        }
        text
    }
}

/// The paths of all keys, those of tables joined by dots.
fn key_paths(table: &Table) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                paths.extend(inner.keys().map(|within| format!("{key}.{within}")));
            }
            _ => drop(paths.insert(key.clone())),
        }
    }
    paths
}

fn override_from(environment: &BTreeMap<String, String>, table: &mut Table, origins: &mut Origins) {
    for (name, value) in environment {
        let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let key = key.to_ascii_lowercase();
        let value = match value.parse::<i64>() {
            Ok(number) if is_number(&key) => Value::Integer(number),
            _ => Value::String(value.clone()),
        };
        origins.environment.insert(key.replace("__", "."));
        let Some((section, within)) = key.split_once("__") else {
            table.insert(key, value);
            continue;
        };
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        // Something else than a table is reported when the table is read.
        if let Value::Table(section) = section {
            section.insert(within.to_owned(), value);
        }
    }
}

fn is_number(key: &str) -> bool {
    key.ends_with("_size")
        || key == "kept_templates"
        || key.ends_with("_bytes")
        || key.ends_with("_ms")
        || key.starts_with("max_")
}

fn address(from: &mut TableReader, key: &'static str, default: String) -> String {
    let Some(address) = from.text(key) else { return default };
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        from.problem(key, format!("\"{address}\" is no address; write host:port"));
    }
    address
}

/// A secret that stands under `key` or in the file that `file_key` names.
fn secret(
    from: &mut TableReader,
    storage: &dyn Storage,
    key: &'static str,
    file_key: &'static str,
) -> Option<SecretString> {
    let inline = from.text(key).map(SecretString::from);
    let Some(file) = from.text(file_key) else {
        return nonempty(from, key, inline?);
    };
    if inline.is_some() {
        from.problem(file_key, format!("{key} is set as well; keep one of them"));
    }
    match node::secret_file(storage, &file) {
        Ok(secret) => nonempty(from, file_key, secret),
        Err(problem) => {
            from.problem(file_key, problem);
            None
        }
    }
}

fn nonempty(
    from: &mut TableReader,
    key: &'static str,
    secret: SecretString,
) -> Option<SecretString> {
    if secret.expose_secret().is_empty() {
        from.problem(key, "is empty; write a long random text");
        return None;
    }
    Some(secret)
}

fn size(
    from: &mut TableReader,
    key: &'static str,
    default: u64,
    range: RangeInclusive<u64>,
) -> usize {
    usize::try_from(from.integer(key, default, range)).expect("bounded well below 2^32")
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::from_toml(text, &environment, &platform::real::Disk)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_file_is_the_documented_default() {
        let config = read("", &[]).unwrap();
        assert_eq!(config.listen_addr, "127.0.0.1:5001");
        assert_eq!(config.http_addr, "127.0.0.1:8081");
        assert_eq!(config.print(), Config::default().print());
    }

    #[test]
    fn the_environment_goes_before_the_file_and_is_shown() {
        let environment = [("VERIFIER__MAX_LINKS", "3"), ("PATH", "/bin")];
        let config = read("max_links = 2\nlog_filter = \"debug\"", &environment).unwrap();
        assert_eq!(config.max_links, 3);
        let print = config.print();
        assert!(print.contains("max_links = 3 # VERIFIER__MAX_LINKS\n"), "{print}");
        assert!(print.contains("log_filter = \"debug\" # file\n"), "{print}");
    }

    #[test]
    fn the_key_is_never_printed() {
        let config = read("http_api_key = \"hunter2\"", &[]).unwrap();
        assert!(!config.print().contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[rstest]
    #[case("listen_adr = \"a:1\"", "listen_adr: unknown key; did you mean \"listen_addr\"?")]
    #[case("listen_addr = 5001", "listen_addr: expected a text, found integer")]
    #[case("listen_addr = \"5001\"", "listen_addr: \"5001\" is no address; write host:port")]
    #[case("max_links = 0", "max_links: 0 is out of range; use 1 to 10000")]
    #[case("http_api_key = \"\"", "http_api_key: is empty; write a long random text")]
    #[case(
        "http_addr = \"0.0.0.0:8081\"",
        "http_api_key: required because http_addr (0.0.0.0:8081) is not loopback; set it or \
         http_api_key_file"
    )]
    fn a_problem_names_its_key_and_the_fix(#[case] text: &str, #[case] expect: &str) {
        assert_eq!(read(text, &[]).unwrap_err(), [expect]);
    }

    #[test]
    fn the_page_has_every_key() {
        let page = include_str!("../../docs/verifier.md");
        let listed: BTreeSet<&str> =
            page.split("\n| `").skip(1).filter_map(|row| Some(row.split_once('`')?.0)).collect();
        let path = PathBuf::from("/p");
        let tls =
            MutualFiles { cert_file: path.clone(), key_file: path.clone(), ca_file: path.clone() };
        let http_tls = ServerFiles { cert_file: path.clone(), key_file: path.clone() };
        let url = "http://127.0.0.1:8332";
        let user = templates::config::NodeAuth::Password {
            user: "u".to_owned(),
            password: "p".to_owned().into(),
        };
        let cookie = templates::config::NodeAuth::Cookie(path.clone());
        let printed: String = [user, cookie]
            .map(|auth| {
                let node = Some(NodeConfig::new(url, auth));
                let http_api_key = Some("k".to_owned().into());
                let (policy_file, state_dir) = (Some(path.clone()), Some(path.clone()));
                let (tls, http_tls) = (Some(tls.clone()), Some(http_tls.clone()));
                let all = Config { tls, http_tls, policy_file, http_api_key, ..Config::default() };
                Config { state_dir, node, ..all }.print()
            })
            .concat();
        let keys: BTreeSet<&str> =
            printed.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
        assert_eq!(listed, keys);
    }

    #[test]
    fn the_links_files_come_together() {
        let text = "tls_cert_file = \"/c\"\ntls_client_ca_file = \"/a\"";
        let missing = "tls_key_file: is missing; a link with certificates needs tls_cert_file, \
                       tls_key_file and tls_client_ca_file";
        assert_eq!(read(text, &[]).unwrap_err(), [missing]);
        let problems = read(&format!("{text}\ntls_key_file = \"/k\""), &[]).unwrap_err();
        let start = "tls_cert_file: /c: cannot be read: ";
        assert!(problems.len() == 1 && problems[0].starts_with(start), "{problems:?}");
        let missing = "http_tls_key_file: is missing; HTTPS needs certificate and key";
        assert_eq!(read("http_tls_cert_file = \"/c\"", &[]).unwrap_err(), [missing]);
    }

    #[rstest]
    #[case("url = \"\"", "node.url: \"\" is no address; write http://host:port")]
    #[case("url = \"http://a:b@c\"", "node.url: holds credentials; move them to user and password")]
    #[case(
        "urll = \"http://h:1\"\nurl = \"http://h:1\"",
        "node.urll: unknown key; did you mean \"url\"?"
    )]
    fn a_nodes_problem_names_its_key(#[case] text: &str, #[case] expect: &str) {
        let text = format!("[node]\ncookie_file = \"/c\"\n{text}");
        assert_eq!(read(&text, &[]).unwrap_err(), [expect]);
    }

    #[rstest]
    #[case("", "node.cookie_file: is missing; set cookie_file, or user and password")]
    #[case("user = \"u\"", "node.password: is missing; set password or password_file beside user")]
    #[case("password = \"p\"", "node.user: is missing; set user beside password")]
    #[case(
        "user = \"u\"\npassword = \"p\"\ncookie_file = \"/c\"",
        "node.cookie_file: stands beside user or password; keep one of them"
    )]
    fn a_node_is_told_who_asks_in_one_way(#[case] text: &str, #[case] expect: &str) {
        let text = format!("[node]\nurl = \"http://127.0.0.1:8332\"\n{text}");
        assert_eq!(read(&text, &[]).unwrap_err(), [expect]);
    }

    #[test]
    fn a_node_may_come_from_the_environment_and_keeps_its_password() {
        let environment = [
            ("VERIFIER__NODE__URL", "http://127.0.0.1:8332"),
            ("VERIFIER__NODE__PASSWORD", "hunter2"),
            ("VERIFIER__NODE__RPC_TIMEOUT_MS", "700"),
        ];
        let config = read("[node]\nuser = \"assay\"", &environment).unwrap();
        let print = config.print();
        assert!(print.contains("node.user = \"assay\" # file\n"), "{print}");
        assert!(print.contains("node.rpc_timeout_ms = 700 # VERIFIER__NODE__RPC_TIMEOUT_MS\n"));
        assert!(!print.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn all_problems_come_at_once() {
        let text = "listen_addr = 1\nmax_links = \"x\"\nhttp_api_key_file = \"/nowhere/at/all\"";
        let problems = read(text, &[("VERIFIER__COLOUR", "red")]).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn the_policy_files_problems_come_with_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("policy.toml");
        let disk = platform::real::Disk;
        disk.write_atomic(&policy, b"[policy]\nmax_tx_cuont = 1\n").unwrap();
        let text = format!(
            "max_links = 0\nlog_filter = \"=\"\npolicy_file = {}",
            quoted(&policy.to_string_lossy())
        );
        let problems = Config::checked(&text, &BTreeMap::new(), &disk).unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["max_links", "log_filter", "policy.max_tx_cuont"]);
        assert_eq!(read("log_filter = \"=\"", &[]).unwrap_err().len(), 1);
    }
}
