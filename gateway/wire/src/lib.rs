//! Stratum V2 data types, frames and messages.
