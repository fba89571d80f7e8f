//! Channels and their search space.

mod extranonce;

pub use extranonce::{ExtranonceAllocator, ExtranonceIndex};
