//! Shares: replay window, validation, and what becomes of an accepted one.

mod dedup;

pub use dedup::ReplayWindow;
