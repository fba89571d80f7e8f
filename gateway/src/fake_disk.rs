//! A disk in memory that fails on demand, for tests.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use platform::{AppendFile, Env, Offload, Storage};

#[derive(Clone, Default)]
pub(crate) struct FakeDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes that may still be appended; `None` is no limit.
    room: Option<usize>,
    failing_syncs: usize,
    syncs: usize,
}

impl FakeDisk {
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.0.lock().unwrap().files.insert(path.into(), bytes.to_vec());
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.0.lock().unwrap().files.get(Path::new(path)).cloned().unwrap_or_default()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().files.keys().map(|path| path.display().to_string()).collect()
    }

    pub(crate) fn leave_room_for(&self, bytes: Option<usize>) {
        self.0.lock().unwrap().room = bytes;
    }

    pub(crate) fn fail_next_syncs(&self, count: usize) {
        self.0.lock().unwrap().failing_syncs = count;
    }

    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }
}

#[async_trait]
impl Storage for FakeDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0
            .lock()
            .unwrap()
            .files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().files.insert(path.into(), bytes.to_vec());
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock().unwrap();
        let inside = state.files.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().files.remove(path);
        Ok(())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    async fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.0.lock().unwrap().files.entry(path.into()).or_default();
        Ok(Box::new(FakeFile { disk: self.clone(), path: path.into() }))
    }
}

struct FakeFile {
    disk: FakeDisk,
    path: PathBuf,
}

#[async_trait]
impl AppendFile for FakeFile {
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        let fits = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        state.room = state.room.map(|room| room - fits);
        state.files.get_mut(&self.path).unwrap().extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    async fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        state.syncs += 1;
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(io::Error::other("I/O error"));
        }
        Ok(())
    }

    async fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        state.files.get_mut(&self.path).unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn len(&self) -> u64 {
        self.disk.0.lock().unwrap().files[&self.path].len() as u64
    }
}

/// Runs work at once.
pub(crate) struct Inline;

impl Offload for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// This machine, but for its disk and its threads.
pub(crate) fn env(disk: &FakeDisk) -> Env {
    Env { storage: Arc::new(disk.clone()), cpu: Arc::new(Inline), ..platform::real::env() }
}
