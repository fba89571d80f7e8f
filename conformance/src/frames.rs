//! Received frames, and frames in words.

use sv2_wire::{
    DecodeError, Decoded, FrameHeader, MiningClientMessage, MiningServerMessage, message_name,
};

/// Most bytes of an unreadable frame that are shown.
const SHOWN_BYTES: usize = 48;
/// Most characters of a message that are shown: a job for an extended channel is long.
const SHOWN_CHARS: usize = 600;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its six bytes.
    pub header: FrameHeader,
    /// What followed them.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The message of a server in it, read strictly: the channel bit and trailing bytes count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn message(&self) -> Result<Decoded<'_, MiningServerMessage<'_>>, DecodeError> {
        MiningServerMessage::decode(self.header, &self.payload)
    }

    /// The frame in words.
    pub fn in_words(&self) -> String {
        match self.message() {
            Ok(decoded) => in_words(decoded.message.name(), &decoded.message),
            Err(error) => format!("{} ({error})", unreadable(self.header, &self.payload)),
        }
    }
}

/// A frame that a server sends, in words, whether it is well-formed or not.
pub(crate) fn server_frame_in_words(frame: &[u8]) -> String {
    match frame.split_first_chunk::<{ FrameHeader::LEN }>() {
        Some((header, payload)) => {
            Frame { header: FrameHeader::decode(*header), payload: payload.to_vec() }.in_words()
        }
        None => format!("{} bytes: {}", frame.len(), hex(frame)),
    }
}

/// A frame that a client sends, in words, whether it is well-formed or not.
pub(crate) fn client_frame_in_words(frame: &[u8]) -> String {
    let Some((header, payload)) = frame.split_first_chunk::<{ FrameHeader::LEN }>() else {
        return format!("{} bytes: {}", frame.len(), hex(frame));
    };
    let header = FrameHeader::decode(*header);
    match MiningClientMessage::decode(header, payload) {
        Ok(decoded) => {
            let tlvs = if decoded.tlvs.is_empty() { "" } else { " with TLVs" };
            in_words(decoded.message.name(), &decoded.message) + tlvs
        }
        Err(error) => format!("{} ({error})", unreadable(header, payload)),
    }
}

/// Bytes as hexadecimal digits, cut when there are many.
pub(crate) fn hex(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES {
        return const_hex::encode(bytes);
    }
    format!("{}… ({} bytes)", const_hex::encode(&bytes[..SHOWN_BYTES]), bytes.len())
}

fn unreadable(header: FrameHeader, payload: &[u8]) -> String {
    let name = message_name(header.extension_type, header.msg_type).unwrap_or("unknown message");
    format!(
        "{name} [extension 0x{:04x}, type 0x{:02x}, channel bit {}, length {}] {}",
        header.extension_type,
        header.msg_type,
        u8::from(header.channel_msg),
        header.msg_length.to_u32(),
        hex(payload)
    )
}

/// A message without the variant that `Debug` writes around it.
fn in_words(name: &str, message: &impl std::fmt::Debug) -> String {
    let text = format!("{message:?}");
    let inner = text.strip_prefix(name).and_then(|text| text.strip_prefix('('));
    let inner = inner.and_then(|text| text.strip_suffix(')')).unwrap_or(&text);
    match inner.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &inner[..end]),
        None => inner.to_owned(),
    }
}
