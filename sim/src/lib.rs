//! The deterministic simulator: everything that pretends to be the outside world.
#![deny(unsafe_code)] // `world::getrandom` is the one exception.

pub mod actors;
pub mod bugs;
pub mod certify;
pub mod cli;
pub mod disk;
pub mod interop;
pub mod mutants;
pub mod net;
pub mod node;
pub mod properties;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod sweep;
pub mod tip_lag;
pub mod verify_load;
pub mod walk;
pub mod world;
