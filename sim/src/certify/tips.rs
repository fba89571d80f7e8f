//! New tips: when each began, and when each miner heard of it.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::measure::{Measures, Metric};

/// A block hash in internal byte order.
pub(super) type TipHash = [u8; 32];

/// Every tip that was measured.
#[derive(Default)]
pub(super) struct Tips {
    tips: BTreeMap<TipHash, Tip>,
    /// Whether tips that nobody announced count, as those of a gateway elsewhere do.
    unannounced: bool,
}

struct Tip {
    /// When its block went to the node; not known of a gateway elsewhere.
    began: Option<Instant>,
    /// How many miners had work when it began.
    working: usize,
    arrivals: Vec<Instant>,
}

/// How tips went that some miners did not hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TipCounts {
    /// Tips that were measured.
    pub(super) tips: usize,
    /// Miners that had work when a tip began and did not hear of it, over all tips.
    pub(super) missed: usize,
}

impl Tips {
    /// Tips of a gateway elsewhere: each begins when the first miner hears of it.
    pub(super) fn unannounced() -> Self {
        Self { unannounced: true, ..Self::default() }
    }

    /// A block goes to the node now, while so many miners work.
    pub(super) fn begin(&mut self, hash: TipHash, now: Instant, working: usize) {
        self.tips.insert(hash, Tip { began: Some(now), working, arrivals: Vec::new() });
    }

    /// A miner that worked on another tip hears of this one.
    pub(super) fn arrived(&mut self, hash: TipHash, now: Instant, working: usize) {
        if self.unannounced {
            let tip = Tip { began: None, working, arrivals: Vec::new() };
            self.tips.entry(hash).or_insert(tip);
        }
        if let Some(tip) = self.tips.get_mut(&hash) {
            tip.arrivals.push(now);
        }
    }

    /// Records every tip.
    pub(super) fn measure(mut self, measures: &mut Measures) -> TipCounts {
        let mut counts = TipCounts::default();
        for tip in self.tips.values_mut() {
            counts.tips += 1;
            counts.missed += tip.working.saturating_sub(tip.arrivals.len());
            tip.arrivals.sort_unstable();
            let (Some(first), Some(last)) = (tip.arrivals.first(), tip.arrivals.last()) else {
                continue;
            };
            for arrival in &tip.arrivals[1..] {
                measures.record(Metric::TipSpread, *arrival - *first);
            }
            let Some(began) = tip.began else { continue };
            let median = tip.arrivals[tip.arrivals.len() / 2];
            measures.record(Metric::TipFirst, *first - began);
            measures.record(Metric::TipMedian, median - began);
            measures.record(Metric::TipLast, *last - began);
            for arrival in &tip.arrivals {
                measures.record(Metric::Tip, *arrival - began);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tip_is_measured_at_its_first_median_and_last_miner() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tips = Tips::default();
        tips.begin([1; 32], start, 4);
        for ms in [9, 3, 5] {
            tips.arrived([1; 32], at(ms), 4);
        }
        tips.arrived([2; 32], at(1), 4);
        let mut measures = Measures::default();
        assert_eq!(tips.measure(&mut measures), TipCounts { tips: 1, missed: 1 });
        for (metric, ms) in [(Metric::TipFirst, 3), (Metric::TipMedian, 5), (Metric::TipLast, 9)] {
            let found = measures.of(metric).unwrap();
            assert_eq!((found.len(), found.max() / 1_000), (1, ms), "{metric:?}");
        }
        assert_eq!(measures.of(Metric::Tip).unwrap().len(), 3);
        assert_eq!(measures.of(Metric::TipSpread).unwrap().len(), 2);
    }

    #[test]
    fn tips_of_a_gateway_elsewhere_begin_at_the_first_miner() {
        let start = Instant::now();
        let mut tips = Tips::unannounced();
        tips.arrived([1; 32], start, 2);
        tips.arrived([1; 32], start + Duration::from_millis(4), 2);
        let mut measures = Measures::default();
        assert_eq!(tips.measure(&mut measures), TipCounts { tips: 1, missed: 0 });
        assert!(measures.of(Metric::Tip).is_none());
        assert_eq!(measures.of(Metric::TipSpread).unwrap().max() / 1_000, 4);
    }
}
