//! Annotated configurations, one for each way to run a gateway.

use super::config::values;
use crate::config::{KEYS, Key, Presence, SECTIONS};

/// A way to run a gateway.
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    intro: &'static str,
    /// What it sets, as TOML.
    set: &'static [(&'static str, &'static str)],
}

/// Every profile.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "regtest",
        intro: "Everything on one machine with a regtest node: docs/regtest.md walks through it.",
        set: &[
            ("gateway.mode", "\"inline\""),
            ("gateway.listen_addr", "\"127.0.0.1:3333\""),
            ("gateway.upstream_url", "\"http://127.0.0.1:8082\""),
            ("gateway.upstream_failure_policy", "\"fail_closed\""),
            ("noise.noise_key_file", "\"keys/noise.key\""),
            ("noise.noise_cert_file", "\"keys/noise.cert\""),
            ("noise.authority_public_key_file", "\"keys/authority.pub\""),
            ("share.share_upstream_url", "\"http://127.0.0.1:9000/shares\""),
            ("share.share_upstream_secret_file", "\"share.secret\""),
            ("share.initial_difficulty", "1e-9"),
            ("auth.mode", "\"prefix_map\""),
            ("auth.prefix_map", "[{ prefix = \"regtest.\" }]"),
            ("vardiff.min_difficulty", "1e-9"),
        ],
    },
    Profile {
        name: "shadow",
        intro: "Beside a pool that runs already: templates are judged, no miner is served.",
        set: &[
            ("gateway.mode", "\"shadow\""),
            ("gateway.upstream_url", "\"http://127.0.0.1:8082\""),
            ("gateway.upstream_failure_policy", "\"fail_open\""),
            ("gateway.payout_outputs", PAYOUT),
            ("noise.noise_key_file", "\"/etc/assay/noise.key\""),
            ("noise.noise_cert_file", "\"/etc/assay/noise.cert\""),
            ("noise.authority_public_key_file", "\"/etc/assay/authority.pub\""),
            ("share.share_upstream_url", "\"https://pool.example/shares\""),
            ("share.share_upstream_secret_file", "\"/etc/assay/share.secret\""),
            ("auth.mode", "\"prefix_map\""),
            ("auth.prefix_map", "[{ prefix = \"pool.\" }]"),
            ("log.path", "\"/var/lib/assay/log\""),
        ],
    },
    Profile {
        name: "observe",
        intro: "Miners are served at once; verdicts are recorded and gate nothing.",
        set: &[
            ("gateway.mode", "\"observe\""),
            ("gateway.upstream_url", "\"http://127.0.0.1:8082\""),
            ("gateway.upstream_failure_policy", "\"fail_open\""),
            ("gateway.payout_outputs", PAYOUT),
            ("noise.noise_key_file", "\"/etc/assay/noise.key\""),
            ("noise.noise_cert_file", "\"/etc/assay/noise.cert\""),
            ("noise.authority_public_key_file", "\"/etc/assay/authority.pub\""),
            ("share.share_upstream_url", "\"https://pool.example/shares\""),
            ("share.share_upstream_secret_file", "\"/etc/assay/share.secret\""),
            ("auth.mode", "\"prefix_map\""),
            ("auth.prefix_map", "[{ prefix = \"pool.\" }]"),
            ("log.path", "\"/var/lib/assay/log\""),
        ],
    },
    Profile {
        name: "inline-production",
        intro: "No job without an accepting verdict, guarded HTTP off loopback, logs for machines.",
        set: &[
            ("gateway.mode", "\"inline\""),
            ("gateway.http_addr", "\"0.0.0.0:8080\""),
            ("gateway.http_api_key_file", "\"/etc/assay/http-api.key\""),
            ("gateway.http_tls_cert_file", "\"/etc/assay/tls.cert\""),
            ("gateway.http_tls_key_file", "\"/etc/assay/tls.key\""),
            ("gateway.verifier_addr", "\"verifier-1.example:5001, verifier-2.example:5001\""),
            ("gateway.verifier_tls_cert_file", "\"/etc/assay/link.cert\""),
            ("gateway.verifier_tls_key_file", "\"/etc/assay/link.key\""),
            ("gateway.verifier_tls_ca_file", "\"/etc/assay/verifiers.cert\""),
            ("gateway.https_ca_file", "\"/etc/assay/templates.cert\""),
            ("gateway.upstream_url", "\"https://templates.example:8082\""),
            ("gateway.upstream_failure_policy", "\"fail_closed\""),
            ("gateway.gateway_instance_id", "\"gateway-1\""),
            ("gateway.payout_outputs", PAYOUT),
            ("noise.noise_key_file", "\"/etc/assay/noise.key\""),
            ("noise.noise_cert_file", "\"/etc/assay/noise.cert\""),
            ("noise.authority_public_key_file", "\"/etc/assay/authority.pub\""),
            ("share.share_upstream_url", "\"https://pool.example/shares\""),
            ("share.share_upstream_secret_file", "\"/etc/assay/share.secret\""),
            ("share.validation", "\"enhanced\""),
            ("auth.mode", "\"allowlist\""),
            (
                "auth.allowlist",
                "[{ username = \"farm-1\", password_file = \"/etc/assay/farm-1.secret\" }]",
            ),
            ("log.path", "\"/var/lib/assay/log\""),
            ("telemetry.log_format", "\"json\""),
        ],
    },
];

/// The address of BIP 173's examples.
const PAYOUT: &str = "[{ address = \"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\" }]";

/// The profile's configuration: what it sets, and every other key with its default in a comment.
pub(super) fn file(profile: &Profile) -> String {
    let Profile { name, intro, .. } = profile;
    let mut text = format!(
        "# {name}: {intro}\n\
         # Generated by `gateway reference`. Lines that begin with \"# \" and a key show defaults.\n"
    );
    for section in SECTIONS {
        text.push_str(&format!("\n[{section}]\n"));
        for key in KEYS.iter().filter(|key| key.section() == section) {
            text.push_str(&lines(profile, key));
        }
    }
    text
}

fn lines(profile: &Profile, key: &Key) -> String {
    let doc = format!("# {} ({}; {})\n", key.doc, values(key.kind), key.class().as_str());
    let set = |suffix: &str| {
        let path = format!("{}{suffix}", key.path);
        let value = profile.set.iter().find(|(set, _)| *set == path)?.1;
        Some(format!("{}{suffix} = {value}\n", key.name()))
    };
    let default = || match key.presence {
        Presence::Default(value) => format!("# {} = {value}\n", key.name()),
        Presence::Required | Presence::Optional => format!("# {} =\n", key.name()),
    };
    doc + &set("").or_else(|| set("_file")).unwrap_or_else(default)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::fake_disk::{self, FakeDisk};
    use crate::gen_keys;

    #[test]
    fn every_example_passes_where_its_files_exist() {
        let disk = FakeDisk::default();
        let env = fake_disk::env(&disk);
        let day = Duration::from_secs(86_400);
        let keys = gen_keys::generate(&env, None, day, day).unwrap();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let authority = keys.authority_public_key.to_string();
        for directory in ["keys", "/etc/assay"] {
            disk.put(&format!("{directory}/noise.key"), keys.noise_key.as_bytes());
            disk.put(&format!("{directory}/noise.cert"), keys.certificate.as_bytes());
            disk.put(&format!("{directory}/authority.pub"), authority.as_bytes());
        }
        for name in ["tls.cert", "link.cert", "verifiers.cert", "templates.cert"] {
            disk.put(&format!("/etc/assay/{name}"), pair.cert.pem().as_bytes());
        }
        for name in ["tls.key", "link.key"] {
            let key = pair.signing_key.serialize_pem();
            disk.put(&format!("/etc/assay/{name}"), key.as_bytes());
        }
        for name in ["http-api.key", "share.secret", "farm-1.secret"] {
            disk.put(&format!("/etc/assay/{name}"), b"a secret");
        }
        disk.put("share.secret", b"a secret");
        for profile in PROFILES {
            let read = Config::read(&file(profile), &BTreeMap::new(), &env);
            assert!(read.is_ok(), "{}: {:?}", profile.name, read.err());
            for (key, _) in profile.set {
                let name = key.split_once('.').unwrap().1;
                let line = format!("\n{name} = ");
                assert!(file(profile).contains(&line), "{key} is no key");
            }
        }
    }
}
