//! Everything that lives in the world beside the programs under test.
//!
//! Actors reach the world through [`platform::Env`] only, as the programs do, and write down what
//! they see in a [`observe::Recorder`].

pub mod events;
pub mod miner;
pub mod observe;
pub mod pool;
mod tamper;
pub mod verdict_link;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, Transaction};

/// The scripts that a transaction pays, in hex, each with its satoshis; what pays nothing is left
/// out.
pub(crate) fn pays(transaction: &Transaction) -> Vec<(String, u64)> {
    let outputs = transaction.output.iter().filter(|output| output.value > Amount::ZERO);
    outputs
        .map(|output| (const_hex::encode(output.script_pubkey.as_bytes()), output.value.to_sat()))
        .collect()
}

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
