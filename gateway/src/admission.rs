//! Who may connect: judged before the handshake, which costs far more than a refusal.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::LimitsConfig;
use crate::limits::{ADDRESSES_REMEMBERED, REFUSALS_REPORTED_PER_SECOND};

/// How often idle addresses are forgotten where all places are taken.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// Counts connections and judges new ones.
pub(crate) struct Admission {
    state: Mutex<State>,
}

/// What `[limits]` says.
#[derive(Clone, Copy)]
struct Bounds {
    most: usize,
    most_per_address: usize,
    per_second: f64,
}

struct State {
    bounds: Bounds,
    open: usize,
    addresses: BTreeMap<IpAddr, Address>,
    /// When idle addresses were last forgotten.
    forgot_at: Duration,
    reports: Bucket,
}

struct Address {
    open: usize,
    bucket: Bucket,
}

/// Fills with time, up to one second's worth.
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// Holds a connection's place until dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What it exceeds.
    pub(crate) limit: &'static str,
    /// Whether to report it: refusals in a storm are counted, not told one by one.
    pub(crate) report: bool,
}

impl Bucket {
    fn full(per_second: f64, now: Duration) -> Self {
        Self { tokens: per_second, at: now }
    }

    fn take(&mut self, per_second: f64, now: Duration) -> bool {
        self.refill(per_second, now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }

    fn refill(&mut self, per_second: f64, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(per_second);
        self.at = now;
    }
}

impl Bounds {
    fn of(limits: &LimitsConfig) -> Self {
        Self {
            most: limits.max_connections,
            most_per_address: limits.max_connections_per_ip,
            per_second: f64::from(limits.connections_per_second_per_ip),
        }
    }
}

impl Admission {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        let reports = Bucket::full(REFUSALS_REPORTED_PER_SECOND, Duration::ZERO);
        let (bounds, addresses) = (Bounds::of(limits), BTreeMap::new());
        let forgot_at = Duration::ZERO;
        Self { state: Mutex::new(State { bounds, open: 0, addresses, forgot_at, reports }) }
    }

    /// Judges connections by these limits from now on.
    pub(crate) fn set_limits(&self, limits: &LimitsConfig) {
        self.state().bounds = Bounds::of(limits);
    }

    /// A place for a connection from `address`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        now: Duration,
    ) -> Result<Place, Refusal> {
        let mut state = self.state();
        let state = &mut *state;
        let Bounds { most, most_per_address, per_second } = state.bounds;
        state.forget_idle(per_second, now);
        if state.addresses.len() >= ADDRESSES_REMEMBERED && !state.addresses.contains_key(&address)
        {
            let report = state.reports.take(REFUSALS_REPORTED_PER_SECOND, now);
            return Err(Refusal { limit: "ADDRESSES_REMEMBERED", report });
        }
        let entry = state
            .addresses
            .entry(address)
            .or_insert_with(|| Address { open: 0, bucket: Bucket::full(per_second, now) });
        let limit = if !entry.bucket.take(per_second, now) {
            Some("limits.connections_per_second_per_ip")
        } else if entry.open >= most_per_address {
            Some("limits.max_connections_per_ip")
        } else if state.open >= most {
            Some("limits.max_connections")
        } else {
            None
        };
        if let Some(limit) = limit {
            let report = state.reports.take(REFUSALS_REPORTED_PER_SECOND, now);
            return Err(Refusal { limit, report });
        }
        entry.open += 1;
        state.open += 1;
        Ok(Place { admission: Arc::clone(self), address })
    }

    /// Connections that hold a place.
    pub(crate) fn open(&self) -> usize {
        self.state().open
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An address without connections whose bucket is full again is as good as unknown.
    fn forget_idle(&mut self, per_second: f64, now: Duration) {
        // To look through all of them at each connection would help whoever floods.
        let is_soon = now.saturating_sub(self.forgot_at) < FORGET_INTERVAL;
        if self.addresses.len() < ADDRESSES_REMEMBERED || is_soon {
            return;
        }
        self.forgot_at = now;
        self.addresses.retain(|_, address| {
            address.bucket.refill(per_second, now);
            address.open > 0 || address.bucket.tokens < per_second
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.open -= 1;
        if let Some(address) = state.addresses.get_mut(&self.address) {
            address.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn admission(most: usize, per_address: usize, per_second: u32) -> Arc<Admission> {
        Arc::new(Admission::new(&LimitsConfig {
            max_connections: most,
            max_connections_per_ip: per_address,
            connections_per_second_per_ip: per_second,
            max_channels_per_connection: 1,
            max_frame_bytes: 1,
            rate_limit_messages_per_sec: 1,
            rate_limit_bytes_per_sec: 1,
            shares_per_second: 1,
            max_event_subscribers: 1,
        }))
    }

    fn limit(result: Result<Place, Refusal>) -> Option<&'static str> {
        result.err().map(|refusal| refusal.limit)
    }

    #[test]
    fn caps_hold_for_all_and_for_one_address_and_places_come_back() {
        let admission = admission(3, 2, 100);
        let first = admission.admit(A, Duration::ZERO).ok();
        let _second = admission.admit(A, Duration::ZERO).ok();
        let at = Duration::ZERO;
        assert_eq!(limit(admission.admit(A, at)), Some("limits.max_connections_per_ip"));
        let _third = admission.admit(B, at).ok();
        assert_eq!(limit(admission.admit(B, at)), Some("limits.max_connections"));
        drop(first);
        assert_eq!(admission.open(), 2);
        assert_eq!(limit(admission.admit(B, at)), None);
    }

    #[test]
    fn the_rate_of_one_address_does_not_touch_another() {
        let admission = admission(100, 100, 2);
        let connect = |address, ms| limit(admission.admit(address, Duration::from_millis(ms)));
        assert_eq!([connect(A, 0), connect(A, 0)], [None, None]);
        assert_eq!(connect(A, 0), Some("limits.connections_per_second_per_ip"));
        assert_eq!(connect(B, 0), None);
        assert_eq!(connect(A, 499), Some("limits.connections_per_second_per_ip"));
        assert_eq!(connect(A, 500), None);
    }

    #[test]
    fn addresses_are_remembered_up_to_a_bound_and_idle_ones_make_room() {
        let admission = admission(10, 10, 1);
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let connect = |n, secs| limit(admission.admit(address(n), Duration::from_secs(secs)));
        for n in 0..ADDRESSES_REMEMBERED as u32 {
            assert_eq!(connect(n, 1), None);
        }
        let another = ADDRESSES_REMEMBERED as u32;
        assert_eq!(connect(another, 1), Some("ADDRESSES_REMEMBERED"));
        assert_eq!(connect(another, 2), None, "the others left a second ago");
    }

    #[test]
    fn a_storm_is_reported_in_part() {
        let admission = admission(1, 1, 1);
        let refusals = (0..1000).filter_map(|_| admission.admit(A, Duration::ZERO).err());
        let reported = refusals.filter(|refusal| refusal.report).count();
        assert_eq!(reported, REFUSALS_REPORTED_PER_SECOND as usize);
    }
}
