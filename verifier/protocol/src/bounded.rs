//! Texts of which a peer has the say, but not over their length: they are kept and logged.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use crate::{MAX_GATEWAY_INSTANCE_ID_CHARS, MAX_PREV_HASH_CHARS};

/// Cut, so that a wrong length is still seen to be one.
pub(crate) fn prev_hash<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    from.deserialize_str(Cut(MAX_PREV_HASH_CHARS))
}

/// Cut.
pub(crate) fn gateway_instance_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    from.deserialize_str(Cut(MAX_GATEWAY_INSTANCE_ID_CHARS))
}

/// Takes so many characters of a text.
struct Cut(usize);

impl Visitor<'_> for Cut {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.chars().take(self.0).collect())
    }
}
