//! Reading a log at start.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use gateway_core::ids::{EventId, ShareId};
use platform::Storage;
use serde::Deserialize;

use super::segment::{self, Kind, Line};
use super::{Block, LogError};

/// What a log holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The number that the next event gets.
    pub next_seq: u64,
    /// The segments, oldest first.
    pub segments: Vec<RecoveredSegment>,
    /// Accepted shares without a result, in the order of their acceptance.
    pub unresolved: Vec<Unresolved>,
    /// Found blocks without a final answer, in the order of their finding.
    pub blocks: Vec<UnansweredBlock>,
    /// The hashes of the shares accepted last, oldest first: what a replay is recognised by.
    pub recent_shares: Vec<ShareId>,
    /// What a crash left half written at the end, if anything.
    pub torn: Option<Torn>,
}

/// A segment as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSegment {
    /// Its file's name.
    pub name: String,
    /// Bytes of whole records.
    pub length: u64,
    /// Shares accepted in it whose results are not in the log, and blocks without an answer.
    pub unresolved: usize,
}

/// An accepted share without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// Joins the share to its result.
    pub event_id: EventId,
    /// The share.
    pub share_id: ShareId,
    /// The share and its job, each as JSON; `None` when the log does not hold both.
    pub resend: Option<(String, Arc<str>)>,
    /// Which of [`Recovered::segments`] holds its acceptance.
    pub segment: usize,
}

/// A found block that no node has answered for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnansweredBlock {
    /// What submits it.
    pub block: Block,
    /// Which of [`Recovered::segments`] holds it.
    pub segment: usize,
}

/// A torn record at the end of the last segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment's file.
    pub name: String,
    /// Where the torn record begins: the length to cut the file to.
    pub offset: u64,
    /// Bytes from there to the end.
    pub bytes: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// Reads the log in `directory`; one that does not exist is empty. Nothing is changed on disk. At
/// most `remembered` shares come back as [`Recovered::recent_shares`].
///
/// # Errors
/// [`LogError::Storage`] when a file cannot be read, [`LogError::Damaged`] when a record is bad
/// that is not at the log's end.
pub fn recover(
    storage: &dyn Storage,
    directory: &Path,
    remembered: usize,
) -> Result<Recovered, LogError> {
    let names = storage.list(directory).map_err(|source| LogError::Storage {
        path: directory.display().to_string(),
        what: "cannot list its files",
        source,
    })?;
    let names: Vec<String> =
        names.into_iter().filter(|name| segment::first_seq(name).is_some()).collect();
    let mut reader = Reader { remembered, ..Reader::default() };
    for (index, name) in names.iter().enumerate() {
        let path = directory.join(name);
        let bytes = storage.read(&path).map_err(|source| LogError::Storage {
            path: path.display().to_string(),
            what: "cannot read it",
            source,
        })?;
        let is_last = index + 1 == names.len();
        reader.segment(name, &bytes, is_last).map_err(|bad| LogError::Damaged {
            path: path.display().to_string(),
            offset: bad.offset,
            what: bad.what,
        })?;
    }
    Ok(reader.finish())
}

/// A record that cannot be read.
struct Bad {
    offset: usize,
    what: &'static str,
}

#[derive(Default)]
struct Reader {
    next_seq: Option<u64>,
    segments: Vec<RecoveredSegment>,
    jobs: BTreeMap<String, Arc<str>>,
    shares: BTreeMap<EventId, (String, Arc<str>)>,
    accepted: BTreeMap<EventId, Accepted>,
    blocks: Vec<UnansweredBlock>,
    order: u64,
    /// The shares accepted last, at most `remembered`.
    recent: VecDeque<ShareId>,
    remembered: usize,
    torn: Option<Torn>,
}

struct Accepted {
    order: u64,
    share_id: ShareId,
    segment: usize,
}

#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    seq: u64,
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    share_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sv2_response: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    hash: Option<Cow<'a, str>>,
    #[serde(default)]
    accepted: Option<bool>,
}

#[derive(Deserialize)]
struct ShareFields<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    job_ref: Cow<'a, str>,
}

#[derive(Deserialize)]
struct JobFields<'a> {
    #[serde(borrow)]
    job_ref: Cow<'a, str>,
}

#[derive(Deserialize)]
struct BlockFields<'a> {
    #[serde(borrow)]
    hash: Cow<'a, str>,
}

impl Reader {
    fn segment(&mut self, name: &str, bytes: &[u8], is_last: bool) -> Result<(), Bad> {
        let first = segment::first_seq(name).expect("only segments are read");
        if *self.next_seq.get_or_insert(first) != first {
            return Err(Bad { offset: 0, what: "events before this segment are missing" });
        }
        self.segments.push(RecoveredSegment { name: name.into(), length: 0, unresolved: 0 });
        // Jobs and shares stand in the segment that refers to them.
        self.jobs.clear();
        let mut offset = 0;
        while offset < bytes.len() {
            let read = self.record(&bytes[offset..]);
            match read {
                Ok(length) => offset += length,
                Err(what) if is_last && is_torn(&bytes[offset..]) => {
                    self.torn = Some(Torn {
                        name: name.into(),
                        offset: offset as u64,
                        bytes: (bytes.len() - offset) as u64,
                        what,
                    });
                    break;
                }
                Err(what) => return Err(Bad { offset, what }),
            }
        }
        self.segments.last_mut().expect("pushed above").length = offset as u64;
        Ok(())
    }

    /// Takes in the record that `bytes` begin with; its length with the newline.
    fn record(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("the record has no end")?;
        let Line { kind, json } = segment::decode(&bytes[..end])?;
        match kind {
            Kind::Event => self.event(json)?,
            Kind::Share => {
                let share: ShareFields =
                    serde_json::from_str(json).map_err(|_| "the share has no id or job")?;
                // The job is looked up here: the next segment forgets the jobs of this one.
                if let Some(job) = self.jobs.get(share.job_ref.as_ref()) {
                    let resend = (json.to_owned(), job.clone());
                    self.shares.insert(EventId(id(&share.event_id)?), resend);
                }
            }
            Kind::Job => {
                let job: JobFields =
                    serde_json::from_str(json).map_err(|_| "the job has no reference")?;
                self.jobs.insert(job.job_ref.into_owned(), json.into());
            }
            Kind::Block => {
                let block: BlockFields =
                    serde_json::from_str(json).map_err(|_| "the block has no hash")?;
                let block = Block { hash: block.hash.into(), json: json.into() };
                let segment = self.segments.len() - 1;
                self.blocks.retain(|known| known.block.hash != block.hash);
                self.blocks.push(UnansweredBlock { block, segment });
            }
        }
        Ok(end + 1)
    }

    fn event(&mut self, json: &str) -> Result<(), &'static str> {
        let event: EventFields =
            serde_json::from_str(json).map_err(|_| "the event has no name or number")?;
        if self.next_seq != Some(event.seq) {
            return Err("the event's number is out of order");
        }
        self.next_seq = Some(event.seq + 1);
        if event.event == "block_found" && event.accepted.is_some() {
            let hash = event.hash.ok_or("the found block has no hash")?;
            self.blocks.retain(|known| *known.block.hash != *hash);
        }
        let Some(event_id) = event.event_id else { return Ok(()) };
        match event.event.as_ref() {
            "share_accepted" if event.sv2_response.as_deref() == Some("success") => {
                let share_id = event.share_id.ok_or("the accepted share has no id")?;
                let share_id = ShareId(id(&share_id)?);
                self.remember(share_id);
                let segment = self.segments.len() - 1;
                self.order += 1;
                let accepted = Accepted { order: self.order, share_id, segment };
                self.accepted.insert(EventId(id(&event_id)?), accepted);
            }
            "share_forward_result" => {
                mutant::bug!(RestartResends, return Ok(()));
                let event_id = EventId(id(&event_id)?);
                self.accepted.remove(&event_id);
                self.shares.remove(&event_id);
            }
            _ => {}
        }
        Ok(())
    }

    fn remember(&mut self, share_id: ShareId) {
        self.recent.push_back(share_id);
        while self.recent.len() > self.remembered {
            self.recent.pop_front();
        }
    }

    fn finish(mut self) -> Recovered {
        for accepted in self.accepted.values() {
            self.segments[accepted.segment].unresolved += 1;
        }
        for found in &self.blocks {
            self.segments[found.segment].unresolved += 1;
        }
        let mut unresolved: Vec<(u64, Unresolved)> = std::mem::take(&mut self.accepted)
            .into_iter()
            .map(|(event_id, accepted)| {
                let resend = self.shares.remove(&event_id);
                let Accepted { order, share_id, segment } = accepted;
                (order, Unresolved { event_id, share_id, resend, segment })
            })
            .collect();
        unresolved.sort_unstable_by_key(|(order, _)| *order);
        Recovered {
            next_seq: self.next_seq.unwrap_or(1),
            segments: self.segments,
            unresolved: unresolved.into_iter().map(|(_, share)| share).collect(),
            blocks: self.blocks,
            recent_shares: self.recent.into(),
            torn: self.torn,
        }
    }
}

fn id(hex: &str) -> Result<[u8; 32], &'static str> {
    const_hex::decode_to_array(hex).map_err(|_| "the share's id is not 64 hex digits")
}

/// Whether a crash left these bytes, which begin with a record that cannot be read. A crash can only
/// hurt the end: no good record follows. And what it leaves is no line with its newline, unless the
/// disk never wrote some of its blocks, which then read as zeros. Any other whole line was whole
/// once and may have been acknowledged, so it is damage and not to be cut off.
fn is_torn(bytes: &[u8]) -> bool {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let unfinished = !first.ends_with(b"\n") || first.contains(&0);
    let is_whole =
        |line: &[u8]| line.strip_suffix(b"\n").is_some_and(|l| segment::decode(l).is_ok());
    unfinished && !lines.any(is_whole)
}
