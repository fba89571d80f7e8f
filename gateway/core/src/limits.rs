//! Bounds that no setting can lift: what a peer, a source or a verifier can make the gateway hold.

use std::time::Duration;

/// Jobs of the current tip that one channel remembers. A refresh beyond it forgets the oldest,
/// whose late shares then get `template_cache_miss`.
pub const MAX_JOBS_PER_CHANNEL: usize = 64;

/// Accepted shares of one connection that may wait for the log at once. A peer that outruns the
/// disk is told `share_rate_limited`.
pub const MAX_UNLOGGED_SHARES: usize = 4096;

/// Proposals whose verdict is still recognised after another template took their place.
pub const MAX_REMEMBERED_PROPOSALS: usize = 64;

/// Templates that were proposed lately and are shown with their verdicts although no job is made of
/// them.
pub const MAX_PROPOSALS_SHOWN: usize = 16;

/// Bytes of a coinbase scriptSig (consensus).
pub const MAX_SCRIPT_SIG_BYTES: usize = 100;

/// Bytes of extranonce in every coinbase: instance 4, channel 4, and 16 that an extended channel
/// may roll. Standard channels leave those 16 zero, so both kinds can share one group channel.
pub const EXTRANONCE_BYTES: usize = 24;

/// Of those, the bytes that an extended channel rolls. They come last.
pub const ROLLED_EXTRANONCE_BYTES: usize = 16;

/// Bytes of the coinbase behind the extranonce: what a field of the wire holds.
pub const MAX_COINBASE_SUFFIX_BYTES: usize = 0xffff;

/// Wait that a pool may ask for with `Retry-After`, in seconds; longer wishes are cut to this.
pub const MAX_RETRY_AFTER_SECS: u64 = 60;

/// How far a miner's clock may be ahead of the gateway's before it loses shares whose `ntime` takes
/// all that `timing.nonce_expire_secs` allows.
pub const MINER_CLOCK_AHEAD: Duration = Duration::from_secs(10);

/// Age at which a channel's job is renewed with a later `ntime` if no better work came meanwhile,
/// so that a miner gets a job at least once a minute.
pub const JOB_REFRESH: Duration = Duration::from_secs(55);
