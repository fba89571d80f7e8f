//! Times, counts and rates as scenario files write them.

use std::fmt;
use std::time::Duration;

use super::draw::Draws;

/// A fixed value, or a half-open range (`low..high`, as in Rust; `low..=high` takes in its end)
/// that the seed draws one value from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The smallest value.
    low: u64,
    /// The largest value.
    high: u64,
}

impl Span {
    /// A span of one value.
    pub const fn fixed(value: u64) -> Self {
        Self { low: value, high: value }
    }

    /// The value, drawn where there is a choice.
    pub fn draw(&self, draws: &mut Draws) -> u64 {
        draws.between(self.low, self.high)
    }

    /// The smallest value it can take.
    pub fn low(&self) -> u64 {
        self.low
    }

    /// The largest value it can take.
    pub fn high(&self) -> u64 {
        self.high
    }

    /// Reads `one` or a range of what `value` reads.
    pub(super) fn parse(
        text: &str,
        value: impl Fn(&str) -> Result<u64, String>,
    ) -> Result<Self, String> {
        let Some((low, high)) = text.split_once("..") else {
            return value(text.trim()).map(Self::fixed);
        };
        let (high, inclusive) = match high.strip_prefix('=') {
            Some(high) => (high, true),
            None => (high, false),
        };
        let (low, high) = (value(low.trim())?, value(high.trim())?);
        let high = if inclusive { Some(high) } else { high.checked_sub(1) };
        match high {
            Some(high) if high >= low => Ok(Self { low, high }),
            _ => Err(format!("the range \"{text}\" is empty; write low..high with low < high")),
        }
    }
}

/// A time in microseconds, or a range of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(Span);

impl TimeSpan {
    /// A span of one time.
    pub const fn fixed(time: Duration) -> Self {
        Self(Span::fixed(time.as_micros() as u64))
    }

    /// The time, drawn where there is a choice.
    pub fn draw(&self, draws: &mut Draws) -> Duration {
        Duration::from_micros(self.0.draw(draws))
    }

    /// The longest time it can take.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.0.high)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Span::parse(text, |text| Ok(duration(text)?.as_micros() as u64)).map(Self)
    }
}

/// Reads `50ms`, `5.06s`, `300us`, `2m` or `24h`.
///
/// # Errors
/// Text that says what is wrong and what is right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let micros_per_unit = match unit.trim() {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        "" => return Err(format!("\"{text}\" has no unit; write 300us, 50ms, 10s, 2m or 24h")),
        other => return Err(format!("\"{other}\" is no unit of time; use us, ms, s, m or h")),
    };
    let number: f64 =
        number.parse().map_err(|_| format!("\"{text}\" is no duration; write 50ms or 10s"))?;
    Ok(Duration::from_micros((number * micros_per_unit).round() as u64))
}

/// Writes a duration in its largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

/// Durations in plans that are kept: as scenario files write them.
pub(super) mod as_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::show_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        super::duration(&text).map_err(serde::de::Error::custom)
    }
}

/// As [`as_text`], where there may be none.
pub(super) mod as_text_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(super::show_duration).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| super::duration(&text)).transpose().map_err(serde::de::Error::custom)
    }
}

/// Reads a plain number.
pub(super) fn count(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("\"{text}\" is no whole number"))
}

/// Reads a hash rate such as `100 TH/s`, in hashes a second.
pub(super) fn hashrate(text: &str) -> Result<f32, String> {
    let wrong = || format!("\"{text}\" is no hash rate; write 100 TH/s");
    let (number, unit) = text.split_once(' ').ok_or_else(wrong)?;
    let factor = match unit.trim() {
        "H/s" => 1.0,
        "kH/s" => 1e3,
        "MH/s" => 1e6,
        "GH/s" => 1e9,
        "TH/s" => 1e12,
        "PH/s" => 1e15,
        _ => return Err(wrong()),
    };
    let number: f32 = number.parse().map_err(|_| wrong())?;
    Ok(number * factor)
}

/// Reads a rate such as `0.2/s`, in events a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("\"{text}\" is no rate; write 0.2/s");
    let number = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
    match number.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err(wrong()),
    }
}

/// How a link's delay is distributed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Evenly between two bounds.
    Uniform(Duration, Duration),
    /// Exponential around a mean, never above a cap.
    Exponential {
        /// The mean before the cap.
        mean: Duration,
        /// The largest value.
        cap: Duration,
    },
    /// Mostly the first value, with a probability the second.
    Bimodal {
        /// The usual value.
        usual: Duration,
        /// The rare value.
        rare: Duration,
        /// How likely the rare value is, 0 to 1.
        probability: f64,
    },
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |duration: &Duration| show_duration(*duration);
        match self {
            Self::Fixed(time) => write!(f, "{}", show(time)),
            Self::Uniform(low, high) => write!(f, "uniform {}..{}", show(low), show(high)),
            Self::Exponential { mean, cap } => {
                write!(f, "exponential {} at most {}", show(mean), show(cap))
            }
            Self::Bimodal { usual, rare, probability } => {
                write!(f, "{}, with probability {probability} {}", show(usual), show(rare))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("50ms", 50_000)]
    #[case("300us", 300)]
    #[case("5.06s", 5_060_000)]
    #[case("10s", 10_000_000)]
    #[case("2m", 120_000_000)]
    #[case("24h", 86_400_000_000)]
    fn durations_are_read(#[case] text: &str, #[case] micros: u128) {
        assert_eq!(duration(text).unwrap().as_micros(), micros);
    }

    #[rstest]
    #[case("50", "has no unit")]
    #[case("5 lightyears", "no unit of time")]
    #[case("ms", "no duration")]
    #[case("1.2.3s", "no duration")]
    fn wrong_durations_say_why(#[case] text: &str, #[case] why: &str) {
        assert!(duration(text).unwrap_err().contains(why));
    }

    #[rstest]
    #[case("5", 5, 5)]
    #[case("1..4", 1, 3)]
    #[case("1..=4", 1, 4)]
    fn ranges_are_half_open_unless_they_say_so(
        #[case] text: &str,
        #[case] low: u64,
        #[case] high: u64,
    ) {
        assert_eq!(Span::parse(text, count).unwrap(), Span { low, high });
    }

    #[rstest]
    #[case("4..4")]
    #[case("5..1")]
    #[case("0..0")]
    fn empty_ranges_are_refused(#[case] text: &str) {
        assert!(Span::parse(text, count).unwrap_err().contains("empty"));
    }

    #[test]
    fn hash_rates_and_rates_are_read() {
        assert_eq!(hashrate("100 TH/s").unwrap(), 1e14);
        assert_eq!(rate("0.2/s").unwrap(), 0.2);
        assert!(hashrate("100").is_err());
        assert!(rate("fast").is_err());
    }

    #[test]
    fn a_duration_shows_as_it_is_written() {
        for text in ["300us", "50ms", "10s", "5060ms"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }
}
