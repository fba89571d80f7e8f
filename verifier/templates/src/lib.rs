//! Block templates from bitcoind, for the gateway and the verifier.
