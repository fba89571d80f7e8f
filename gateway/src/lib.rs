//! The Stratum V2 mining gateway: a thin shell over `gateway-core`.
//!
//! [`run`] is the whole program. The binary calls it on this machine, the simulator on its own
//! world; both hand it a [`platform::Env`].
#![forbid(unsafe_code)]

pub mod config;
#[cfg(test)]
mod fake_disk;
pub mod http;
pub mod limits;
pub mod log;

pub use config::{Config, ConfigProblem};
