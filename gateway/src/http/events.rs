//! The event stream: a view of the durable log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use platform::{Offload, Storage, offload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::encoding::EVENT_SCHEMA;
use crate::limits::EVENT_RING_LINES;
use crate::log::reader::EventReader;

/// The newest events in memory, and who waits for the next.
pub struct EventFeed {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    closed: AtomicBool,
    places: Arc<Semaphore>,
}

struct Ring {
    /// The number of the first line.
    first_seq: u64,
    /// Each with its newline.
    lines: VecDeque<Bytes>,
}

/// Where older events are read from.
#[derive(Clone)]
pub struct EventArchive {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// Where segments are read and checked.
    pub cpu: Arc<dyn Offload>,
    /// The log's directory.
    pub directory: PathBuf,
}

/// One reader of the stream.
pub struct Subscription {
    feed: Arc<EventFeed>,
    archive: EventArchive,
    newest: watch::Receiver<u64>,
    /// The number of the next event to send.
    next_seq: u64,
    /// Whether the reader still asks for events that were there before it came: those are read
    /// from the log where memory no longer has them.
    resuming: bool,
    /// Whether the reader knows of events that the log no longer has: a disk that lies about its
    /// syncs lost power, or the log is a copy from before.
    told_more: bool,
    /// Reads them, once it has begun.
    reader: Option<EventReader>,
    _place: OwnedSemaphorePermit,
}

impl EventFeed {
    /// An empty feed whose next event is `next_seq`, for at most `max_subscribers` readers.
    pub fn new(next_seq: u64, max_subscribers: usize) -> Self {
        Self {
            ring: Mutex::new(Ring { first_seq: next_seq, lines: VecDeque::new() }),
            newest: watch::Sender::new(next_seq - 1),
            closed: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(max_subscribers)),
        }
    }

    /// Adds events, each a line with its newline, numbered one after the other from where the last
    /// call ended.
    pub fn publish(&self, lines: Vec<Bytes>) {
        if lines.is_empty() {
            return;
        }
        let mut ring = self.ring();
        ring.lines.extend(lines);
        let newest = ring.first_seq + ring.lines.len() as u64 - 1;
        while ring.lines.len() > EVENT_RING_LINES {
            ring.lines.pop_front();
            ring.first_seq += 1;
        }
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Lets every reader end once it has all there is.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.newest.send_modify(|_| ());
    }

    /// The number of the newest event; 0 when there never was one.
    pub fn newest_seq(&self) -> u64 {
        *self.newest.borrow()
    }

    /// A reader of the events after `since`, or of those to come; `None` when all places are
    /// taken.
    pub fn subscribe(
        self: &Arc<Self>,
        since: Option<u64>,
        archive: EventArchive,
    ) -> Option<Subscription> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let newest = self.newest.subscribe();
        let newest_seq = self.newest_seq();
        let resuming = since.is_some();
        let since = since.unwrap_or(newest_seq);
        Some(Subscription {
            feed: Arc::clone(self),
            archive,
            newest,
            next_seq: since.min(newest_seq) + 1,
            resuming,
            told_more: since > newest_seq,
            reader: None,
            _place: place,
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next lines, each with its newline; waits for them. `None` when the feed is
    /// closed and all was told.
    pub async fn next_lines(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.told_more) {
            return Some(lagged(self.next_seq - 1, 0));
        }
        loop {
            let oldest = self.feed.ring().first_seq;
            if self.next_seq < oldest {
                return Some(self.catch_up(oldest).await);
            }
            self.resuming = false;
            let lines = self.take_from_memory();
            if !lines.is_empty() {
                return Some(lines.into());
            }
            if self.feed.closed.load(Ordering::Acquire) {
                return None;
            }
            self.newest.changed().await.ok()?;
        }
    }

    fn take_from_memory(&mut self) -> Vec<u8> {
        let ring = self.feed.ring();
        let skip = usize::try_from(self.next_seq.saturating_sub(ring.first_seq));
        let mut bytes = Vec::new();
        for line in ring.lines.iter().skip(skip.unwrap_or(usize::MAX)) {
            bytes.extend_from_slice(line);
            self.next_seq += 1;
        }
        bytes
    }

    /// Events that are older than memory: from the log for a reader that resumes, else a line that
    /// says how many it missed.
    async fn catch_up(&mut self, oldest: u64) -> Bytes {
        if self.resuming {
            let lines = self.read_from_log(oldest).await;
            if !lines.is_empty() {
                return lines.into();
            }
        }
        let missed = oldest - self.next_seq;
        self.next_seq = oldest;
        lagged(oldest - 1, missed)
    }

    /// Some more events from the log, up to but without `until`: what follows is not yet safe, or
    /// in memory. Nothing where the log does not have them.
    async fn read_from_log(&mut self, until: u64) -> Vec<u8> {
        let EventArchive { storage, directory, cpu } = self.archive.clone();
        let from = self.next_seq;
        let mut reader =
            self.reader.take().unwrap_or_else(|| EventReader::new(storage, directory, from));
        let (read, reader) = offload(&cpu, move || (reader.next_events(), reader)).await;
        self.reader = Some(reader);
        let events = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the log cannot be read for a reader of the event stream");
            Vec::new()
        });
        let mut lines = Vec::new();
        for (seq, json) in events.into_iter().take_while(|(seq, _)| *seq < until) {
            lines.extend_from_slice(json.as_bytes());
            lines.push(b'\n');
            self.next_seq = seq + 1;
        }
        lines
    }
}

/// Says that the stream goes on after `seq`, and how many events are missing before that.
fn lagged(seq: u64, missed: u64) -> Bytes {
    Bytes::from(format!(
        "{{\"event\":\"lagged\",\"schema\":{EVENT_SCHEMA},\"seq\":{seq},\"missed\":{missed}}}\n"
    ))
}

#[cfg(test)]
mod tests;
