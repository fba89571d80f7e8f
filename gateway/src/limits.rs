//! Every bound that is not a configuration key.

use std::time::Duration;

/// Batches of records that may wait for the log; whoever brings more waits.
pub const LOG_WAITING_BATCHES: usize = 1024;
/// Batches that one commit takes together.
pub const LOG_BATCHES_PER_COMMIT: usize = 512;
/// The log's buffer for a commit goes back to this size after a larger one.
pub const LOG_BUFFER_BYTES: usize = 1 << 20;
/// How long the log waits before it tries a failed write again.
pub const LOG_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Exports of shares under way at once.
pub const EXPORTS: usize = 4;
/// Recent events kept in memory for the readers of the event stream.
pub const EVENT_RING_LINES: usize = 8192;
/// Signals from the switch that one connection may have before it; a connection that is further
/// behind is closed.
pub const SIGNALS_BEFORE_A_CONNECTION: usize = 256;
/// Inputs that may wait for the switch.
pub const SWITCH_WAITING_INPUTS: usize = 64;
/// Changes of tip that `/api/v1/prevhash` remembers.
pub const PREVHASH_HISTORY: usize = 64;
/// Templates whose verdicts may be outstanding; beyond it the oldest are not proposed again when a
/// link to a verifier comes up, and go unjudged where no link had room for them.
pub const PROPOSALS_WAITING: usize = 8;
/// Verifiers that may be configured.
pub const VERIFIERS: usize = 8;
/// Transactions that are remembered as sent to one verifier, twice over: those used lately, and
/// those used before.
pub const TRANSACTIONS_REMEMBERED: usize = 32_768;
/// After this long without its verdict a proposal is reported as overdue.
pub const VERDICT_OVERDUE: Duration = Duration::from_secs(5);
/// Shortest and longest wait for a verdict before the newest template is proposed again: a verifier
/// that lost one proposal must not cost the whole hold.
pub const PROPOSAL_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The longest that one long poll for templates waits: a source that is gone without a word is
/// noticed this much later at the most.
pub const LONG_POLL_MOST: Duration = Duration::from_secs(5);
/// The wait before the template source is asked again after a first failure; it doubles up to
/// `timing.upstream_poll_interval_ms`.
pub const SOURCE_RETRY: Duration = Duration::from_millis(100);
/// Proposals on one link whose verdicts may be outstanding.
pub const PROPOSALS_OUTSTANDING: usize = 64;
/// Heartbeats that the verifier may leave unanswered before the link counts as down.
pub const HEARTBEATS_MISSED: u32 = 3;
/// Shortest and longest wait before a link is opened again: well below the stale hold, so that a
/// verifier that comes back within it still gets to judge the tip.
pub const LINK_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Logged shares that may wait for the forward queue to take them in.
pub const FORWARD_WAITING_SHARES: usize = 1024;
/// Upper ends of the wait before the first and before any retry of a post.
pub const FORWARD_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_secs(10));
/// Largest answer to a post.
pub const POOL_ANSWER_BYTES: usize = 8 << 20;
/// Blocks being submitted at once; whoever finds one more waits for a place.
pub const BLOCKS_IN_SUBMISSION: usize = 64;
/// Shortest and longest wait before a block is submitted again.
pub const BLOCK_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Bytes taken from the link to the verifier at once.
pub const LINK_READ_BYTES: usize = 16 * 1024;
/// Bytes taken from a miner at once, some 80 shares.
pub const MINER_READ_BYTES: usize = 4 * 1024;
/// Bytes that may wait for a miner to read them; beyond it the connection is closed.
pub const OUTGOING_BYTES: usize = 1 << 20;
/// How long a miner may leave everything unread before its connection is closed.
pub const UNREAD: Duration = Duration::from_secs(30);
/// Batches of one connection's shares that may wait for the log; beyond it nothing more is read
/// from the miner.
pub const COMMITS_WAITING: usize = 64;
/// How long a closing connection may take to read its last bytes.
pub const CLOSING_WRITE: Duration = Duration::from_secs(2);
/// Addresses whose rate of connections is remembered.
pub const ADDRESSES_REMEMBERED: usize = 65_536;
/// How long a miner may take to send SetupConnection.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a miner may take to open its first channel; some measure themselves for over 5 s.
pub const FIRST_CHANNEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Channels of all connections together.
pub const CHANNELS: usize = 1 << 20;
/// Workers of all channels together.
pub const WORKERS: usize = 1 << 20;
/// Refused connections a second that get an event of their own; the others are counted.
pub const REFUSALS_REPORTED_PER_SECOND: f64 = 10.0;
/// How long readers of the event stream have for its last lines when the gateway ends.
pub const STREAMS_WIND_DOWN: Duration = Duration::from_secs(1);
