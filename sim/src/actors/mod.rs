//! Everything that lives in the world beside the programs under test.
//!
//! Actors reach the world through [`platform::Env`] only, as the programs do, and write down what
//! they see in a [`observe::Recorder`].

pub mod events;
pub mod miner;
pub mod observe;
pub mod pool;
pub mod verdict_link;

use bitcoin::hashes::{Hash, sha256};

/// Names work by its tip (as it is shown) and its merkle path (internal byte order): what a
/// verdict is about, whatever the extranonce.
fn work_id(prev_hash: &str, merkle_path: &[[u8; 32]]) -> String {
    let mut text = prev_hash.as_bytes().to_vec();
    for node in merkle_path {
        text.extend_from_slice(node);
    }
    let hash = sha256::Hash::hash(&text).to_byte_array();
    const_hex::encode(&hash[..8])
}
