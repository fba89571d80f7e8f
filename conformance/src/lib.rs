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
//! Where the two differ on purpose stands in DIFFERENCES.md; tests pin each entry.
#![forbid(unsafe_code)]

mod bench;
mod case;
mod cases;
mod client;
mod frames;
mod mining;
mod peer;
pub mod report;
mod rules;
mod suite;
mod view;

pub use bench::{Bench, Target, Waits};
pub use case::{Body, Case, ClientRun, Judged, Level, Run, Section, Stop, Verdict, demand};
pub use cases::catalogue;
pub use client::{ClientWaits, Counter, Hosting, client_catalogue, serve};
pub use frames::Frame;
pub use peer::{Event, Heard, Peer};
pub use rules::rules_page;
pub use suite::{Outcome, Selection, SuiteError, judge, run};
pub use view::{Channel, Job, Root, View};
