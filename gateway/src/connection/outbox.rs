//! A connection's submissions on their way through the log to the pool.

use std::collections::VecDeque;
use std::sync::Arc;

use gateway_core::event::{Event, ShareAccepted};
use gateway_core::forward::ForwardShare;
use gateway_core::ids::Receipt;
use gateway_core::session::{AcceptedShare, FoundBlock};

use super::MinerSide;
use crate::encoding::encode_block;
use crate::limits::COMMITS_WAITING;
use crate::log::{Commit, Record};

/// Gathers what one turn brought, hands it to the log in one piece, and to the pool once it is
/// safe there.
pub(super) struct Outbox {
    side: Arc<MinerSide>,
    gathered: Gathered,
    logging: VecDeque<(Commit, Gathered)>,
    /// Logged shares that the forwarder has not taken yet.
    safe: VecDeque<Arc<ForwardShare>>,
}

#[derive(Default)]
struct Gathered {
    records: Vec<Record>,
    receipt: Option<Receipt>,
    shares: Vec<Arc<ForwardShare>>,
}

impl Outbox {
    pub(super) fn new(side: Arc<MinerSide>) -> Self {
        Self {
            side,
            gathered: Gathered::default(),
            logging: VecDeque::new(),
            safe: VecDeque::new(),
        }
    }

    /// Whether more may be read from the miner.
    pub(super) fn takes_more(&self) -> bool {
        self.gathered.records.is_empty()
            && self.logging.len() < COMMITS_WAITING
            && self.safe.len() < COMMITS_WAITING
    }

    /// A block, which goes into the log before its share, so that a crash does not lose it.
    pub(super) fn found(&mut self, block: &FoundBlock) {
        mutant::bug!(BlockNotLogged, return);
        self.gathered.records.push(Record::Block(encode_block(block)));
    }

    pub(super) fn accepted(&mut self, share: AcceptedShare) {
        let AcceptedShare { receipt, event, forward } = share;
        let event = self.side.recorder.counted(Event::ShareAccepted(event));
        self.gathered.records.push(Record::Accepted { share: Arc::clone(&forward), event });
        self.gathered.receipt = Some(receipt);
        self.gathered.shares.push(forward);
    }

    pub(super) fn rejected(&mut self, event: ShareAccepted) {
        let event = self.side.recorder.counted(Event::ShareAccepted(event));
        self.gathered.records.push(Record::Event(event));
    }

    /// Waits for the next step and takes it: what was gathered goes to the log; what was logged
    /// first is safe and may be acknowledged up to the receipt; what is safe goes to the pool.
    /// Dropping the future loses nothing.
    pub(super) async fn progress(&mut self) -> Option<Receipt> {
        let (log, forward) = (self.side.recorder.log(), &self.side.forward);
        let free = self.safe.len().min(forward.capacity().max(1));
        tokio::select! {
            biased;
            places = forward.reserve_many(free), if !self.safe.is_empty() => {
                match places {
                    Ok(places) => places
                        .zip(self.safe.drain(..free))
                        .for_each(|(place, share)| place.send(share)),
                    // The process goes down; the next life finds the shares in the log.
                    Err(_) => self.safe.clear(),
                }
                None
            }
            slot = log.reserve(), if !self.gathered.records.is_empty() => {
                let mut gathered = std::mem::take(&mut self.gathered);
                // Without a log the process is going down: the shares were never acknowledged.
                let slot = slot?;
                let records = std::mem::take(&mut gathered.records);
                self.logging.push_back((slot.append(records), gathered));
                None
            }
            is_safe = first(&mut self.logging) => {
                let (_, gathered) = self.logging.pop_front().expect("its commit was awaited");
                if !is_safe {
                    return None;
                }
                self.safe.extend(gathered.shares);
                gathered.receipt
            }
        }
    }

    /// Sees everything through after the connection has ended.
    pub(super) async fn settle(mut self) {
        let is_done = |outbox: &Self| {
            outbox.gathered.records.is_empty()
                && outbox.logging.is_empty()
                && outbox.safe.is_empty()
        };
        while !is_done(&self) {
            self.progress().await;
        }
    }
}

/// Waits for the commit that was begun first; for ever where there is none.
async fn first(logging: &mut VecDeque<(Commit, Gathered)>) -> bool {
    match logging.front_mut() {
        Some((commit, _)) => commit.await,
        None => std::future::pending().await,
    }
}
