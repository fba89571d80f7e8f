//! Simulated disks: files in memory that know what a power loss would leave of them, and that
//! fail on request.

mod file;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use platform::{AppendFile, Storage};
use rand_chacha::ChaCha8Rng;

use crate::world::streams;
use file::File;

/// What is wrong with a disk; the default is nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskFaults {
    /// Bytes that all files together may have; more fails with `StorageFull`, after as much of
    /// the write as fits.
    pub capacity: Option<u64>,
    /// Writes fail (EIO) after a part of them was done.
    pub fail_writes: bool,
    /// Syncs fail (EIO).
    pub fail_syncs: bool,
    /// Reads fail (EIO).
    pub fail_reads: bool,
    /// Syncs say they succeeded, and did nothing.
    pub lose_syncs: bool,
    /// How long a sync takes, at least and at most.
    pub sync_latency: (Duration, Duration),
    /// How likely a read is to have one bit flipped, 0 to 1.
    pub flip_on_read: f64,
    /// Reads are whole outside of this folder; none is nowhere.
    pub only_in: Option<PathBuf>,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            capacity: None,
            fail_writes: false,
            fail_syncs: false,
            fail_reads: false,
            lose_syncs: false,
            sync_latency: (Duration::ZERO, Duration::ZERO),
            flip_on_read: 0.0,
            only_in: None,
        }
    }
}

impl DiskFaults {
    /// Whether a read of this file can go wrong.
    fn hits(&self, path: &Path) -> bool {
        self.only_in.as_ref().is_none_or(|folder| path.starts_with(folder))
    }
}

/// What a host's death does to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFate {
    /// Everything written stays: only the process died.
    Kept,
    /// What was not synced is torn or lost: the machine lost its power.
    UnsyncedLost,
    /// Everything is gone: a new machine.
    Wiped,
}

/// The disk of a host.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

struct State {
    files: BTreeMap<PathBuf, File>,
    faults: DiskFaults,
    syncs: u64,
    /// Files that were open before are not this boot's.
    boot: u64,
    rng: ChaCha8Rng,
}

impl Disk {
    pub(crate) fn new(rng: ChaCha8Rng) -> Self {
        let faults = DiskFaults::default();
        let state = State { files: BTreeMap::new(), faults, syncs: 0, boot: 0, rng };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes what is wrong with the disk, from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().faults = faults;
    }

    /// What is wrong with the disk.
    pub fn faults(&self) -> DiskFaults {
        self.lock().faults.clone()
    }

    /// A file's bytes, past all faults.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().files.get(path).map(|file| file.bytes.clone())
    }

    /// Puts a file there, past all faults; it survives a power loss.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.lock().files.insert(path.to_owned(), File::durable(bytes.to_vec()));
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().files.keys().cloned().collect()
    }

    /// How many syncs succeeded (or said so).
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    pub(crate) fn crash(&self, fate: DiskFate) {
        let mut state = self.lock();
        let State { files, rng, boot, .. } = &mut *state;
        *boot += 1;
        match fate {
            DiskFate::Kept => {}
            DiskFate::UnsyncedLost => files.values_mut().for_each(|file| file.lose_power(rng)),
            DiskFate::Wiped => files.clear(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many of so many more bytes get written, and what goes wrong then.
    fn writable(&mut self, bytes: usize) -> (usize, Option<io::Error>) {
        if self.faults.fail_writes {
            return (streams::below(&mut self.rng, bytes + 1), Some(input_output_error()));
        }
        let Some(capacity) = self.faults.capacity else { return (bytes, None) };
        let used: usize = self.files.values().map(|file| file.bytes.len()).sum();
        let free = usize::try_from(capacity).unwrap_or(usize::MAX).saturating_sub(used);
        if bytes <= free { (bytes, None) } else { (free, Some(io::ErrorKind::StorageFull.into())) }
    }
}

#[async_trait]
impl Storage for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        let State { files, faults, rng, .. } = &mut *state;
        let mut bytes = files.get(path).ok_or(io::ErrorKind::NotFound)?.bytes.clone();
        if !faults.hits(path) {
            return Ok(bytes);
        }
        if faults.fail_reads {
            return Err(input_output_error());
        }
        let flips = faults.flip_on_read > 0.0 && streams::unit(rng) < faults.flip_on_read;
        if flips && !bytes.is_empty() {
            let at = streams::below(rng, bytes.len());
            bytes[at] ^= 1 << streams::below(rng, 8);
        }
        Ok(bytes)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        // The new content is beside the old one until it takes its place.
        if let (_, Some(error)) = state.writable(bytes.len()) {
            return Err(error);
        }
        if state.faults.fail_syncs {
            return Err(input_output_error());
        }
        let file = match state.faults.lose_syncs {
            false => File::durable(bytes.to_vec()),
            true => File::unsynced(bytes.to_vec(), state.files.remove(path)),
        };
        state.files.insert(path.to_owned(), file);
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let inside = state.files.keys().filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        // Directories are the paths of their files.
        Ok(())
    }

    async fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.lock();
        if state.faults.fail_writes && !state.files.contains_key(path) {
            return Err(input_output_error());
        }
        let length = state.files.entry(path.to_owned()).or_default().bytes.len() as u64;
        let (disk, path, boot) = (self.clone(), path.to_owned(), state.boot);
        Ok(Box::new(OpenFile { disk, path, boot, length }))
    }
}

struct OpenFile {
    disk: Disk,
    path: PathBuf,
    boot: u64,
    /// Bytes of the appends that succeeded.
    length: u64,
}

impl OpenFile {
    fn with<T>(&self, operation: impl FnOnce(&mut State, &Path) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        if state.boot != self.boot || !state.files.contains_key(&self.path) {
            return Err(input_output_error());
        }
        operation(&mut state, &self.path)
    }
}

#[async_trait]
impl AppendFile for OpenFile {
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, path| {
            let (written, error) = state.writable(bytes.len());
            state.file(path).append(&bytes[..written]);
            error.map_or(Ok(()), Err)
        })?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<()> {
        // What is appended while the sync runs is not part of it; with one owner nothing is.
        let latency = {
            let mut state = self.disk.lock();
            let (least, most) = state.faults.sync_latency;
            least + most.saturating_sub(least).mul_f64(streams::unit(&mut state.rng))
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.with(|state, path| {
            if state.faults.fail_syncs {
                return Err(input_output_error());
            }
            state.syncs += 1;
            if !state.faults.lose_syncs {
                state.file(path).sync();
            }
            Ok(())
        })
    }

    async fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.with(|state, path| {
            state.file(path).truncate(usize::try_from(length).map_err(io::Error::other)?);
            Ok(())
        })?;
        self.length = length;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.length
    }
}

impl State {
    fn file(&mut self, path: &Path) -> &mut File {
        self.files.get_mut(path).expect("an open file exists")
    }
}

/// EIO.
fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}
