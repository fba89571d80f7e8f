//! Judges block templates.
fn main() {}
