//! The mining gateway.
fn main() {}
