//! What a walk came to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A walk in which everything was as it should be.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The node, in one line.
    pub node: String,
    /// The block.
    pub block: BlockFound,
    /// The kill.
    pub crash: Crash,
    /// Every share of the walk.
    pub shares: Shares,
    /// Miners that the drain closed with `shutdown_drain`.
    pub miners_drained: usize,
    /// How long the parts took.
    pub timings: Timings,
    /// The folder of the walk, where it was kept.
    pub folder: Option<PathBuf>,
}

/// The block that a miner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFound {
    /// Its hash, as it is shown.
    pub hash: String,
    /// `getblockcount` before.
    pub height_before: u32,
    /// `getblockcount` after.
    pub height_after: u32,
}

/// The moment at which the gateway was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Shares in the durable log, acknowledged or about to be, without a result.
    pub in_flight: usize,
    /// Shares that their miners had no answer to.
    pub unanswered: usize,
}

/// Every share of the walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Sent by miners.
    pub sent: usize,
    /// Acknowledged to miners.
    pub acknowledged: usize,
    /// `share_accepted` events with `success`.
    pub accepted: usize,
    /// Those with exactly one result that says that the pool took them.
    pub forwarded: usize,
    /// Credited by the pool, each once.
    pub credited: usize,
    /// Further deliveries of shares that the pool had, which it did not credit again.
    pub duplicates: usize,
}

/// How long the parts took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the gateway's start until it was ready.
    pub ready: Duration,
    /// From the request for a block until `getblockcount` had grown.
    pub block: Duration,
    /// From the block's way to the gateway until the last miner heard of the new tip.
    pub switch: Duration,
    /// From the gateway's second start until it was ready.
    pub restart: Duration,
    /// From SIGTERM until the gateway had ended.
    pub drain: Duration,
    /// All of it.
    pub total: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, crash, shares, timings, .. } = self;
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        writeln!(f, "node       {}", self.node)?;
        writeln!(f, "block      {}", block.hash)?;
        writeln!(f, "height     {} -> {}", block.height_before, block.height_after)?;
        writeln!(
            f,
            "kill -9    {} shares in flight, {} unanswered",
            crash.in_flight, crash.unanswered
        )?;
        writeln!(
            f,
            "shares     {} sent, {} acknowledged, {} accepted, {} forwarded, {} credited once",
            shares.sent, shares.acknowledged, shares.accepted, shares.forwarded, shares.credited
        )?;
        writeln!(f, "duplicates {} delivered again, none credited twice", shares.duplicates)?;
        writeln!(f, "drain      exit 0, {} miners told shutdown_drain", self.miners_drained)?;
        writeln!(
            f,
            "times      ready {}, block {}, all on its tip {}, ready again {}, drain {}, all {}",
            ms(timings.ready),
            ms(timings.block),
            ms(timings.switch),
            ms(timings.restart),
            ms(timings.drain),
            ms(timings.total)
        )?;
        match &self.folder {
            Some(folder) => writeln!(f, "kept in    {}", folder.display()),
            None => Ok(()),
        }
    }
}
