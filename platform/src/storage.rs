//! The disk.

use std::io;
use std::path::Path;

use async_trait::async_trait;

/// Files, by path. Writes that must survive a power loss say so.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Up to `most` bytes of a file from `offset` on; fewer only at its end.
    fn read_at(&self, path: &Path, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(path)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(most).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    /// Replaces a file's content as one step that survives a power loss: readers see the old
    /// bytes or the new ones, never a mixture.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// The names of the files in a directory, sorted. A directory that does not exist is empty.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Removes a file, so that no power loss brings it back.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and its parents.
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;

    /// Opens a file for appending, creating it (durably: its directory entry survives a power
    /// loss) where it does not exist.
    async fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
}

/// A file that grows at its end.
#[async_trait]
pub trait AppendFile: Send {
    /// Writes all the bytes at the end; they survive the death of this process, not yet a power
    /// loss.
    ///
    /// # Errors
    /// After an error any prefix of the bytes may be in the file: the caller truncates.
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far survive a power loss (`fdatasync`).
    async fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `length` bytes. Until the next [`sync`](Self::sync) a power loss may bring
    /// the rest back.
    async fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// The file's length in bytes, without what a failed append may have left behind.
    fn len(&self) -> u64;

    /// Whether the file holds no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
