//! A disk with one file, for what reads files.

use std::io;
use std::path::Path;

use async_trait::async_trait;
use platform::{AppendFile, Storage};

/// Holds these bytes under every name, and lists `names`.
pub(crate) struct OneFile<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) names: Vec<String>,
}

#[async_trait]
impl Storage for OneFile<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.bytes.to_vec())
    }

    fn write_atomic(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.names.clone())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    async fn append(&self, _: &Path) -> io::Result<Box<dyn AppendFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
