//! From values to a configuration.

use std::collections::{BTreeMap, BTreeSet};
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
use toml::{Table, Value};

use super::keys::EscapeHatch;
use super::raw::{Raw, nearest};
use super::{
    AuthConfig, AuthMode, CertificateSource, Config, ConfigProblem, GatewayConfig, LimitsConfig,
    LogFormat, NoiseConfig, Payout, ShareConfig, TelemetryConfig, TimingConfig, TlsFiles,
    VardiffConfig, files, rules,
};
use crate::log::{LogSettings, SyncMode};

/// Port of the verifier's HTTP interface where its URL is derived.
const VERIFIER_HTTP_PORT: u16 = 8081;

/// Reads everything. A value that is wrong leaves a placeholder and a problem, so that the rest is
/// judged too; with any problem the whole is thrown away. With an environment the files that the
/// configuration names are judged as well.
pub(super) fn read(
    text: &str,
    environment: &BTreeMap<String, String>,
    storage: &dyn Storage,
    judged_in: Option<&Env>,
) -> Result<Config, Vec<ConfigProblem>> {
    let mut raw = Raw::gather(text, environment, storage);
    let hatches = hatches(&mut raw, environment);
    let mut config = Config {
        gateway: gateway(&mut raw),
        noise: noise(&mut raw, &hatches),
        handshake_timeout: millis(&raw, "noise.handshake_timeout_ms"),
        timing: timing(&raw),
        share: share(&mut raw),
        auth: auth(&mut raw),
        vardiff: vardiff(&raw),
        log: log(&raw),
        limits: limits(&raw),
        telemetry: telemetry(&raw),
        hatches,
        settings: Vec::new(),
    };
    rules::check(&config, &mut raw);
    if let Some(env) = judged_in {
        files::check(&config, &mut raw, env);
    }
    config.settings = raw.finish()?;
    Ok(config)
}

fn hatches(raw: &mut Raw<'_>, environment: &BTreeMap<String, String>) -> BTreeSet<EscapeHatch> {
    let mut open = BTreeSet::new();
    for hatch in EscapeHatch::ALL {
        match environment.get(hatch.variable()).map(String::as_str) {
            Some("1" | "true") => {
                open.insert(hatch);
            }
            None | Some("" | "0" | "false") => {}
            Some(_) => raw.problem(
                hatch.variable(),
                "is neither 1 nor 0; set it to 1, or leave it out".to_owned(),
            ),
        }
    }
    open
}

/// A verifier named twice would be asked twice and be no second one.
fn verifier_addrs(raw: &Raw<'_>) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    for address in text(raw, "gateway.verifier_addr").split(',').map(str::trim) {
        if !addresses.iter().any(|other| other == address) {
            addresses.push(address.to_owned());
        }
    }
    addresses
}

fn gateway(raw: &mut Raw<'_>) -> GatewayConfig {
    let verifier_addrs = verifier_addrs(raw);
    let derived = || {
        let host = verifier_addrs[0].rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        format!("http://{host}:{VERIFIER_HTTP_PORT}")
    };
    let verifier_http_url =
        raw.text("gateway.verifier_http_url").map_or_else(derived, str::to_owned);
    raw.derive("gateway.verifier_http_url", &verifier_http_url);
    GatewayConfig {
        mode: text(raw, "gateway.mode").parse().unwrap_or(Mode::Shadow),
        listen_addr: text(raw, "gateway.listen_addr"),
        http_addr: text(raw, "gateway.http_addr"),
        verifier_http_url,
        verifier_addrs,
        verifier_tls: verifier_tls(raw),
        https_trust: https_trust(raw),
        upstream_url: text(raw, "gateway.upstream_url"),
        upstream_api_key: raw.secret("gateway.upstream_api_key"),
        upstream_failure_policy: match raw.text("gateway.upstream_failure_policy") {
            Some("fail_open" | "permit_all") => UpstreamFailurePolicy::FailOpen,
            _ => UpstreamFailurePolicy::FailClosed,
        },
        gateway_instance_id: text(raw, "gateway.gateway_instance_id"),
        extended_channels: raw.flag("gateway.extended_channels"),
        group_addressing: raw.text("gateway.job_addressing") == Some("group"),
        extranonce_index: raw
            .whole("gateway.extranonce_index")
            .and_then(|index| u32::try_from(index).ok()),
        reconnect: reconnect(raw),
        version_rolling_mask: number(raw, "gateway.version_rolling_mask"),
        coinbase_tag: text(raw, "gateway.coinbase_tag").into_bytes(),
        payout_outputs: payouts(raw),
        http_api_key: raw.secret("gateway.http_api_key"),
        http_tls: http_tls(raw),
    }
}

/// Both keys or none: an address without vendors would send nobody, and the other way round.
fn reconnect(raw: &mut Raw<'_>) -> Option<ReconnectTo> {
    const ADDRESS: &str = "gateway.reconnect_addr";
    const VENDORS: &str = "gateway.reconnect_vendors";
    let names = raw.text(VENDORS).unwrap_or_default().split(',').map(str::trim);
    let vendors: Vec<String> =
        names.filter(|vendor| !vendor.is_empty()).map(str::to_owned).collect();
    let address = raw.text(ADDRESS).and_then(|address| {
        let (host, port) = address.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    });
    match address {
        Some((host, _)) if host.len() > 255 => {
            raw.problem(ADDRESS, "has a host of more than 255 bytes; shorten it".to_owned());
            None
        }
        Some((host, port)) if !vendors.is_empty() => Some(ReconnectTo { host, port, vendors }),
        Some(_) => {
            raw.problem(VENDORS, format!("names nobody, but {ADDRESS} is set; name vendors"));
            None
        }
        None => {
            if !vendors.is_empty() && raw.text(ADDRESS).is_none() {
                raw.problem(ADDRESS, format!("is missing, but {VENDORS} is set; set it"));
            }
            None
        }
    }
}

fn payouts(raw: &mut Raw<'_>) -> Vec<Payout> {
    let mut payouts = Vec::new();
    for (index, entry) in raw.entries("gateway.payout_outputs").into_iter().enumerate() {
        let at = format!("gateway.payout_outputs[{index}]");
        known_members(raw, &at, &entry, &["address", "script", "parts"]);
        let parts = match entry.get("parts") {
            None => Some(1),
            Some(parts) => parts.as_integer().and_then(|parts| u32::try_from(parts).ok()),
        };
        let Some(parts) = parts.filter(|parts| *parts > 0) else {
            raw.problem(&format!("{at}.parts"), "is no whole number above zero".to_owned());
            continue;
        };
        match payee(&entry) {
            Ok((script_pubkey, address)) => {
                payouts.push(Payout { output: PayoutOutput { script_pubkey, parts }, address });
            }
            Err(problem) => raw.problem(&at, problem),
        }
    }
    payouts
}

type Payee = (bitcoin::ScriptBuf, Option<bitcoin::Address<NetworkUnchecked>>);

fn payee(entry: &Table) -> Result<Payee, String> {
    let member = |name| entry.get(name).and_then(Value::as_str);
    match (member("address"), member("script")) {
        (Some(text), None) => {
            let address: bitcoin::Address<NetworkUnchecked> =
                text.parse().map_err(|error| format!("{text:?} is no address: {error}"))?;
            let script = address.clone().assume_checked().script_pubkey();
            Ok((script, Some(address)))
        }
        (None, Some(hex)) => {
            let script = bitcoin::ScriptBuf::from_hex(hex)
                .map_err(|error| format!("{hex:?} is no script in hex: {error}"))?;
            Ok((script, None))
        }
        _ => Err("names no payee; set either address or script".to_owned()),
    }
}

fn http_tls(raw: &mut Raw<'_>) -> Option<TlsFiles> {
    let file = |raw: &Raw<'_>, key| raw.text(key).map(PathBuf::from);
    let cert = file(raw, "gateway.http_tls_cert_file");
    let key = file(raw, "gateway.http_tls_key_file");
    match (cert, key) {
        (Some(cert_file), Some(key_file)) => Some(TlsFiles { cert_file, key_file }),
        (None, None) => None,
        (cert, _) => {
            let missing = if cert.is_some() { "key" } else { "cert" };
            let missing = format!("gateway.http_tls_{missing}_file");
            raw.problem(&missing, "is missing; HTTPS needs certificate and key".to_owned());
            None
        }
    }
}

fn https_trust(raw: &mut Raw<'_>) -> Trust {
    const KEY: &str = "gateway.https_ca_file";
    let Some(file) = raw.text(KEY).map(str::to_owned) else { return Trust::public() };
    let trust = raw
        .read(KEY, &file)
        .and_then(|pem| Trust::public_and(&pem).map_err(|error| format!("{file:?} {error}")));
    match trust {
        Ok(trust) => trust,
        Err(problem) => {
            raw.problem(KEY, problem);
            Trust::public()
        }
    }
}

/// All of them or none: a link on which only one end is known is not what anybody asked for.
fn verifier_tls(raw: &mut Raw<'_>) -> Option<MutualFiles> {
    let keys = files::VERIFIER_TLS;
    match keys.map(|key| raw.text(key).map(PathBuf::from)) {
        [Some(cert_file), Some(key_file), Some(ca_file)] => {
            Some(MutualFiles { cert_file, key_file, ca_file })
        }
        [None, None, None] => None,
        set => {
            for (key, _) in keys.iter().zip(set).filter(|(_, file)| file.is_none()) {
                let needed = "links with certificates need certificate, key and ca_file";
                raw.problem(key, format!("is missing; {needed}"));
            }
            None
        }
    }
}

fn noise(raw: &mut Raw<'_>, hatches: &BTreeSet<EscapeHatch>) -> Option<NoiseConfig> {
    const KEY: &str = "noise.noise_key_file";
    const CERT: &str = "noise.noise_cert_file";
    const SIGNER: &str = "noise.authority_secret_key_file";
    const AUTHORITY: &str = "noise.authority_public_key_file";
    let file = |raw: &Raw<'_>, key| raw.text(key).map(PathBuf::from);
    let (key, authority) = (file(raw, KEY), file(raw, AUTHORITY));
    let (cert, signer) = (file(raw, CERT), file(raw, SIGNER));
    let nothing = [&key, &authority, &cert, &signer].into_iter().all(Option::is_none);
    if nothing && hatches.contains(&EscapeHatch::Plaintext) {
        return None;
    }
    for (path, value) in [(KEY, &key), (AUTHORITY, &authority)] {
        if value.is_none() {
            raw.problem(path, "is missing; make the keys with `gateway gen-keys`".to_owned());
        }
    }
    let certificate = match (cert, signer) {
        (Some(cert), None) => Some(CertificateSource::File(cert)),
        (None, Some(authority_secret_key_file)) => Some(CertificateSource::Mint {
            authority_secret_key_file,
            validity: seconds(raw, "noise.cert_validity_secs"),
            backdate: seconds(raw, "noise.cert_backdate_secs"),
        }),
        (None, None) => {
            raw.problem(CERT, format!("is missing; set it, or {SIGNER} to sign one at start"));
            None
        }
        (Some(_), Some(_)) => {
            raw.problem(SIGNER, format!("is set beside {CERT}; keep one of them"));
            None
        }
    };
    let (key_file, authority_public_key_file) = (key?, authority?);
    Some(NoiseConfig { key_file, authority_public_key_file, certificate: certificate? })
}

fn timing(raw: &Raw<'_>) -> TimingConfig {
    TimingConfig {
        upstream_poll_interval: millis(raw, "timing.upstream_poll_interval_ms"),
        upstream_health_timeout: millis(raw, "timing.upstream_health_timeout_ms"),
        upstream_stale_max: millis(raw, "timing.upstream_stale_max_ms"),
        prevhash_verdict_timeout: millis(raw, "timing.prevhash_verdict_timeout_ms"),
        prevhash_stale_hold: millis(raw, "timing.prevhash_stale_hold_ms"),
        health_probe_interval: millis(raw, "timing.health_probe_interval_ms"),
        verifier_heartbeat_interval: millis(raw, "timing.verifier_heartbeat_interval_ms"),
        max_template_age: millis(raw, "timing.max_template_age_ms"),
        template_cache_size: number(raw, "timing.template_cache_size"),
        max_future_templates: number(raw, "timing.max_future_templates"),
        job_broadcast_interval: millis(raw, "timing.job_broadcast_interval_ms"),
        channel_idle_timeout: millis(raw, "timing.channel_idle_timeout_ms"),
        nonce_expire: seconds(raw, "timing.nonce_expire_secs"),
        drain_grace: millis(raw, "timing.drain_grace_ms"),
    }
}

fn share(raw: &mut Raw<'_>) -> ShareConfig {
    ShareConfig {
        upstream_url: text(raw, "share.share_upstream_url"),
        upstream_secret: raw.secret("share.share_upstream_secret").unwrap_or_default(),
        retries: number(raw, "share.share_upstream_retries"),
        submit_timeout: millis(raw, "share.share_upstream_submit_timeout_ms"),
        queue_size: number(raw, "share.share_forward_queue_size"),
        max_in_flight: number(raw, "share.share_forward_max_in_flight"),
        drop_policy: match raw.text("share.share_forward_queue_drop_policy") {
            Some("drop_old") => DropPolicy::DropOld,
            _ => DropPolicy::DropNew,
        },
        batch_interval: millis(raw, "share.share_batch_interval_ms"),
        batch_max: number(raw, "share.share_batch_max"),
        dedup_window_size: number(raw, "share.share_dedup_window_size"),
        initial_difficulty: difficulty(raw, "share.initial_difficulty"),
        enhanced: raw.text("share.validation") == Some("enhanced"),
        strict_ntime: raw.text("share.ntime_window") == Some("strict"),
        ack_batch: number(raw, "share.ack_batch"),
        ack_max_delay: millis(raw, "share.ack_max_delay_ms"),
    }
}

fn auth(raw: &mut Raw<'_>) -> AuthConfig {
    let allowlist = identities(raw, "auth.allowlist", "username", "password");
    let prefix_map = identities(raw, "auth.prefix_map", "prefix", "secret");
    let mode = match raw.text("auth.mode") {
        Some("allowlist") => AuthMode::Allowlist(allowlist),
        Some("prefix_map") => AuthMode::PrefixMap(prefix_map),
        _ => AuthMode::Open,
    };
    let max_worker_id_bytes = number(raw, "auth.max_worker_id_bytes");
    let max_workers_per_channel = number(raw, "auth.max_workers_per_channel");
    AuthConfig { mode, max_worker_id_bytes, max_workers_per_channel }
}

/// A list of names, each with a secret (in place or in a file) or without.
fn identities(
    raw: &mut Raw<'_>,
    path: &str,
    name_member: &str,
    secret_member: &str,
) -> BTreeMap<String, Option<SecretString>> {
    let mut identities = BTreeMap::new();
    let file_member = format!("{secret_member}_file");
    for (index, entry) in raw.entries(path).into_iter().enumerate() {
        let at = format!("{path}[{index}]");
        known_members(raw, &at, &entry, &[name_member, secret_member, &file_member]);
        let member = |member: &str| entry.get(member).and_then(Value::as_str).map(str::to_owned);
        let Some(name) = member(name_member) else {
            raw.problem(&format!("{at}.{name_member}"), "is missing; set a text".to_owned());
            continue;
        };
        let secret = match (entry.get(secret_member), entry.get(&file_member)) {
            (None, None) => None,
            (Some(Value::String(secret)), None) => Some(SecretString::from(secret.as_str())),
            (None, Some(Value::String(file))) => {
                raw.secret_file(&format!("{at}.{file_member}"), file)
            }
            _ => {
                let problem =
                    format!("is no text, or is set beside {file_member}; keep one of them");
                raw.problem(&format!("{at}.{secret_member}"), problem);
                None
            }
        };
        if identities.insert(name, secret).is_some() {
            let problem = "is listed twice; remove one of the two".to_owned();
            raw.problem(&format!("{at}.{name_member}"), problem);
        }
    }
    identities
}

fn known_members(raw: &mut Raw<'_>, at: &str, entry: &Table, known: &[&str]) {
    for member in entry.keys().filter(|member| !known.contains(&member.as_str())) {
        let meant = nearest(member, known.iter().copied());
        raw.problem(&format!("{at}.{member}"), format!("is not known; did you mean {meant}?"));
    }
}

fn vardiff(raw: &Raw<'_>) -> VardiffConfig {
    VardiffConfig {
        target_shares_per_minute: raw.real("vardiff.target_shares_per_minute").unwrap_or(1.0),
        min_difficulty: difficulty(raw, "vardiff.min_difficulty"),
        max_difficulty: difficulty(raw, "vardiff.max_difficulty"),
        retarget_interval: seconds(raw, "vardiff.retarget_interval_secs"),
    }
}

fn log(raw: &Raw<'_>) -> LogSettings {
    LogSettings {
        path: PathBuf::from(text(raw, "log.path")),
        segment_bytes: raw.whole("log.segment_bytes").unwrap_or_default(),
        sync: match raw.text("log.sync") {
            Some("write") => SyncMode::Write,
            _ => SyncMode::Group,
        },
        retention: number(raw, "log.retention"),
    }
}

fn limits(raw: &Raw<'_>) -> LimitsConfig {
    LimitsConfig {
        max_connections: number(raw, "limits.max_connections"),
        max_connections_per_ip: number(raw, "limits.max_connections_per_ip"),
        connections_per_second_per_ip: number(raw, "limits.connections_per_second_per_ip"),
        max_channels_per_connection: number(raw, "limits.max_channels_per_connection"),
        max_frame_bytes: number(raw, "limits.max_frame_bytes"),
        rate_limit_messages_per_sec: number(raw, "limits.rate_limit_messages_per_sec"),
        rate_limit_bytes_per_sec: number(raw, "limits.rate_limit_bytes_per_sec"),
        shares_per_second: number(raw, "limits.shares_per_second"),
        max_event_subscribers: number(raw, "limits.max_event_subscribers"),
    }
}

fn telemetry(raw: &Raw<'_>) -> TelemetryConfig {
    let log_format = match raw.text("telemetry.log_format") {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Human,
    };
    TelemetryConfig { log_format, log_filter: text(raw, "telemetry.log_filter") }
}

fn text(raw: &Raw<'_>, path: &str) -> String {
    raw.text(path).unwrap_or_default().to_owned()
}

/// A whole number; the table's ranges keep it within `T`.
fn number<T: TryFrom<u64> + Default>(raw: &Raw<'_>, path: &str) -> T {
    raw.whole(path).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
}

fn millis(raw: &Raw<'_>, path: &str) -> Duration {
    Duration::from_millis(raw.whole(path).unwrap_or_default())
}

fn seconds(raw: &Raw<'_>, path: &str) -> Duration {
    Duration::from_secs(raw.whole(path).unwrap_or_default())
}

fn difficulty(raw: &Raw<'_>, path: &str) -> Difficulty {
    let value = raw.real(path).unwrap_or(1.0);
    Difficulty::new(value).expect("the table's ranges are above zero")
}
