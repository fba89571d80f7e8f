//! The world as programs and scenarios use it.
#![allow(clippy::unwrap_used)] // Clippy knows test functions but not what they share.

mod behaviour;
mod deterministic;
mod faults;
mod storage;
