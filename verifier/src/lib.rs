//! Judges block templates against policy and consensus.
//!
//! [`run`] serves any number of gateways over NDJSON ([`verifier_protocol`]) and operators over
//! HTTP. Each template is judged by the operator's rules ([`policy`]), re-derived from its bytes
//! ([`consensus`]) away from the event loop, and held against what the operator's own node knows,
//! where one is configured. A shell moves bytes; what it decides itself (which proposal comes
//! next, which verdicts are kept) has no I/O.
#![forbid(unsafe_code)]

mod app;
mod config;
mod csv;
mod dry_run;
mod explain;
mod ground;
mod history;
mod http;
mod judge;
mod link;
mod metrics;
mod policies;
mod proposed;
mod queue;
mod service;
mod shelf;
mod skipped;
mod stats;
mod tx_cache;
mod verdict_log;

pub use app::{Error, run, run_reloadable};
pub use config::{Config, ConfigProblem, LogFormat, NodeConfig, Origins};
pub use explain::{Assume, ExplainError, Explanation, explain};
pub use policies::check_policy_file;
