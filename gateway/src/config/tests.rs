use std::collections::BTreeMap;

use rstest::rstest;
use secrecy::ExposeSecret;

use super::*;
use crate::fake_disk::{self, FakeDisk};
use crate::gen_keys;

pub(crate) const MINIMAL: &str = r#"
[gateway]
mode = "inline"
upstream_url = "http://127.0.0.1:8082"
upstream_failure_policy = "fail_closed"

[noise]
noise_key_file = "noise.key"
noise_cert_file = "noise.cert"
authority_public_key_file = "authority.pub"

[share]
share_upstream_url = "https://pool.example/shares"
share_upstream_secret = "hunter2"

[auth]
mode = "allowlist"
allowlist = [{ username = "alice", password = "hunter3" }]
"#;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<ConfigProblem>> {
    Config::from_toml(text, &environment(variables), &FakeDisk::default())
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let problems = read(text, variables).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

fn snapshot(name: &str, text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/gateway");
    insta::with_settings!({
        snapshot_path => path, prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn the_table_is_whole_and_its_defaults_are_accepted() {
    let mut paths: Vec<_> = KEYS.iter().map(|key| key.path).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), KEYS.len(), "a key is listed twice");
    assert!(KEYS.iter().all(|key| SECTIONS.contains(&key.section())));
    for key in KEYS {
        if let Presence::Default(value) = key.presence {
            let text = MINIMAL.to_owned();
            let variables = [(key.variable(), value.trim_matches('"').to_owned())].into();
            let result = Config::from_toml(&text, &variables, &FakeDisk::default());
            assert!(result.is_ok(), "{}: {result:?}", key.path);
        }
    }
}

#[test]
fn the_key_reference_is_as_published() {
    let mut text = String::new();
    for key in KEYS {
        let presence = match key.presence {
            Presence::Default(value) => format!("default {value}"),
            Presence::Required => "required".to_owned(),
            Presence::Optional => "optional".to_owned(),
        };
        text.push_str(&format!("{} | {:?} | {presence} | {}\n", key.path, key.kind, key.doc));
    }
    snapshot("config-keys", &text);
}

#[test]
fn effective_values_are_shown_with_their_origin_and_without_secrets() {
    let text = read(MINIMAL, &[("GATEWAY__LOG__SYNC", "write")]).unwrap().print();
    assert!(!text.contains("hunter"), "{text}");
    snapshot("print-config", &text);
}

#[test]
fn all_problems_are_told_at_once() {
    let text = r#"
        [gateway]
        mode = "inlin"
        http_addr = "0.0.0.0:8080"
        listen_adr = "0.0.0.0:3333"
        upstream_url = "http://user:hunter2@templates:8082"
        gateway_instance_id = "a b"
        coinbase_tag = 7
        payout_outputs = [{ adress = "x" }, { script = "zz" }, { script = "51", parts = 0 }]
        [share]
        share_upstream_url = "http://pool/shares"
        share_upstream_secret_file = "missing"
        share_batch_max = 0
        poll = 1
        [auth]
        mode = "open"
        [timing]
        upstream_url = "misplaced"
        prevhash_verdict_timeout_ms = 6000
        [vardif]
        min_difficulty = 2.0
        [telemetry]
        log_filter = "gateway=loud"
    "#;
    let problems = problems(text, &[("GATEWAY__LIMITS__MAX_CONNECTIONS", "many")]);
    assert!(!problems.iter().any(|problem| problem.contains("hunter2")));
    snapshot("config-problems", &problems.join("\n"));
}

#[test]
fn reconnect_needs_an_address_and_vendors_that_follow() {
    let with = |address: &str, vendors: &str| {
        let mut variables = vec![("GATEWAY__GATEWAY__RECONNECT_VENDORS", vendors)];
        variables.extend(
            Some(("GATEWAY__GATEWAY__RECONNECT_ADDR", address)).filter(|_| !address.is_empty()),
        );
        read(MINIMAL, &variables).map(|config| config.gateway.reconnect)
    };
    let to = with("second.example:3334", " proxy, rig ,").unwrap().unwrap();
    assert_eq!((to.host.as_str(), to.port), ("second.example", 3334));
    assert_eq!(to.vendors, ["proxy", "rig"]);
    assert_eq!(with("", "").unwrap(), None);
    let problem = |address, vendors| with(address, vendors).unwrap_err()[0].to_string();
    assert!(problem("second.example:3334", ",").starts_with("gateway.reconnect_vendors: names"));
    assert!(problem("", "proxy").starts_with("gateway.reconnect_addr: is missing"));
}

#[test]
fn a_file_that_is_no_toml_is_one_problem() {
    let found = problems("[gateway]\n mode = \n", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("line 2, column "), "{found:?}");
    assert!(found[0].ends_with(", in: mode ="), "{found:?}");
    let found = problems("[share]\nshare_upstream_secret = \"hunter2\n", &[]);
    assert!(found[0].starts_with("line 2, column "), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn files_that_miners_cannot_be_served_with_are_problems_of_their_keys() {
    let disk = FakeDisk::default();
    let env = fake_disk::env(&disk);
    let read = || {
        let problems = Config::read(MINIMAL, &BTreeMap::new(), &env).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let found = read();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("noise.noise_key_file: noise.key: cannot be read: "), "{found:?}");

    let day = Duration::from_secs(86_400);
    let keys = gen_keys::generate(&env, None, day, day).unwrap();
    disk.put("noise.key", keys.noise_key.as_bytes());
    disk.put("authority.pub", keys.authority_public_key.to_string().as_bytes());
    disk.put("noise.cert", b"no certificate");
    let found = read();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("noise.noise_cert_file: noise.cert: "), "{found:?}");

    let expired = gen_keys::generate(&env, None, Duration::ZERO, day).unwrap();
    disk.put("noise.cert", expired.certificate.as_bytes());
    let found = read();
    assert!(
        found[0].starts_with("noise.noise_cert_file: the certificate does not fit"),
        "{found:?}"
    );

    disk.put("noise.cert", keys.certificate.as_bytes());
    assert_eq!(read(), [""; 0]);
}

#[rstest]
#[case("GATEWAY__SHARE__SHARE_BATCH_MAX", "7", |config: &Config| config.share.batch_max == 7)]
#[case("GATEWAY__GATEWAY__EXTENDED_CHANNELS", "false", |config: &Config| !config.gateway.extended_channels)]
#[case("GATEWAY__GATEWAY__VERSION_ROLLING_MASK", "0x1fffe000", |config: &Config| config.gateway.version_rolling_mask == 0x1fff_e000)]
#[case("GATEWAY__GATEWAY__VERIFIER_ADDR", "verifier:5001", |config: &Config| config.gateway.verifier_http_url == "http://verifier:8081")]
#[case("GATEWAY__GATEWAY__UPSTREAM_FAILURE_POLICY", "permit_all", |config: &Config| config.gateway.upstream_failure_policy == UpstreamFailurePolicy::FailOpen)]
fn the_environment_overrides_the_file(
    #[case] name: &str,
    #[case] value: &str,
    #[case] holds: fn(&Config) -> bool,
) {
    assert!(holds(&read(MINIMAL, &[(name, value)]).unwrap()));
}

#[rstest]
#[case(EscapeHatch::OpenAuth, &[("GATEWAY__AUTH__MODE", "open")])]
#[case(EscapeHatch::DropOldInline, &[("GATEWAY__SHARE__SHARE_FORWARD_QUEUE_DROP_POLICY", "drop_old")])]
#[case(EscapeHatch::NoApiKey, &[("GATEWAY__GATEWAY__HTTP_ADDR", "0.0.0.0:8080")])]
#[case(EscapeHatch::InsecureHttpUpstream, &[("GATEWAY__GATEWAY__UPSTREAM_URL", "http://templates:8082")])]
fn what_is_forbidden_is_allowed_by_its_hatch_alone(
    #[case] hatch: EscapeHatch,
    #[case] variables: &[(&str, &str)],
) {
    for other in EscapeHatch::ALL {
        let open = [variables, &[(other.variable(), "1")]].concat();
        let result = read(MINIMAL, &open);
        assert_eq!(result.is_ok(), other == hatch, "{other:?}: {result:?}");
    }
}

#[test]
fn without_keys_miners_are_served_only_where_plaintext_is_allowed() {
    let without: String =
        MINIMAL.lines().filter(|line| !line.contains("_file")).map(|l| format!("{l}\n")).collect();
    assert_eq!(problems(&without, &[]).len(), 3);
    let config = read(&without, &[(EscapeHatch::Plaintext.variable(), "1")]).unwrap();
    assert!(config.noise.is_none());
}

#[test]
fn secrets_come_from_files_too() {
    let disk = FakeDisk::default();
    disk.put("/run/secret", b"from a file\n");
    let text = MINIMAL
        .replace(
            "share_upstream_secret = \"hunter2\"",
            "share_upstream_secret_file = \"/run/secret\"",
        )
        .replace("password = \"hunter3\"", "password_file = \"/run/secret\"");
    let config = Config::from_toml(&text, &BTreeMap::new(), &disk).unwrap();
    assert_eq!(config.share.upstream_secret.expose_secret(), "from a file");
    let AuthMode::Allowlist(names) = config.auth.mode else { panic!("it is an allow list") };
    assert_eq!(names["alice"].as_ref().unwrap().expose_secret(), "from a file");
}
