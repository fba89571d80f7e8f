//! The verdict history on disk: files of lines, the oldest removed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::{AppendFile, Storage};
use tokio::sync::mpsc;

use crate::history::Entry;
use crate::metrics::Metrics;

/// Over how many files a full history is spread; one more is kept while the oldest runs out.
const FILES: usize = 8;
/// How many entries are written at once.
const BATCH: usize = 256;
const ENDING: &str = ".ndjson";

/// Files named after the first seq in them, each of whole lines.
///
/// An entry is a record for people, not a promise: a line that a crash tore is passed over.
pub(crate) struct VerdictLog {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    /// At least this many entries are kept.
    size: usize,
    /// Name and number of entries, the oldest first.
    files: VecDeque<(String, usize)>,
    open: Option<Box<dyn AppendFile>>,
}

impl VerdictLog {
    /// Opens the log in `directory`, and hands back what it holds in the order of the seqs.
    ///
    /// # Errors
    /// The directory cannot be made, listed or read.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        directory: PathBuf,
        size: usize,
    ) -> io::Result<(Self, Vec<Entry>)> {
        storage.create_dir_all(&directory)?;
        let mut entries = Vec::new();
        let mut files = VecDeque::new();
        for name in storage.list(&directory)? {
            if !name.ends_with(ENDING) {
                continue;
            }
            let read = read(&storage.read(&directory.join(&name))?, &directory.join(&name));
            files.push_back((name, read.len()));
            entries.extend(read);
        }
        entries.sort_by_key(|entry: &Entry| entry.seq);
        Ok((Self { storage, directory, size, files, open: None }, entries))
    }

    /// Writes what comes until the sender is gone.
    pub(crate) async fn write(mut self, mut from: mpsc::Receiver<Entry>, metrics: Arc<Metrics>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut failed_before = false;
        while from.recv_many(&mut batch, BATCH).await > 0 {
            match self.append(&batch).await {
                Ok(()) => failed_before = false,
                Err(error) => {
                    // The next batch begins a new file, whatever this one holds.
                    self.open = None;
                    metrics.history_lost.inc_by(batch.len() as u64);
                    if !std::mem::replace(&mut failed_before, true) {
                        tracing::error!(%error, "verdicts are not written to disk");
                    }
                }
            }
            batch.clear();
        }
    }

    async fn append(&mut self, batch: &[Entry]) -> io::Result<()> {
        let Some(first) = batch.first() else { return Ok(()) };
        let full = self.files.back().is_none_or(|(_, count)| *count >= self.file_entries());
        if full || self.open.is_none() {
            self.begin_file(first.seq).await?;
        }
        let mut lines = Vec::new();
        for entry in batch {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        if let (Some(open), Some((_, count))) = (&mut self.open, self.files.back_mut()) {
            open.append(&lines).await?;
            open.sync().await?;
            *count += batch.len();
        }
        Ok(())
    }

    async fn begin_file(&mut self, seq: u64) -> io::Result<()> {
        let name = format!("{seq:020}{ENDING}");
        let mut file = self.storage.append(&self.directory.join(&name)).await?;
        if !file.is_empty() {
            // What a crash left of the line that was to have this seq.
            file.append(b"\n").await?;
        }
        self.open = Some(file);
        if self.files.back().is_none_or(|(last, _)| *last != name) {
            self.files.push_back((name, 0));
        }
        let mut kept: usize = self.files.iter().map(|(_, count)| count).sum();
        while let Some((name, count)) = self.files.front()
            && kept - count >= self.size
        {
            self.storage.remove(&self.directory.join(name))?;
            kept -= count;
            self.files.pop_front();
        }
        Ok(())
    }

    fn file_entries(&self) -> usize {
        self.size.div_ceil(FILES)
    }
}

fn read(bytes: &[u8], file: &Path) -> Vec<Entry> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut unread = 0_usize;
    let mut entries = Vec::new();
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) => unread += 1,
        }
    }
    if unread > 0 {
        tracing::warn!(file = %file.display(), unread, "lines of the verdict history passed over");
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::entry;

    fn open(directory: &Path, size: usize) -> (VerdictLog, Vec<u64>) {
        let storage: Arc<dyn Storage> = Arc::new(platform::real::Disk);
        let (log, entries) = VerdictLog::open(storage, directory.to_owned(), size).unwrap();
        (log, entries.iter().map(|entry| entry.seq).collect())
    }

    async fn append(log: &mut VerdictLog, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            log.append(&[entry(seq)]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn entries_come_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, found) = open(directory.path(), 10);
        assert_eq!(found, [0; 0]);
        append(&mut log, 1..=3).await;
        let storage: Arc<dyn Storage> = Arc::new(platform::real::Disk);
        let (_, entries) = VerdictLog::open(storage, directory.path().to_owned(), 10).unwrap();
        assert_eq!(entries, [entry(1), entry(2), entry(3)]);
    }

    #[tokio::test]
    async fn the_oldest_files_go_and_enough_entries_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = open(directory.path(), 16);
        append(&mut log, 1..=101).await;
        let files = log.storage.list(directory.path()).unwrap();
        assert_eq!(files.len(), FILES + 1);
        let (mut log, found) = open(directory.path(), 16);
        assert_eq!(found, (85..=101).collect::<Vec<u64>>());
        append(&mut log, 102..=102).await;
        assert_eq!(open(directory.path(), 16).1, (85..=102).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn a_torn_line_costs_one_entry() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = open(directory.path(), 10);
        append(&mut log, 1..=2).await;
        let (name, _) = log.files.back().unwrap().clone();
        let path = directory.path().join(name);
        let bytes = log.storage.read(&path).unwrap();
        log.storage.write_atomic(&path, &bytes[..bytes.len() - 5]).unwrap();
        let (mut log, found) = open(directory.path(), 10);
        assert_eq!(found, [1]);
        append(&mut log, 2..=3).await;
        assert_eq!(open(directory.path(), 10).1, [1, 2, 3]);

        let only_torn = directory.path().join(format!("{:020}{ENDING}", 4));
        log.storage.write_atomic(&only_torn, b"{\"seq\":4,").unwrap();
        let (mut log, _) = open(directory.path(), 10);
        append(&mut log, 4..=4).await;
        assert_eq!(open(directory.path(), 10).1, [1, 2, 3, 4]);
    }
}
