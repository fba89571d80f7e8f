//! The deterministic simulator: everything that pretends to be the outside world.

pub mod report;
