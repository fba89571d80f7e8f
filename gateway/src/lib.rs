//! The Stratum V2 mining gateway: a thin shell over `gateway-core`.
//!
//! [`run`] is the whole program. The binary calls it on this machine, the simulator on its own
//! world; both hand it a [`platform::Env`].
#![forbid(unsafe_code)]

mod admission;
mod app;
mod backoff;
mod blocks;
mod board;
mod clock;
pub mod config;
mod connection;
pub mod encoding;
#[cfg(test)]
mod fake_disk;
mod forwarder;
pub mod gen_keys;
pub mod http;
pub mod limits;
mod listener;
mod live;
pub mod log;
mod log_watch;
mod memory;
mod metrics;
mod noise_identity;
mod recorder;
pub mod reference;
mod reload;
mod status;
mod switch;
mod template_link;
mod verifier_link;

pub use app::{Control, Error, run, run_reloadable};
pub use config::{Config, ConfigProblem, ConfigSource};
pub use encoding::parse_pool_answer;
pub use noise_identity::IdentityError;
pub use reload::Reload;
