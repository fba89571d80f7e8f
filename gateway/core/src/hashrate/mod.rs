//! How fast a channel or a worker is, for people: over the last minute, five minutes, hour.
//!
//! Apart from [`vardiff`](crate::vardiff), which decides; this only shows. Accepted work is
//! gathered in slots of time, so that a meter has a fixed size whatever happens.

use std::time::Duration;

use crate::hashes::Hashes;

/// Hash rates in hashes a second over three windows that end now.
///
/// Where the meter is younger than a window, over its life; zero before its first second is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HashRates {
    /// The last minute.
    pub one_minute: f64,
    /// The last five minutes.
    pub five_minutes: f64,
    /// The last hour.
    pub one_hour: f64,
}

/// Measures accepted work over time.
#[derive(Clone, Debug)]
pub struct Meter {
    began: Duration,
    /// Six slots of ten seconds and the one under way.
    minute: Ring<7>,
    /// Ten of thirty seconds and the one under way.
    five_minutes: Ring<11>,
    /// Twelve of five minutes and the one under way.
    hour: Ring<13>,
}

impl Meter {
    /// A meter that begins now.
    pub fn new(now: Duration) -> Self {
        Self {
            began: now,
            minute: Ring::new(Duration::from_secs(10)),
            five_minutes: Ring::new(Duration::from_secs(30)),
            hour: Ring::new(Duration::from_secs(300)),
        }
    }

    /// Counts accepted work.
    pub fn add(&mut self, work: Hashes, now: Duration) {
        self.minute.add(work, now);
        self.five_minutes.add(work, now);
        self.hour.add(work, now);
    }

    /// The rates as of now.
    pub fn rates(&self, now: Duration) -> HashRates {
        HashRates {
            one_minute: self.minute.rate(self.began, now),
            five_minutes: self.five_minutes.rate(self.began, now),
            one_hour: self.hour.rate(self.began, now),
        }
    }
}

/// Work by slot of time; the slot under way and `SLOTS - 1` before it.
#[derive(Clone, Debug)]
struct Ring<const SLOTS: usize> {
    slot: Duration,
    /// Number of the newest slot, counted from the start of the clock.
    newest: u64,
    work: [Hashes; SLOTS],
}

impl<const SLOTS: usize> Ring<SLOTS> {
    const fn new(slot: Duration) -> Self {
        Self { slot, newest: 0, work: [Hashes::new(0); SLOTS] }
    }

    fn add(&mut self, work: Hashes, now: Duration) {
        let number = self.number(now);
        for passed in self.newest + 1..=number.min(self.newest + SLOTS as u64) {
            self.work[index::<SLOTS>(passed)] = Hashes::default();
        }
        if number > self.newest + SLOTS as u64 {
            self.work = [Hashes::default(); SLOTS];
        }
        self.newest = self.newest.max(number);
        self.work[index::<SLOTS>(number)] += work;
    }

    fn rate(&self, began: Duration, now: Duration) -> f64 {
        let number = self.number(now);
        let oldest = number.saturating_sub(SLOTS as u64 - 1);
        let held = oldest.max((self.newest + 1).saturating_sub(SLOTS as u64))..=self.newest;
        let work: Hashes = held.map(|slot| self.work[index::<SLOTS>(slot)]).sum();
        let from = began.max(self.slot * u32::try_from(oldest).unwrap_or(u32::MAX));
        let seconds = now.saturating_sub(from).as_secs_f64();
        if seconds < 1.0 { 0.0 } else { work.as_f64() / seconds }
    }

    fn number(&self, now: Duration) -> u64 {
        now.as_secs() / self.slot.as_secs()
    }
}

fn index<const SLOTS: usize>(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 0.02
    }

    #[rstest]
    #[case::young(15)]
    #[case::a_minute(61)]
    #[case::ten_minutes(600)]
    #[case::hours(10_000)]
    fn a_steady_rate_is_shown_in_every_window(#[case] age: u64) {
        let began = 1_234;
        let mut meter = Meter::new(secs(began));
        for second in began + 1..=began + age {
            meter.add(Hashes::new(7_000), secs(second));
        }
        let HashRates { one_minute, five_minutes, one_hour } = meter.rates(secs(began + age));
        for rate in [one_minute, five_minutes, one_hour] {
            assert!(near(rate, 7_000.0), "{rate} after {age} s");
        }
    }

    #[test]
    fn what_is_past_leaves_one_window_after_the_other() {
        let mut meter = Meter::new(secs(0));
        for second in 1..=7_200 {
            meter.add(Hashes::new(1_000), secs(second));
        }
        let after = |seconds: u64| meter.rates(secs(7_200 + seconds));
        assert_eq!(after(71).one_minute, 0.0);
        assert!(after(71).five_minutes > 700.0);
        assert_eq!(after(331).five_minutes, 0.0);
        assert!(after(331).one_hour > 900.0);
        assert_eq!(after(3_901).one_hour, 0.0);
        assert_eq!(after(1_000_000), HashRates::default());
    }

    #[test]
    fn work_after_a_long_silence_stands_alone() {
        let mut meter = Meter::new(secs(0));
        meter.add(Hashes::new(1 << 60), secs(1));
        meter.add(Hashes::new(600), secs(100_000));
        let rates = meter.rates(secs(100_000));
        assert!(rates.one_minute <= 10.0 + 1e-9 && rates.one_minute > 8.0, "{rates:?}");
        assert!(rates.one_hour < 0.2, "{rates:?}");
    }

    #[test]
    fn the_first_second_has_no_rate() {
        let mut meter = Meter::new(secs(5));
        meter.add(Hashes::new(1_000_000), secs(5));
        assert_eq!(meter.rates(secs(5)), HashRates::default());
        assert_eq!(meter.rates(secs(10)).one_hour, 200_000.0);
    }
}
