//! The messages, one file a protocol, each as the specification's tables list them.

pub mod common;
pub mod extensions;
pub mod mining;
pub mod template_distribution;

/// One row of the specification's table of message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    /// The extension that defines the message; 0 for the core protocols.
    pub extension_type: u16,
    /// The message type within the extension.
    pub msg_type: u8,
    /// The channel bit its sender sets.
    pub channel_bit: bool,
    /// The message's name.
    pub name: &'static str,
}

/// All messages this crate knows, by protocol and then by type.
pub const MESSAGES: [&[MessageInfo]; 4] =
    [common::ALL, mining::ALL, template_distribution::ALL, extensions::ALL];

/// The name of a message, for logs; `None` when this crate does not know it.
#[must_use]
pub fn message_name(extension_type: u16, msg_type: u8) -> Option<&'static str> {
    all()
        .find(|info| (info.extension_type, info.msg_type) == (extension_type, msg_type))
        .map(|info| info.name)
}

/// Whether any known message belongs to the extension.
pub(crate) fn knows_extension(extension_type: u16) -> bool {
    all().any(|info| info.extension_type == extension_type)
}

fn all() -> impl Iterator<Item = &'static MessageInfo> {
    MESSAGES.into_iter().flatten()
}
