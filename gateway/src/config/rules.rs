//! Rules between keys.

use std::net::IpAddr;

use gateway_core::forward::DropPolicy;
use gateway_core::mode::Mode;

use super::keys::EscapeHatch;
use super::raw::Raw;
use super::{AuthMode, Config};

/// Longest `gateway.coinbase_tag`: what the scriptSig of 100 bytes leaves beside height and
/// extranonce, rounded down.
const MAX_TAG_BYTES: usize = 64;
const MAX_INSTANCE_ID_BYTES: usize = 64;

/// Notes every rule that the configuration breaks.
pub(super) fn check(config: &Config, raw: &mut Raw<'_>) {
    check_names(config, raw);
    check_exposure(config, raw);
    check_auth(config, raw);
    check_order(config, raw);
    let drops_old = config.share.drop_policy == DropPolicy::DropOld;
    if drops_old && config.gateway.mode == Mode::Inline {
        let consequence = "loses shares that were already acknowledged in inline mode";
        let fix = "use drop_new";
        let key = "share.share_forward_queue_drop_policy";
        forbid(config, raw, EscapeHatch::DropOldInline, key, consequence, fix);
    }
}

fn forbid(
    config: &Config,
    raw: &mut Raw<'_>,
    hatch: EscapeHatch,
    key: &str,
    consequence: &str,
    fix: &str,
) {
    if !config.hatches.contains(&hatch) {
        let variable = hatch.variable();
        raw.problem(key, format!("{consequence}; {fix} (or, knowing the risk, {variable}=1)"));
    }
}

fn check_names(config: &Config, raw: &mut Raw<'_>) {
    let id = &config.gateway.gateway_instance_id;
    let is_name = (1..=MAX_INSTANCE_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !is_name {
        let problem = format!("{id:?} is no name; use 1 to 64 letters, digits, dots, dashes");
        raw.problem("gateway.gateway_instance_id", problem);
    }
    let tag = config.gateway.coinbase_tag.len();
    if tag > MAX_TAG_BYTES {
        let problem = format!("has {tag} bytes; shorten it to {MAX_TAG_BYTES}");
        raw.problem("gateway.coinbase_tag", problem);
    }
    let mask = config.gateway.version_rolling_mask;
    if mask & !0x1fff_ffe0 != 0 {
        let problem = format!("{mask:#x} has bits outside 0x1fffffe0 (BIP 323); clear them");
        raw.problem("gateway.version_rolling_mask", problem);
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.telemetry.log_filter) {
        let problem = format!("is no filter: {error}; write it like \"info,gateway=debug\"");
        raw.problem("telemetry.log_filter", problem);
    }
}

fn check_exposure(config: &Config, raw: &mut Raw<'_>) {
    let gateway = &config.gateway;
    // A key in a file that cannot be read is a problem of its own.
    let has_key = gateway.http_api_key.is_some() || raw.is_sound("gateway.http_api_key_file");
    if !has_key && !is_loopback(host(&gateway.http_addr)) {
        let consequence = format!("is missing, and {} is not loopback", gateway.http_addr);
        let key = "gateway.http_api_key";
        forbid(config, raw, EscapeHatch::NoApiKey, key, &consequence, "set a key");
    }
    let urls = [
        ("gateway.upstream_url", &gateway.upstream_url),
        ("share.share_upstream_url", &config.share.upstream_url),
    ];
    for (key, url) in urls {
        let Some(rest) = url.strip_prefix("http://") else { continue };
        let authority = rest.split('/').next().unwrap_or_default();
        if !is_loopback(host(authority)) {
            let consequence = format!("{url:?} leaves this machine without TLS");
            let hatch = EscapeHatch::InsecureHttpUpstream;
            forbid(config, raw, hatch, key, &consequence, "use https://");
        }
    }
}

fn check_auth(config: &Config, raw: &mut Raw<'_>) {
    match &config.auth.mode {
        AuthMode::Allowlist(names) if names.is_empty() => raw.problem(
            "auth.allowlist",
            "is empty, so nobody could mine; add an [[auth.allowlist]] table".to_owned(),
        ),
        AuthMode::PrefixMap(prefixes) if prefixes.is_empty() => raw.problem(
            "auth.prefix_map",
            "is empty, so nobody could mine; add an [[auth.prefix_map]] table".to_owned(),
        ),
        AuthMode::Open if raw.text("auth.mode").is_some() => {
            let consequence = "\"open\" lets anyone mine under any name";
            let fix = "use allowlist or prefix_map";
            forbid(config, raw, EscapeHatch::OpenAuth, "auth.mode", consequence, fix);
        }
        _ => {}
    }
}

/// Pairs of which the first must not exceed the second.
fn check_order(config: &Config, raw: &mut Raw<'_>) {
    let (timing, share, limits) = (&config.timing, &config.share, &config.limits);
    let difficulty = |difficulty: gateway_core::target::Difficulty| difficulty.as_f64();
    let pairs = [
        (
            ("timing.prevhash_verdict_timeout_ms", timing.prevhash_verdict_timeout.as_secs_f64()),
            ("timing.prevhash_stale_hold_ms", timing.prevhash_stale_hold.as_secs_f64()),
        ),
        (
            ("timing.upstream_poll_interval_ms", timing.upstream_poll_interval.as_secs_f64()),
            ("timing.upstream_stale_max_ms", timing.upstream_stale_max.as_secs_f64()),
        ),
        (
            ("share.share_batch_max", share.batch_max as f64),
            ("share.share_forward_queue_size", share.queue_size as f64),
        ),
        (
            ("vardiff.min_difficulty", difficulty(config.vardiff.min_difficulty)),
            ("vardiff.max_difficulty", difficulty(config.vardiff.max_difficulty)),
        ),
        (
            ("vardiff.min_difficulty", difficulty(config.vardiff.min_difficulty)),
            ("share.initial_difficulty", difficulty(share.initial_difficulty)),
        ),
        (
            ("share.initial_difficulty", difficulty(share.initial_difficulty)),
            ("vardiff.max_difficulty", difficulty(config.vardiff.max_difficulty)),
        ),
        (
            ("limits.max_connections_per_ip", limits.max_connections_per_ip as f64),
            ("limits.max_connections", limits.max_connections as f64),
        ),
    ];
    for ((low_key, low), (high_key, high)) in pairs {
        if low > high && raw.is_sound(low_key) && raw.is_sound(high_key) {
            raw.problem(low_key, format!("exceeds {high_key}; lower it, or raise the other"));
        }
    }
}

fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => address,
    }
}

/// Whether only this machine reaches `host:port`.
pub(crate) fn is_loopback_address(address: &str) -> bool {
    is_loopback(host(address))
}

/// Whether only this machine reaches `host`.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // An empty host is a key that is missing or broken, which is reported elsewhere.
    host.is_empty()
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
