//! Random streams, derived from the seed by name, so that one more draw in one of them does not
//! move the others.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use ring::digest::{Context, SHA256};

/// 32 bytes that depend on the seed and the name alone.
pub(crate) fn key(seed: u64, name: &str) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(&seed.to_le_bytes());
    hash.update(name.as_bytes());
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The stream of that name.
pub(crate) fn derive(seed: u64, name: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(key(seed, name))
}

/// A number in [0, 1).
pub fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in [0, `limit`).
///
/// # Panics
/// If the limit is 0.
pub fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    assert!(limit > 0, "there is no number below 0");
    // The high half of a 128-bit product: without the bias that would matter here.
    ((u128::from(rng.next_u64()) * limit as u128) >> 64) as usize
}
