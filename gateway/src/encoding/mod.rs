//! JSON, the one place where the gateway's own data take that form: events, and what pools get.

mod block;
mod event;
mod forward;
pub(crate) mod schema;
mod text;

pub(crate) use block::{decode_block, encode_block};
pub(crate) use event::encode_fields;
pub use event::{EVENT_SCHEMA, write_event};
pub use forward::parse_pool_answer;
pub(crate) use forward::{decode_share, encode_batch, write_job, write_share};
