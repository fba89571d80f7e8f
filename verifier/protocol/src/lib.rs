//! The NDJSON wire between gateway and verifier.
//!
//! One JSON object a line, each with a `msg_type` and a `version`. A gateway announces a template
//! with [`TemplatePropose`], sends the serialized block in [`TemplateBody`] lines, and is answered
//! with one [`TemplateVerdict`]; either end shows with [`Heartbeat`] that it lives. Transactions
//! that the verifier was sent before may be named ([`TxKnown`]) instead of sent again; when it has
//! them no more, it answers with [`TxNeed`], and the proposal is sent anew with their bytes.
//!
//! Everything here is without I/O: [`LineDecoder`] takes bytes and gives lines, [`decode`] and
//! [`encode`] translate them, [`BodyAssembler`] joins a body's pieces, and [`LinkGuard`] decides
//! when a peer's mistakes are worth a reconnect.
#![forbid(unsafe_code)]

mod base64_bytes;
mod body;
mod bounded;
mod code;
mod codec;
mod guard;
mod known;
mod limits;
mod line;
mod message;
mod verdict;

pub use body::{Body, BodyAssembler, BodyError, body_lines};
pub use code::{UnknownVerdictCode, VerdictCode, VerdictKind};
pub use codec::{DecodeError, decode, encode};
pub use guard::{LinkFault, LinkGuard};
pub use known::known_lines;
pub use limits::{
    MAX_BODY_BYTES, MAX_BODY_CHUNK_BYTES, MAX_BODY_CHUNKS, MAX_GATEWAY_INSTANCE_ID_CHARS,
    MAX_INTERNAL_LINE_BYTES, MAX_KNOWN_PER_LINE, MAX_KNOWN_TRANSACTIONS, MAX_PREV_HASH_CHARS,
    MAX_UNKNOWN_MSG_TYPE_PER_MINUTE, MAX_UNPARSABLE_LINES_IN_A_ROW, MAX_VERSION_MISMATCHES,
    PROTOCOL_VERSION,
};
pub use line::{LineDecoder, LineTooLarge};
pub use message::{
    BodyAnnouncement, Heartbeat, HeartbeatAck, KnownTransaction, Message, Mode, ProposalId,
    TemplateBody, TemplatePropose, TemplateVerdict, TxKnown, TxNeed,
};
pub use verdict::{CheckOutcome, Checks, FeeTier, PolicyContext, Verdict};
