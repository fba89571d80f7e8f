//! How values become JSON text without a detour.

use serde::{Serialize, Serializer};

/// Ids and headers are no longer.
const HEX_AT_ONCE: usize = 80;

/// Bytes that are shown as lower-case hex.
#[derive(Clone, Copy)]
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut space = [0; 2 * HEX_AT_ONCE];
        match space.get_mut(..2 * self.0.len()) {
            Some(text) => {
                const_hex::encode_to_slice(self.0, &mut *text).expect("the text has that length");
                serializer.serialize_str(str::from_utf8(text).expect("hex is ASCII"))
            }
            None => serializer.serialize_str(&const_hex::encode(self.0)),
        }
    }
}

/// Appends the fields as a JSON object.
pub(super) fn write(fields: &impl Serialize, buffer: &mut Vec<u8>) {
    serde_json::to_writer(buffer, fields).expect("texts and numbers always encode");
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
