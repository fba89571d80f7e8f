//! Common messages (specification 3.6), shared by all protocols.

use crate::bytes::Str0255;
use crate::message::messages;

/// `SetupConnection.protocol` of the mining protocol.
pub const MINING_PROTOCOL: u8 = 0;
/// `SetupConnection.protocol` of the job declaration protocol.
pub const JOB_DECLARATION_PROTOCOL: u8 = 1;
/// `SetupConnection.protocol` of the template distribution protocol.
pub const TEMPLATE_DISTRIBUTION_PROTOCOL: u8 = 2;
/// The protocol version in use everywhere.
pub const PROTOCOL_VERSION: u16 = 2;

messages! {
    extension 0;

    /// The first message of a client.
    SetupConnection<'a> = 0x00 connection {
        /// [`MINING_PROTOCOL`] or one of its siblings.
        protocol: u8,
        /// Lowest protocol version the client speaks.
        min_version: u16,
        /// Highest protocol version the client speaks.
        max_version: u16,
        /// What the client requires or offers; the bits depend on the protocol.
        flags: u32,
        /// The host name or address the client connected to.
        endpoint_host: Str0255<'a>,
        /// The port the client connected to.
        endpoint_port: u16,
        /// Maker of the device. Deployed clients send an empty one.
        vendor: Str0255<'a>,
        /// Model of the device.
        hardware_version: Str0255<'a>,
        /// Firmware of the device.
        firmware: Str0255<'a>,
        /// Identifier of the single device, chosen by its maker.
        device_id: Str0255<'a>,
    }

    /// The server accepts the connection.
    SetupConnectionSuccess = 0x01 connection {
        /// The protocol version to speak from here on.
        used_version: u16,
        /// What the server requires; the bits depend on the protocol.
        flags: u32,
    }

    /// The server refuses the connection.
    SetupConnectionError<'a> = 0x02 connection {
        /// All flags that the server does not support; 0 when flags were not the cause.
        flags: u32,
        /// The cause.
        error_code: Str0255<'a>,
    }

    /// A proxy tells that a channel's other end has changed, so that all extension state of the
    /// channel is void.
    ChannelEndpointChanged = 0x03 channel {
        /// The channel.
        channel_id: u32,
    }

    /// The server asks the client to connect elsewhere.
    Reconnect<'a> = 0x04 connection {
        /// Host to connect to; empty for the same.
        new_host: Str0255<'a>,
        /// Port to connect to; 0 for the same.
        new_port: u16,
    }
}
