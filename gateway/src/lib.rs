//! The Stratum V2 mining gateway.
