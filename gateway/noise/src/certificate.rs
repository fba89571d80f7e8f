//! The certificate by which an authority vouches for a server's static key: the specification's
//! `SIGNATURE_NOISE_MESSAGE` (4.5.3).

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::{DisplayHex, FromHex};
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, XOnlyPublicKey};

use crate::keys::{AuthorityPublicKey, AuthoritySecretKey, Entropy, SECP};

/// The only version in existence. The specification names none; every implementation uses 0.
const VERSION: u16 = 0;

/// How far the clocks of both sides may differ around the ends of the validity, in seconds.
pub const CLOCK_LEEWAY_SECS: u32 = 10;

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text form is not the 148 hexadecimal digits of 74 bytes.
    #[error("certificate is not 148 hex digits; mint one with gen-keys")]
    Form,
    /// Another version than 0.
    #[error("certificate version {0} is unknown; only version 0 is")]
    Version(u16),
    /// The validity has not begun, even allowing for the leeway.
    #[error("certificate is valid from {valid_from}, {} s ahead; check the clocks of both sides",
        u64::from(*.valid_from).saturating_sub(*.now))]
    NotYetValid {
        /// Start of the validity, unix seconds.
        valid_from: u32,
        /// The time it was judged at, unix seconds.
        now: u64,
    },
    /// The validity is over, even allowing for the leeway.
    #[error("certificate expired at {not_valid_after}, {} s ago; mint a new one or check the clocks",
        .now.saturating_sub(u64::from(*.not_valid_after)))]
    Expired {
        /// End of the validity, unix seconds.
        not_valid_after: u32,
        /// The time it was judged at, unix seconds.
        now: u64,
    },
    /// The signature is not the authority's over this static key and validity.
    #[error("certificate is not signed by the expected authority for this static key")]
    Signature,
}

/// The span of unix seconds in which a certificate is good, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second. Put it some time before now: miners with slow clocks are common.
    pub valid_from: u32,
    /// Last second.
    pub not_valid_after: u32,
}

/// An authority's signature over a server's static key for a span of time. Not secret. Its text
/// form, for a file, is 148 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    version: u16,
    validity: Validity,
    signature: [u8; 64],
}

impl Certificate {
    /// Length of the wire form in bytes.
    pub const LEN: usize = 74;

    /// Signs `server` for the span `validity`.
    #[must_use]
    pub fn mint(
        authority: &AuthoritySecretKey,
        server: &XOnlyPublicKey,
        validity: Validity,
        entropy: &mut Entropy<'_>,
    ) -> Self {
        let mut aux = [0; 32];
        entropy(&mut aux);
        let message = signed_message(VERSION, validity, server);
        let signature = authority
            .with_pair(|pair| SECP.sign_schnorr_with_aux_rand(&message, pair, &aux).serialize());
        Self { version: VERSION, validity, signature }
    }

    /// Judges whether `authority` vouches for `server` at the unix time `now`, in seconds.
    ///
    /// # Errors
    /// The first of version, validity and signature that does not hold.
    pub fn verify(
        &self,
        server: &XOnlyPublicKey,
        authority: &AuthorityPublicKey,
        now: u64,
    ) -> Result<(), CertificateError> {
        if self.version != VERSION {
            return Err(CertificateError::Version(self.version));
        }
        let Validity { valid_from, not_valid_after } = self.validity;
        let leeway = u64::from(CLOCK_LEEWAY_SECS);
        if now.saturating_add(leeway) < u64::from(valid_from) {
            return Err(CertificateError::NotYetValid { valid_from, now });
        }
        if now > u64::from(not_valid_after) + leeway {
            return Err(CertificateError::Expired { not_valid_after, now });
        }
        let signature =
            Signature::from_slice(&self.signature).map_err(|_| CertificateError::Signature)?;
        let message = signed_message(self.version, self.validity, server);
        SECP.verify_schnorr(&signature, &message, &authority.0)
            .map_err(|_| CertificateError::Signature)
    }

    /// The span in which it is good.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The wire form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..10].copy_from_slice(&signed_prefix(self.version, self.validity));
        bytes[10..].copy_from_slice(&self.signature);
        bytes
    }

    /// Reads the wire form. Any bytes are a certificate until they are verified.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let four = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a range of four bytes"))
        };
        Self {
            version: u16::from_le_bytes([bytes[0], bytes[1]]),
            validity: Validity { valid_from: four(2), not_valid_after: four(6) },
            signature: bytes[10..].try_into().expect("74 bytes less 10"),
        }
    }
}

impl FromStr for Certificate {
    type Err = CertificateError;

    /// Reads the text form. White space around it is ignored.
    fn from_str(text: &str) -> Result<Self, CertificateError> {
        let bytes = FromHex::from_hex(text.trim()).map_err(|_| CertificateError::Form)?;
        Ok(Self::from_bytes(&bytes))
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.to_bytes().as_hex())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("version", &self.version)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

fn signed_prefix(version: u16, validity: Validity) -> [u8; 10] {
    let mut prefix = [0; 10];
    prefix[..2].copy_from_slice(&version.to_le_bytes());
    prefix[2..6].copy_from_slice(&validity.valid_from.to_le_bytes());
    prefix[6..].copy_from_slice(&validity.not_valid_after.to_le_bytes());
    prefix
}

/// The 32-byte BIP340 message: SHA-256 over version, validity and the server's x-only key.
fn signed_message(version: u16, validity: Validity, server: &XOnlyPublicKey) -> Message {
    let mut bytes = signed_prefix(version, validity).to_vec();
    bytes.extend_from_slice(&server.serialize());
    Message::from_digest(sha256::Hash::hash(&bytes).to_byte_array())
}
