//! The durable log: every public event, and what a share needs to be sent again after a crash.
//!
//! The log is a directory of segments. A segment is a text file of records, one a line (see
//! [`segment`]); the number that an event carries as `seq` counts the events of the whole log, so
//! a segment's name says which events it begins with. [`recovery`] reads a log at start,
//! [`writer`] extends it with group commit, and the event stream is a view of it.
//!
//! What makes a share safe: its resend data (`S`) and the data of its job (`J`) come before its
//! `share_accepted` event in one append, so whoever finds the event finds the rest too. A found
//! block (`B`) comes before its share in the same way.

mod disk;
pub mod reader;
pub mod recovery;
pub mod segment;
pub mod writer;

use std::io;
use std::sync::Arc;

use gateway_core::event::Event;
use gateway_core::forward::ForwardShare;
use gateway_core::ids::EventId;

pub use disk::{LogStatus, Stall};
pub use recovery::{Recovered, Unresolved, recover};
pub use writer::{Commit, Log, LogEnd, LogSettings, Slot, open};

/// How much a record must survive before those who wait for it are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// A power loss: one `fdatasync`, shared by all that wait.
    Group,
    /// The death of this process: the bytes are with the kernel.
    Write,
}

/// One thing to record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An event that concerns no share's fate.
    Event(Event),
    /// An accepted share: its event, and what sends it again after a crash.
    Accepted {
        /// The share, with the job that it was made on.
        share: Arc<ForwardShare>,
        /// Its `share_accepted` event.
        event: Event,
    },
    /// A found block, before its share.
    Block(Block),
    /// The nodes' final answer to a block.
    Submitted {
        /// The block's [`Block::hash`].
        hash: Arc<str>,
        /// Its `block_found` event.
        event: Event,
    },
    /// The one result of an accepted share.
    Resolved {
        /// The accepted share's id.
        event_id: EventId,
        /// Its `share_forward_result` event.
        event: Event,
    },
}

/// A found block: what submits it again after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its hash, as in its `block_found` event.
    pub hash: Arc<str>,
    /// The block, as JSON.
    pub json: Arc<str>,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused a read or a write.
    #[error("log {path}: {what}: {source}; check the disk and `log.path`")]
    Storage {
        /// The file or directory.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What the disk answered.
        source: io::Error,
    },
    /// A record that was whole once no longer is: more than a crash can do.
    #[error(
        "log {path}: damaged at byte {offset}: {what}; restore the file from a copy, or move it \
         away to go on without its shares"
    )]
    Damaged {
        /// The segment's file.
        path: String,
        /// Where the first bad record begins.
        offset: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The process stopped before the disk took the records again.
    #[error("log {path}: {records} records could not be written before the end: {why}")]
    Unwritten {
        /// The segment's file.
        path: String,
        /// How many records are lost.
        records: usize,
        /// The disk's last answer.
        why: String,
    },
}

#[cfg(test)]
mod tests;
