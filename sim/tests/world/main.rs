//! The world as programs and scenarios use it.

mod behaviour;
mod deterministic;
mod faults;
mod storage;
