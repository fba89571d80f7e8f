//! The wall clock.

/// Tells the time of day. It may jump either way, so it never measures a duration.
pub trait Wall: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
}
