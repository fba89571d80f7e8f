//! What every [`Storage`] does.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Storage;

/// A disk and an empty directory on it.
#[derive(Clone)]
pub struct Place {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// A directory that exists and is empty.
    pub directory: PathBuf,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Appends add up, synced or not.
pub async fn appended_bytes_are_read_back(place: Place) {
    let path = place.path("log");
    let mut file = place.storage.append(&path).await.expect("it is opened");
    assert!(file.is_empty());
    file.append(b"one ").await.expect("it is written");
    file.sync().await.expect("it is synced");
    file.append(b"two").await.expect("it is written");
    assert_eq!(file.len(), 7);
    assert_eq!(place.storage.read(&path).expect("it is there"), b"one two");
}

/// Opening an existing file keeps its bytes.
pub async fn an_opened_file_goes_on_at_its_end(place: Place) {
    let path = place.path("log");
    for (length, text) in [(0, "one "), (4, "two")] {
        let mut file = place.storage.append(&path).await.expect("it is opened");
        assert_eq!(file.len(), length);
        file.append(text.as_bytes()).await.expect("it is written");
    }
    assert_eq!(place.storage.read(&path).expect("it is there"), b"one two");
}

/// After a cut, appending goes on where the file ends now.
pub async fn truncation_cuts_the_end_off(place: Place) {
    let path = place.path("log");
    let mut file = place.storage.append(&path).await.expect("it is opened");
    file.append(b"whole|torn").await.expect("it is written");
    file.sync().await.expect("it is synced");
    file.truncate(6).await.expect("it is cut");
    assert_eq!(file.len(), 6);
    file.append(b"new").await.expect("it is written");
    file.sync().await.expect("it is synced");
    assert_eq!(place.storage.read(&path).expect("it is there"), b"whole|new");
}

/// An atomic write leaves nothing of a longer content before it, and no second file.
pub async fn atomic_writes_replace_the_whole_content(place: Place) {
    let path = place.path("state");
    for content in ["a long content", "short"] {
        place.storage.write_atomic(&path, content.as_bytes()).expect("it is written");
        assert_eq!(place.storage.read(&path).expect("it is there"), content.as_bytes());
    }
    assert_eq!(place.storage.list(&place.directory).expect("it is listed"), ["state"]);
}

/// A listing has the files of one directory, without those below it.
pub async fn listings_are_sorted_and_only_of_that_directory(place: Place) {
    let below = place.path("below");
    place.storage.create_dir_all(&below.join("deep")).expect("it is made");
    place.storage.create_dir_all(&below).expect("a directory that exists is no error");
    for name in ["b", "a10", "a2", "below/c"] {
        place.storage.write_atomic(&place.path(name), b"").expect("it is written");
    }
    assert_eq!(place.storage.list(&place.directory).expect("listed"), ["a10", "a2", "b"]);
    assert_eq!(place.storage.list(&below).expect("listed"), ["c"]);
    assert!(place.storage.list(&place.path("nowhere")).expect("it is empty").is_empty());
}

/// A removed file is neither read nor listed, and can be made anew.
pub async fn removed_files_are_gone(place: Place) {
    let path = place.path("log");
    drop(place.storage.append(&path).await.expect("it is opened"));
    place.storage.remove(&path).expect("it is removed");
    let error = place.storage.read(&path).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(place.storage.list(&place.directory).expect("it is listed").is_empty());
    assert!(place.storage.append(&path).await.expect("it is opened").is_empty());
}

/// Reading or removing what is not there says so.
pub async fn missing_files_are_not_found(place: Place) {
    let path = place.path("nothing");
    let errors = [
        place.storage.read(&path).expect_err("there is nothing to read"),
        place.storage.remove(&path).expect_err("there is nothing to remove"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
