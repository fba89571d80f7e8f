//! The two acts of the NX handshake (specification 4.5).

use bitcoin::secp256k1::PublicKey;
use bitcoin::secp256k1::ellswift::ElligatorSwift;
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList, HandshakePattern,
    HashChoice, NoiseParams,
};
use snow::{Builder, HandshakeState};

use crate::certificate::{Certificate, CertificateError};
use crate::keys::{AuthorityPublicKey, Entropy, StaticKey, draw_ephemeral};
use crate::resolver::{Resolver, Role, TAG_LEN};
use crate::transport::Transport;

/// Act 1: the initiator's ephemeral key.
pub const ACT_1_LEN: usize = 64;
/// Act 2: the responder's ephemeral key, its encrypted static key and its encrypted certificate.
pub const ACT_2_LEN: usize = 64 + (64 + 16) + (Certificate::LEN + 16);

/// What both sides hash first. `snow` cannot parse the name, so it gets it beside placeholders.
pub(crate) const PROTOCOL_NAME: &str = "Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer's act does not authenticate: it is no Noise peer, or something in between has
    /// changed the bytes.
    #[error("handshake act does not authenticate")]
    Authentication,
    /// The responder's certificate is not acceptable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The Noise library refused what this crate asked of it: our fault, and never expected.
    #[error("noise library: {0}")]
    Internal(String),
}

impl From<snow::Error> for HandshakeError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Decrypt => Self::Authentication,
            other => Self::Internal(other.to_string()),
        }
    }
}

/// The server's side of a handshake, awaiting act 1.
pub struct Responder {
    state: HandshakeState,
    certificate: [u8; Certificate::LEN],
}

impl Responder {
    /// Prepares for one connection. The certificate is sent as it is, never signed here.
    ///
    /// # Errors
    /// [`HandshakeError::Internal`] only.
    pub fn new(
        static_key: &StaticKey,
        certificate: &Certificate,
        entropy: &mut Entropy<'_>,
    ) -> Result<Self, HandshakeError> {
        let private = static_key.secret_and_encoding();
        let state = builder(Role::Responder, entropy)
            .local_private_key(private.as_ref())?
            .build_responder()?;
        Ok(Self { state, certificate: certificate.to_bytes() })
    }

    /// Takes act 1 and answers it. The length is part of the type because `snow` would take more
    /// bytes for a payload behind the key. Any 64 bytes are a key, so that garbage shows only
    /// when the first frame does not authenticate.
    ///
    /// # Errors
    /// [`HandshakeError::Internal`] only.
    pub fn act_1(
        mut self,
        act_1: &[u8; ACT_1_LEN],
    ) -> Result<([u8; ACT_2_LEN], Transport), HandshakeError> {
        self.state.read_message(act_1, &mut [])?;
        let mut act_2 = [0; ACT_2_LEN];
        self.state.write_message(&self.certificate, &mut act_2)?;
        Ok((act_2, Transport::noise(self.state.into_stateless_transport_mode()?)))
    }
}

/// The miner's side of a handshake, awaiting act 2.
pub struct Initiator {
    state: HandshakeState,
    authority: Option<AuthorityPublicKey>,
}

impl Initiator {
    /// Starts a handshake and returns it with act 1 to send. Without an `authority` the connection
    /// is encrypted but nothing proves who the server is.
    ///
    /// # Errors
    /// [`HandshakeError::Internal`] only.
    pub fn new(
        authority: Option<AuthorityPublicKey>,
        entropy: &mut Entropy<'_>,
    ) -> Result<(Self, [u8; ACT_1_LEN]), HandshakeError> {
        let mut state = builder(Role::Initiator, entropy).build_initiator()?;
        // `snow` asks for room for a tag although nothing is encrypted yet.
        let mut message = [0; ACT_1_LEN + TAG_LEN];
        state.write_message(&[], &mut message)?;
        let act_1 = *message.first_chunk().expect("the message has room for act 1");
        Ok((Self { state, authority }, act_1))
    }

    /// Takes act 2 at the unix time `now`, in seconds, and judges the server's certificate.
    ///
    /// # Errors
    /// [`HandshakeError::Authentication`] for bytes that do not decrypt, and
    /// [`HandshakeError::Certificate`].
    pub fn act_2(
        mut self,
        act_2: &[u8; ACT_2_LEN],
        now: u64,
    ) -> Result<(Transport, Certificate), HandshakeError> {
        let mut certificate = [0; Certificate::LEN];
        self.state.read_message(act_2, &mut certificate)?;
        let certificate = Certificate::from_bytes(&certificate);
        if let Some(authority) = self.authority {
            // Read before the switch to transport mode, which keeps 32 of the 64 bytes only.
            let encoding = self
                .state
                .get_remote_static()
                .and_then(<[u8]>::first_chunk::<64>)
                .expect("act 2 of the NX pattern carries a static key of 64 bytes");
            let server = PublicKey::from_ellswift(ElligatorSwift::from_array(*encoding));
            certificate.verify(&server.x_only_public_key().0, &authority, now)?;
        }
        Ok((Transport::noise(self.state.into_stateless_transport_mode()?), certificate))
    }
}

/// A builder for one handshake. The resolver ignores the choices of curve, cipher and hash.
fn builder<'key>(role: Role, entropy: &mut Entropy<'_>) -> Builder<'key> {
    let handshake = HandshakeChoice {
        pattern: HandshakePattern::NX,
        modifiers: HandshakeModifierList { list: Vec::new() },
    };
    let params = NoiseParams::new(
        PROTOCOL_NAME.to_owned(),
        BaseChoice::Noise,
        handshake,
        DHChoice::Curve25519,
        CipherChoice::ChaChaPoly,
        HashChoice::SHA256,
    );
    let resolver = Resolver { role, ephemeral: draw_ephemeral(entropy) };
    Builder::with_resolver(params, Box::new(resolver))
}
