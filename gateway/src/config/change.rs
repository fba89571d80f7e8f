//! What a reload changes, and what has to wait for a restart.

use std::collections::BTreeMap;

use super::classes::Class;
use super::keys::{EscapeHatch, KEYS, Key};
use super::{Config, ConfigProblem, Setting, is_loopback_address};

impl Config {
    /// The values of these keys, however they were set: equal where nothing changed.
    pub(crate) fn values_of(&self, keys: &[&str]) -> Vec<Setting> {
        let of = |setting: &&Setting| keys.contains(&setting.table_key().path);
        self.settings.iter().filter(of).cloned().collect()
    }

    /// The keys whose values differ from `old`, in the order of the table.
    pub(crate) fn changed_from(&self, old: &Self) -> Vec<&'static Key> {
        let changed = |key: &&Key| self.values_of(&[key.path]) != old.values_of(&[key.path]);
        KEYS.iter().filter(changed).collect()
    }

    /// Takes over from `old` what only a restart changes.
    ///
    /// # Errors
    /// What would be unsafe with the old values.
    pub(crate) fn keep_until_restart(&mut self, old: &Self) -> Result<(), ConfigProblem> {
        let exposed = !is_loopback_address(&old.gateway.http_addr);
        let unguarded = self.gateway.http_api_key.is_none();
        if exposed && unguarded && !self.hatches.contains(&EscapeHatch::NoApiKey) {
            let address = &old.gateway.http_addr;
            let problem =
                format!("is missing while {address} is listened on; keep it until the restart");
            return Err(ConfigProblem { key: "gateway.http_api_key".to_owned(), problem });
        }
        self.gateway.listen_addr.clone_from(&old.gateway.listen_addr);
        self.gateway.http_addr.clone_from(&old.gateway.http_addr);
        self.gateway.gateway_instance_id.clone_from(&old.gateway.gateway_instance_id);
        self.gateway.upstream_url.clone_from(&old.gateway.upstream_url);
        self.timing.template_cache_size = old.timing.template_cache_size;
        self.share.dedup_window_size = old.share.dedup_window_size;
        self.log = old.log.clone();
        self.limits.max_event_subscribers = old.limits.max_event_subscribers;
        self.telemetry = old.telemetry.clone();
        self.keep_settings(old);
        Ok(())
    }

    /// Shows the values in force, not those that wait.
    fn keep_settings(&mut self, old: &Self) {
        let waits = |setting: &&Setting| setting.table_key().class() == Class::Restart;
        let kept: BTreeMap<&str, &Setting> = old
            .settings
            .iter()
            .filter(waits)
            .map(|setting| (setting.key.as_str(), setting))
            .collect();
        for setting in &mut self.settings {
            if let Some(old) = kept.get(setting.key.as_str()) {
                *setting = (*old).clone();
            }
        }
    }
}

impl Setting {
    /// The key that it sets, also where it names the file of a secret.
    pub fn table_key(&self) -> &'static Key {
        let exact = |path: &str| KEYS.iter().find(|key| key.path == path);
        exact(&self.key)
            .or_else(|| exact(self.key.strip_suffix("_file")?))
            .expect("settings are made from the table")
    }
}
