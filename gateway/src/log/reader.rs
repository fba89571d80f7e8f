//! Reading the events of a log that may be growing, some at a time: in constant memory, whatever
//! the size of its segments.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use platform::Storage;

use super::segment::{self, Kind};

/// Bytes that are read at once, unless one record is longer.
const CHUNK_BYTES: usize = 256 * 1024;

/// Reads events in their order.
pub struct EventReader {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    /// The next event wanted.
    from_seq: u64,
    at: Option<Position>,
}

/// Where the next record begins.
struct Position {
    /// The segment, by its first event.
    first_seq: u64,
    /// The number that the next event has.
    seq: u64,
    offset: u64,
}

/// An event's number and its JSON.
pub type NumberedEvent = (u64, Box<str>);

impl EventReader {
    /// A reader of the events from `from_seq` on; those that were removed meanwhile are passed
    /// over.
    pub fn new(storage: Arc<dyn Storage>, directory: PathBuf, from_seq: u64) -> Self {
        Self { storage, directory, from_seq, at: None }
    }

    /// Some more events; none at the end of what is written so far.
    ///
    /// # Errors
    /// The disk refuses a read.
    pub fn next_events(&mut self) -> io::Result<Vec<NumberedEvent>> {
        loop {
            let Some(mut at) = self.at.take().map_or_else(|| self.begin(), |at| Ok(Some(at)))?
            else {
                return Ok(Vec::new());
            };
            let (events, is_end) = self.read(&mut at)?;
            let seq = at.seq;
            self.at = Some(at);
            if !events.is_empty() {
                return Ok(events);
            }
            if is_end && !self.go_on(seq)? {
                return Ok(Vec::new());
            }
        }
    }

    /// The segment that holds the event wanted, or the first after it.
    fn begin(&self) -> io::Result<Option<Position>> {
        let names = self.storage.list(&self.directory)?;
        let firsts: Vec<u64> = names.iter().filter_map(|name| segment::first_seq(name)).collect();
        let holding = firsts.iter().copied().filter(|first| *first <= self.from_seq).max();
        let first = holding.or_else(|| firsts.into_iter().min());
        Ok(first.map(|first_seq| Position { first_seq, seq: first_seq, offset: 0 }))
    }

    /// Goes to the next segment, if there is one.
    fn go_on(&mut self, seq: u64) -> io::Result<bool> {
        let names = self.storage.list(&self.directory)?;
        let current = self.at.as_ref().map_or(0, |at| at.first_seq);
        let firsts = names.iter().filter_map(|name| segment::first_seq(name));
        let next = firsts.filter(|first| *first > current).min();
        if let Some(first_seq) = next {
            debug_assert!(first_seq >= seq, "segments follow one another");
            self.at = Some(Position { first_seq, seq: first_seq, offset: 0 });
        }
        Ok(next.is_some())
    }

    /// The events of the next chunk, and whether nothing follows it in this segment yet.
    fn read(&self, at: &mut Position) -> io::Result<(Vec<NumberedEvent>, bool)> {
        let path = self.directory.join(segment::name(at.first_seq));
        let mut most = CHUNK_BYTES;
        let bytes = loop {
            let bytes = match self.storage.read_at(&path, at.offset, most) {
                Ok(bytes) => bytes,
                // It was old, and removed in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            if bytes.len() < most || bytes.contains(&b'\n') {
                break bytes;
            }
            most *= 2;
        };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut events = Vec::new();
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let Ok(record) = segment::decode(&line[..line.len() - 1]) else {
                // What a failed write left, and what will be cut.
                return Ok((events, true));
            };
            at.offset += line.len() as u64;
            if record.kind != Kind::Event {
                continue;
            }
            if at.seq >= self.from_seq {
                events.push((at.seq, record.json.into()));
            }
            at.seq += 1;
        }
        Ok((events, bytes.len() < most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_disk::FakeDisk;

    fn put(disk: &FakeDisk, first: u64, count: u64) {
        let mut bytes = Vec::new();
        for seq in first..first + count {
            // Private data and a record that is longer than a chunk are passed over and taken.
            segment::encode(
                Kind::Share,
                &format!("\"{}\"", "x".repeat(CHUNK_BYTES / 3)),
                &mut bytes,
            );
            let pad = "y".repeat(CHUNK_BYTES + 1);
            let event = format!(r#"{{"event":"block_found","seq":{seq},"pad":"{pad}"}}"#);
            segment::encode(Kind::Event, &event, &mut bytes);
        }
        disk.put(&format!("log/{}", segment::name(first)), &bytes);
    }

    fn read_all(reader: &mut EventReader) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let events = reader.next_events().unwrap();
            if events.is_empty() {
                return all;
            }
            assert!(events.len() <= 2, "not the whole log at once");
            all.extend(events.into_iter().map(|(seq, _)| seq));
        }
    }

    #[test]
    fn events_come_in_order_over_segments_and_as_the_log_grows() {
        let disk = FakeDisk::default();
        put(&disk, 4, 3);
        put(&disk, 7, 2);
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let reader = |from| EventReader::new(Arc::clone(&storage), "log".into(), from);
        assert_eq!(read_all(&mut reader(1)), [4, 5, 6, 7, 8]);
        let mut growing = reader(6);
        assert_eq!(read_all(&mut growing), [6, 7, 8]);
        put(&disk, 7, 4);
        assert_eq!(read_all(&mut growing), [9, 10]);
        put(&disk, 11, 1);
        assert_eq!(read_all(&mut growing), [11]);
        assert_eq!(read_all(&mut reader(12)), [0; 0]);
    }
}
