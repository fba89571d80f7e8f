//! How values become JSON text without a detour.

use serde::{Serialize, Serializer};

/// Most records and events are shorter.
const USUAL_BYTES: usize = 768;
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

/// The fields as a JSON object.
pub(super) fn json(fields: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, fields).expect("texts and numbers always encode");
    String::from_utf8(bytes).expect("JSON is UTF-8")
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
        let text = format!("\"{}\"", "0a".repeat(length));
        assert_eq!(json(&Hex(&vec![10; length])), text);
    }
}
