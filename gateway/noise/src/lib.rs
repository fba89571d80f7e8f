//! The Stratum V2 Noise handshake, transport, certificates and authority keys.
