//! Targets, difficulties and the arithmetic between them.

use std::cmp::Ordering;
use std::fmt;

use bitcoin::CompactTarget;

/// 2^208 × 65535: the target of difficulty 1.
const DIFFICULTY_ONE: Limbs = [0, 0, 0, 0xffff_0000];
/// 2^64 as a float.
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;

/// A 256-bit number as four limbs, least significant first.
type Limbs = [u64; 4];

/// A threshold for header hashes, as the SV2 U256 type carries it: 32 bytes, little-endian.
/// Easier targets are greater.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target([u8; 32]);

impl Target {
    /// The easiest target: every hash meets it.
    pub const MAX: Self = Self([0xff; 32]);

    /// The target with these little-endian bytes.
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The little-endian bytes, as on the wire.
    pub const fn to_le_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The network target that a header's `nbits` field states.
    pub fn from_compact(bits: CompactTarget) -> Self {
        Self(bitcoin::Target::from_compact(bits).to_le_bytes())
    }

    /// The target of this difficulty, rounded down, at least 1 and at most [`Self::MAX`].
    pub fn from_difficulty(difficulty: Difficulty) -> Self {
        // difficulty = mantissa × 2^exponent, exactly; subnormals are scaled the same way.
        let bits = difficulty.0.to_bits();
        let biased = i32::try_from(bits >> 52).expect("twelve bits fit");
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) =
            if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
        let quotient = divide(DIFFICULTY_ONE, mantissa);
        let limbs = if exponent < 0 {
            shift_left(quotient, exponent.unsigned_abs())
        } else {
            shift_right(quotient, exponent.unsigned_abs())
        };
        Self::from_limbs(if limbs == [0; 4] { [1, 0, 0, 0] } else { limbs })
    }

    /// The difficulty of this target, to the precision of a float.
    pub fn difficulty(self) -> Difficulty {
        let as_float = |limbs: Limbs| {
            limbs.iter().rev().fold(0.0, |sum, limb| sum * TWO_POW_64 + *limb as f64)
        };
        let target = as_float(self.limbs());
        Difficulty(as_float(DIFFICULTY_ONE) / target.max(1.0))
    }

    /// Whether a header with this hash (internal byte order) meets the target.
    pub fn is_met_by(self, hash: [u8; 32]) -> bool {
        Self(hash) <= self
    }

    fn limbs(self) -> Limbs {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(self.0.chunks_exact(8)) {
            *limb = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        limbs
    }

    fn from_limbs(limbs: Limbs) -> Self {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(limbs) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        Self(bytes)
    }
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Target {
    /// Most significant byte first, as people compare targets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0;
        bytes.reverse();
        write!(f, "Target({})", const_hex::encode(bytes))
    }
}

/// How many times harder than difficulty 1 a share is; finite and above zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

impl Difficulty {
    /// A difficulty, unless `value` is zero, negative or not finite.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(Self(value))
    }

    /// The difficulty at which `hashes_per_second` finds `shares_per_minute`.
    ///
    /// `None` where there is no such difficulty: a rate that is zero, negative or not finite.
    pub fn for_hash_rate(hashes_per_second: f64, shares_per_minute: f64) -> Option<Self> {
        if !(shares_per_minute.is_finite() && shares_per_minute > 0.0) {
            return None;
        }
        // A share of difficulty 1 takes 2^32 hashes on average (to one part in 65536).
        Self::new(hashes_per_second * 60.0 / shares_per_minute / 4_294_967_296.0)
    }

    /// The number itself.
    pub const fn as_f64(self) -> f64 {
        self.0
    }

    /// The nearest difficulty within `least..=most`.
    #[must_use]
    pub fn clamp(self, least: Self, most: Self) -> Self {
        Self(self.0.max(least.0).min(most.0))
    }
}

fn divide(number: Limbs, divisor: u64) -> Limbs {
    let mut quotient = [0; 4];
    let mut rest: u128 = 0;
    for at in (0..4).rev() {
        let part = rest << 64 | u128::from(number[at]);
        quotient[at] = (part / u128::from(divisor)) as u64;
        rest = part % u128::from(divisor);
    }
    quotient
}

/// Shifts towards greater numbers; what does not fit saturates.
fn shift_left(number: Limbs, by: u32) -> Limbs {
    let used = 256 - leading_zeros(number);
    if used + by > 256 {
        return [u64::MAX; 4];
    }
    let (limbs, bits) = ((by / 64) as usize, by % 64);
    let mut shifted = [0; 4];
    for at in limbs..4 {
        shifted[at] = number[at - limbs] << bits;
        if bits > 0 && at > limbs {
            shifted[at] |= number[at - limbs - 1] >> (64 - bits);
        }
    }
    shifted
}

fn shift_right(number: Limbs, by: u32) -> Limbs {
    let (limbs, bits) = ((by / 64) as usize, by % 64);
    let mut shifted = [0; 4];
    for at in 0..4usize.saturating_sub(limbs) {
        shifted[at] = number[at + limbs] >> bits;
        if bits > 0 && at + limbs < 3 {
            shifted[at] |= number[at + limbs + 1] << (64 - bits);
        }
    }
    shifted
}

fn leading_zeros(number: Limbs) -> u32 {
    match number.iter().rposition(|limb| *limb != 0) {
        Some(at) => (3 - at as u32) * 64 + number[at].leading_zeros(),
        None => 256,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::sample::cases;

    fn difficulty(value: f64) -> Difficulty {
        Difficulty::new(value).unwrap()
    }

    #[test]
    fn difficulty_one_is_the_target_of_the_genesis_bits() {
        assert_eq!(
            Target::from_difficulty(difficulty(1.0)),
            Target::from_compact(CompactTarget::from_consensus(0x1d00_ffff))
        );
    }

    #[rstest]
    #[case(2.0, "000000007fff8000000000000000000000000000000000000000000000000000")]
    #[case(0.5, "00000001fffe0000000000000000000000000000000000000000000000000000")]
    #[case(65535.0, "0000000000010000000000000000000000000000000000000000000000000000")]
    #[case(1e-300, "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")]
    #[case(1e300, "0000000000000000000000000000000000000000000000000000000000000001")]
    fn targets_of_known_difficulties(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(
            format!("{:?}", Target::from_difficulty(difficulty(value))),
            format!("Target({expected})")
        );
    }

    #[test]
    fn numbers_that_are_no_difficulty_are_refused() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Difficulty::new(value), None);
            assert_eq!(Difficulty::for_hash_rate(value, 10.0), None);
            assert_eq!(Difficulty::for_hash_rate(1e12, value), None);
        }
    }

    #[test]
    fn a_hash_equal_to_the_target_meets_it() {
        let target = Target::from_difficulty(difficulty(7.0));
        assert!(target.is_met_by(target.to_le_bytes()));
        let mut above = target.to_le_bytes();
        above[0] = above[0].wrapping_add(1);
        assert_eq!(target.is_met_by(above), above[0] == 0);
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn difficulty_survives_the_round_trip(value in 1e-9f64..1e18) {
            let back = Target::from_difficulty(difficulty(value)).difficulty().as_f64();
            prop_assert!((back / value - 1.0).abs() < 1e-12, "{value} came back as {back}");
        }

        #[test]
        fn harder_means_a_smaller_target(a in 1e-9f64..1e18, b in 1e-9f64..1e18) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let target = |value| Target::from_difficulty(difficulty(value));
            prop_assert!(target(high) <= target(low));
        }
    }
}
