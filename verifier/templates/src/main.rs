//! Takes templates from bitcoind and hands them on.
fn main() {}
