//! What one end accepts of the other.

/// The version in every line. Another one is refused, line by line.
pub const PROTOCOL_VERSION: u32 = 2;

/// The longest line in bytes, its newline not counted (1 MiB).
pub const MAX_INTERNAL_LINE_BYTES: usize = 1 << 20;

/// How many lines of an unknown `msg_type` a link survives within one minute.
pub const MAX_UNKNOWN_MSG_TYPE_PER_MINUTE: usize = 60;

/// This many lines of a version that we do not speak end the link.
pub const MAX_VERSION_MISMATCHES: u32 = 60;

/// This many lines in a row that do not parse end the link.
pub const MAX_UNPARSABLE_LINES_IN_A_ROW: u32 = 3;

/// The most bytes of a body that one line carries (512 KiB; base64 makes 683 KiB of them).
pub const MAX_BODY_CHUNK_BYTES: usize = 512 << 10;

/// The largest body in bytes (8 MiB). A block of 4 MWU has at most 4 000 000.
pub const MAX_BODY_BYTES: u64 = 8 << 20;

/// The most lines a body may come in; a sender that fills its lines needs 16 for the largest.
pub const MAX_BODY_CHUNKS: u32 = 256;

/// The most transactions of one block that are named instead of sent. A block of 4 MWU has at most
/// 16 666, each of 60 bytes.
pub const MAX_KNOWN_TRANSACTIONS: u32 = 20_000;

/// The most transactions that one line names (36 bytes each; base64 makes 672 000 of them).
pub const MAX_KNOWN_PER_LINE: usize = 14_000;

/// How many characters of a proposal's `prev_hash` are read: more than any policy may ask for, so
/// that a text that is too long stays so.
pub const MAX_PREV_HASH_CHARS: usize = 256;

/// How many characters of a proposal's `gateway_instance_id` are read; a gateway's has at most 64.
pub const MAX_GATEWAY_INSTANCE_ID_CHARS: usize = 64;
