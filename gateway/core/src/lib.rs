//! The gateway's decisions as sans-IO state machines.
//!
//! This crate knows no socket, clock, randomness, file or environment. The daemon around it moves
//! bytes and acts on outputs; everything that could be decided one way or another is decided here.
//!
//! # One contract for every machine
//! [`session::Session`] (one a connection), [`prevhash::Switch`] and [`forward::ForwardQueue`] (one
//! each a gateway) all work alike:
//!
//! - `handle(input, now)` takes one input. `now` is a [`Moment`] and never goes back.
//! - `poll()` gives the next output. After each `handle`, drain it until `None` and act on the
//!   outputs in their order: a block, for one, always stands before the answer to its share.
//! - `next_deadline()` says on [`Moment::mono`] when to call `handle(Input::Tick, now)`, if no
//!   other input comes first. Ask again after each drain.
//!
//! # How they meet
//! The template source feeds [`prevhash::Input::Template`]. The switch answers with proposals for
//! the verifier and with [`prevhash::Publication`]s, which the daemon hands to every session as
//! [`session::Input::Work`] and to each new session first of all. A session answers frames with
//! frames and gives out [`session::Output::Accepted`] for a valid share; the daemon logs it,
//! reports the log's progress as [`session::Input::Durable`] (only then is the miner told), and
//! puts the share into the [`forward::ForwardQueue`], which gives exactly one result for it.
//! [`SharedState`] holds what sessions have in common: replay window, extranonce space, templates
//! that may still earn shares, and whether the work at hand is withheld because a newer tip awaits
//! its verdict.
#![forbid(unsafe_code)]

pub mod auth;
pub mod channel;
pub mod event;
pub mod forward;
pub mod hashes;
pub mod hashrate;
pub mod ids;
pub mod job;
pub mod limits;
pub mod mode;
mod moment;
pub mod prevhash;
pub mod reason;
pub mod roster;
#[cfg(test)]
mod sample;
pub mod session;
pub mod share;
mod shared;
pub mod target;
pub mod vardiff;

pub use moment::Moment;
pub use shared::{SharedBounds, SharedState, TemplateReport, TemplateState};
