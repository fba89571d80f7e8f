//! A proof at start-up that the parts fit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sv2_wire::{FrameHeader, U24};

use crate::certificate::{Certificate, Validity};
use crate::decoder::{FrameDecoder, FrameError};
use crate::handshake::{HandshakeError, Initiator, Responder};
use crate::keys::{AuthoritySecretKey, StaticKey};
use crate::transport::{CHUNK_LEN, Opener, Sealer};

/// Why the transport must not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// The handshake panicked. `snow` does so at the first key from a peer when it was built
    /// without its feature `p256`, whose buffers alone are large enough.
    #[error("handshake panicked: snow must be built with its feature p256")]
    Panicked,
    /// The handshake with ourselves failed.
    #[error("handshake with ourselves: {0}")]
    Handshake(#[from] HandshakeError),
    /// A frame sealed by one side did not open on the other.
    #[error("frame to ourselves: {0}")]
    Frame(#[from] FrameError),
    /// A frame came back changed or not at all.
    #[error("frame to ourselves came back changed")]
    Changed,
    /// A frame with a flipped bit was accepted.
    #[error("frame with a flipped bit was accepted")]
    TamperingUnnoticed,
}

/// Shakes hands with itself, sends a frame of more than one chunk each way, and makes sure that a
/// flipped bit is noticed. Takes below a millisecond. The keys are fixed and used for nothing else.
///
/// # Errors
/// [`SelfTestError`]: the program must not listen.
pub fn self_test() -> Result<(), SelfTestError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| SelfTestError::Panicked)?
}

fn run() -> Result<(), SelfTestError> {
    let mut last = 0_u8;
    let entropy = &mut |out: &mut [u8]| {
        last += 1;
        out.fill(last);
    };
    let authority = AuthoritySecretKey::generate(entropy);
    let static_key = StaticKey::generate(entropy);
    let validity = Validity { valid_from: 0, not_valid_after: 1 };
    let certificate = Certificate::mint(&authority, &static_key.public(), validity, entropy);

    let responder = Responder::new(&static_key, &certificate, entropy)?;
    let (initiator, act_1) = Initiator::new(Some(authority.public()), entropy)?;
    let (act_2, server) = responder.act_1(&act_1)?;
    let (client, _) = initiator.act_2(&act_2, 0)?;

    let (mut server_sealer, server_opener) = server.split();
    let (mut client_sealer, client_opener) = client.split();
    send_frames(&mut client_sealer, server_opener)?;
    send_frames(&mut server_sealer, client_opener)
}

/// Sends one frame that must arrive as it is, and one with a flipped bit that must not.
fn send_frames(sealer: &mut Sealer, opener: Opener) -> Result<(), SelfTestError> {
    let payload = vec![0x5a; CHUNK_LEN + 1];
    let msg_length = U24::from_len(payload.len()).expect("two chunks are below 16 MiB");
    let header = FrameHeader { extension_type: 0, channel_msg: true, msg_type: 0x1a, msg_length };
    let mut frame = header.encode().to_vec();
    frame.extend_from_slice(&payload);

    let mut decoder = FrameDecoder::new(opener, payload.len());
    let mut wire = Vec::new();
    sealer.seal_frame(&frame, &mut wire);
    decoder.push(&wire);
    let arrived = decoder.next_frame()?.ok_or(SelfTestError::Changed)?;
    if arrived.header != header || arrived.payload != payload {
        return Err(SelfTestError::Changed);
    }

    wire.clear();
    sealer.seal_frame(&frame, &mut wire);
    wire[0] ^= 1;
    decoder.push(&wire);
    match decoder.next_frame() {
        Err(FrameError::Authentication(_)) => Ok(()),
        _ => Err(SelfTestError::TamperingUnnoticed),
    }
}
