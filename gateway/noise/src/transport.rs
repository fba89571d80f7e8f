//! Sealing and opening of frames after the handshake (specification 4.6).

use std::fmt;
use std::sync::Arc;

use snow::StatelessTransportState;
use sv2_wire::FrameHeader;

use crate::resolver::TAG_LEN;

/// Length of a sealed header in bytes.
pub const HEADER_BLOCK_LEN: usize = FrameHeader::LEN + TAG_LEN;
/// Most payload bytes that are sealed together; a longer payload is cut.
pub const CHUNK_LEN: usize = 65_535 - TAG_LEN;

/// Bytes from the peer do not authenticate. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("encrypted block does not authenticate")]
pub struct AuthenticationFailed;

/// Both directions of a connection whose handshake is done, or that has none.
#[derive(Debug)]
pub struct Transport {
    sealer: Sealer,
    opener: Opener,
}

impl Transport {
    /// A transport that passes bytes as they are, for listeners without encryption.
    #[must_use]
    pub const fn plaintext() -> Self {
        Self { sealer: Sealer(Direction::Plain), opener: Opener(Direction::Plain) }
    }

    /// The writing and the reading half, for a task each.
    #[must_use]
    pub fn split(self) -> (Sealer, Opener) {
        (self.sealer, self.opener)
    }

    pub(crate) fn noise(state: StatelessTransportState) -> Self {
        let state = Arc::new(state);
        let direction = |state| Direction::Noise { state, counter: 0 };
        Self { sealer: Sealer(direction(Arc::clone(&state))), opener: Opener(direction(state)) }
    }
}

/// One direction with its counter. Both share the keys, which `snow` keeps together.
enum Direction {
    Plain,
    Noise { state: Arc<StatelessTransportState>, counter: u64 },
}

/// Seals frames for the peer.
pub struct Sealer(Direction);

impl Sealer {
    /// Appends the wire form of one frame, given as header and payload in plaintext.
    ///
    /// # Panics
    /// When `frame` is not exactly one frame: a fault of the caller that would desynchronise the
    /// peer.
    pub fn seal_frame(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let (header, payload) = frame
            .split_first_chunk::<{ FrameHeader::LEN }>()
            .expect("a frame starts with a header");
        let announced = FrameHeader::decode(*header).msg_length.to_len();
        assert_eq!(announced, payload.len(), "a frame announces the payload it has");
        self.seal_block(header, out);
        payload.chunks(CHUNK_LEN).for_each(|chunk| self.seal_block(chunk, out));
    }

    /// Appends the wire form of any number of frames, one after the other in `frames`.
    ///
    /// # Panics
    /// As [`seal_frame`](Self::seal_frame).
    pub fn seal_frames(&mut self, frames: &[u8], out: &mut Vec<u8>) {
        let mut rest = frames;
        while let Some(header) = rest.first_chunk() {
            let payload_len = FrameHeader::decode(*header).msg_length.to_len();
            let (frame, after) = rest
                .split_at_checked(FrameHeader::LEN + payload_len)
                .expect("frames hold the payload they announce");
            self.seal_frame(frame, out);
            rest = after;
        }
        assert!(rest.is_empty(), "frames end with a whole frame");
    }

    fn seal_block(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Direction::Plain => out.extend_from_slice(plaintext),
            Direction::Noise { state, counter } => {
                let start = out.len();
                out.resize(start + plaintext.len() + TAG_LEN, 0);
                state
                    .write_message(*counter, plaintext, &mut out[start..])
                    .expect("a block is within Noise's limit and a counter of 64 bits never ends");
                *counter += mutant::pick!(NonceReused, u64::from(*counter < 6), 1);
            }
        }
    }
}

/// Opens what the peer sealed, block by block. [`FrameDecoder`](crate::FrameDecoder) puts frames
/// together from it.
pub struct Opener(Direction);

impl Opener {
    /// Bytes that each block has on the wire beyond its plaintext.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        match self.0 {
            Direction::Plain => 0,
            Direction::Noise { .. } => TAG_LEN,
        }
    }

    /// Appends the plaintext of one block.
    ///
    /// # Errors
    /// [`AuthenticationFailed`]; nothing is appended then, and no later block will open either.
    pub fn open_block(
        &mut self,
        block: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AuthenticationFailed> {
        match &mut self.0 {
            Direction::Plain => out.extend_from_slice(block),
            Direction::Noise { state, counter } => {
                let start = out.len();
                out.resize(start + block.len().saturating_sub(TAG_LEN), 0);
                if state.read_message(*counter, block, &mut out[start..]).is_err() {
                    out.truncate(start);
                    return Err(AuthenticationFailed);
                }
                *counter += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("Plain"),
            Self::Noise { counter, .. } => {
                f.debug_struct("Noise").field("counter", counter).finish_non_exhaustive()
            }
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&self.0).finish()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opener").field(&self.0).finish()
    }
}
