//! One direction between two hosts: how long bytes take, and what is wrong with it.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::world::streams;

/// A moment, counted from the beginning of the world.
pub(crate) type Moment = Duration;

/// A moment that never comes.
pub(crate) const NEVER: Moment = Duration::MAX;

/// The largest piece that travels as one.
const SEGMENT_BYTES_MAX: usize = 65_536;

/// How long one segment is on its way. The world's timers tick in milliseconds, so an arrival
/// is noticed at the first whole millisecond that is not before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Evenly spread between two durations.
    Uniform {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// Mostly short, with a long tail.
    Exponential {
        /// The average before the cap is applied.
        mean: Duration,
        /// The most.
        cap: Duration,
    },
    /// One of two, as with a path that is now and then re-routed.
    Bimodal {
        /// The usual one.
        fast: Duration,
        /// The other one.
        slow: Duration,
        /// How likely the slow one is, 0 to 1.
        slow_share: f64,
    },
}

impl Latency {
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> Duration {
        match *self {
            Self::Fixed(latency) => latency,
            Self::Uniform { min, max } => min + max.saturating_sub(min).mul_f64(streams::unit(rng)),
            Self::Exponential { mean, cap } => {
                // `1 - unit` is in (0, 1], where the logarithm is finite.
                mean.mul_f64(-(1.0 - streams::unit(rng)).ln()).min(cap)
            }
            Self::Bimodal { fast, slow, slow_share } => {
                if streams::unit(rng) < slow_share {
                    slow
                } else {
                    fast
                }
            }
        }
    }
}

/// What one direction between two hosts is like while nothing is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// How long each segment is on its way.
    pub latency: Latency,
    /// Bytes a second, shared by all connections of the link; `None` is without a limit.
    pub bandwidth: Option<u64>,
    /// Bytes that a sender may have under way and unread before it must wait.
    pub window: usize,
    /// The least and the most bytes of a segment. A write is cut into segments of drawn sizes,
    /// each with its own latency, and a read returns one at most. `None` leaves writes whole.
    pub chunk: Option<(usize, usize)>,
    /// Whether a read may return the bytes of several segments that have arrived. Without it,
    /// each read returns (part of) one segment.
    pub coalesce: bool,
    /// How likely a segment is to have one bit flipped, 0 to 1.
    pub corrupt: f64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            latency: Latency::Fixed(Duration::from_micros(500)),
            bandwidth: None,
            window: 1 << 18,
            chunk: None,
            coalesce: true,
            corrupt: 0.0,
        }
    }
}

impl LinkConfig {
    /// A host talking to itself.
    pub(crate) fn loopback() -> Self {
        Self { latency: Latency::Fixed(Duration::ZERO), ..Self::default() }
    }

    pub(crate) fn segment_bytes(&self, rng: &mut ChaCha8Rng) -> usize {
        match self.chunk {
            None => SEGMENT_BYTES_MAX,
            Some((min, max)) => {
                let min = min.clamp(1, SEGMENT_BYTES_MAX);
                let max = max.clamp(min, SEGMENT_BYTES_MAX);
                min + streams::below(rng, max - min + 1)
            }
        }
    }
}

/// Why nothing passes for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outage {
    pub(crate) until: Moment,
    /// Whether packets are lost (and senders give up in the end) or merely late.
    pub(crate) lossy: bool,
}

/// What is wrong with a link without stopping it, on top of what it is like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disturbance {
    /// How much longer every segment takes.
    pub delay: Duration,
    /// Bytes a second, where fewer than before.
    pub bandwidth: Option<u64>,
    /// How likely a segment is to have one bit flipped, 0 to 1, where more so than before.
    pub corrupt: f64,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Syn {
    Pass,
    Refuse,
    Lost,
}

/// One direction between two hosts.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: LinkConfig,
    pub(crate) disturbance: Disturbance,
    pub(crate) outage: Option<Outage>,
    pub(crate) refuse_until: Moment,
    pub(crate) ignore_syn_until: Moment,
    /// When the bytes that were sent so far have left.
    busy_until: Moment,
}

impl Link {
    pub(crate) fn new(config: LinkConfig) -> Self {
        Self {
            config,
            disturbance: Disturbance::default(),
            outage: None,
            refuse_until: Duration::ZERO,
            ignore_syn_until: Duration::ZERO,
            busy_until: Duration::ZERO,
        }
    }

    /// How long one segment that is sent now is on its way.
    pub(crate) fn latency(&self, rng: &mut ChaCha8Rng) -> Duration {
        self.config.latency.draw(rng) + self.disturbance.delay
    }

    /// How likely a segment that is sent now is to have one bit flipped.
    pub(crate) fn corruption(&self) -> f64 {
        self.config.corrupt.max(self.disturbance.corrupt)
    }

    fn bandwidth(&self) -> Option<u64> {
        [self.config.bandwidth, self.disturbance.bandwidth].into_iter().flatten().min()
    }

    /// When a segment that is sent now arrives, and whether the outage delays it.
    pub(crate) fn arrival(
        &mut self,
        now: Moment,
        bytes: usize,
        rng: &mut ChaCha8Rng,
    ) -> (Moment, bool) {
        let latency = self.latency(rng);
        if let Some(bandwidth) = self.bandwidth() {
            let on_the_wire = Duration::from_secs_f64(bytes as f64 / bandwidth.max(1) as f64);
            self.busy_until = self.busy_until.max(now) + on_the_wire;
        } else {
            self.busy_until = now;
        }
        match self.outage_at(now) {
            Some(outage) => (outage.until.max(self.busy_until).saturating_add(latency), true),
            None => (self.busy_until + latency, false),
        }
    }

    pub(crate) fn outage_at(&self, now: Moment) -> Option<Outage> {
        self.outage.filter(|outage| outage.until > now)
    }

    /// Whether packets that are sent now are lost.
    pub(crate) fn loses(&self, now: Moment) -> bool {
        self.outage_at(now).is_some_and(|outage| outage.lossy)
    }

    /// What becomes of a request to connect that is sent now.
    pub(crate) fn syn(&self, now: Moment) -> Syn {
        if self.loses(now) || self.ignore_syn_until > now {
            Syn::Lost
        } else if self.refuse_until > now {
            Syn::Refuse
        } else {
            Syn::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn bandwidth_is_shared_by_what_is_sent_at_once() {
        let mut rng = streams::derive(1, "test");
        let mut link = Link::new(LinkConfig {
            latency: Latency::Fixed(MS),
            bandwidth: Some(1_000_000),
            ..LinkConfig::default()
        });
        assert_eq!(link.arrival(Duration::ZERO, 1000, &mut rng), (2 * MS, false));
        assert_eq!(link.arrival(Duration::ZERO, 1000, &mut rng), (3 * MS, false));
        assert_eq!(link.arrival(10 * MS, 1000, &mut rng), (12 * MS, false));
    }

    #[test]
    fn drawn_latencies_stay_in_their_range() {
        let mut rng = streams::derive(1, "test");
        let uniform = Latency::Uniform { min: 2 * MS, max: 5 * MS };
        let exponential = Latency::Exponential { mean: 2 * MS, cap: 40 * MS };
        let bimodal = Latency::Bimodal { fast: MS, slow: 9 * MS, slow_share: 0.25 };
        let mut sum = Duration::ZERO;
        let mut slow = 0;
        for _ in 0..4000 {
            let drawn = uniform.draw(&mut rng);
            assert!((2 * MS..=5 * MS).contains(&drawn));
            let drawn = exponential.draw(&mut rng);
            assert!(drawn <= 40 * MS);
            sum += drawn;
            slow += u32::from(bimodal.draw(&mut rng) == 9 * MS);
        }
        assert!((1900..2100).contains(&(sum / 4000).as_micros()), "{:?}", sum / 4000);
        assert!((900..1100).contains(&slow), "{slow}");
    }
}
