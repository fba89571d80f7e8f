//! How much of something a peer may do in a second.

use std::time::Duration;

const MICROS: u64 = 1_000_000;

/// A bucket that holds one second's worth and fills evenly.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: u64,
    /// Millionths of a token.
    level: u64,
    filled_at: Duration,
}

impl TokenBucket {
    pub(super) fn full(per_second: u32, now: Duration) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, level: per_second * MICROS, filled_at: now }
    }

    pub(super) fn set_rate(&mut self, per_second: u32) {
        self.per_second = per_second.into();
    }

    /// Takes `amount` tokens if there are as many; takes none otherwise.
    pub(super) fn take(&mut self, amount: u64, now: Duration) -> bool {
        let elapsed = now.saturating_sub(self.filled_at).as_micros();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.filled_at = self.filled_at.max(now);
        self.level = self
            .level
            .saturating_add(elapsed.saturating_mul(self.per_second))
            .min(self.per_second * MICROS);
        let price = amount.saturating_mul(MICROS);
        let is_enough = price <= self.level;
        if is_enough {
            self.level -= price;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_a_seconds_worth_and_no_more() {
        let at = Duration::from_millis;
        let mut bucket = TokenBucket::full(10, at(0));
        assert!(bucket.take(10, at(0)));
        assert!(!bucket.take(1, at(99)));
        assert!(bucket.take(1, at(100)));
        assert!(!bucket.take(11, at(60_000)));
        assert!(bucket.take(10, at(60_000)));
        assert!(!bucket.take(1, at(60_000)));
    }
}
