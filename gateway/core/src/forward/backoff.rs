//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential backoff with full jitter: a seeded generator, so that the same seed gives the same
/// waits.
#[derive(Debug)]
pub(super) struct Backoff {
    base: Duration,
    most: Duration,
    state: u64,
}

impl Backoff {
    pub(super) fn new(base: Duration, most: Duration, seed: u64) -> Self {
        Self { base, most, state: seed }
    }

    /// The wait after failed attempt number `attempt`: between half and all of `base` × 2^(n−1),
    /// never more than `most`, in whole milliseconds as timers have it.
    pub(super) fn wait(&mut self, attempt: u32) -> Duration {
        let doubled = self.base.saturating_mul(1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        let ceiling = u64::try_from(doubled.min(self.most).as_millis()).unwrap_or(u64::MAX);
        let half = ceiling / 2;
        Duration::from_millis(half + self.next() % (ceiling - half + 1))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): good enough to spread retries, and no more.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_their_bounds() {
        let (base, most) = (Duration::from_millis(100), Duration::from_millis(1000));
        let mut backoff = Backoff::new(base, most, 7);
        for (attempt, ceiling) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (90, 1000)] {
            for _ in 0..50 {
                let wait = backoff.wait(attempt).as_millis();
                assert!((ceiling / 2..=ceiling).contains(&wait), "{attempt}: {wait}");
            }
        }
    }

    #[test]
    fn the_same_seed_waits_the_same() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(9), seed);
            [1, 2, 3, 4].map(|attempt| backoff.wait(attempt))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
