//! Channels: their search space, their targets, the jobs they were given.

pub(crate) mod difficulty;
mod extranonce;
pub(crate) mod jobs;
pub(crate) mod standard;

pub use extranonce::{ExtranonceAllocator, ExtranonceIndex};
