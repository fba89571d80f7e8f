//! Extension 0x0001, by which both sides agree on the other extensions.

use crate::message::messages;
use crate::seq::Seq064K;

/// The extension that negotiates extensions.
pub const EXTENSIONS_NEGOTIATION: u16 = 0x0001;

messages! {
    extension EXTENSIONS_NEGOTIATION;

    /// The client asks for extensions, right after `SetupConnectionSuccess`.
    RequestExtensions<'a> = 0x00 connection {
        /// Echoed in the answer.
        request_id: u16,
        /// The extensions the client would use.
        requested_extensions: Seq064K<'a, u16>,
    }

    /// The server grants some or all of them.
    RequestExtensionsSuccess<'a> = 0x01 connection {
        /// That of the request.
        request_id: u16,
        /// The extensions granted.
        supported_extensions: Seq064K<'a, u16>,
    }

    /// The server grants none, or misses one that it requires.
    RequestExtensionsError<'a> = 0x02 connection {
        /// That of the request.
        request_id: u16,
        /// Those of the request that the server does not support.
        unsupported_extensions: Seq064K<'a, u16>,
        /// Those that the server requires and the client did not ask for.
        required_extensions: Seq064K<'a, u16>,
    }
}
