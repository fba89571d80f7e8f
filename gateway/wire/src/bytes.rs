//! The length-prefixed byte strings of specification 3.1.

use std::fmt;

use crate::error::{FieldError, TooLong};
use crate::field::{Field, Reader, U24};

macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident, $wire_type:literal, max $max:expr, length $length:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<'a>(&'a [u8]);

        impl<'a> $name<'a> {
            /// The longest value, in bytes.
            pub const MAX_LEN: usize = $max;

            /// Wraps `bytes` for sending.
            ///
            /// # Errors
            /// [`TooLong`] when there are more than [`Self::MAX_LEN`].
            pub const fn new(bytes: &'a [u8]) -> Result<Self, TooLong> {
                if bytes.len() > Self::MAX_LEN {
                    return Err(TooLong {
                        what: "bytes",
                        wire_type: $wire_type,
                        len: bytes.len(),
                        max: Self::MAX_LEN,
                    });
                }
                Ok(Self(bytes))
            }

            /// The bytes without their length prefix.
            #[must_use]
            pub const fn as_bytes(&self) -> &'a [u8] {
                self.0
            }

            /// Number of bytes, without the length prefix.
            #[must_use]
            pub const fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are no bytes.
            #[must_use]
            pub const fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl<'a> TryFrom<&'a [u8]> for $name<'a> {
            type Error = TooLong;

            fn try_from(bytes: &'a [u8]) -> Result<Self, TooLong> {
                Self::new(bytes)
            }
        }

        impl<'a> Field<'a> for $name<'a> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
                let len = <$length as Length>::decode_len(reader)?;
                if len > Self::MAX_LEN {
                    let max = Self::MAX_LEN;
                    return Err(FieldError::TooLong { wire_type: $wire_type, len, max });
                }
                reader.take(len).map(Self)
            }

            fn encode(&self, out: &mut Vec<u8>) {
                <$length as Length>::encode_len(self.0.len(), out);
                out.extend_from_slice(self.0);
            }
        }
    };
}

byte_string! {
    /// `STR0_255`: text of up to 255 bytes. Peers may send any bytes: look before printing.
    Str0255, "STR0_255", max 255, length u8
}
byte_string! {
    /// `B0_32`: up to 32 bytes. A longer length prefix is malformed.
    B032, "B0_32", max 32, length u8
}
byte_string! {
    /// `B0_255`: up to 255 bytes.
    B0255, "B0_255", max 255, length u8
}
byte_string! {
    /// `B0_64K`: up to 65 535 bytes.
    B064K, "B0_64K", max 65_535, length u16
}
byte_string! {
    /// `B0_16M`: up to 16 777 215 bytes.
    B016M, "B0_16M", max 16_777_215, length U24
}

impl<'a> Str0255<'a> {
    /// The text, when it is UTF-8.
    ///
    /// # Errors
    /// The position of the first byte that is not UTF-8.
    pub const fn to_str(&self) -> Result<&'a str, std::str::Utf8Error> {
        std::str::from_utf8(self.0)
    }
}

impl<'a> TryFrom<&'a str> for Str0255<'a> {
    type Error = TooLong;

    fn try_from(text: &'a str) -> Result<Self, TooLong> {
        Self::new(text.as_bytes())
    }
}

/// Shows the text with everything but printable ASCII escaped, so that a peer cannot write control
/// characters into a log.
impl fmt::Display for Str0255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Str0255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

macro_rules! debug_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    )*};
}

debug_as_hex!(B032, B0255, B064K, B016M);

/// An unsigned integer as the length prefix of a string or the count of a sequence.
pub(crate) trait Length {
    fn decode_len(reader: &mut Reader<'_>) -> Result<usize, FieldError>;
    fn encode_len(len: usize, out: &mut Vec<u8>);
}

impl Length for u8 {
    fn decode_len(reader: &mut Reader<'_>) -> Result<usize, FieldError> {
        Self::decode(reader).map(usize::from)
    }

    fn encode_len(len: usize, out: &mut Vec<u8>) {
        out.push(Self::try_from(len).expect("the constructor bounds the length"));
    }
}

impl Length for u16 {
    fn decode_len(reader: &mut Reader<'_>) -> Result<usize, FieldError> {
        Self::decode(reader).map(usize::from)
    }

    fn encode_len(len: usize, out: &mut Vec<u8>) {
        Self::try_from(len).expect("the constructor bounds the length").encode(out);
    }
}

impl Length for U24 {
    fn decode_len(reader: &mut Reader<'_>) -> Result<usize, FieldError> {
        Self::decode(reader).map(Self::to_len)
    }

    fn encode_len(len: usize, out: &mut Vec<u8>) {
        Self::from_len(len).expect("the constructor bounds the length").encode(out);
    }
}
