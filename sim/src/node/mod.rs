//! The node beside the simulated world.
//!
//! This module runs real programs and reads real files on purpose: they are the bench's own,
//! never the simulated programs'.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod find;
pub mod install;

pub use find::{Found, Origin, find, status};
