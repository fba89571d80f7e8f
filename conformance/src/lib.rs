//! Proves against specifications and other people's code.
//!
//! `conformance run --target HOST:PORT` judges any SV2 mining server from outside: it opens
//! connections, does what a client may do and what none should, and holds what comes back against
//! the rules of the specification. `conformance serve --listen HOST:PORT` is a scripted server that
//! judges the miner or proxy which connects to it. CASES.md lists the cases. Everything goes through
//! [`platform::Env`], so that the same cases run on sockets and in a simulated network.
//!
//! - [`catalogue`] is the registry of [`Case`]s; [`Selection`] picks from it.
//! - A case's body gets a [`Bench`], opens [`Peer`]s on it, and ends in a [`Stop`] or not.
//! - [`client_catalogue`] has the cases for clients; [`serve`] runs them, and a body gets a
//!   [`Counter`] to which clients come.
//! - [`run`] makes [`Outcome`]s of cases, and [`report`] makes text of those.
//!
//! The tests of this package hold `sv2-wire` and `sv2-noise` against the reference implementation
//! of Stratum V2, message by message and frame by frame, in both directions. It is a judge only:
//! no part of it is ever in the product.
//!
//! # Where we differ on purpose
//!
//! Tests pin each of these, so that a change on either side is noticed.
//!
//! | | reference implementation | ours |
//! |---|---|---|
//! | bytes after a message | ignored, whatever they are | legal only as TLVs |
//! | channel bit | not looked at | must be right, but for the four messages where it changed |
//! | unknown `SetupConnection.protocol` | does not decode | decodes, so that it can be answered |
//! | length of a frame | up to the 16 MiB that a header can say | up to a limit, refused by the header |
//! | certificate | valid from the moment of the handshake | minted once and backdated |
//!
//! # Where the specification leaves room and we do the same
//!
//! TLVs are little-endian; the upper bits of a `BOOL` are ignored; an `OPTION` with a count of 2 is
//! refused; certificates have version 0 and ten seconds of leeway at both ends; a frame without
//! payload is a header block alone, and a payload that fills its last chunk has no empty one after
//! it.
#![forbid(unsafe_code)]

mod bench;
mod case;
mod cases;
mod client;
mod frames;
mod mining;
mod peer;
pub mod report;
mod suite;
mod view;

pub use bench::{Bench, Target, Waits};
pub use case::{Body, Case, ClientRun, Judged, Level, Run, Section, Stop, Verdict, demand};
pub use cases::catalogue;
pub use client::{ClientWaits, Counter, Hosting, client_catalogue, serve};
pub use frames::Frame;
pub use peer::{Event, Heard, Peer};
pub use suite::{Outcome, Selection, SuiteError, judge, run};
pub use view::{Channel, Job, Root, View};
