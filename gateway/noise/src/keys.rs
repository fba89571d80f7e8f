//! Keys and their text forms.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use bitcoin::base58;
use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::secp256k1::ellswift::ElligatorSwift;
use bitcoin::secp256k1::{All, Keypair, Secp256k1, SecretKey, XOnlyPublicKey};
use zeroize::Zeroizing;

/// Where randomness comes from: fills the whole slice with bytes nobody can predict.
pub type Entropy<'a> = dyn FnMut(&mut [u8]) + 'a;

/// One context for all operations: making one costs more than a signature.
pub(crate) static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// In front of a public key's 32 bytes in its text form: version 1, little-endian.
const PUBLIC_KEY_PREFIX: [u8; 2] = [1, 0];

/// Why a key cannot be read. The key itself is never part of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret key is neither 64 hexadecimal digits nor base58check of 32 bytes.
    #[error(
        "secret key is neither 64 hex digits nor base58check of 32 bytes; make one with gen-keys"
    )]
    SecretForm,
    /// A secret key is 0 or not below the order of the curve.
    #[error("secret key is outside the range of the curve; make one with gen-keys")]
    SecretRange,
    /// An authority public key is not base58check, or its checksum is wrong.
    #[error("authority public key is not base58check; copy it again, it ends with a checksum")]
    PublicForm,
    /// The decoded authority public key is not a two-byte version and 32 bytes of key.
    #[error("authority public key decodes to {0} bytes instead of 34")]
    PublicLength(usize),
    /// The decoded authority public key has another version than 1.
    #[error("authority public key has version {0}; only version 1 is known")]
    PublicVersion(u16),
    /// The 32 bytes are not the x coordinate of a point.
    #[error("authority public key is not a point of the curve")]
    NotOnCurve,
}

/// A secret key of the curve, checked when made and wiped when dropped.
#[derive(Clone)]
struct Scalar(Zeroizing<[u8; 32]>);

impl Scalar {
    /// Draws until the bytes are a key, which the first 32 all but always are.
    fn draw(entropy: &mut Entropy<'_>) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            entropy(bytes.as_mut());
            if let Ok(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SecretKey::from_slice(bytes)
            .map(|mut key| key.non_secure_erase())
            .map_err(|_| KeyError::SecretRange)?;
        Ok(Self(Zeroizing::new(*bytes)))
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; 32]);
        if text.len() == 64 {
            *bytes = FromHex::from_hex(text).map_err(|_| KeyError::SecretForm)?;
        } else {
            let decoded = base58::decode_check(text).map_err(|_| KeyError::SecretForm)?;
            let decoded = Zeroizing::new(decoded);
            *bytes = decoded.as_slice().try_into().map_err(|_| KeyError::SecretForm)?;
        }
        Self::from_bytes(&bytes)
    }

    fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_lower_hex_string())
    }

    fn with_key<R>(&self, use_key: impl FnOnce(SecretKey) -> R) -> R {
        let mut key = SecretKey::from_slice(self.0.as_ref()).expect("checked when made");
        let result = use_key(key);
        key.non_secure_erase();
        result
    }

    fn with_pair<R>(&self, use_pair: impl FnOnce(&Keypair) -> R) -> R {
        self.with_key(|key| {
            let mut pair = Keypair::from_secret_key(&SECP, &key);
            let result = use_pair(&pair);
            pair.non_secure_erase();
            result
        })
    }
}

/// A server's static key. Its text form, for a file, is 64 hexadecimal digits.
#[derive(Clone)]
pub struct StaticKey {
    scalar: Scalar,
    encoding: [u8; 64],
}

impl StaticKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate(entropy: &mut Entropy<'_>) -> Self {
        Self::from_scalar(Scalar::draw(entropy))
    }

    /// Reads the text form, or the base58check that other implementations write. White space
    /// around it is ignored.
    ///
    /// # Errors
    /// [`KeyError::SecretForm`] or [`KeyError::SecretRange`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Scalar::parse(text).map(Self::from_scalar)
    }

    /// The text form. Whoever reads it can pass for the server.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        self.scalar.to_hex()
    }

    /// The public key, as a certificate names it.
    #[must_use]
    pub fn public(&self) -> XOnlyPublicKey {
        self.scalar.with_pair(|pair| pair.x_only_public_key().0)
    }

    /// The secret and, so that it need not be computed again for each connection, the
    /// ElligatorSwift encoding of the public key.
    pub(crate) fn secret_and_encoding(&self) -> Zeroizing<[u8; 96]> {
        let mut both = Zeroizing::new([0; 96]);
        both[..32].copy_from_slice(self.scalar.0.as_ref());
        both[32..].copy_from_slice(&self.encoding);
        both
    }

    fn from_scalar(scalar: Scalar) -> Self {
        // The encoding is only ever sent encrypted, so it need not hide that it encodes a key.
        let encoding =
            scalar.with_key(|key| ElligatorSwift::from_seckey(&SECP, key, None).to_array());
        Self { scalar, encoding }
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// The key that signs certificates. Kept offline; its text form is 64 hexadecimal digits.
#[derive(Clone)]
pub struct AuthoritySecretKey(Scalar);

impl AuthoritySecretKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate(entropy: &mut Entropy<'_>) -> Self {
        Self(Scalar::draw(entropy))
    }

    /// Reads the text form, or the base58check that other implementations write. White space
    /// around it is ignored.
    ///
    /// # Errors
    /// [`KeyError::SecretForm`] or [`KeyError::SecretRange`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Scalar::parse(text).map(Self)
    }

    /// The text form. Whoever reads it can sign for any server of the authority.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        self.0.to_hex()
    }

    /// The public key that miners are configured with.
    #[must_use]
    pub fn public(&self) -> AuthorityPublicKey {
        AuthorityPublicKey(self.0.with_pair(|pair| pair.x_only_public_key().0))
    }

    pub(crate) fn with_pair<R>(&self, use_pair: impl FnOnce(&Keypair) -> R) -> R {
        self.0.with_pair(use_pair)
    }
}

impl fmt::Debug for AuthoritySecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthoritySecretKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// The key by which miners know a pool (specification 4.7). Its text form is base58check over
/// the version 1 and the 32-byte x coordinate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityPublicKey(pub XOnlyPublicKey);

impl FromStr for AuthorityPublicKey {
    type Err = KeyError;

    /// Reads the text form. White space around it is ignored.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = base58::decode_check(text.trim()).map_err(|_| KeyError::PublicForm)?;
        let Some((version, key)) =
            bytes.split_first_chunk::<2>().filter(|(_, key)| key.len() == 32)
        else {
            return Err(KeyError::PublicLength(bytes.len()));
        };
        if *version != PUBLIC_KEY_PREFIX {
            return Err(KeyError::PublicVersion(u16::from_le_bytes(*version)));
        }
        XOnlyPublicKey::from_slice(key).map(Self).map_err(|_| KeyError::NotOnCurve)
    }
}

impl fmt::Display for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = PUBLIC_KEY_PREFIX.to_vec();
        bytes.extend_from_slice(&self.0.serialize());
        f.write_str(&base58::encode_check(&bytes))
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityPublicKey({self})")
    }
}

/// The material of one ephemeral key: 32 bytes that are a valid secret key, then 32 that
/// randomise its encoding.
pub(crate) fn draw_ephemeral(entropy: &mut Entropy<'_>) -> Zeroizing<[u8; 64]> {
    let mut material = Zeroizing::new([0; 64]);
    material[..32].copy_from_slice(Scalar::draw(entropy).0.as_ref());
    entropy(&mut material[32..]);
    material
}
