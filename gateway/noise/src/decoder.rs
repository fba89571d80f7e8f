//! From received bytes to frames.

use sv2_wire::FrameHeader;

use crate::transport::{AuthenticationFailed, CHUNK_LEN, Opener};

/// Memory that each of the two buffers keeps from one frame to the next, in bytes. A rare large
/// frame must not make every idle connection expensive.
const RETAINED_LEN: usize = 512;

/// Why no further frame can be read from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The header announces a payload over the limit. Judged before any of it is buffered.
    #[error("frame announces {announced} payload bytes, over the limit of {max}")]
    TooLarge {
        /// `msg_length` of the header.
        announced: usize,
        /// The limit the decoder was made with.
        max: usize,
    },
    /// The bytes are not what the peer of the handshake sealed.
    #[error(transparent)]
    Authentication(#[from] AuthenticationFailed),
}

/// A received frame in plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header; its `msg_length` is the payload's length.
    pub header: FrameHeader,
    /// The payload.
    pub payload: &'a [u8],
}

/// Collects bytes in whatever pieces they arrive and gives out frames.
///
/// It holds at most one frame of the permitted size and one push, provided that
/// [`next_frame`](Self::next_frame) is called after each [`push`](Self::push) until it has no more.
#[derive(Debug)]
pub struct FrameDecoder {
    opener: Opener,
    max_payload: usize,
    received: Vec<u8>,
    /// Bytes at the front of `received` that are done with.
    consumed: usize,
    /// The header of the frame whose payload is being collected.
    header: Option<FrameHeader>,
    payload: Vec<u8>,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// Decodes what `opener` opens and refuses frames of more than `max_payload` payload bytes.
    #[must_use]
    pub const fn new(opener: Opener, max_payload: usize) -> Self {
        Self {
            opener,
            max_payload,
            received: Vec::new(),
            consumed: 0,
            header: None,
            payload: Vec::new(),
            failed: None,
        }
    }

    /// Takes bytes as they came from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received.drain(..self.consumed);
        self.consumed = 0;
        if self.received.is_empty() {
            self.received.shrink_to(RETAINED_LEN);
        }
        self.received.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError`]; every later call repeats it, for nothing after it can be trusted.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.advance() {
            Ok(Some(header)) => Ok(Some(Frame { header, payload: &self.payload })),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Whether bytes of an unfinished frame are held: at the end of a stream, a sign that it was
    /// cut.
    #[must_use]
    pub const fn is_mid_frame(&self) -> bool {
        self.header.is_some() || self.received.len() > self.consumed
    }

    /// Opens blocks while they are whole; returns the header once its payload is complete.
    fn advance(&mut self) -> Result<Option<FrameHeader>, FrameError> {
        let header = match self.header {
            Some(header) => header,
            None => match self.open_header()? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        let announced = header.msg_length.to_len();
        while self.payload.len() < announced {
            let chunk_len = CHUNK_LEN.min(announced - self.payload.len());
            if !self.open_block(chunk_len)? {
                return Ok(None);
            }
        }
        self.header = None;
        Ok(Some(header))
    }

    fn open_header(&mut self) -> Result<Option<FrameHeader>, FrameError> {
        // What `payload` holds is the frame given out last.
        self.payload.clear();
        self.payload.shrink_to(RETAINED_LEN);
        if !self.open_block(FrameHeader::LEN)? {
            return Ok(None);
        }
        let bytes = self.payload.first_chunk().expect("a header block opens to a header");
        let header = FrameHeader::decode(mutant::pick!(
            FrameLengthOfTwoBytes,
            [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], 0],
            *bytes
        ));
        self.payload.clear();
        let announced = header.msg_length.to_len();
        if announced > self.max_payload {
            return Err(FrameError::TooLarge { announced, max: self.max_payload });
        }
        self.header = Some(header);
        Ok(Some(header))
    }

    /// Opens the next block of `len` plaintext bytes onto `payload`, if it is all there.
    fn open_block(&mut self, len: usize) -> Result<bool, FrameError> {
        let end = self.consumed + len + self.opener.overhead();
        let Some(block) = self.received.get(self.consumed..end) else {
            return Ok(false);
        };
        self.opener.open_block(block, &mut self.payload)?;
        self.consumed = end;
        Ok(true)
    }
}
