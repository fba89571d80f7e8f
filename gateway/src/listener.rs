//! Miners at the door.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::event::{ConnectionClosed, Event};
use gateway_core::ids::ConnectionId;
use gateway_core::reason::ReasonCode;
use platform::{Listener, Stream, Tasks};
use tokio::sync::mpsc;

use crate::admission::{Admission, Refusal};
use crate::connection::{self, MinerSide};

/// Wait after a failure to accept: most are a passing shortage of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// Accepts miners and starts a task for each.
pub(crate) struct MinerListener {
    pub(crate) listener: Box<dyn Listener>,
    pub(crate) side: Arc<MinerSide>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) tasks: Tasks,
    /// Held by every connection: once all are gone, so are the miners.
    pub(crate) alive: mpsc::Sender<()>,
    /// The number of the last connection, over every opening of the port.
    pub(crate) last_id: Arc<AtomicU64>,
}

impl MinerListener {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
                    self.take(stream, ConnectionId(id));
                }
                Err(error) => {
                    tracing::warn!(%error, "miner connection not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn take(&self, stream: Stream, id: ConnectionId) {
        let now = self.side.clock.now();
        match self.admission.admit(stream.peer.ip(), now.mono) {
            Ok(place) => {
                tracing::debug!(miner_id = id.0, peer = %stream.peer, "miner connected");
                let (side, alive) = (Arc::clone(&self.side), self.alive.clone());
                drop(self.tasks.spawn("miner_connection", async move {
                    connection::serve(side, stream, id, place).await;
                    drop(alive);
                }));
            }
            Err(refusal) => self.refuse(&stream, id, refusal),
        }
    }

    fn refuse(&self, stream: &Stream, miner_id: ConnectionId, refusal: Refusal) {
        self.side.metrics.connections_refused.inc();
        if !refusal.report {
            return;
        }
        tracing::warn!(peer = %stream.peer, limit = refusal.limit, "miner connection refused");
        self.side.recorder.note(Event::ConnectionClosed(ConnectionClosed {
            miner_id,
            reason_code: Some(ReasonCode::ConnectionRateLimited),
            detail: format!("over {}", refusal.limit),
            prev_hash: None,
            duration: Duration::ZERO,
            timestamp_ms: self.side.clock.now().unix_ms,
        }));
    }
}
