//! The NDJSON wire between gateway and verifier.
