//! The gateway's decisions as sans-IO state machines.
