//! The primitives that `snow` does not bring: ElligatorSwift Diffie-Hellman on secp256k1, and
//! ChaCha20-Poly1305 and SHA-256 from `ring`, whose AEAD is several times faster on the short
//! frames of mining than the portable one.

use bitcoin::secp256k1::SecretKey;
use bitcoin::secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::digest;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

use crate::keys::SECP;

/// Length of an ElligatorSwift encoding in bytes.
const ENCODING_LEN: usize = 64;
/// Length of a Diffie-Hellman result in bytes.
pub(crate) const SHARED_SECRET_LEN: usize = 32;
/// Length of an authentication tag in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Which side of the handshake this is. The shared secret commits to the initiator's encoding
/// first, so Diffie-Hellman has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// Hands `snow` the primitives for one handshake.
pub(crate) struct Resolver {
    pub(crate) role: Role,
    /// From [`draw_ephemeral`](crate::keys::draw_ephemeral).
    pub(crate) ephemeral: Zeroizing<[u8; 64]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneEphemeral { material: self.ephemeral.clone(), used: 0 }))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(EllSwiftDh::new(self.role)))
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Sha256(digest::Context::new(&digest::SHA256))))
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly { key: None }))
    }
}

/// The randomness of one handshake, drawn beforehand: exactly what one ephemeral key takes.
struct OneEphemeral {
    material: Zeroizing<[u8; 64]>,
    used: usize,
}

impl Random for OneEphemeral {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let next = self.material.get(self.used..self.used + out.len()).ok_or(Error::Rng)?;
        out.copy_from_slice(next);
        self.used += out.len();
        Ok(())
    }
}

/// BIP324's Diffie-Hellman: x-only ECDH between ElligatorSwift encodings. The "private key" is the
/// secret followed by the public encoding, so that a static key's is computed once.
pub(crate) struct EllSwiftDh {
    role: Role,
    private: Zeroizing<[u8; 32 + ENCODING_LEN]>,
}

impl EllSwiftDh {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, private: Zeroizing::new([0; 32 + ENCODING_LEN]) }
    }

    fn encoding(&self) -> ElligatorSwift {
        ElligatorSwift::from_array(
            self.private[32..].try_into().expect("the encoding follows 32 bytes of secret"),
        )
    }
}

impl Dh for EllSwiftDh {
    fn name(&self) -> &'static str {
        "Secp256k1+EllSwift"
    }

    fn pub_len(&self) -> usize {
        ENCODING_LEN
    }

    fn priv_len(&self) -> usize {
        self.private.len()
    }

    /// Without this, 64 bytes of which half are zero would enter the key schedule, and the peer
    /// alone would notice, by a decryption failure.
    fn dh_len(&self) -> usize {
        SHARED_SECRET_LEN
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        let mut aux = [0; 32];
        rng.try_fill_bytes(secret.as_mut())?;
        rng.try_fill_bytes(&mut aux)?;
        let mut key = SecretKey::from_slice(secret.as_ref()).map_err(|_| Error::Dh)?;
        let encoding = ElligatorSwift::from_seckey(&SECP, key, Some(aux));
        key.non_secure_erase();
        self.private[..32].copy_from_slice(secret.as_ref());
        self.private[32..].copy_from_slice(&encoding.to_array());
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.private[32..]
    }

    fn privkey(&self) -> &[u8] {
        self.private.as_ref()
    }

    fn dh(&self, theirs: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let theirs = theirs.first_chunk::<ENCODING_LEN>().ok_or(Error::Dh)?;
        let theirs = ElligatorSwift::from_array(*theirs);
        let mut key = SecretKey::from_slice(&self.private[..32]).map_err(|_| Error::Dh)?;
        let ours = self.encoding();
        let (a, b, party) = match self.role {
            Role::Initiator => (ours, theirs, ElligatorSwiftParty::A),
            Role::Responder => (theirs, ours, ElligatorSwiftParty::B),
        };
        let shared = ElligatorSwift::shared_secret(a, b, key, party, None);
        key.non_secure_erase();
        out[..SHARED_SECRET_LEN].copy_from_slice(shared.as_secret_bytes());
        Ok(())
    }
}

/// ChaCha20-Poly1305 with the nonce of the Noise specification: four zero bytes, then the counter
/// in little-endian order.
struct ChaChaPoly {
    key: Option<LessSafeKey>,
}

impl ChaChaPoly {
    fn key(&self) -> &LessSafeKey {
        self.key.as_ref().expect("snow asks for nothing before it has set the key")
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes");
        self.key = Some(LessSafeKey::new(key));
    }

    fn encrypt(&self, counter: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        let tag = self
            .key()
            .seal_in_place_separate_tag(nonce(counter), Aad::from(ad), text)
            .expect("a Noise message is far below the cipher's limit");
        rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        counter: u64,
        ad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (text, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(text);
        self.key()
            .open_in_place_separate_tag(nonce(counter), Aad::from(ad), Tag::from(*tag), out, 0..)
            .map_err(|_| Error::Decrypt)?;
        Ok(text.len())
    }
}

struct Sha256(digest::Context);

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        digest::SHA256_OUTPUT_LEN
    }

    fn reset(&mut self) {
        self.0 = digest::Context::new(&digest::SHA256);
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let context = std::mem::replace(&mut self.0, digest::Context::new(&digest::SHA256));
        out[..digest::SHA256_OUTPUT_LEN].copy_from_slice(context.finish().as_ref());
    }
}
