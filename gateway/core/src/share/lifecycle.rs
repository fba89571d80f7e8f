//! From the log back to the miner: which accepted shares one SubmitShares.Success answers.

use std::time::Duration;

use crate::ids::SequenceNumber;
use crate::target::Difficulty;

/// Shares of one channel that are durable and not yet acknowledged.
#[derive(Debug, Default)]
pub(crate) struct AckBatch {
    count: u32,
    sum: f64,
    last: SequenceNumber,
    oldest: Option<Duration>,
}

/// The figures of one SubmitShares.Success (SV2 §5.3.13): both counters are of this batch alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) last_sequence_number: SequenceNumber,
    pub(crate) accepted_count: u32,
    pub(crate) shares_sum: u64,
}

impl AckBatch {
    pub(crate) fn add(&mut self, sequence: SequenceNumber, difficulty: Difficulty, now: Duration) {
        self.count += 1;
        self.sum += difficulty.as_f64();
        self.last = sequence;
        self.oldest.get_or_insert(now);
    }

    /// When the batch must go out at the latest.
    pub(crate) fn deadline(&self, max_delay: Duration) -> Option<Duration> {
        self.oldest.map(|oldest| oldest + max_delay)
    }

    pub(crate) fn is_due(&self, size: u32, max_delay: Duration, now: Duration) -> bool {
        self.count >= size.max(1) || self.deadline(max_delay).is_some_and(|at| at <= now)
    }

    /// Empties the batch; `None` if it was empty. The sum is a whole number on the wire: what is
    /// lost to rounding is carried into the next batch, so that easy shares add up all the same.
    pub(crate) fn take(&mut self) -> Option<Ack> {
        self.oldest.take()?;
        let whole = self.sum.floor();
        self.sum -= whole;
        let accepted_count = std::mem::take(&mut self.count);
        // The cast saturates, which is where 2^64 difficulty in one batch belongs.
        let last_sequence_number =
            mutant::pick!(AckOfNextShare, SequenceNumber(self.last.0 + 1), self.last);
        Some(Ack { last_sequence_number, accepted_count, shares_sum: whole as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(batch: &mut AckBatch, sequence: u32, difficulty: f64) {
        let difficulty = Difficulty::new(difficulty).unwrap();
        batch.add(SequenceNumber(sequence), difficulty, Duration::from_millis(sequence.into()));
    }

    #[test]
    fn counters_start_anew_and_fractions_are_carried() {
        let mut batch = AckBatch::default();
        assert_eq!(batch.take(), None);
        add(&mut batch, 7, 0.75);
        add(&mut batch, 8, 0.75);
        let first = batch.take().unwrap();
        assert_eq!(
            (first.last_sequence_number.0, first.accepted_count, first.shares_sum),
            (8, 2, 1)
        );
        add(&mut batch, 9, 0.5);
        let second = batch.take().unwrap();
        assert_eq!((second.accepted_count, second.shares_sum), (1, 1));
    }

    #[test]
    fn a_batch_is_due_by_count_or_by_time() {
        let mut batch = AckBatch::default();
        let delay = Duration::from_millis(100);
        add(&mut batch, 10, 1.0);
        assert!(!batch.is_due(2, delay, Duration::from_millis(109)));
        assert!(batch.is_due(2, delay, Duration::from_millis(110)));
        add(&mut batch, 11, 1.0);
        assert!(batch.is_due(2, delay, Duration::from_millis(11)));
    }
}
