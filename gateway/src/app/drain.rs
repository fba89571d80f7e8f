//! The end, in order: no new miners, shares and blocks to their ends, the miners, the log, HTTP.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::parts::Parts;
use crate::board::Signal;
use crate::limits::{CLOSING_WRITE, STREAMS_WIND_DOWN};

impl Parts {
    /// Drains and ends every task.
    pub(super) async fn drain(mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.live.now().timing.drain_grace;
        self.draining.store(true, Ordering::Relaxed);
        self.stops.door.cancel();
        (&mut self.door).await;
        self.stops.flush.cancel();
        let idle = self.level.wait_for(|level| level.is_idle());
        within(deadline, idle).await;
        within(deadline, self.blocks.finished()).await;

        self.close_miners(deadline).await;
        let outcome = self.finish_shares_and_blocks(deadline).await;

        self.stops.background.cancel();
        for task in std::mem::take(&mut self.background) {
            task.await;
        }
        let logged = self.finish_log(deadline).await;
        // The readers of the event stream get its last lines.
        self.feed.close();
        self.servers.wind_down(STREAMS_WIND_DOWN).await;
        self.stops.http.cancel();
        self.http.await;
        self.servers.end().await;
        self.clients.end().await;
        logged.and(outcome)
    }

    /// Tells the miners to go, and waits until they have and their shares are in the log.
    async fn close_miners(&mut self, deadline: Instant) {
        self.board.post(Signal::Drain);
        let deadline = deadline.max(Instant::now() + 2 * CLOSING_WRITE);
        // Nothing is ever sent: the channel ends with its last sender.
        if !within(deadline, self.miners.recv()).await {
            // They wait for a log that does not take their shares.
            self.log_end.give_up.cancel();
            self.miners.recv().await;
        }
    }

    async fn finish_shares_and_blocks(&mut self, deadline: Instant) -> Result<(), Error> {
        let shares_done = within(deadline, &mut self.forwarder).await;
        let blocks_done = within(deadline, self.blocks.finished()).await;
        if shares_done && blocks_done {
            return Ok(());
        }
        let (level, blocks) = (*self.level.borrow(), self.blocks.under_way());
        self.stops.give_up.cancel();
        if !shares_done {
            (&mut self.forwarder).await;
        }
        self.blocks.finished().await;
        let (shares_queued, posts) = (level.queued, level.in_flight);
        tracing::error!(shares_queued, posts, blocks, "the drain's grace is over");
        Err(Error::DrainIncomplete { shares_queued, posts, blocks })
    }

    async fn finish_log(&mut self, deadline: Instant) -> Result<(), Error> {
        self.log_end.finish.cancel();
        let Some(mut log) = self.log.take() else { return Ok(()) };
        let deadline = deadline.max(Instant::now() + Duration::from_secs(1));
        let ended = match tokio::time::timeout_at(deadline, &mut log).await {
            Ok(ended) => ended,
            Err(_) => {
                self.log_end.give_up.cancel();
                log.await
            }
        };
        match ended {
            Some(outcome) => Ok(outcome?),
            None => Err(Error::Panicked("log_writer")),
        }
    }
}

/// Whether the future ended by the deadline.
async fn within(deadline: Instant, future: impl Future) -> bool {
    tokio::time::timeout_at(deadline, future).await.is_ok()
}
