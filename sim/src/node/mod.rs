//! The node beside the simulated world.
//!
//! [`Node`] is one bitcoind, whichever it is: a real one ([`RealNode`]), the embedded chain
//! ([`EmbeddedNode`]), or the recorded answers of a real one ([`Recorder`], [`Replay`]). Calls
//! block, one at a time, and so cost no virtual time. [`ChainScript`] drives the chain, and
//! [`host`] puts a node into the world as a host that speaks JSON-RPC over HTTP.
//!
//! This module runs real programs and reads real files on purpose: they are the bench's own,
//! never the simulated programs'.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod cassette;
mod embedded;
mod find;
pub mod host;
pub mod install;
mod real;
mod script;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

pub use cassette::{CassetteError, Recorder, Recording, Replay};
pub use embedded::EmbeddedNode;
pub(crate) use find::cache_folder;
pub use find::{Found, Origin, find, status};
pub use real::{RealNode, StartError};
pub use script::{ChainScript, ScriptError};

/// What a node answered: its JSON, byte by byte.
pub type Answer = Box<RawValue>;

/// One bitcoind, asked one thing at a time.
pub trait Node: Send {
    /// Calls `method` with `params`, a JSON array, and waits for the answer.
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError>;

    /// What node this is, in one line.
    fn version(&self) -> &str;

    /// Why nothing that this node says counts any more (a replay that left its recording); a
    /// run with such a node has failed, whatever its properties say.
    fn fault(&self) -> Option<String> {
        None
    }
}

impl dyn Node + '_ {
    /// Calls `method` and reads the answer as `T`.
    ///
    /// # Errors
    /// The node's own, or [`RpcError::UNREADABLE`] when the answer is not a `T`.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &Value,
    ) -> Result<T, RpcError> {
        let answer = self.call(method, params)?;
        serde_json::from_str(answer.get()).map_err(|error| RpcError {
            code: RpcError::UNREADABLE,
            message: format!("the answer to {method} cannot be read: {error}"),
        })
    }
}

/// A node's refusal, as JSON-RPC carries it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// Bitcoin Core's number (`RPCErrorCode`), or one of the constants here.
    pub code: i64,
    /// Text for people.
    pub message: String,
}

impl RpcError {
    /// No connection to the node, or it broke. Outside the numbers that bitcoind uses.
    pub const UNREACHABLE: i64 = -40_001;
    /// The answer is not what the method answers.
    pub const UNREADABLE: i64 = -40_002;
    /// A replay was asked what its recording does not hold.
    pub const REPLAY_MISS: i64 = -40_003;
    /// bitcoind's `RPC_IN_WARMUP`.
    pub const IN_WARMUP: i64 = -28;
    /// JSON-RPC's own number for a method that does not exist.
    pub const METHOD_NOT_FOUND: i64 = -32_601;

    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A node that several owners use in turn: its host in the world, and the driver of the chain.
#[derive(Clone)]
pub struct SharedNode {
    inner: Arc<Mutex<Shared>>,
    version: Arc<str>,
}

struct Shared {
    node: Box<dyn Node>,
    /// The mock time last set, in seconds; it is not set again to the same.
    mock_time: Option<u64>,
}

impl SharedNode {
    /// Shares `node`.
    pub fn new(node: Box<dyn Node>) -> Self {
        let version = node.version().into();
        Self { inner: Arc::new(Mutex::new(Shared { node, mock_time: None })), version }
    }

    /// Makes `unix_s` the node's time, in seconds since the Unix epoch.
    pub fn set_time(&self, unix_s: u64) -> Result<(), RpcError> {
        let mut shared = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.mock_time != Some(unix_s) {
            shared.node.call("setmocktime", &serde_json::json!([unix_s]))?;
            shared.mock_time = Some(unix_s);
        }
        Ok(())
    }
}

impl Node for SharedNode {
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        if method == "setmocktime"
            && let Some(unix_s) = params.get(0).and_then(Value::as_u64)
        {
            self.set_time(unix_s)?;
            return Ok(RawValue::NULL.to_owned());
        }
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).node.call(method, params)
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn fault(&self) -> Option<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).node.fault()
    }
}
