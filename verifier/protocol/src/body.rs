//! A block, cut to pieces and joined again.

use ring::digest::{Context, SHA256, digest};
use thiserror::Error;

use crate::{
    BodyAnnouncement, KnownTransaction, MAX_BODY_BYTES, MAX_BODY_CHUNK_BYTES, MAX_BODY_CHUNKS,
    MAX_KNOWN_PER_LINE, MAX_KNOWN_TRANSACTIONS, Message, ProposalId, TemplateBody, TxKnown, encode,
};

impl BodyAnnouncement {
    /// Announces `body` as [`body_lines`] will cut it.
    pub fn of(body: &[u8]) -> Self {
        let chunks = body.len().div_ceil(MAX_BODY_CHUNK_BYTES);
        Self {
            bytes: body.len() as u64,
            chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
            sha256: const_hex::encode(digest(&SHA256, body)),
            known: 0,
        }
    }

    /// Announces `body` beside the lines that name `known` transactions.
    pub fn beside(body: &[u8], known: &[KnownTransaction]) -> Self {
        Self { known: u32::try_from(known.len()).unwrap_or(u32::MAX), ..Self::of(body) }
    }
}

/// What the lines of a proposal carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// The serialized block without the known transactions.
    pub bytes: Vec<u8>,
    /// The transactions that are named instead, by ascending place.
    pub known: Vec<KnownTransaction>,
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
    next_known_line: u32,
    body: Body,
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
        if announced.known > MAX_KNOWN_TRANSACTIONS {
            return Err(BodyError::Known { known: announced.known });
        }
        Ok(Self {
            announced: announced.clone(),
            next_index: 0,
            next_known_line: 0,
            body: Body::default(),
            digest: Context::new(&SHA256),
        })
    }

    /// Takes the next line of named transactions; all of them come before the first piece.
    ///
    /// # Errors
    /// When the line does not fit the announcement. The body is lost: drop the assembler.
    pub fn push_known(&mut self, line: &TxKnown) -> Result<(), BodyError> {
        if line.index != self.next_known_line {
            let expected = self.next_known_line;
            return Err(BodyError::KnownOrder { found: line.index, expected });
        }
        let count = line.transactions.len();
        if count == 0 || count > MAX_KNOWN_PER_LINE {
            return Err(BodyError::KnownLine { index: line.index, count });
        }
        let known = &mut self.body.known;
        if known.len() + count > self.announced.known as usize {
            let found = known.len() + count;
            return Err(BodyError::KnownCount { found, announced: self.announced.known });
        }
        for transaction in &line.transactions {
            if known.last().is_some_and(|last| last.place >= transaction.place) {
                return Err(BodyError::KnownPlace { place: transaction.place });
            }
            known.push(*transaction);
        }
        self.next_known_line += 1;
        Ok(())
    }

    /// Takes the next piece; the whole body once it is complete.
    ///
    /// # Errors
    /// When the piece does not fit the announcement. The body is lost: drop the assembler.
    pub fn push(&mut self, piece: &TemplateBody) -> Result<Option<Body>, BodyError> {
        let found = self.body.known.len();
        if found != self.announced.known as usize {
            return Err(BodyError::KnownCount { found, announced: self.announced.known });
        }
        if piece.index != self.next_index || self.next_index >= self.announced.chunks {
            return Err(BodyError::Order { found: piece.index, expected: self.next_index });
        }
        let length = piece.data.len();
        if length == 0 || length > MAX_BODY_CHUNK_BYTES {
            return Err(BodyError::PieceSize { index: piece.index, bytes: length });
        }
        let total = (self.body.bytes.len() + length) as u64;
        self.next_index += 1;
        let last = self.next_index == self.announced.chunks;
        if total > self.announced.bytes || (last && total < self.announced.bytes) {
            return Err(BodyError::Length { found: total, announced: self.announced.bytes });
        }
        self.body.bytes.extend_from_slice(&piece.data);
        self.digest.update(&piece.data);
        if !last {
            return Ok(None);
        }
        let found = const_hex::encode(self.digest.clone().finish());
        if found != self.announced.sha256 {
            let announced = self.announced.sha256.chars().take(64).collect();
            return Err(BodyError::Digest { found, announced });
        }
        Ok(Some(std::mem::take(&mut self.body)))
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
    /// More transactions are announced as known than a block has.
    #[error("{known} known transactions announced, {MAX_KNOWN_TRANSACTIONS} are accepted")]
    Known {
        /// As announced.
        known: u32,
    },
    /// A line of known transactions is not the one that comes next.
    #[error("tx_known line {found} where line {expected} was due")]
    KnownOrder {
        /// The line's index.
        found: u32,
        /// The index that was due.
        expected: u32,
    },
    /// A line of known transactions is empty or too long.
    #[error("tx_known line {index} names {count} transactions, 1 to {MAX_KNOWN_PER_LINE} may be")]
    KnownLine {
        /// The line's index.
        index: u32,
        /// How many it names.
        count: usize,
    },
    /// Other than the announced number of transactions is named.
    #[error("{found} known transactions, {announced} were announced")]
    KnownCount {
        /// How many were named.
        found: usize,
        /// As announced.
        announced: u32,
    },
    /// The known transactions do not come by ascending place.
    #[error("known transaction at {place} comes after one at its place or behind it")]
    KnownPlace {
        /// The transaction's place.
        place: u32,
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
    use crate::{LineDecoder, decode, known_lines};

    const ID: ProposalId = ProposalId(4);

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 7 % 251) as u8).collect()
    }

    fn send(body: &Body) -> Result<Option<Body>, BodyError> {
        let announced = BodyAnnouncement::beside(&body.bytes, &body.known);
        let mut assembler = BodyAssembler::new(&announced)?;
        let mut decoder = LineDecoder::new();
        let mut whole = None;
        for line in known_lines(ID, &body.known).chain(body_lines(ID, &body.bytes)) {
            assert!(whole.is_none(), "complete only with the last line");
            decoder.feed(&line);
            let line = decoder.next_line().unwrap().expect("a whole line");
            match decode(line).unwrap() {
                Message::TxKnown(line) => assembler.push_known(&line)?,
                Message::TemplateBody(piece) => whole = assembler.push(&piece)?,
                other => panic!("{other:?}"),
            }
        }
        Ok(whole)
    }

    fn known(places: std::ops::Range<u32>) -> Vec<KnownTransaction> {
        places.map(|place| KnownTransaction { place, wtxid: [place as u8; 32] }).collect()
    }

    #[rstest]
    #[case(1)]
    #[case(MAX_BODY_CHUNK_BYTES)]
    #[case(MAX_BODY_CHUNK_BYTES + 1)]
    #[case(4_000_000)]
    #[case(8 << 20)]
    fn a_body_arrives_as_it_was_sent(#[case] length: usize) {
        let body = Body { bytes: body(length), known: Vec::new() };
        assert!(send(&body).unwrap().expect("complete") == body);
    }

    #[rstest]
    #[case(1)]
    #[case(MAX_KNOWN_PER_LINE as u32)]
    #[case(MAX_KNOWN_TRANSACTIONS)]
    fn known_transactions_arrive_with_the_body(#[case] count: u32) {
        let body = Body { bytes: body(90), known: known(1..count + 1) };
        assert!(send(&body).unwrap().expect("complete") == body);
    }

    /// The error of `known` in one line, where two transactions are announced.
    fn known_error(index: u32, known: Vec<KnownTransaction>) -> BodyError {
        let announced = BodyAnnouncement { known: 2, ..BodyAnnouncement::of(&[1]) };
        let mut assembler = BodyAssembler::new(&announced).unwrap();
        let line = TxKnown { proposal_id: ID, index, transactions: known };
        let piece = TemplateBody { proposal_id: ID, index: 0, data: vec![1] };
        let pushed = assembler.push_known(&line);
        pushed.and_then(|()| assembler.push(&piece).map(drop)).unwrap_err()
    }

    #[test]
    fn known_transactions_that_do_not_fit_are_refused() {
        let known = known(1..4);
        assert_eq!(
            known_error(1, known[..2].to_vec()),
            BodyError::KnownOrder { found: 1, expected: 0 }
        );
        assert_eq!(known_error(0, vec![]), BodyError::KnownLine { index: 0, count: 0 });
        let count = |found| BodyError::KnownCount { found, announced: 2 };
        assert_eq!(known_error(0, known[..1].to_vec()), count(1));
        assert_eq!(known_error(0, known.clone()), count(3));
        assert_eq!(known_error(0, vec![known[1]; 2]), BodyError::KnownPlace { place: 2 });
        let many =
            BodyAnnouncement { known: MAX_KNOWN_TRANSACTIONS + 1, ..BodyAnnouncement::of(&[1]) };
        let refused = BodyError::Known { known: MAX_KNOWN_TRANSACTIONS + 1 };
        assert_eq!(BodyAssembler::new(&many).err(), Some(refused));
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
        let announced = BodyAnnouncement { bytes, chunks, sha256: String::new(), known: 0 };
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
