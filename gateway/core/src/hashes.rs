//! Work: how many hashes something stands for.

use std::iter::Sum;
use std::ops::AddAssign;

use crate::target::Target;

/// A number of hashes, exact where it matters and saturating at 2^128, which is beyond all the
/// work that Bitcoin has ever seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hashes(u128);

impl Hashes {
    /// What one share on `target` stands for: 2^256 / (target + 1), rounded down, as Bitcoin
    /// reckons the work of a block.
    pub fn of_share(target: Target) -> Self {
        let work = bitcoin::Target::from_le_bytes(target.to_le_bytes()).to_work().to_le_bytes();
        let (low, high) = work.split_at(16);
        if high.iter().any(|byte| *byte != 0) {
            return Self(u128::MAX);
        }
        Self(u128::from_le_bytes(low.try_into().expect("half of 32 bytes")))
    }

    /// This many hashes.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// To the precision of a float.
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// Half of it, rounded down.
    #[must_use]
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

impl AddAssign for Hashes {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl Sum for Hashes {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::CompactTarget;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::easiest(Target::MAX, 1)]
    #[case::regtest(Target::from_compact(CompactTarget::from_consensus(0x207f_ffff)), 2)]
    // Independently: chainwork of the genesis block.
    #[case::genesis(
        Target::from_compact(CompactTarget::from_consensus(0x1d00_ffff)),
        0x1_0001_0001
    )]
    #[case::beyond(Target::from_le_bytes([0; 32]), u128::MAX)]
    fn work_of_known_targets(#[case] target: Target, #[case] hashes: u128) {
        assert_eq!(Hashes::of_share(target), Hashes(hashes));
    }

    #[test]
    fn sums_saturate() {
        let sum: Hashes = [Hashes(u128::MAX), Hashes(1)].into_iter().sum();
        assert_eq!(sum, Hashes(u128::MAX));
        assert_eq!(Hashes(7).half(), Hashes(3));
    }
}
