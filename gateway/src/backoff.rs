//! Waits that grow, and differ from those of others.

use std::sync::Arc;
use std::time::Duration;

use platform::Entropy;

/// Jittered exponential backoff: each wait lies in the upper half of a bound that doubles.
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    bound: Duration,
    rng: Arc<dyn Entropy>,
}

impl Backoff {
    /// Bounds from `least` to `most`.
    pub(crate) fn new((least, most): (Duration, Duration), rng: Arc<dyn Entropy>) -> Self {
        Self { least, most, bound: least, rng }
    }

    pub(crate) fn next_wait(&mut self) -> Duration {
        let half = self.bound / 2;
        let jitter = half.mul_f64(self.rng.next_u64() as f64 / u64::MAX as f64);
        self.bound = (self.bound * 2).min(self.most);
        half + jitter
    }

    pub(crate) fn reset(&mut self) {
        self.bound = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Most;

    impl Entropy for Most {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0xff);
        }
    }

    #[test]
    fn waits_double_up_to_the_most_and_start_again() {
        let bounds = (Duration::from_millis(100), Duration::from_millis(350));
        let mut backoff = Backoff::new(bounds, Arc::new(Most));
        let mut waits = || backoff.next_wait().as_millis();
        assert_eq!([waits(), waits(), waits(), waits()], [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.next_wait().as_millis(), 100);
    }
}
