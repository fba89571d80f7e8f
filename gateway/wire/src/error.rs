//! What can be wrong with bytes from a peer, and with values that are to be sent.

/// A value is longer than its wire type can carry. Raised where such a value is made, so that
/// encoding itself cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {len} does not fit {wire_type}, which carries at most {max}")]
pub struct TooLong {
    /// What is counted: "bytes" or "items".
    pub what: &'static str,
    /// The specification's name of the wire type.
    pub wire_type: &'static str,
    /// The length that was offered.
    pub len: usize,
    /// The longest that fits.
    pub max: usize,
}

/// Why one field of a message cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The payload ends inside the field.
    #[error("needs {needed} bytes but the payload has {left} left")]
    Truncated {
        /// Bytes the field asks for.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// The length prefix exceeds what the type allows, such as 33 in a `B0_32`.
    #[error("length {len} exceeds the {max} that {wire_type} allows")]
    TooLong {
        /// The specification's name of the wire type.
        wire_type: &'static str,
        /// The length prefix received.
        len: usize,
        /// The longest the type allows.
        max: usize,
    },
    /// An `OPTION` has a count other than 0 or 1.
    #[error("option count {0} is neither 0 nor 1")]
    OptionCount(u8),
}

/// Why a tail of bytes after a message is not a sequence of TLVs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlvError {
    /// The bytes do not divide into whole TLVs.
    #[error("{0} trailing bytes are not a sequence of TLVs")]
    Malformed(usize),
    /// The bytes divide into whole TLVs only when read in big-endian order, as the specification's
    /// worked example wrongly prints them. The specification's byte order is little-endian.
    #[error("{0} trailing bytes are TLVs in big-endian order; the wire is little-endian")]
    BigEndian(usize),
    /// The value of a TLV is longer than its extension defines.
    #[error("TLV {extension_type:#06x}/{field_type:#04x} has {len} bytes, over the {max} allowed")]
    ValueTooLong {
        /// The extension that defines the TLV.
        extension_type: u16,
        /// The field within the extension.
        field_type: u8,
        /// The length received.
        len: usize,
        /// The longest the extension defines.
        max: usize,
    },
    /// A TLV that its extension defines as text is not UTF-8.
    #[error("TLV {extension_type:#06x}/{field_type:#04x} is not valid UTF-8")]
    NotUtf8 {
        /// The extension that defines the TLV.
        extension_type: u16,
        /// The field within the extension.
        field_type: u8,
    },
}

/// Why a frame from a peer is not a message. All variants are the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The header names an extension that this side does not know. Such a frame is to be dropped
    /// silently (specification 3.2), so it is kept apart from the malformed ones.
    #[error("message {msg_type:#04x} of unknown extension {extension_type:#06x}")]
    UnknownExtension {
        /// The extension, without the channel bit.
        extension_type: u16,
        /// The message type within the extension.
        msg_type: u8,
    },
    /// The extension is known but defines no such message for the receiving side.
    #[error("message type {msg_type:#04x} of extension {extension_type:#06x} is not for this side")]
    UnknownMessageType {
        /// The extension, without the channel bit.
        extension_type: u16,
        /// The message type within the extension.
        msg_type: u8,
    },
    /// The channel bit differs from the one that the message type carries.
    #[error("{message} carries channel bit {received}, which the specification fixes otherwise")]
    ChannelBit {
        /// The message's name.
        message: &'static str,
        /// The bit received.
        received: bool,
    },
    /// The header's length differs from the payload handed in.
    #[error("header announces {announced} payload bytes but {received} were given")]
    LengthMismatch {
        /// `msg_length` of the header.
        announced: usize,
        /// Bytes of payload given.
        received: usize,
    },
    /// A field cannot be decoded.
    #[error("{message}.{field}: {cause}")]
    Field {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        cause: FieldError,
    },
    /// Bytes after the last field are not TLVs.
    #[error("{message}: {cause}")]
    Tail {
        /// The message's name.
        message: &'static str,
        /// What is wrong with them.
        cause: TlvError,
    },
}
