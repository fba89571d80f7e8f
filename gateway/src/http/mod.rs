//! What the gateway serves over HTTP.

pub mod events;
