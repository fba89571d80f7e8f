//! Block templates from bitcoind, for the gateway and the verifier.
//!
//! [`run`] is the whole of the `template-manager` daemon: it follows one or more nodes through
//! their JSON-RPC interface ([`node_rpc`]), picks the freshest tip among them, and hands templates
//! on over HTTP. [`client`] is the other end of that HTTP interface, for the gateway;
//! [`gbt`] reads what `getblocktemplate` answers. [`openapi`] describes HTTP interfaces, here and
//! in the verifier.
#![forbid(unsafe_code)]

mod app;
mod blocks;
pub mod client;
pub mod config;
mod endpoints;
pub mod gbt;
mod large;
mod metrics;
pub mod node_rpc;
pub mod openapi;
mod pace;
mod service;
mod source;
mod store;
mod wire;

pub use app::{Error, run};
pub use config::{Config, ConfigProblem};
