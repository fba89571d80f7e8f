//! Judges block templates against policy and consensus.
