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
//!
//! ```
//! use sv2_noise::{
//!     AuthoritySecretKey, Certificate, FrameDecoder, Initiator, Responder, StaticKey, Validity,
//! };
//!
//! # let mut last = 0;
//! # let entropy = &mut |out: &mut [u8]| { last += 1; out.fill(last) };
//! let authority = AuthoritySecretKey::generate(entropy);
//! let static_key = StaticKey::generate(entropy);
//! let validity = Validity { valid_from: 1_790_000_000, not_valid_after: 1_800_000_000 };
//! let certificate = Certificate::mint(&authority, &static_key.public(), validity, entropy);
//!
//! let (miner, act_1) = Initiator::new(Some(authority.public()), entropy)?;
//! let server = Responder::new(&static_key, &certificate, entropy)?;
//! let (act_2, server) = server.act_1(&act_1)?;
//! let (miner, _) = miner.act_2(&act_2, 1_795_000_000)?;
//!
//! let (mut sealer, _) = miner.split();
//! let mut wire = Vec::new();
//! sealer.seal_frame(&[0, 0, 0x04, 3, 0, 0, 0, 0, 0], &mut wire);
//! let (_, opener) = server.split();
//! let mut decoder = FrameDecoder::new(opener, 65_536);
//! decoder.push(&wire);
//! let frame = decoder.next_frame()?.expect("the frame is all there");
//! assert_eq!(frame.header.msg_type, 0x04);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
