//! The Stratum V2 Noise transport: `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256` on `snow`.
//!
//! Nothing here does I/O, reads a clock or makes randomness: bytes, unix times and [`Entropy`] are
//! passed in.
//!
//! - [`Responder`] and [`Initiator`] are the two sides of the handshake, one method an act. Both
//!   end in a [`Transport`].
//! - A [`Transport`] splits into a [`Sealer`] for the writing task and an [`Opener`] for the
//!   reading task, each with its own counter. [`Transport::plaintext`] is the same without
//!   encryption, so that both kinds of listener share their code.
//! - [`FrameDecoder`] turns received bytes into frames and refuses an oversized frame from its
//!   header alone.
//! - [`StaticKey`], [`AuthoritySecretKey`], [`AuthorityPublicKey`] and [`Certificate`] are what an
//!   operator keeps in files. The secret ones are zeroized on drop and never printed.
//! - [`self_test`] proves at start-up that the whole is put together as it must be.
#![forbid(unsafe_code)]

mod certificate;
mod decoder;
mod handshake;
mod keys;
mod resolver;
mod self_test;
#[cfg(test)]
mod tests;
mod transport;

pub use certificate::{CLOCK_LEEWAY_SECS, Certificate, CertificateError, Validity};
pub use decoder::{Frame, FrameDecoder, FrameError};
pub use handshake::{ACT_1_LEN, ACT_2_LEN, HandshakeError, Initiator, Responder};
pub use keys::{AuthorityPublicKey, AuthoritySecretKey, Entropy, KeyError, StaticKey};
pub use self_test::{SelfTestError, self_test};
pub use transport::{AuthenticationFailed, CHUNK_LEN, HEADER_BLOCK_LEN, Opener, Sealer, Transport};
