//! The configuration in the terms of the core.

use gateway_core::channel::ExtranonceSpace;
use gateway_core::ids::InstanceId;
use gateway_core::vardiff::Aim;
use gateway_core::{SharedBounds, auth, forward, prevhash, session};

use crate::config::{AuthMode, Config, GatewayConfig, ShareConfig};
use crate::limits::{CHANNELS, FIRST_CHANNEL_TIMEOUT, FORWARD_BACKOFF, SETUP_TIMEOUT, WORKERS};

pub(crate) fn forward_settings(share: &ShareConfig) -> forward::Settings {
    forward::Settings {
        queue_size: share.queue_size,
        drop_policy: share.drop_policy,
        batch_max: share.batch_max,
        batch_interval: share.batch_interval,
        max_in_flight: share.max_in_flight,
        retries: share.retries,
        backoff_base: FORWARD_BACKOFF.0,
        backoff_max: FORWARD_BACKOFF.1,
    }
}

pub(crate) fn switch_settings(config: &Config) -> prevhash::Settings {
    let timing = &config.timing;
    prevhash::Settings {
        mode: config.gateway.mode,
        verdict_window: timing.prevhash_verdict_timeout
            * mutant::pick!(VerdictWindowTenfold, 10, 1),
        stale_hold: timing.prevhash_stale_hold
            * mutant::pick!(HoldTwiceAsLong, 2, mutant::pick!(HoldOfAnHour, 720, 1)),
        max_pending: timing.max_future_templates,
        max_template_age: timing.max_template_age,
        broadcast_interval: timing.job_broadcast_interval,
        upstream_stale_max: timing.upstream_stale_max,
        upstream_failure: config.gateway.upstream_failure_policy,
    }
}

pub(crate) fn session_settings(config: &Config) -> session::Settings {
    let (share, limits, vardiff) = (&config.share, &config.limits, &config.vardiff);
    session::Settings {
        auth: authenticator(config),
        validation: config.gateway.mode.validation_level(share.enhanced),
        version_rolling_mask: config.gateway.version_rolling_mask,
        extended_channels: config.gateway.extended_channels,
        group_addressing: config.gateway.group_addressing,
        extranonce_space: extranonce_space(&config.gateway),
        reconnect: config.gateway.reconnect.clone(),
        difficulty: session::DifficultySettings {
            initial: share.initial_difficulty,
            aim: Some(Aim {
                shares_per_minute: vardiff.target_shares_per_minute,
                interval: vardiff.retarget_interval,
            }),
            least: vardiff.min_difficulty,
            most: vardiff.max_difficulty,
        },
        ntime_window: match share.strict_ntime {
            true => session::NtimeWindow::Strict,
            false => session::NtimeWindow::DeFacto(config.timing.nonce_expire),
        },
        setup_timeout: SETUP_TIMEOUT,
        first_channel_timeout: FIRST_CHANNEL_TIMEOUT,
        idle_timeout: config.timing.channel_idle_timeout,
        max_channels: limits.max_channels_per_connection,
        max_workers: config.auth.max_workers_per_channel,
        max_frame_bytes: limits.max_frame_bytes,
        messages_per_second: limits.rate_limit_messages_per_sec,
        bytes_per_second: limits.rate_limit_bytes_per_sec,
        shares_per_second: limits.shares_per_second,
        ack_batch: share.ack_batch,
        ack_max_delay: share.ack_max_delay,
    }
}

fn extranonce_space(gateway: &GatewayConfig) -> ExtranonceSpace {
    match gateway.extranonce_index {
        Some(index) => ExtranonceSpace::of_index(index),
        None => ExtranonceSpace::of_instance(&InstanceId::new(&gateway.gateway_instance_id)),
    }
}

pub(crate) fn shared_bounds(config: &Config) -> SharedBounds {
    SharedBounds {
        replay_window: config.share.dedup_window_size,
        templates: config.timing.template_cache_size,
        channels: CHANNELS,
        workers: WORKERS,
    }
}

fn authenticator(config: &Config) -> auth::Authenticator {
    let mode = match &config.auth.mode {
        AuthMode::Open => auth::AuthMode::Open,
        AuthMode::Allowlist(names) => {
            let worker = |(username, password): (&String, &Option<_>)| auth::AllowedWorker {
                username: username.clone(),
                password: password.clone(),
            };
            auth::AuthMode::Allowlist(names.iter().map(worker).collect())
        }
        AuthMode::PrefixMap(prefixes) => {
            let rule = |(prefix, secret): (&String, &Option<_>)| auth::PrefixRule {
                prefix: prefix.clone(),
                secret: secret.clone(),
            };
            auth::AuthMode::PrefixMap(prefixes.iter().map(rule).collect())
        }
    };
    auth::Authenticator { mode, max_worker_id_bytes: config.auth.max_worker_id_bytes }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use gateway_core::session::NtimeWindow;

    use super::*;
    use crate::fake_disk::FakeDisk;

    fn settings(variables: &[(&str, &str)]) -> session::Settings {
        let given = [
            ("GATEWAY__GATEWAY__MODE", "observe"),
            ("GATEWAY__GATEWAY__UPSTREAM_URL", "http://127.0.0.1:1"),
            ("GATEWAY__GATEWAY__UPSTREAM_FAILURE_POLICY", "fail_open"),
            ("GATEWAY__SHARE__SHARE_UPSTREAM_URL", "http://127.0.0.1:2"),
            ("GATEWAY__SHARE__SHARE_UPSTREAM_SECRET", "s"),
            ("GATEWAY__AUTH__MODE", "open"),
            ("VELDRA_GATEWAY_ALLOW_OPEN_AUTH", "1"),
            ("VELDRA_ALLOW_PLAINTEXT", "1"),
        ];
        let environment: BTreeMap<_, _> = given
            .iter()
            .chain(variables)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        session_settings(&Config::from_toml("", &environment, &FakeDisk::default()).unwrap())
    }

    #[test]
    fn keys_reach_the_sessions() {
        let default = settings(&[]);
        assert!(!default.group_addressing);
        assert_eq!(default.ntime_window, NtimeWindow::DeFacto(Duration::from_secs(60)));
        let named = ExtranonceSpace::of_instance(&InstanceId::new("gateway"));
        assert_eq!(default.extranonce_space, named);
        let changed = settings(&[
            ("GATEWAY__GATEWAY__JOB_ADDRESSING", "group"),
            ("GATEWAY__GATEWAY__EXTRANONCE_INDEX", "7"),
            ("GATEWAY__GATEWAY__RECONNECT_ADDR", "other:3333"),
            ("GATEWAY__GATEWAY__RECONNECT_VENDORS", "proxy"),
            ("GATEWAY__SHARE__NTIME_WINDOW", "strict"),
        ]);
        assert!(changed.group_addressing);
        assert_eq!(changed.ntime_window, NtimeWindow::Strict);
        assert_eq!(changed.extranonce_space, ExtranonceSpace::of_index(7));
        assert_eq!(changed.reconnect.map(|to| to.vendors), Some(vec!["proxy".to_owned()]));
    }
}
