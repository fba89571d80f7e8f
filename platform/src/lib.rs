//! The one door to the outside world.
//!
//! Shells (gateway, verifier, template-manager) reach the network, the wall clock, randomness,
//! spare processor time, the disk and the task scheduler through [`Env`] only, as trait objects,
//! so that one compiled artefact runs on real sockets and in the simulator. Elapsed time is
//! `tokio::time` called directly: with the clock paused it is virtual.
//!
//! [`real`] holds the implementations for production; the `sim` package holds the others, and
//! [`behaviour`] is the suite of tests that both must pass.
#![forbid(unsafe_code)]

pub mod api_key;
pub mod behaviour;
mod causes;
mod cpu;
mod entropy;
mod env;
pub mod http_client;
mod net;
pub mod real;
mod reload;
pub mod serve;
mod storage;
mod tasks;
pub mod tls;
mod wall;

pub use causes::in_full;
pub use cpu::{Offload, offload};
pub use entropy::Entropy;
pub use env::Env;
pub use net::{Listener, Net, Stream};
pub use storage::{AppendFile, Storage};
pub use tasks::{TaskHandle, Tasks};
pub use wall::Wall;

/// Tells a program to drain and end; shared by everything that must hear it.
pub use reload::Reload;
pub use tokio_util::sync::CancellationToken as Shutdown;
