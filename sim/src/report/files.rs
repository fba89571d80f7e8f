//! The simulator's own files, which are real: `platform`'s storage is the simulated programs'.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io;
use std::path::Path;

/// Writes a file and the directories above it. Errors name the file.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let written = match path.parent() {
        Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(path, text)),
        None => fs::write(path, text),
    };
    written.map_err(|error| named(path, &error))
}

/// Reads a file. Errors name it.
pub(super) fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
