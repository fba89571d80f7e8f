//! Stratum V2 data types, frames and messages, as of specification revision 0f38d51 (2026-08-20).
//!
//! Everything here is a pure function of bytes: no I/O, no clock, no allocation while decoding.
//! A decoded message borrows from the frame it came in.
//!
//! - [`FrameHeader`] is the six bytes in front of each payload.
//! - [`Message`] is implemented by each message struct: its id, its channel bit, decoding and
//!   encoding. The structs live in [`common`], [`mining`], [`extensions`] and
//!   [`template_distribution`], named and ordered as in the specification.
//! - [`MiningClientMessage`], [`MiningServerMessage`], [`TemplateClientMessage`] and
//!   [`TemplateServerMessage`] hold what one side of a connection may receive; their `decode`
//!   picks the struct by the header.
//! - [`Tlvs`] are the only bytes that may follow a message in its payload.
//!
//! Where the specification and deployed peers differ, decoding is strict about whatever could
//! confuse or exhaust the receiver, and liberal in exactly one place, which is reported to be
//! counted: the channel bit of four message types ([`Decoded::wrong_channel_bit`]).
//!
//! ```
//! use sv2_wire::mining::SetTarget;
//! use sv2_wire::{FrameHeader, Message, MiningServerMessage, U256};
//!
//! let set_target = SetTarget { channel_id: 7, maximum_target: U256::MAX };
//! let mut frame = Vec::new();
//! set_target.encode_frame(&mut frame);
//!
//! let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
//! let decoded = MiningServerMessage::decode(FrameHeader::decode(*header), payload)?;
//! assert_eq!(decoded.message, MiningServerMessage::SetTarget(set_target));
//! # Ok::<(), sv2_wire::DecodeError>(())
//! ```
#![forbid(unsafe_code)]

mod bytes;
mod direction;
mod error;
mod field;
mod frame;
mod message;
mod messages;
#[cfg(test)]
mod sample;
mod seq;
#[cfg(test)]
mod tests;
mod tlv;

pub use bytes::{B016M, B032, B064K, B0255, Str0255};
pub use direction::{
    Decoded, MiningClientMessage, MiningServerMessage, TemplateClientMessage, TemplateServerMessage,
};
pub use error::{DecodeError, FieldError, TlvError, TooLong};
pub use field::{Field, Reader, U24, U256};
pub use frame::FrameHeader;
pub use message::Message;
pub use messages::{
    MESSAGES, MessageInfo, common, extensions, message_name, mining, template_distribution,
};
pub use seq::{Seq064K, Seq0255, SeqIter};
pub use tlv::{Tlv, Tlvs, WorkerIdentity};
