//! Random choices that a seed decides.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use ring::digest::{SHA256, digest};

/// A stream of random choices. Streams of different names are independent, so that one more
/// draw in one does not move the others.
pub struct Draws {
    rng: ChaCha12Rng,
}

impl Draws {
    /// The stream called `name` of `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut text = seed.to_le_bytes().to_vec();
        text.extend_from_slice(name.as_bytes());
        let key = digest(&SHA256, &text);
        let key: [u8; 32] = key.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Self { rng: ChaCha12Rng::from_seed(key) }
    }

    /// A number between the two, both included.
    ///
    /// # Panics
    /// If `low > high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "between({low}, {high}) has nothing to draw");
        match (high - low).checked_add(1) {
            None => self.rng.next_u64(),
            // The bias of the remainder is below 2^-32 for every range a scenario can state.
            Some(count) => low + self.rng.next_u64() % count,
        }
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.between(0, items.len() as u64 - 1) as usize]
    }

    /// An exponentially distributed time with this mean in microseconds.
    pub fn exponential_us(&mut self, mean_us: f64) -> u64 {
        (-(1.0 - self.unit()).ln() * mean_us) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_itself_and_no_other() {
        let values = |seed, name| {
            let mut draws = Draws::new(seed, name);
            (0..8).map(|_| draws.between(0, 1000)).collect::<Vec<_>>()
        };
        assert_eq!(values(7, "faults"), values(7, "faults"));
        assert_ne!(values(7, "faults"), values(7, "workload"));
        assert_ne!(values(7, "faults"), values(8, "faults"));
    }

    #[test]
    fn draws_stay_inside_their_bounds() {
        let mut draws = Draws::new(1, "bounds");
        for _ in 0..1000 {
            assert!((3..=5).contains(&draws.between(3, 5)));
            assert!((0.0..1.0).contains(&draws.unit()));
        }
        let mean = (0..10_000).map(|_| draws.exponential_us(1000.0)).sum::<u64>() / 10_000;
        assert!((950..1050).contains(&mean), "mean {mean}");
    }
}
