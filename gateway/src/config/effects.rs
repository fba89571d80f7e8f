//! Each key changes what the program does: a table of one change for each, and of what the part
//! that reads the key makes of it. Parts are asked for what they do where that is cheap, and for
//! the settings they are built with elsewhere.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use platform::Env;

use super::*;
use crate::admission::Admission;
use crate::app::settings::{forward_settings, session_settings, shared_bounds, switch_settings};
use crate::fake_disk::{self, FakeDisk};
use crate::forwarder::Pool;
use crate::gen_keys;
use crate::http::events::{EventArchive, EventFeed};
use crate::http::guard;
use crate::reload::serving;

/// What a part makes of a configuration.
type Effect = fn(&Config, &Env) -> String;

const BASE: &str = r#"
[gateway]
mode = "inline"
upstream_url = "http://127.0.0.1:8082"
upstream_failure_policy = "fail_closed"
reconnect_addr = "second.example:3334"
reconnect_vendors = "proxy"
http_tls_cert_file = "tls.cert"
http_tls_key_file = "tls.key"
verifier_tls_cert_file = "tls.cert"
verifier_tls_key_file = "tls.key"
verifier_tls_ca_file = "tls.cert"
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
prefix_map = [{ prefix = "pool." }]
"#;

/// The change, and who reads it. The environment variables of a change are set together.
struct Change {
    key: &'static str,
    to: &'static [(&'static str, &'static str)],
    effect: Effect,
}

const fn change(
    key: &'static str,
    to: &'static [(&'static str, &'static str)],
    effect: Effect,
) -> Change {
    Change { key, to, effect }
}

fn session(config: &Config, _: &Env) -> String {
    format!("{:?}", session_settings(config))
}

fn switch(config: &Config, _: &Env) -> String {
    format!("{:?}", switch_settings(config))
}

fn forward(config: &Config, _: &Env) -> String {
    format!("{:?}", forward_settings(&config.share))
}

fn pool(config: &Config, env: &Env) -> String {
    Pool::new(platform::http_client::HttpClient::new(env), &config.share).described()
}

fn trust(config: &Config, _: &Env) -> String {
    format!("{:?}", config.gateway.https_trust)
}

fn shared(config: &Config, _: &Env) -> String {
    format!("{:?} {}", shared_bounds(config), config.gateway.gateway_instance_id)
}

/// The links, the probe and the door read these as they are.
fn addresses(config: &Config, _: &Env) -> String {
    let gateway = &config.gateway;
    let GatewayConfig { listen_addr, http_addr, verifier_addrs, verifier_http_url, .. } = gateway;
    let source = &gateway.upstream_url;
    format!("{listen_addr} {http_addr} {verifier_addrs:?} {verifier_http_url} {source}")
}

fn links(config: &Config, _: &Env) -> String {
    let timing = &config.timing;
    let (poll, health) = (timing.upstream_poll_interval, timing.upstream_health_timeout);
    let (probe, beat) = (timing.health_probe_interval, timing.verifier_heartbeat_interval);
    format!("{poll:?} {health:?} {probe:?} {beat:?} {:?}", timing.drain_grace)
}

fn coinbase(config: &Config, _: &Env) -> String {
    format!("{:?} {:?}", config.gateway.coinbase_tag, config.gateway.payout_outputs)
}

fn source_key(config: &Config, _: &Env) -> String {
    config.gateway.upstream_api_key.is_some().to_string()
}

/// Who is let in.
fn authentication(config: &Config, _: &Env) -> String {
    let auth = session_settings(config).auth;
    let identities: [&[u8]; 4] = [b"alice:hunter3", b"alice:hunter4", b"bob", b"pool.x"];
    format!("{:?}", identities.map(|identity| auth.authenticate(identity).is_ok()))
}

/// How many of 60 connections at once from each of two addresses get a place.
fn admission(config: &Config, _: &Env) -> String {
    let admission = Arc::new(Admission::new(&config.limits));
    let places = [[1; 4], [2; 4]].map(|address| {
        let admit = |_| admission.admit(IpAddr::from(address), Duration::ZERO).ok();
        (0..60).filter_map(admit).collect::<Vec<_>>()
    });
    format!("{:?}", places.map(|places| places.len()))
}

fn log(config: &Config, _: &Env) -> String {
    format!("{:?}", config.log)
}

fn subscribers(config: &Config, env: &Env) -> String {
    let feed = Arc::new(EventFeed::new(1, config.limits.max_event_subscribers));
    let archive = EventArchive {
        storage: Arc::clone(&env.storage),
        cpu: Arc::clone(&env.cpu),
        directory: "log".into(),
    };
    let places: Vec<_> = (0..100).map_while(|_| feed.subscribe(None, archive.clone())).collect();
    places.len().to_string()
}

/// Whether a request without a key is answered.
fn http(config: &Config, _: &Env) -> String {
    let request = Request::new(axum::body::Body::empty());
    let key = config.gateway.http_api_key.as_ref();
    format!("{:?}", guard::objection(key, true, &request).is_none())
}

fn tls(config: &Config, env: &Env) -> String {
    format!("{:?}", tls_identity(config, env.storage.as_ref()).map(|tls| tls.is_some()))
}

/// With what the links to verifiers are made.
fn link_tls(config: &Config, env: &Env) -> String {
    let files = config.gateway.verifier_tls.as_ref().unwrap();
    format!("{:?}", files.client(env.storage.as_ref()).map(drop))
}

/// The public key and the certificate that miners are shown.
fn identity(config: &Config, env: &Env) -> String {
    match serving(config, env) {
        Ok(serving) => {
            let identity = serving.identity.as_ref().unwrap();
            let key = identity.key.public();
            format!("{key:?} {} {:?}", identity.certificate, serving.handshake_timeout)
        }
        Err(error) => error.to_string(),
    }
}

/// How long the minted certificate is valid on either side of now.
fn validity(config: &Config, env: &Env) -> String {
    let serving = serving(config, env).unwrap();
    let bytes = serving.identity.as_ref().unwrap().certificate.to_bytes();
    let second = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let now = env.wall.unix_ms() / 1000;
    let minutes = |from: u64, to: u64| (to.saturating_sub(from) + 30) / 60;
    let (from, to) = (u64::from(second(2)), u64::from(second(6)));
    format!("{} {}", minutes(from, now), minutes(now, to))
}

fn telemetry(config: &Config, _: &Env) -> String {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.telemetry.log_filter).unwrap();
    format!("{filter} {:?}", config.telemetry.log_format)
}

const MINTED: (&str, &str) = ("noise.authority_secret_key_file", "authority.key");

#[rustfmt::skip] // One line a key.
const CHANGES: &[Change] = &[
    change("gateway.mode", &[("gateway.mode", "observe")], switch),
    change("gateway.listen_addr", &[("gateway.listen_addr", "127.0.0.1:1")], addresses),
    change("gateway.http_addr", &[("gateway.http_addr", "127.0.0.1:1")], addresses),
    change("gateway.verifier_addr", &[("gateway.verifier_addr", "127.0.0.1:1")], addresses),
    change("gateway.verifier_http_url", &[("gateway.verifier_http_url", "http://127.0.0.1:1")], addresses),
    change("gateway.verifier_tls_cert_file", &[("gateway.verifier_tls_cert_file", "noise.cert")], link_tls),
    change("gateway.verifier_tls_key_file", &[("gateway.verifier_tls_key_file", "noise.key")], link_tls),
    change("gateway.verifier_tls_ca_file", &[("gateway.verifier_tls_ca_file", "noise.cert")], link_tls),
    change("gateway.https_ca_file", &[("gateway.https_ca_file", "tls.cert")], trust),
    change("gateway.upstream_url", &[("gateway.upstream_url", "http://127.0.0.1:1")], addresses),
    change("gateway.upstream_api_key", &[("gateway.upstream_api_key", "k")], source_key),
    change("gateway.upstream_failure_policy", &[("gateway.upstream_failure_policy", "fail_open")], switch),
    change("gateway.gateway_instance_id", &[("gateway.gateway_instance_id", "other")], shared),
    change("gateway.extended_channels", &[("gateway.extended_channels", "false")], session),
    change("gateway.job_addressing", &[("gateway.job_addressing", "group")], session),
    change("gateway.extranonce_index", &[("gateway.extranonce_index", "7")], session),
    change("gateway.reconnect_addr", &[("gateway.reconnect_addr", "third.example:3334")], session),
    change("gateway.reconnect_vendors", &[("gateway.reconnect_vendors", "rig")], session),
    change("gateway.version_rolling_mask", &[("gateway.version_rolling_mask", "0x1fffe000")], session),
    change("gateway.coinbase_tag", &[("gateway.coinbase_tag", "/other/")], coinbase),
    change("gateway.payout_outputs", &[("gateway.payout_outputs", "[{ script = \"51\" }]")], coinbase),
    change("gateway.http_api_key", &[("gateway.http_api_key", "k")], http),
    change("gateway.http_tls_cert_file", &[("gateway.http_tls_cert_file", "noise.cert")], tls),
    change("gateway.http_tls_key_file", &[("gateway.http_tls_key_file", "noise.key")], tls),
    change("noise.noise_key_file", &[("noise.noise_key_file", "other/noise.key")], identity),
    change("noise.noise_cert_file", &[("noise.noise_cert_file", "other/noise.cert")], identity),
    change("noise.authority_secret_key_file", &[MINTED], identity),
    change("noise.authority_public_key_file", &[("noise.authority_public_key_file", "other/authority.pub")], identity),
    change("noise.handshake_timeout_ms", &[("noise.handshake_timeout_ms", "6000")], identity),
    change("noise.cert_validity_secs", &[MINTED, ("noise.cert_validity_secs", "7200")], validity),
    change("noise.cert_backdate_secs", &[MINTED, ("noise.cert_backdate_secs", "7200")], validity),
    change("timing.upstream_poll_interval_ms", &[("timing.upstream_poll_interval_ms", "77")], links),
    change("timing.upstream_health_timeout_ms", &[("timing.upstream_health_timeout_ms", "77")], links),
    change("timing.upstream_stale_max_ms", &[("timing.upstream_stale_max_ms", "7777")], switch),
    change("timing.prevhash_verdict_timeout_ms", &[("timing.prevhash_verdict_timeout_ms", "77")], switch),
    change("timing.prevhash_stale_hold_ms", &[("timing.prevhash_stale_hold_ms", "777")], switch),
    change("timing.health_probe_interval_ms", &[("timing.health_probe_interval_ms", "777")], links),
    change("timing.verifier_heartbeat_interval_ms", &[("timing.verifier_heartbeat_interval_ms", "777")], links),
    change("timing.max_template_age_ms", &[("timing.max_template_age_ms", "7777")], switch),
    change("timing.template_cache_size", &[("timing.template_cache_size", "7")], shared),
    change("timing.max_future_templates", &[("timing.max_future_templates", "7")], switch),
    change("timing.job_broadcast_interval_ms", &[("timing.job_broadcast_interval_ms", "7")], switch),
    change("timing.channel_idle_timeout_ms", &[("timing.channel_idle_timeout_ms", "7777")], session),
    change("timing.nonce_expire_secs", &[("timing.nonce_expire_secs", "7")], session),
    change("timing.drain_grace_ms", &[("timing.drain_grace_ms", "7")], links),
    change("share.share_upstream_url", &[("share.share_upstream_url", "https://other.example")], pool),
    change("share.share_upstream_secret", &[("share.share_upstream_secret", "other")], pool),
    change("share.share_upstream_retries", &[("share.share_upstream_retries", "7")], forward),
    change("share.share_upstream_submit_timeout_ms", &[("share.share_upstream_submit_timeout_ms", "77")], pool),
    change("share.share_forward_queue_size", &[("share.share_forward_queue_size", "777")], forward),
    change("share.share_forward_max_in_flight", &[("share.share_forward_max_in_flight", "7")], forward),
    change("share.share_forward_queue_drop_policy", &[("gateway.mode", "observe"), ("share.share_forward_queue_drop_policy", "drop_old")], forward),
    change("share.share_batch_interval_ms", &[("share.share_batch_interval_ms", "7")], forward),
    change("share.share_batch_max", &[("share.share_batch_max", "7")], forward),
    change("share.share_dedup_window_size", &[("share.share_dedup_window_size", "7")], shared),
    change("share.initial_difficulty", &[("share.initial_difficulty", "7.0")], session),
    change("share.validation", &[("share.validation", "enhanced")], session),
    change("share.ntime_window", &[("share.ntime_window", "strict")], session),
    change("share.ack_batch", &[("share.ack_batch", "7")], session),
    change("share.ack_max_delay_ms", &[("share.ack_max_delay_ms", "7")], session),
    change("auth.mode", &[("auth.mode", "prefix_map")], authentication),
    change("auth.allowlist", &[("auth.allowlist", "[{ username = \"alice\", password = \"hunter4\" }]")], authentication),
    change("auth.prefix_map", &[("auth.mode", "prefix_map"), ("auth.prefix_map", "[{ prefix = \"b\" }]")], authentication),
    change("auth.max_worker_id_bytes", &[("auth.max_worker_id_bytes", "12")], authentication),
    change("auth.max_workers_per_channel", &[("auth.max_workers_per_channel", "7")], session),
    change("vardiff.target_shares_per_minute", &[("vardiff.target_shares_per_minute", "7.0")], session),
    change("vardiff.min_difficulty", &[("vardiff.min_difficulty", "0.5")], session),
    change("vardiff.max_difficulty", &[("vardiff.max_difficulty", "7e3")], session),
    change("vardiff.retarget_interval_secs", &[("vardiff.retarget_interval_secs", "7")], session),
    change("log.path", &[("log.path", "elsewhere")], log),
    change("log.segment_bytes", &[("log.segment_bytes", "7777")], log),
    change("log.sync", &[("log.sync", "write")], log),
    change("log.retention", &[("log.retention", "7")], log),
    change("limits.max_connections", &[("limits.max_connections", "70"), ("limits.max_connections_per_ip", "60")], admission),
    change("limits.max_connections_per_ip", &[("limits.max_connections_per_ip", "7")], admission),
    change("limits.connections_per_second_per_ip", &[("limits.connections_per_second_per_ip", "7")], admission),
    change("limits.max_channels_per_connection", &[("limits.max_channels_per_connection", "7")], session),
    change("limits.max_frame_bytes", &[("limits.max_frame_bytes", "7777")], session),
    change("limits.rate_limit_messages_per_sec", &[("limits.rate_limit_messages_per_sec", "7")], session),
    change("limits.rate_limit_bytes_per_sec", &[("limits.rate_limit_bytes_per_sec", "7777")], session),
    change("limits.shares_per_second", &[("limits.shares_per_second", "7")], session),
    change("limits.max_event_subscribers", &[("limits.max_event_subscribers", "7")], subscribers),
    change("telemetry.log_format", &[("telemetry.log_format", "json")], telemetry),
    change("telemetry.log_filter", &[("telemetry.log_filter", "debug")], telemetry),
];

fn keys_on_disk(env: &Env, disk: &FakeDisk) {
    let day = Duration::from_secs(86_400);
    for directory in ["", "other/"] {
        let keys = gen_keys::generate(env, None, day, day).unwrap();
        let put = |name: &str, text: &str| disk.put(&format!("{directory}{name}"), text.as_bytes());
        put("noise.key", &keys.noise_key);
        put("noise.cert", &keys.certificate);
        put("authority.pub", &keys.authority_public_key.to_string());
        put("authority.key", keys.new_authority_key.as_ref().unwrap());
    }
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    disk.put("tls.cert", pair.cert.pem().as_bytes());
    disk.put("tls.key", pair.signing_key.serialize_pem().as_bytes());
}

fn read(set: &[(&str, &str)], env: &Env) -> Config {
    let is_minted = set.contains(&MINTED);
    let text: String = BASE
        .lines()
        .filter(|line| !is_minted || !line.starts_with("noise_cert_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    let variable = |path: &str| format!("GATEWAY__{}", path.replace('.', "__")).to_uppercase();
    let environment: BTreeMap<String, String> =
        set.iter().map(|(path, value)| (variable(path), (*value).to_owned())).collect();
    Config::from_toml(&text, &environment, env.storage.as_ref())
        .unwrap_or_else(|problems| panic!("{set:?}: {problems:?}"))
}

#[tokio::test]
async fn each_key_changes_what_the_program_does() {
    let disk = FakeDisk::default();
    let env = fake_disk::env(&disk);
    keys_on_disk(&env, &disk);
    for Change { key, to, effect } in CHANGES {
        // What else is set for the change must not be what makes the difference.
        let others: Vec<_> = to.iter().copied().filter(|(path, _)| path != key).collect();
        let (before, after) = (read(&others, &env), read(to, &env));
        assert_ne!(effect(&before, &env), effect(&after, &env), "{key} changes nothing");
    }
}

#[test]
fn each_key_is_in_the_table_of_changes_once() {
    let mut listed: Vec<_> = CHANGES.iter().map(|change| change.key).collect();
    listed.sort_unstable();
    let mut keys: Vec<_> = KEYS.iter().map(|key| key.path).collect();
    keys.sort_unstable();
    assert_eq!(listed, keys);
}

/// A key that waits for a restart leaves everything built from the configuration as it was.
#[tokio::test]
async fn what_waits_for_a_restart_is_not_in_force_after_a_reload() {
    let disk = FakeDisk::default();
    let env = fake_disk::env(&disk);
    keys_on_disk(&env, &disk);
    for Change { key, to, effect } in CHANGES {
        let (old, mut new) = (read(&[], &env), read(to, &env));
        let changed: Vec<_> = new.changed_from(&old).iter().map(|key| key.path).collect();
        assert!(changed.contains(key), "{key}: {changed:?}");
        new.keep_until_restart(&old).unwrap();
        let waits = KEYS.iter().any(|k| k.path == *key && k.class() == Class::Restart);
        let is_same = effect(&old, &env) == effect(&new, &env);
        assert_eq!(is_same, waits, "{key}");
        let shown = new.changed_from(&old).iter().any(|changed| changed.path == *key);
        assert_eq!(shown, !waits, "{key}");
    }
}
