//! Group commit: records gather while the previous commit is on its way to the disk, and go
//! there together.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use gateway_core::ids::{EventId, JobRef};
use platform::{AppendFile, Env, Shutdown, Storage, TaskHandle};
use tokio::sync::{mpsc, oneshot, watch};

use super::disk::{Disk, LogStatus};
use super::segment::{self, Kind};
use super::{Block, LogError, Record, Recovered, SyncMode};
use crate::encoding::{write_job, write_share};
use crate::http::events::EventFeed;
use crate::limits::{LOG_BATCHES_PER_COMMIT, LOG_BUFFER_BYTES, LOG_WAITING_BATCHES};

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The directory of the segments.
    pub path: PathBuf,
    /// A segment that has reached this size is closed.
    pub segment_bytes: u64,
    /// What a record survives before those who wait are told.
    pub sync: SyncMode,
    /// How many closed segments are kept; older ones go once all their shares are resolved.
    pub retention: usize,
}

/// The way to the log, shared by all who record.
#[derive(Clone)]
pub struct Log {
    inbox: mpsc::Sender<Batch>,
    status: watch::Receiver<LogStatus>,
}

/// A place in front of the log.
pub struct Slot<'a>(mpsc::Permit<'a, Batch>);

/// Resolves once the records it was returned for are as safe as `log.sync` asks: to `false` when
/// the process goes down before.
pub struct Commit(oneshot::Receiver<()>);

struct Batch {
    records: Vec<Record>,
    done: oneshot::Sender<()>,
}

impl Log {
    /// Hands over records, which are logged in the order given and after all that was handed over
    /// before. Waits while too many batches wait already.
    ///
    /// # Errors
    /// `None` when the log has ended: the process is going down.
    pub async fn append(&self, records: Vec<Record>) -> Option<Commit> {
        Some(self.reserve().await?.append(records))
    }

    /// Waits for a place for one batch; dropping the future gives nothing up.
    ///
    /// # Errors
    /// `None` when the log has ended.
    pub async fn reserve(&self) -> Option<Slot<'_>> {
        self.inbox.reserve().await.ok().map(Slot)
    }

    /// Hands over records that nobody waits for; false where there is no room for them.
    pub fn try_append(&self, records: Vec<Record>) -> bool {
        self.inbox.try_send(Batch { records, done: oneshot::channel().0 }).is_ok()
    }

    /// Whether the disk takes records now.
    pub fn status(&self) -> LogStatus {
        self.status.borrow().clone()
    }

    /// The same, for whoever waits for a change.
    pub(crate) fn follow_status(&self) -> watch::Receiver<LogStatus> {
        self.status.clone()
    }

    /// Batches that wait, of [`LOG_WAITING_BATCHES`].
    pub(crate) fn waiting(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }
}

impl Slot<'_> {
    /// As [`Log::append`], without waiting.
    pub fn append(self, records: Vec<Record>) -> Commit {
        let (done, commit) = oneshot::channel();
        self.0.send(Batch { records, done });
        Commit(commit)
    }
}

impl Future for Commit {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.0).poll(cx).map(|told| told.is_ok())
    }
}

/// When the writer ends.
#[derive(Clone, Debug, Default)]
pub struct LogEnd {
    /// Write what waits, then end. The writer also ends when every [`Log`] is dropped.
    pub finish: Shutdown,
    /// End even if the disk does not take what waits.
    pub give_up: Shutdown,
}

/// Opens the log after [`super::recover`]: cuts what is torn and starts the writer.
///
/// # Errors
/// [`LogError::Storage`] when the last segment cannot be opened.
pub async fn open(
    env: &Env,
    settings: LogSettings,
    recovered: &Recovered,
    feed: Arc<EventFeed>,
    end: LogEnd,
) -> Result<(Log, TaskHandle<Result<(), LogError>>), LogError> {
    let (sender, inbox) = mpsc::channel(LOG_WAITING_BATCHES);
    let (status, status_receiver) = watch::channel(LogStatus::default());
    let LogEnd { finish, give_up } = end;
    let disk = Disk { wall: Arc::clone(&env.wall), status, give_up };
    let storage = Arc::clone(&env.storage);
    let writer = Writer::open(storage, settings, recovered, feed, disk).await?;
    let task = env.tasks.spawn("log_writer", writer.run(inbox, finish));
    Ok((Log { inbox: sender, status: status_receiver }, task))
}

struct Writer {
    storage: Arc<dyn Storage>,
    settings: LogSettings,
    feed: Arc<EventFeed>,
    disk: Disk,
    next_seq: u64,
    current: Current,
    closed: VecDeque<Closed>,
    /// Which segment holds the acceptance of a share that has no result yet, or a block that has no
    /// answer, by its first event.
    unresolved: HashMap<Unanswered, u64, Fixed>,
}

/// The same on every run: nothing here draws lots. Nobody else chooses these ids.
type Fixed = BuildHasherDefault<DefaultHasher>;

/// What keeps its segment.
#[derive(PartialEq, Eq, Hash)]
enum Unanswered {
    Share(EventId),
    Block(Arc<str>),
}

/// The segment that grows.
struct Current {
    file: Box<dyn AppendFile>,
    first_seq: u64,
    /// Bytes that hold whole records.
    length: u64,
    /// Whether a failed write may have left bytes after them.
    dirty: bool,
    jobs: BTreeSet<JobRef>,
    unresolved: usize,
}

struct Closed {
    first_seq: u64,
    unresolved: usize,
}

impl Writer {
    async fn open(
        storage: Arc<dyn Storage>,
        settings: LogSettings,
        recovered: &Recovered,
        feed: Arc<EventFeed>,
        disk: Disk,
    ) -> Result<Self, LogError> {
        let failed = |path: &Path, what| {
            let path = path.display().to_string();
            move |source| LogError::Storage { path, what, source }
        };
        storage
            .create_dir_all(&settings.path)
            .map_err(failed(&settings.path, "cannot make the directory"))?;
        let mut closed: VecDeque<Closed> = recovered
            .segments
            .iter()
            .map(|segment| Closed {
                first_seq: segment::first_seq(&segment.name).expect("recovery lists segments"),
                unresolved: segment.unresolved,
            })
            .collect();
        let shares = recovered.unresolved.iter();
        let shares = shares.map(|share| (Unanswered::Share(share.event_id), share.segment));
        let blocks = recovered.blocks.iter();
        let blocks =
            blocks.map(|found| (Unanswered::Block(Arc::clone(&found.block.hash)), found.segment));
        let unresolved =
            shares.chain(blocks).map(|(what, at)| (what, closed[at].first_seq)).collect();
        let last = closed.pop_back();
        let length = recovered.segments.last().map_or(0, |segment| segment.length);
        let last = last.unwrap_or(Closed { first_seq: recovered.next_seq, unresolved: 0 });
        let path = settings.path.join(segment::name(last.first_seq));
        let mut file = storage.append(&path).await.map_err(failed(&path, "cannot open it"))?;
        if mutant::pick!(TornEndKept, false, file.len() != length) {
            file.truncate(length).await.map_err(failed(&path, "cannot cut its torn end"))?;
            file.sync().await.map_err(failed(&path, "cannot cut its torn end"))?;
        }
        let current = Current {
            file,
            first_seq: last.first_seq,
            length,
            dirty: false,
            jobs: BTreeSet::new(),
            unresolved: last.unresolved,
        };
        let next_seq = recovered.next_seq;
        Ok(Self { storage, settings, feed, disk, next_seq, current, closed, unresolved })
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Batch>,
        finish: Shutdown,
    ) -> Result<(), LogError> {
        let (mut batches, mut bytes) = (Vec::new(), Vec::new());
        loop {
            let received = tokio::select! {
                biased;
                received = inbox.recv_many(&mut batches, LOG_BATCHES_PER_COMMIT) => received,
                () = finish.cancelled(), if !inbox.is_closed() => {
                    inbox.close();
                    continue;
                }
            };
            if received == 0 {
                return Ok(());
            }
            if self.current.length >= self.settings.segment_bytes {
                self.rotate().await.map_err(|why| self.unwritten(&batches, why))?;
            }
            bytes.clear();
            bytes.shrink_to(LOG_BUFFER_BYTES);
            let told = self.encode(&batches, &mut bytes);
            self.write(&bytes).await.map_err(|why| self.unwritten(&batches, why))?;
            self.feed.publish(lines(&bytes, &told));
            for batch in batches.drain(..) {
                // Whoever no longer waits does not want to know.
                let _ = batch.done.send(());
            }
            self.drop_old_segments();
        }
    }

    fn unwritten(&self, batches: &[Batch], why: String) -> LogError {
        let path = self.current_path().display().to_string();
        let records = batches.iter().map(|batch| batch.records.len()).sum();
        LogError::Unwritten { path, records, why }
    }

    /// Appends the records to `bytes`; returns where the events stand, as the stream tells them.
    fn encode(&mut self, batches: &[Batch], bytes: &mut Vec<u8>) -> Vec<Range<usize>> {
        let mut told = Vec::new();
        for record in batches.iter().flat_map(|batch| &batch.records) {
            let event = match record {
                Record::Event(event) => event,
                Record::Block(Block { hash, json }) => {
                    segment::encode(Kind::Block, json, bytes);
                    self.keep(Unanswered::Block(Arc::clone(hash)));
                    continue;
                }
                Record::Submitted { hash, event } => {
                    self.resolve(&Unanswered::Block(Arc::clone(hash)));
                    event
                }
                Record::Accepted { share, event } => {
                    if self.current.jobs.insert(share.job.job_ref) {
                        segment::encode_with(Kind::Job, bytes, |bytes| {
                            write_job(&share.job, bytes);
                        });
                    }
                    segment::encode_with(Kind::Share, bytes, |bytes| write_share(share, bytes));
                    self.keep(Unanswered::Share(share.event_id));
                    event
                }
                Record::Resolved { event_id, event } => {
                    self.resolve(&Unanswered::Share(*event_id));
                    event
                }
            };
            told.push(segment::encode_event(event, self.next_seq, bytes));
            self.next_seq += 1;
        }
        told
    }

    fn keep(&mut self, what: Unanswered) {
        if self.unresolved.insert(what, self.current.first_seq).is_none() {
            self.current.unresolved += 1;
        }
    }

    fn resolve(&mut self, what: &Unanswered) {
        let Some(first_seq) = self.unresolved.remove(what) else { return };
        if first_seq == self.current.first_seq {
            self.current.unresolved -= 1;
        } else if let Some(segment) =
            self.closed.iter_mut().find(|segment| segment.first_seq == first_seq)
        {
            segment.unresolved -= 1;
        }
    }

    /// Appends the bytes, as often as it takes.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Self { current, settings, disk, .. } = self;
        let sync = settings.sync;
        loop {
            let outcome = append(current, bytes, sync).await;
            if disk.until_it_works(outcome, "write to").await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Closes the current segment and begins the next, as often as it takes.
    async fn rotate(&mut self) -> Result<(), String> {
        let path = self.settings.path.join(segment::name(self.next_seq));
        loop {
            let begun = begin(&self.storage, &path, &mut self.current).await;
            let file = self.disk.until_it_works(begun, "begin a segment of").await?;
            let Some(file) = file else { continue };
            let next = Current {
                file,
                first_seq: self.next_seq,
                length: 0,
                dirty: true,
                jobs: BTreeSet::new(),
                unresolved: 0,
            };
            let Current { first_seq, unresolved, .. } = std::mem::replace(&mut self.current, next);
            self.closed.push_back(Closed { first_seq, unresolved });
            return Ok(());
        }
    }

    fn drop_old_segments(&mut self) {
        while self.closed.len() > self.settings.retention
            && self.closed.front().is_some_and(|oldest| oldest.unresolved == 0)
        {
            let oldest = self.closed.pop_front().expect("it has a front");
            let path = self.settings.path.join(segment::name(oldest.first_seq));
            match self.storage.remove(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "old log segment removed"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "old log segment not removed");
                }
            }
        }
    }

    fn current_path(&self) -> PathBuf {
        self.settings.path.join(segment::name(self.current.first_seq))
    }
}

/// Lines of the stream that share memory: while one of them is held the others take room too.
const LINES_TOGETHER: usize = 64;

/// The events' lines in memory of their own: the other records are not held as long.
fn lines(bytes: &[u8], told: &[Range<usize>]) -> Vec<Bytes> {
    let mut lines = Vec::with_capacity(told.len());
    for together in told.chunks(LINES_TOGETHER) {
        let mut text = Vec::with_capacity(together.iter().map(Range::len).sum());
        for at in together {
            text.extend_from_slice(&bytes[at.clone()]);
        }
        let mut text = Bytes::from(text);
        lines.extend(together.iter().map(|at| text.split_to(at.len())));
    }
    lines
}

async fn append(current: &mut Current, bytes: &[u8], sync: SyncMode) -> io::Result<()> {
    if current.dirty {
        // Also after a failed sync: the kernel may have dropped the pages, so they are written
        // anew.
        current.file.truncate(current.length).await?;
    }
    current.dirty = true;
    current.file.append(bytes).await?;
    if mutant::pick!(SyncSkipped, false, sync == SyncMode::Group) {
        current.file.sync().await?;
    }
    current.dirty = false;
    current.length += bytes.len() as u64;
    Ok(())
}

/// Closed segments are whole on disk, so that only the last can be torn.
async fn begin(
    storage: &Arc<dyn Storage>,
    next: &Path,
    current: &mut Current,
) -> io::Result<Box<dyn AppendFile>> {
    current.file.sync().await?;
    storage.append(next).await
}
