//! Re-derives from a block's bytes what a template declares.
//!
//! [`check`] trusts nothing: it decodes the block and computes height, value, merkle root, witness
//! commitment, weight, signature operations and count anew. [`check_parts`] does so for a block
//! whose transactions were decoded before ([`Tx`]). What needs the outputs that are spent
//! (fees, scripts, maturity) cannot be had from the bytes; a node's proposal mode judges that.
//! In particular `total_fees` is not re-derived from the transactions: it is held against what the
//! coinbase pays out beside the subsidy.
#![forbid(unsafe_code)]

mod check;
mod coinbase;
mod commitments;
mod hash;
mod header;
mod parts;
mod sigops;
mod size;
mod transactions;
mod tx;

pub use check::{ConsensusFailure, Declared, Derived, Options, check, check_parts};
pub use parts::{Parts, Skeleton};
pub use sigops::SigopsRange;
pub use tx::Tx;
