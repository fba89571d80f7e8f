//! A block, cut to pieces and joined again.

use ring::digest::{Context, SHA256, digest};
use thiserror::Error;

use crate::{
    BodyAnnouncement, MAX_BODY_BYTES, MAX_BODY_CHUNK_BYTES, MAX_BODY_CHUNKS, Message, ProposalId,
    TemplateBody, encode,
};

impl BodyAnnouncement {
    /// Announces `body` as [`body_lines`] will cut it.
    pub fn of(body: &[u8]) -> Self {
        let chunks = body.len().div_ceil(MAX_BODY_CHUNK_BYTES);
        Self {
            bytes: body.len() as u64,
            chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
            sha256: const_hex::encode(digest(&SHA256, body)),
        }
    }
}

/// The `template_body` lines of a body, each with its newline.
pub fn body_lines(proposal_id: ProposalId, body: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    body.chunks(MAX_BODY_CHUNK_BYTES).zip(0..).map(move |(data, index)| {
        encode(&Message::TemplateBody(TemplateBody { proposal_id, index, data: data.to_vec() }))
    })
}

/// Joins the pieces of one announced body, and holds no more than was announced.
pub struct BodyAssembler {
    announced: BodyAnnouncement,
    next_index: u32,
    bytes: Vec<u8>,
    digest: Context,
}

impl BodyAssembler {
    /// Waits for the announced body.
    ///
    /// # Errors
    /// When the announcement itself is out of bounds.
    pub fn new(announced: &BodyAnnouncement) -> Result<Self, BodyError> {
        let (bytes, chunks) = (announced.bytes, announced.chunks);
        if bytes == 0 || bytes > MAX_BODY_BYTES {
            return Err(BodyError::Size { bytes });
        }
        if chunks == 0 || chunks > MAX_BODY_CHUNKS || u64::from(chunks) > bytes {
            return Err(BodyError::Chunks { chunks });
        }
        Ok(Self {
            announced: announced.clone(),
            next_index: 0,
            bytes: Vec::new(),
            digest: Context::new(&SHA256),
        })
    }

    /// Takes the next piece; the whole body once it is complete.
    ///
    /// # Errors
    /// When the piece does not fit the announcement. The body is lost: drop the assembler.
    pub fn push(&mut self, piece: &TemplateBody) -> Result<Option<Vec<u8>>, BodyError> {
        if piece.index != self.next_index || self.next_index >= self.announced.chunks {
            return Err(BodyError::Order { found: piece.index, expected: self.next_index });
        }
        let length = piece.data.len();
        if length == 0 || length > MAX_BODY_CHUNK_BYTES {
            return Err(BodyError::PieceSize { index: piece.index, bytes: length });
        }
        let total = (self.bytes.len() + length) as u64;
        self.next_index += 1;
        let last = self.next_index == self.announced.chunks;
        if total > self.announced.bytes || (last && total < self.announced.bytes) {
            return Err(BodyError::Length { found: total, announced: self.announced.bytes });
        }
        self.bytes.extend_from_slice(&piece.data);
        self.digest.update(&piece.data);
        if !last {
            return Ok(None);
        }
        let found = const_hex::encode(self.digest.clone().finish());
        if found != self.announced.sha256 {
            let announced = self.announced.sha256.chars().take(64).collect();
            return Err(BodyError::Digest { found, announced });
        }
        Ok(Some(std::mem::take(&mut self.bytes)))
    }
}

/// Why a body cannot be had from its lines. All of it is the sender's doing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The announced size is out of bounds.
    #[error("body of {bytes} bytes announced, 1 to {MAX_BODY_BYTES} are accepted")]
    Size {
        /// As announced.
        bytes: u64,
    },
    /// The announced number of lines is out of bounds.
    #[error("body in {chunks} lines announced, 1 to {MAX_BODY_CHUNKS} are accepted, none empty")]
    Chunks {
        /// As announced.
        chunks: u32,
    },
    /// A piece is not the one that comes next.
    #[error("body line {found} where line {expected} was due")]
    Order {
        /// The piece's index.
        found: u32,
        /// The index that was due.
        expected: u32,
    },
    /// A piece is empty or too large.
    #[error("body line {index} has {bytes} bytes, 1 to {MAX_BODY_CHUNK_BYTES} are accepted")]
    PieceSize {
        /// The piece's index.
        index: u32,
        /// Its size.
        bytes: usize,
    },
    /// The pieces are together longer or shorter than announced.
    #[error("body of {found} bytes, {announced} were announced")]
    Length {
        /// Bytes received.
        found: u64,
        /// Bytes announced.
        announced: u64,
    },
    /// The bytes are not those that were announced.
    #[error("body has SHA-256 {found}, {announced} was announced")]
    Digest {
        /// Of the bytes received.
        found: String,
        /// As announced.
        announced: String,
    },
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{LineDecoder, decode};

    const ID: ProposalId = ProposalId(4);

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 7 % 251) as u8).collect()
    }

    fn send(body: &[u8]) -> Result<Option<Vec<u8>>, BodyError> {
        let mut assembler = BodyAssembler::new(&BodyAnnouncement::of(body))?;
        let mut decoder = LineDecoder::new();
        let mut whole = None;
        for line in body_lines(ID, body) {
            assert!(whole.is_none(), "complete only with the last line");
            decoder.feed(&line);
            let line = decoder.next_line().unwrap().expect("a whole line");
            let Message::TemplateBody(piece) = decode(line).unwrap() else { panic!("no body") };
            whole = assembler.push(&piece)?;
        }
        Ok(whole)
    }

    #[rstest]
    #[case(1)]
    #[case(MAX_BODY_CHUNK_BYTES)]
    #[case(MAX_BODY_CHUNK_BYTES + 1)]
    #[case(4_000_000)]
    #[case(8 << 20)]
    fn a_body_arrives_as_it_was_sent(#[case] length: usize) {
        let body = body(length);
        assert!(send(&body).unwrap().expect("complete") == body);
    }

    #[rstest]
    #[case(0, 1, BodyError::Size { bytes: 0 })]
    #[case(MAX_BODY_BYTES + 1, 17, BodyError::Size { bytes: MAX_BODY_BYTES + 1 })]
    #[case(10, 0, BodyError::Chunks { chunks: 0 })]
    #[case(10, 11, BodyError::Chunks { chunks: 11 })]
    #[case(1000, 257, BodyError::Chunks { chunks: 257 })]
    fn an_announcement_out_of_bounds_is_refused(
        #[case] bytes: u64,
        #[case] chunks: u32,
        #[case] expect: BodyError,
    ) {
        let announced = BodyAnnouncement { bytes, chunks, sha256: String::new() };
        assert_eq!(BodyAssembler::new(&announced).err(), Some(expect));
    }

    fn pieces(sizes: &[usize]) -> Vec<TemplateBody> {
        let pieces = sizes.iter().zip(0..);
        pieces
            .map(|(size, index)| TemplateBody { proposal_id: ID, index, data: vec![1; *size] })
            .collect()
    }

    fn outcome(pieces: &[TemplateBody]) -> BodyError {
        let announced = BodyAnnouncement { chunks: 2, ..BodyAnnouncement::of(&[1; 20]) };
        let mut assembler = BodyAssembler::new(&announced).unwrap();
        pieces.iter().find_map(|piece| assembler.push(piece).err()).expect("refused")
    }

    #[rstest]
    #[case(&[10, 11], BodyError::Length { found: 21, announced: 20 })]
    #[case(&[10, 9], BodyError::Length { found: 19, announced: 20 })]
    #[case(&[0, 20], BodyError::PieceSize { index: 0, bytes: 0 })]
    fn pieces_that_do_not_add_up_are_refused(#[case] sizes: &[usize], #[case] expect: BodyError) {
        assert_eq!(outcome(&pieces(sizes)), expect);
    }

    #[test]
    fn a_piece_out_of_order_is_refused() {
        let mut swapped = pieces(&[10, 10]);
        swapped.reverse();
        assert_eq!(outcome(&swapped), BodyError::Order { found: 1, expected: 0 });
    }

    #[test]
    fn a_changed_byte_is_found() {
        let mut changed = pieces(&[10, 10]);
        changed[1].data[3] ^= 1;
        assert!(matches!(outcome(&changed), BodyError::Digest { .. }));
    }
}
