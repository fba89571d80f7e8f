use std::collections::BTreeMap;

use platform::real::Disk;
use rstest::rstest;
use secrecy::ExposeSecret;

use super::*;

const GOOD: &str = r#"
poll_interval_ms = 500
[[nodes]]
name = "core"
url = "http://127.0.0.1:18443"
user = "assay"
password = "hunter2"
[[nodes]]
name = "second"
url = "http://node:8332"
cookie_file = "/var/lib/bitcoind/.cookie"
"#;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Config::from_toml(text, &environment, &Disk)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn defaults_fill_what_the_file_leaves_out() {
    let config = read(GOOD, &[]).unwrap();
    assert_eq!(config.http_addr, "127.0.0.1:8082");
    assert_eq!(config.poll_interval, Duration::from_millis(500));
    assert_eq!(config.rpc_timeout, Duration::from_secs(10));
    assert!(matches!(&config.nodes[1].auth, NodeAuth::Cookie(path) if path.ends_with(".cookie")));
}

#[test]
fn the_environment_overrides_the_file() {
    let config = read(
        GOOD,
        &[
            ("TEMPLATES__POLL_INTERVAL_MS", "700"),
            ("TEMPLATES__NODES__0__PASSWORD", "other"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(config.poll_interval, Duration::from_millis(700));
    let NodeAuth::Password { password, .. } = &config.nodes[0].auth else { panic!("a password") };
    assert_eq!(password.expose_secret(), "other");
}

#[test]
fn a_node_can_come_from_the_environment_alone() {
    let config = read(
        "",
        &[
            ("TEMPLATES__NODES__0__NAME", "core"),
            ("TEMPLATES__NODES__0__URL", "http://127.0.0.1:8332"),
            ("TEMPLATES__NODES__0__COOKIE_FILE", "/c"),
        ],
    )
    .unwrap();
    assert_eq!(config.nodes[0].name, "core");
}

#[test]
fn printing_shows_origins_and_no_secret() {
    let config = read(GOOD, &[("TEMPLATES__HTTP_API_KEY", "s3cret")]).unwrap();
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/templates"),
        prepend_module_to_snapshot => false, omit_expression => true
    }, {
        insta::assert_snapshot!("print-config", config.print());
    });
    let shown = format!("{config:?}{}", config.print());
    assert!(!shown.contains("hunter2") && !shown.contains("s3cret"));
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = read(
        r#"
http_adr = "127.0.0.1:1"
poll_interval_ms = "fast"
rpc_timeout_ms = 5
log_format = "xml"
log_filter = "templates=loud"
[[nodes]]
name = "a b"
url = "ftp://node"
usr = "x"
[[nodes]]
name = "b"
url = "http://user:pass@node:1"
user = "u"
[[nodes]]
name = "b"
cookie_file = 7
"#,
        &[("TEMPLATES__RPC_TIMEOUT", "1")],
    )
    .unwrap_err();
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/templates"),
        prepend_module_to_snapshot => false, omit_expression => true
    }, {
        insta::assert_snapshot!("config-problems", problems.join("\n"));
    });
}

#[rstest]
#[case("x = ", "line 1, column ")]
#[case("\n\nnodes = 3", "nodes: is no list of tables")]
#[case("", "nodes: no node is configured")]
fn a_file_that_is_none_is_refused(#[case] text: &str, #[case] expect: &str) {
    let problems = read(text, &[]).unwrap_err();
    assert!(problems[0].starts_with(expect), "{problems:?}");
}

#[rstest]
#[case("0.0.0.0:8082", &[], Some("http_api_key: is missing, and 0.0.0.0:8082"))]
#[case("0.0.0.0:8082", &[("TEMPLATES__HTTP_API_KEY", "k")], None)]
#[case("0.0.0.0:8082", &[(ALLOW_NO_API_KEY, "1")], None)]
#[case("[::1]:8082", &[], None)]
#[case("localhost:0", &[], None)]
#[case("8082", &[], Some("http_addr: \"8082\" is no host:port"))]
fn off_loopback_a_key_is_needed(
    #[case] address: &str,
    #[case] environment: &[(&str, &str)],
    #[case] problem: Option<&str>,
) {
    let text = format!("http_addr = {address:?}\n{GOOD}");
    match (read(&text, environment), problem) {
        (Ok(_), None) => {}
        (Err(problems), Some(problem)) => assert!(problems[0].starts_with(problem), "{problems:?}"),
        (outcome, _) => panic!("{outcome:?}"),
    }
}

#[test]
fn a_secret_file_that_is_not_there_is_named() {
    let text = GOOD.replace("password = \"hunter2\"", "password_file = \"/no/such/file\"");
    let problems = read(&text, &[]).unwrap_err();
    assert!(problems[0].starts_with("nodes[0].password_file: /no/such/file: "), "{problems:?}");
}

#[rstest]
#[case("cert", "http_tls_key_file: is missing; HTTPS needs certificate and key")]
#[case("key", "http_tls_cert_file: is missing; HTTPS needs certificate and key")]
fn https_takes_certificate_and_key(#[case] set: &str, #[case] problem: &str) {
    let problems = read(&format!("http_tls_{set}_file = \"/f\"\n{GOOD}"), &[]).unwrap_err();
    assert_eq!(problems, [problem]);
}

#[test]
fn files_for_https_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let place = |name: &str| directory.path().join(name);
    let put = |name: &str, text: &str| Disk.write_atomic(&place(name), text.as_bytes()).unwrap();
    let check = || {
        let (cert, key) = (place("cert"), place("key"));
        let files = format!("http_tls_cert_file = {cert:?}\nhttp_tls_key_file = {key:?}\n{GOOD}");
        read(&files, &[]).map(|config| config.http_tls)
    };
    put("cert", &pair.cert.pem());
    let problems = check().unwrap_err();
    assert!(problems[0].starts_with("http_tls_key_file: "), "{problems:?}");
    put("key", &pair.signing_key.serialize_pem());
    assert!(check().unwrap().is_some());
    put("cert", "none");
    let problems = check().unwrap_err();
    assert!(problems[0].starts_with("http_tls_cert_file: "), "{problems:?}");
}

#[test]
fn the_page_has_every_key_with_its_default_and_meaning() {
    let page = include_str!("../../../../docs/template-manager.md");
    let top = KEYS.iter().map(|key| (key.name.to_owned(), key, "none"));
    let nodes = NODE_KEYS.iter().map(|key| {
        let missing = if matches!(key.name, "name" | "url") { "required" } else { "none" };
        (format!("nodes[].{}", key.name), key, missing)
    });
    for (path, key, missing) in top.chain(nodes) {
        let default = key.default.map(|value| format!("`{}`", value.trim_matches('"')));
        let default = default.unwrap_or_else(|| missing.to_owned());
        let meaning = key.doc.replace("X-API-Key", "`X-API-Key`");
        let row = format!("| `{path}` | {default} | {meaning} |");
        assert!(page.contains(&row), "docs/template-manager.md lacks: {row}");
    }
}
