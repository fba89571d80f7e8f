//! The frame header of specification 3.2.

use crate::field::U24;

/// The top bit of the header's first two bytes, read as a little-endian integer. The
/// specification's text calls it the least significant bit; its number (15) and every
/// implementation say otherwise.
const CHANNEL_BIT: u16 = 0x8000;

/// The six bytes in front of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The extension that defines the message, 0 for the core protocols. Always without the
    /// channel bit.
    pub extension_type: u16,
    /// Whether the message is for one channel: its payload then starts with the channel id.
    pub channel_msg: bool,
    /// The message within the extension.
    pub msg_type: u8,
    /// Payload length in bytes, without this header and without any encryption overhead.
    pub msg_length: U24,
}

impl FrameHeader {
    /// Length of a header in bytes.
    pub const LEN: usize = 6;

    /// Reads a header. Every six bytes are one.
    #[must_use]
    pub const fn decode(bytes: [u8; Self::LEN]) -> Self {
        let [extension_low, extension_high, msg_type, a, b, c] = bytes;
        let extension = u16::from_le_bytes([extension_low, extension_high]);
        Self {
            extension_type: extension & !CHANNEL_BIT,
            channel_msg: extension & CHANNEL_BIT != 0,
            msg_type,
            msg_length: U24::from_le_bytes([a, b, c]),
        }
    }

    /// The wire form. A channel bit inside `extension_type` is dropped: only `channel_msg` counts.
    #[must_use]
    pub const fn encode(&self) -> [u8; Self::LEN] {
        let channel_bit = if self.channel_msg { CHANNEL_BIT } else { 0 };
        let [extension_low, extension_high] =
            (self.extension_type & !CHANNEL_BIT | channel_bit).to_le_bytes();
        let [a, b, c] = self.msg_length.to_le_bytes();
        [extension_low, extension_high, self.msg_type, a, b, c]
    }
}
