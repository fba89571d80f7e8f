//! Keys for a new gateway.

use std::time::Duration;

use platform::Env;
use sv2_noise::{AuthorityPublicKey, AuthoritySecretKey, KeyError, StaticKey, Validity};
use zeroize::Zeroizing;

use crate::noise_identity::{mint, seconds};

/// What a gateway needs to serve miners, each in the text form of its file.
pub struct KeySet {
    /// `noise.noise_key_file`: secret.
    pub noise_key: Zeroizing<String>,
    /// `noise.noise_cert_file`.
    pub certificate: String,
    /// `noise.authority_public_key_file`; miners need it to know the gateway.
    pub authority_public_key: AuthorityPublicKey,
    /// The authority's secret key where it was made here: it belongs on a machine of its own.
    pub new_authority_key: Option<Zeroizing<String>>,
}

/// Makes a Noise key and a certificate for it, signed by `authority_key` or by a new authority.
///
/// # Errors
/// `authority_key` is none.
pub fn generate(
    env: &Env,
    authority_key: Option<&str>,
    validity: Duration,
    backdate: Duration,
) -> Result<KeySet, KeyError> {
    let mut entropy = |bytes: &mut [u8]| env.rng.fill(bytes);
    let (authority, new_authority_key) = match authority_key {
        Some(text) => (AuthoritySecretKey::parse(text)?, None),
        None => {
            let authority = AuthoritySecretKey::generate(&mut entropy);
            let text = authority.to_secret_text();
            (authority, Some(text))
        }
    };
    let key = StaticKey::generate(&mut entropy);
    let now = env.wall.unix_ms() / 1000;
    let validity = Validity {
        valid_from: seconds(now.saturating_sub(backdate.as_secs())),
        not_valid_after: seconds(now.saturating_add(validity.as_secs())),
    };
    Ok(KeySet {
        noise_key: key.to_secret_text(),
        certificate: mint(&authority, &key, validity, env).to_string(),
        authority_public_key: authority.public(),
        new_authority_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CertificateSource, NoiseConfig};
    use crate::fake_disk::{FakeDisk, env};
    use crate::noise_identity::load;

    const DAY: Duration = Duration::from_secs(86_400);

    fn config() -> NoiseConfig {
        NoiseConfig {
            key_file: "noise.key".into(),
            authority_public_key_file: "authority.pub".into(),
            certificate: CertificateSource::File("noise.cert".into()),
        }
    }

    #[tokio::test]
    async fn generated_keys_are_loaded_and_fit_together() {
        let disk = FakeDisk::default();
        let env = env(&disk);
        let keys = generate(&env, None, DAY, DAY).unwrap();
        disk.put("noise.key", keys.noise_key.as_bytes());
        disk.put("noise.cert", format!("{}\n", keys.certificate).as_bytes());
        disk.put("authority.pub", keys.authority_public_key.to_string().as_bytes());
        assert!(load(&config(), &env).is_ok());

        let authority = keys.new_authority_key.unwrap();
        let again = generate(&env, Some(&authority), DAY, DAY).unwrap();
        assert_eq!(again.authority_public_key, keys.authority_public_key);
        assert!(again.new_authority_key.is_none());
        // A certificate for another key does not pass.
        disk.put("noise.cert", again.certificate.as_bytes());
        let error = load(&config(), &env).err().unwrap().to_string();
        assert!(error.contains("does not fit"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_key_file_is_named() {
        let error = load(&config(), &env(&FakeDisk::default())).err().unwrap().to_string();
        assert!(error.starts_with("noise.key: cannot be read"), "{error}");
    }
}
