//! The daemon as its gateways and its operators meet it, on a network in memory.

#![allow(clippy::unwrap_used)] // clippy.toml exempts `#[test]` functions, not what they share.

mod cache;
mod codes;
mod ground;
mod links;
mod operators;
mod records;
mod tls;
mod world;
