//! Shares: replay window, validation, and what becomes of an accepted one.

mod dedup;
pub(crate) mod lifecycle;
pub(crate) mod validate;

pub use dedup::ReplayWindow;
