//! How values become JSON text without a detour.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

/// Ids and headers are no longer.
const HEX_AT_ONCE: usize = 80;

/// Bytes that are shown as lower-case hex by [`write`].
#[derive(Clone, Copy)]
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Writes bytes as hex, which has nothing in it that JSON would escape: most of a share is hex, and
/// looking for such characters in it takes a twentieth of the whole share.
struct HexFormatter;

impl Formatter for HexFormatter {
    fn write_byte_array<W: ?Sized + Write>(&mut self, out: &mut W, bytes: &[u8]) -> io::Result<()> {
        out.write_all(b"\"")?;
        for bytes in bytes.chunks(HEX_AT_ONCE) {
            let mut space = [0; 2 * HEX_AT_ONCE];
            let text = &mut space[..2 * bytes.len()];
            const_hex::encode_to_slice(bytes, text).expect("the text has that length");
            out.write_all(text)?;
        }
        out.write_all(b"\"")
    }
}

/// Appends the fields as a JSON object.
pub(super) fn write(fields: &impl Serialize, buffer: &mut Vec<u8>) {
    fields
        .serialize(&mut serde_json::Serializer::with_formatter(buffer, HexFormatter))
        .expect("texts and numbers always encode");
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none(0)]
    #[case::at_once(80)]
    #[case::longer(81)]
    fn bytes_of_any_length_are_hex(#[case] length: usize) {
        let mut text = Vec::new();
        write(&Hex(&vec![10; length]), &mut text);
        assert_eq!(text, format!("\"{}\"", "0a".repeat(length)).as_bytes());
    }
}
