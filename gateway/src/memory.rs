//! What the limits add up to: the most memory that miners, sources and readers can make the
//! gateway hold, in bytes.
//!
//! Each part is the number of things that a limit allows, times what one of them takes at most.
//! The sizes are rounded up, because an allocator and a growing buffer take more than they are
//! asked for; a gateway under attack stays far below, because not every limit is reached at once.

use gateway_core::limits::MAX_JOBS_PER_CHANNEL;

use crate::config::Config;
use crate::limits::{
    ADDRESSES_REMEMBERED, BLOCKS_IN_SUBMISSION, CHANNELS, EVENT_RING_LINES, EXPORTS,
    FORWARD_WAITING_SHARES, LOG_BATCHES_PER_COMMIT, LOG_WAITING_BATCHES, MINER_READ_BYTES,
    OUTGOING_BYTES, POOL_ANSWER_BYTES, PROPOSALS_WAITING, TRANSACTIONS_REMEMBERED, VERIFIERS,
    WORKERS,
};

/// Bytes of the smallest share on the wire: of a header and 24 bytes.
const SHARE_FRAME: usize = 6 + 24;
/// A share with its event, what sends it again, and the event's line.
const SHARE: usize = 4 * 1024;
/// A block of 4 million weight units, and its transactions' ids.
const BLOCK: usize = 5 << 20;
/// Cipher, session and task of a connection.
const SESSION: usize = 32 * 1024;
/// A channel without its jobs.
const CHANNEL: usize = 4 * 1024;
/// A job of a channel; the work that it is of is shared.
const JOB: usize = 512;
/// A worker's name and its meter.
const WORKER: usize = 4 * 1024;
/// An id in a window, in its order and in its set.
const ID: usize = 128;
/// A line of the event stream.
const LINE: usize = 2 * 1024;
/// What an export reads at once, and the rows that it makes of it.
const EXPORT: usize = 2 << 20;
/// What a connection to a verifier holds of one proposal, in base64.
const PROPOSAL: usize = BLOCK / 3 * 4;
/// An address whose rate is remembered.
const ADDRESS: usize = 128;

/// The parts of the bound, by their names in the metric.
pub(crate) fn bound(config: &Config) -> [(&'static str, usize); 11] {
    let (limits, share) = (&config.limits, &config.share);
    let shares_a_read = MINER_READ_BYTES / SHARE_FRAME;
    // What is asked for is asked for at once, and a buffer may have grown to twice that.
    let connection = SESSION
        + MINER_READ_BYTES
        + 2 * limits.max_frame_bytes
        + 2 * OUTGOING_BYTES
        + shares_a_read * SHARE;
    let channels =
        CHANNELS.min(limits.max_connections.saturating_mul(limits.max_channels_per_connection));
    let workers = WORKERS.min(channels.saturating_mul(config.auth.max_workers_per_channel));
    let batches = LOG_WAITING_BATCHES + LOG_BATCHES_PER_COMMIT;
    let posts = share.max_in_flight;
    let forwarded = share.queue_size + FORWARD_WAITING_SHARES + posts * share.batch_max;
    let templates = config.timing.template_cache_size + config.timing.max_future_templates;
    [
        ("connections", limits.max_connections.saturating_mul(connection)),
        ("addresses", ADDRESSES_REMEMBERED * ADDRESS),
        ("channels", channels.saturating_mul(CHANNEL + 2 * MAX_JOBS_PER_CHANNEL * JOB)),
        ("workers", workers.saturating_mul(WORKER)),
        ("replay_window", share.dedup_window_size.saturating_mul(ID)),
        ("templates", templates.saturating_mul(2 * BLOCK)),
        ("log", batches * shares_a_read * SHARE),
        ("forward", forwarded.saturating_mul(SHARE).saturating_add(posts * POOL_ANSWER_BYTES)),
        ("blocks", BLOCKS_IN_SUBMISSION * 2 * BLOCK),
        ("events", EVENT_RING_LINES * LINE * (1 + limits.max_event_subscribers) + EXPORTS * EXPORT),
        (
            "verifiers",
            VERIFIERS * (PROPOSALS_WAITING * PROPOSAL + 2 * TRANSACTIONS_REMEMBERED * ID),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fake_disk::FakeDisk;

    fn config() -> Config {
        let disk = FakeDisk::default();
        Config::from_toml(crate::config::tests::MINIMAL, &BTreeMap::new(), &disk).unwrap()
    }

    #[test]
    fn each_limit_is_in_the_bound() {
        let sum = |config: &Config| bound(config).iter().map(|(_, bytes)| bytes).sum::<usize>();
        let before = sum(&config());
        let larger: [fn(&mut Config); 8] = [
            |config| config.limits.max_connections += 1,
            |config| config.limits.max_frame_bytes += 1,
            |config| config.limits.max_event_subscribers += 1,
            |config| config.share.dedup_window_size += 1,
            |config| config.share.queue_size += 1,
            |config| config.share.max_in_flight += 1,
            |config| config.share.batch_max += 1,
            |config| config.timing.template_cache_size += 1,
        ];
        for (index, enlarge) in larger.into_iter().enumerate() {
            let mut config = config();
            enlarge(&mut config);
            assert!(sum(&config) > before, "limit {index}");
        }
    }
}
