//! Channels: their search space, their targets, the jobs they were given.

mod announce;
pub(crate) mod difficulty;
mod extranonce;
pub(crate) mod group;
pub(crate) mod jobs;
pub(crate) mod open;

pub use extranonce::{ExtranonceAllocator, ExtranonceIndex, ExtranonceSpace};
