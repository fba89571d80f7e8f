//! Proves against specifications and other people's code.
