//! Bytes to lines.

use thiserror::Error;

use crate::MAX_INTERNAL_LINE_BYTES;

/// Cuts a stream of bytes into lines, and holds at most one line and what was last fed.
#[derive(Debug)]
pub struct LineDecoder {
    buffer: Vec<u8>,
    /// Where the current line begins.
    start: usize,
    /// Up to where the current line is known to hold no newline.
    scanned: usize,
    max_line_bytes: usize,
}

/// A line is longer than the bound. The stream cannot be followed any more: close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line of more than {max_line_bytes} bytes")]
pub struct LineTooLarge {
    /// The bound, the newline not counted.
    pub max_line_bytes: usize,
}

impl LineDecoder {
    /// Accepts lines of up to [`MAX_INTERNAL_LINE_BYTES`].
    pub fn new() -> Self {
        Self::with_max_line_bytes(MAX_INTERNAL_LINE_BYTES)
    }

    /// Accepts lines of up to `max_line_bytes`, the newline not counted.
    pub fn with_max_line_bytes(max_line_bytes: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, scanned: 0, max_line_bytes }
    }

    /// Takes bytes from the stream. Take every line with [`Self::next_line`] before the next call:
    /// that is what bounds the buffer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its newline (and without a carriage return before it), `None`
    /// when more bytes are needed.
    ///
    /// # Errors
    /// When the line is too large, whole or not; again at each later call.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLarge> {
        let newline = memchr::memchr(b'\n', &self.buffer[self.scanned..]);
        let end = newline.map_or(self.buffer.len(), |offset| self.scanned + offset);
        if end - self.start > self.max_line_bytes {
            return Err(LineTooLarge { max_line_bytes: self.max_line_bytes });
        }
        if newline.is_none() {
            self.scanned = end;
            return Ok(None);
        }
        let line = &self.buffer[self.start..end];
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// How many bytes wait for the rest of their line.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }
}

impl Default for LineDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(decoder: &mut LineDecoder) -> Result<Vec<Vec<u8>>, LineTooLarge> {
        let mut lines = Vec::new();
        while let Some(line) = decoder.next_line()? {
            lines.push(line.to_vec());
        }
        Ok(lines)
    }

    #[test]
    fn a_line_at_the_bound_passes_and_one_byte_more_does_not() {
        let mut decoder = LineDecoder::with_max_line_bytes(4);
        decoder.feed(b"1234\n");
        assert_eq!(lines(&mut decoder), Ok(vec![b"1234".to_vec()]));
        decoder.feed(b"12345");
        let error = Err(LineTooLarge { max_line_bytes: 4 });
        assert_eq!(lines(&mut decoder), error);
        decoder.feed(b"\nok\n");
        assert_eq!(lines(&mut decoder), error, "the stream stays unusable");
    }

    #[test]
    fn a_whole_line_that_is_too_large_is_refused_after_the_good_ones_before_it() {
        let mut decoder = LineDecoder::with_max_line_bytes(4);
        decoder.feed(b"ok\r\n123456\n");
        assert_eq!(decoder.next_line(), Ok(Some(&b"ok"[..])));
        assert!(decoder.next_line().is_err());
    }

    #[test]
    fn the_buffer_is_given_back() {
        let mut decoder = LineDecoder::new();
        for _ in 0..100 {
            decoder.feed(&[b'x'; 1000]);
            decoder.feed(b"\n");
            assert_eq!(lines(&mut decoder).unwrap().len(), 1);
            assert_eq!(decoder.buffered(), 0);
        }
        decoder.feed(b"");
        assert!(decoder.buffer.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn chunking_never_changes_the_lines(
            expect in prop::collection::vec("[a-z]{0,20}", 0..10),
            chunk in 1_usize..30,
        ) {
            let stream: String = expect.iter().map(|line| format!("{line}\n")).collect();
            let mut decoder = LineDecoder::with_max_line_bytes(20);
            let mut found = Vec::new();
            for bytes in stream.as_bytes().chunks(chunk) {
                decoder.feed(bytes);
                found.extend(lines(&mut decoder).unwrap());
            }
            let found: Vec<String> =
                found.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
            prop_assert_eq!(found, expect);
        }
    }
}
