//! Who may mine.
//!
//! SV2 has no password field: a miner that needs a secret sends `name:secret` as its
//! `user_identity`. The secret never leaves this module.

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::ids::{WorkerId, sha256};
use crate::reason::WireError;

/// Turns a `user_identity` into a worker, or refuses it.
#[derive(Debug)]
pub struct Authenticator {
    /// Whom to accept.
    pub mode: AuthMode,
    /// Longest `user_identity` in bytes (`auth.max_worker_id_bytes`).
    pub max_worker_id_bytes: usize,
}

/// Whom to accept (`auth.mode`).
#[derive(Debug)]
pub enum AuthMode {
    /// The names listed.
    Allowlist(Vec<AllowedWorker>),
    /// Names that start with one of the prefixes; the longest that matches decides.
    PrefixMap(Vec<PrefixRule>),
    /// Everybody.
    Open,
}

/// One name of the allow list. It also covers `username.anything`, so that each machine of an
/// account can have a name of its own.
#[derive(Debug)]
pub struct AllowedWorker {
    /// The name.
    pub username: String,
    /// What must follow it; nothing is asked for if absent.
    pub password: Option<SecretString>,
}

/// One entry of the prefix map.
#[derive(Debug)]
pub struct PrefixRule {
    /// What the name starts with.
    pub prefix: String,
    /// What must follow the name; nothing is asked for if absent.
    pub secret: Option<SecretString>,
}

impl Authenticator {
    /// The worker that `user_identity` stands for.
    ///
    /// # Errors
    /// The answer for OpenMiningChannel.Error. A wrong secret and an unknown name look the same.
    pub fn authenticate(&self, user_identity: &[u8]) -> Result<WorkerId, WireError> {
        if user_identity.len() > self.max_worker_id_bytes {
            return Err(WireError::OpenIdentityTooLong);
        }
        let identity = std::str::from_utf8(user_identity)
            .ok()
            .filter(|text| !text.chars().any(char::is_control))
            .ok_or(WireError::OpenIdentityMalformed)?;
        let (name, secret) = identity.split_once(':').unwrap_or((identity, ""));
        if name.is_empty() {
            return Err(WireError::OpenIdentityMalformed);
        }
        match self.secret_of(name)? {
            Some(expected) if !is_same(expected, secret) => Err(WireError::OpenUnknownUser),
            _ => Ok(WorkerId::new(name)),
        }
    }

    /// Whether a worker that was accepted before is still one to accept.
    ///
    /// # Errors
    /// As for one that comes now, but that it is not asked for its secret again.
    pub fn recognize(&self, worker: &WorkerId) -> Result<(), WireError> {
        self.secret_of(worker.as_str()).map(drop)
    }

    /// What must follow this name, if it is one of ours.
    fn secret_of(&self, name: &str) -> Result<Option<&SecretString>, WireError> {
        let secret = match &self.mode {
            AuthMode::Open => &None,
            AuthMode::Allowlist(workers) => {
                &workers
                    .iter()
                    .find(|worker| covers(&worker.username, name))
                    .ok_or(WireError::OpenUnknownUser)?
                    .password
            }
            AuthMode::PrefixMap(rules) => {
                &rules
                    .iter()
                    .filter(|rule| name.starts_with(&rule.prefix))
                    .max_by_key(|rule| rule.prefix.len())
                    .ok_or(WireError::OpenUnknownPrefix)?
                    .secret
            }
        };
        Ok(secret.as_ref())
    }
}

fn covers(username: &str, name: &str) -> bool {
    name.strip_prefix(username).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Compares digests in constant time, so that neither content nor length of the secret shows in how
/// long it takes.
fn is_same(expected: &SecretString, given: &str) -> bool {
    let expected = sha256(&[expected.expose_secret().as_bytes()]);
    expected.ct_eq(&sha256(&[given.as_bytes()])).into()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn secret(text: &str) -> Option<SecretString> {
        Some(SecretString::from(text))
    }

    fn authenticator(mode: AuthMode) -> Authenticator {
        Authenticator { mode, max_worker_id_bytes: 24 }
    }

    fn allowlist() -> AuthMode {
        AuthMode::Allowlist(vec![
            AllowedWorker { username: "alice".into(), password: secret("tea:time") },
            AllowedWorker { username: "bob".into(), password: None },
        ])
    }

    fn prefix_map() -> AuthMode {
        AuthMode::PrefixMap(vec![
            PrefixRule { prefix: "site-".into(), secret: None },
            PrefixRule { prefix: "site-north-".into(), secret: secret("pine") },
        ])
    }

    #[rstest]
    #[case(allowlist(), "alice:tea:time", Ok("alice"))]
    #[case(allowlist(), "alice.rig1:tea:time", Ok("alice.rig1"))]
    #[case(allowlist(), "alice", Err(WireError::OpenUnknownUser))]
    #[case(allowlist(), "alice:tea", Err(WireError::OpenUnknownUser))]
    #[case(allowlist(), "alicex:tea:time", Err(WireError::OpenUnknownUser))]
    #[case(allowlist(), "bob:whatever", Ok("bob"))]
    #[case(allowlist(), "carol", Err(WireError::OpenUnknownUser))]
    #[case(prefix_map(), "site-south-1", Ok("site-south-1"))]
    #[case(prefix_map(), "site-north-1:pine", Ok("site-north-1"))]
    #[case(prefix_map(), "site-north-1", Err(WireError::OpenUnknownUser))]
    #[case(prefix_map(), "elsewhere", Err(WireError::OpenUnknownPrefix))]
    #[case(AuthMode::Open, "anyone:secret", Ok("anyone"))]
    #[case(AuthMode::Open, "", Err(WireError::OpenIdentityMalformed))]
    #[case(AuthMode::Open, ":secret", Err(WireError::OpenIdentityMalformed))]
    #[case(AuthMode::Open, "bell\u{7}", Err(WireError::OpenIdentityMalformed))]
    #[case(AuthMode::Open, "aaaaaaaaaaaaaaaaaaaaaaaaa", Err(WireError::OpenIdentityTooLong))]
    fn identities(
        #[case] mode: AuthMode,
        #[case] identity: &str,
        #[case] expected: Result<&str, WireError>,
    ) {
        let worker = authenticator(mode).authenticate(identity.as_bytes());
        assert_eq!(worker, expected.map(WorkerId::new));
    }

    #[test]
    fn bytes_that_are_no_text_are_malformed() {
        let worker = authenticator(AuthMode::Open).authenticate(&[0xff, b'a']);
        assert_eq!(worker, Err(WireError::OpenIdentityMalformed));
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        assert!(!format!("{:?}", authenticator(allowlist())).contains("tea"));
    }
}
