//! The configuration files and keys that a world's programs get.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gateway::ConfigSource;
use gateway_core::mode::Mode;
use platform::Env;
use secrecy::SecretString;
use sv2_noise::AuthorityPublicKey;
use toml::{Table, Value};

use super::RunError;
use crate::properties::{DEFAULT_SHARES_PER_SECOND, DEFAULT_TEMPLATE_CACHE};
use crate::scenario::{Action, Draws, Latency, Plan, SECOND_VERIFIER, Scenario};
use crate::world::{Host, World};

/// The difficulty of every channel, unless the scenario says otherwise. Its target lies between
/// regtest's and the easiest, so that a miner finds each class of share in a few tries.
const DIFFICULTY: f64 = 3e-10;

const DAY: Duration = Duration::from_secs(86_400);

/// What allows HTTP between hosts of a world, which have no certificates for one another.
const GATEWAY_ENVIRONMENT: [(&str, &str); 1] = [("VELDRA_ALLOW_INSECURE_HTTP_UPSTREAM", "1")];

/// Who is paid unless the scenario says otherwise, in parts: each coinbase can be judged by it.
const PAYOUTS: [(&str, u64); 2] = [
    ("00143a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a", 3),
    ("00205c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c", 1),
];

/// Sections that are not the gateway's.
const OTHER_SECTIONS: [&str; 5] =
    ["environment", "first_policy", "policy", "templates", "verifier"];

/// Everything the programs of a world are given.
pub(super) struct Settings {
    pub(super) gateway: String,
    /// The gateway's environment.
    environment: BTreeMap<String, String>,
    pub(super) verifier: String,
    pub(super) policy: String,
    /// The policy of the first verifier, where it has one of its own.
    first_policy: Option<String>,
    pub(super) templates: String,
    pub(super) secrets: Secrets,
    pub(super) authority: AuthorityPublicKey,
    noise_key: String,
    noise_certificate: String,
    /// Whether there is a second verifier.
    pub(super) has_second_verifier: bool,
}

/// What must never be shown.
#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) share: String,
    pub(super) gateway_api_key: String,
    verifier_api_key: String,
    templates_api_key: String,
    node_password: String,
}

impl Secrets {
    fn draw(seed: u64) -> Self {
        let mut draws = Draws::new(seed, "secrets");
        let mut secret = |name: &str| format!("{name}-{:016x}", draws.between(0, u64::MAX));
        Self {
            share: secret("share"),
            gateway_api_key: secret("gateway"),
            verifier_api_key: secret("verifier"),
            templates_api_key: secret("templates"),
            node_password: secret("node"),
        }
    }

    pub(super) fn share_secret(&self) -> SecretString {
        SecretString::from(self.share.as_str())
    }
}

impl Settings {
    /// Makes the files for a scenario. Keys are minted from the seed.
    pub(super) fn new(world: &World, scenario: &Scenario, plan: &Plan) -> Result<Self, RunError> {
        let secrets = Secrets::draw(plan.seed);
        // A host of its own: the minting must not move the gateway's random stream.
        let keys =
            gateway::gen_keys::generate(&world.host("authority").env(), None, 365 * DAY, DAY)
                .map_err(|error| RunError::Config(format!("keys: {error}")))?;
        let has_second_verifier = scenario.verifiers > 1;
        let mut gateway = gateway_table(&secrets);
        if has_second_verifier {
            let both = format!("verifier:5001, {SECOND_VERIFIER}:5001");
            inner(&mut gateway, "gateway").insert("verifier_addr".to_owned(), Value::String(both));
        }
        let mut environment: BTreeMap<String, String> =
            GATEWAY_ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (mut policy, mut templates, mut verifier) =
            (policy_table(), templates_table(&secrets), verifier_table(&secrets));
        for (section, overrides) in &scenario.config {
            match section.as_str() {
                "policy" => merge(inner(&mut policy, "policy"), overrides),
                "first_policy" => {}
                "environment" => environment.extend(overrides.iter().filter_map(variable)),
                "templates" => merge(&mut templates, overrides),
                "verifier" => merge(&mut verifier, overrides),
                section => merge(inner(&mut gateway, section), overrides),
            }
        }
        let first_policy = scenario.config.get("first_policy").map(|overrides| {
            let mut policy = policy.clone();
            merge(inner(&mut policy, "policy"), overrides);
            policy.to_string()
        });
        debug_assert!(OTHER_SECTIONS.iter().all(|section| !gateway.contains_key(*section)));
        Ok(Self {
            gateway: gateway.to_string(),
            environment,
            verifier: verifier.to_string(),
            policy: policy.to_string(),
            first_policy,
            templates: templates.to_string(),
            secrets,
            authority: keys.authority_public_key,
            noise_key: keys.noise_key.to_string(),
            noise_certificate: keys.certificate,
            has_second_verifier,
        })
    }

    /// Puts the files where the programs look for them.
    pub(super) fn install(&self, world: &World) {
        let gateway = &world.host("gateway");
        let put = |host: &Host, name: &str, text: &str| {
            host.disk().put(Path::new(name), text.as_bytes());
        };
        put(gateway, "noise.key", &self.noise_key);
        put(gateway, "noise.cert", &self.noise_certificate);
        put(gateway, "authority.pub", &self.authority.to_string());
        let judges =
            ["judge", "judge-2"].into_iter().take(1 + usize::from(self.has_second_verifier));
        for judge in judges {
            let own = self.first_policy.as_ref().filter(|_| judge == "judge");
            put(&world.host(judge), "policy.toml", own.unwrap_or(&self.policy));
        }
    }

    /// Puts the gateway's configuration where it reads it again: an operator sees to it that it
    /// gets there, whatever is wrong with the disk.
    pub(super) fn install_config(&self, host: &Host) -> ConfigSource {
        let file = Path::new("gateway.toml");
        host.disk().put(file, self.gateway.as_bytes());
        ConfigSource { file: Some(file.to_owned()), environment: self.environment.clone() }
    }

    /// Merges sections into the gateway's configuration.
    pub(super) fn change_gateway(&mut self, sections: &str) -> Result<(), RunError> {
        let parse = |text: &str| {
            text.parse::<Table>().map_err(|error| RunError::Config(format!("reload: {error}")))
        };
        let mut gateway = parse(&self.gateway)?;
        merge(&mut gateway, &parse(sections)?);
        self.gateway = gateway.to_string();
        Ok(())
    }

    /// Texts that must never be shown.
    pub(super) fn secret_texts(&self) -> Vec<String> {
        let Secrets { share, gateway_api_key, verifier_api_key, templates_api_key, node_password } =
            self.secrets.clone();
        let keys = [share, gateway_api_key, verifier_api_key, templates_api_key, node_password];
        keys.into_iter().chain([self.noise_key.trim().to_owned()]).collect()
    }

    pub(super) fn gateway_config(&self, env: &Env) -> Result<gateway::Config, RunError> {
        gateway::Config::from_toml(&self.gateway, &self.environment, env.storage.as_ref())
            .map_err(|problems| wrong("gateway", &problems))
    }

    pub(super) fn verifier_config(&self, env: &Env) -> Result<verifier::Config, RunError> {
        verifier::Config::from_toml(&self.verifier, &BTreeMap::new(), env.storage.as_ref())
            .map_err(|problems| wrong("verifier", &problems))
    }

    pub(super) fn templates_config(&self, env: &Env) -> Result<templates::Config, RunError> {
        templates::Config::from_toml(&self.templates, &BTreeMap::new(), env.storage.as_ref())
            .map_err(|problems| wrong("templates", &problems))
    }
}

/// A variable as a scenario states it.
fn variable((name, value): (&String, &Value)) -> Option<(String, String)> {
    Some((name.clone(), value.as_str()?.to_owned()))
}

fn wrong(program: &str, problems: &[impl ToString]) -> RunError {
    let problems: Vec<_> =
        problems.iter().map(|problem| format!("\n  config.{}", problem.to_string())).collect();
    RunError::Config(format!("{program}:{}", problems.concat()))
}

fn gateway_table(secrets: &Secrets) -> Table {
    let payouts =
        PAYOUTS.map(|(script, parts)| format!("{{ script = \"{script}\", parts = {parts} }}"));
    let text = format!(
        r#"
[gateway]
mode = "inline"
listen_addr = "0.0.0.0:3333"
http_addr = "0.0.0.0:8080"
http_api_key = "{}"
verifier_addr = "verifier:5001"
verifier_http_url = "http://judge:8081"
upstream_url = "http://templates:8082"
upstream_api_key = "{}"
upstream_failure_policy = "fail_open"
payout_outputs = [{}]
[noise]
noise_key_file = "noise.key"
noise_cert_file = "noise.cert"
authority_public_key_file = "authority.pub"
[share]
share_upstream_url = "http://pool:9000/shares"
share_upstream_secret = "{}"
initial_difficulty = {DIFFICULTY:e}
[auth]
mode = "prefix_map"
prefix_map = [{{ prefix = "miner-" }}]
[vardiff]
min_difficulty = {DIFFICULTY:e}
max_difficulty = {DIFFICULTY:e}
"#,
        secrets.gateway_api_key,
        secrets.templates_api_key,
        payouts.join(", "),
        secrets.share
    );
    text.parse().expect("the text above is TOML")
}

fn verifier_table(secrets: &Secrets) -> Table {
    let text = format!(
        r#"
listen_addr = "0.0.0.0:5001"
http_addr = "0.0.0.0:8081"
http_api_key = "{}"
policy_file = "policy.toml"
"#,
        secrets.verifier_api_key
    );
    text.parse().expect("the text above is TOML")
}

/// A chain that the scenario drives has empty blocks and small fees: whether they are rejected is
/// for the scenario to say.
fn policy_table() -> Table {
    let text = "[policy]\nreject_empty_templates = false\nmin_avg_fee_lo = 0\n\
                min_avg_fee_mid = 0\nmin_avg_fee_hi = 0\n";
    text.parse().expect("the text above is TOML")
}

fn templates_table(secrets: &Secrets) -> Table {
    let text = format!(
        r#"
http_addr = "0.0.0.0:8082"
http_api_key = "{}"
[[nodes]]
name = "bitcoind"
url = "http://bitcoind:8332"
user = "sim"
password = "{}"
"#,
        secrets.templates_api_key, secrets.node_password
    );
    text.parse().expect("the text above is TOML")
}

fn inner<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let value = table.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new()));
    value.as_table_mut().expect("sections are tables")
}

fn merge(base: &mut Table, overrides: &Table) {
    for (key, value) in overrides {
        match (base.get_mut(key), value) {
            (Some(Value::Table(base)), Value::Table(overrides)) => merge(base, overrides),
            _ => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

/// The mode that the configuration states.
pub(super) fn mode(scenario: &Scenario) -> Mode {
    let stated = scenario.config.get("gateway").and_then(|section| section.get("mode"));
    stated.and_then(Value::as_str).and_then(|mode| mode.parse().ok()).unwrap_or(Mode::Inline)
}

/// The scripts of `[config.gateway] payout_outputs`, or the usual ones, each with its parts.
pub(super) fn payouts(scenario: &Scenario) -> Vec<(String, u64)> {
    let stated = scenario.config.get("gateway").and_then(|section| section.get("payout_outputs"));
    let Some(stated) = stated else {
        return PAYOUTS.map(|(script, parts)| (script.to_owned(), parts)).into();
    };
    let entries = stated.as_array().into_iter().flatten();
    let payout = |entry: &Value| {
        let parts = entry.get("parts").and_then(Value::as_integer).unwrap_or(1);
        Some((entry.get("script")?.as_str()?.to_owned(), u64::try_from(parts).ok()?))
    };
    entries.filter_map(payout).collect()
}

/// Whether `share.share_forward_queue_drop_policy` is `drop_old`.
pub(super) fn drops_old(scenario: &Scenario) -> bool {
    let key = "share_forward_queue_drop_policy";
    let stated = scenario.config.get("share").and_then(|section| section.get(key));
    stated.and_then(Value::as_str) == Some("drop_old")
}

/// `limits.shares_per_second`, or the least that a reload makes it.
pub(super) fn least_share_rate(scenario: &Scenario, plan: &Plan) -> u32 {
    let rate = |limits: &Table| u32::try_from(limits.get("shares_per_second")?.as_integer()?).ok();
    let stated = scenario.config.get("limits").and_then(rate);
    let reloaded = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Reload { config } => rate(config.parse::<Table>().ok()?.get("limits")?.as_table()?),
        _ => None,
    });
    reloaded.fold(stated.unwrap_or(DEFAULT_SHARES_PER_SECOND), u32::min)
}

/// `timing.template_cache_size`, or the default.
pub(super) fn template_cache(scenario: &Scenario) -> usize {
    let stated =
        scenario.config.get("timing").and_then(|section| section.get("template_cache_size"));
    let stated = stated.and_then(Value::as_integer).and_then(|size| usize::try_from(size).ok());
    stated.unwrap_or(DEFAULT_TEMPLATE_CACHE)
}

/// A key of `[config.timing]`, or the default.
pub(super) fn timing(scenario: &Scenario, key: &str, default: Duration) -> Duration {
    let stated = scenario.config.get("timing").and_then(|section| section.get(key));
    let stated = stated.and_then(Value::as_integer).and_then(|ms| u64::try_from(ms).ok());
    stated.map_or(default, Duration::from_millis)
}

/// The longest that a message is under way on any link of the scenario.
pub(super) fn longest_transit(scenario: &Scenario) -> Duration {
    let longest = |latency: &Latency| match latency {
        Latency::Fixed(time) => *time,
        Latency::Uniform(_, high) => *high,
        Latency::Exponential { cap, .. } => *cap,
        Latency::Bimodal { usual, rare, .. } => *usual.max(rare),
    };
    let latencies = scenario.links.values().filter_map(|link| link.latency.as_ref());
    // Both directions, and whole milliseconds of the timers at both ends.
    latencies.map(longest).max().unwrap_or_default() * 2 + Duration::from_millis(10)
}
