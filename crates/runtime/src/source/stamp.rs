//! Telling that a file changed without reading it.
//!
//! It owns which facts about a file count. It never says that a file did not change when another one
//! took its place, by rename or behind a link. Its input is the metadata of files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of a folder that are looked at. `load` refuses a folder with more.
const FILES_MAX: usize = 4_096;

/// The facts about a file by which a change of it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Where all links lead.
    pub real: PathBuf,
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file or folder; nothing if it is not there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let real = path.canonicalize().ok()?;
        let metadata = real.metadata().ok()?;
        Some(Self {
            real,
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// What tells a folder from another one that took its place.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// Stamps by absolute path; nothing where there is no file.
pub(super) type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// The stamps of the resource file or folder at `path`, and of the files in that folder.
pub(super) fn resources(path: &Path) -> Stamps {
    let path = absolute(path);
    let mut stamps = Stamps::new();
    if let Ok(entries) = std::fs::read_dir(&path) {
        let files = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|file| is_resource(file));
        for file in files.take(FILES_MAX) {
            let stamp = Stamp::of(&file);
            stamps.insert(file, stamp);
        }
    }
    let stamp = Stamp::of(&path);
    stamps.insert(path, stamp.map(|stamp| stamp.without_times_if_folder()));
    stamps
}

impl Stamp {
    /// A folder changes with every file in it, also with those that are no resources: what counts of
    /// it is which folder it is.
    fn without_times_if_folder(self) -> Self {
        if !self.real.is_dir() {
            return self;
        }
        Self {
            size_bytes: 0,
            modified: (0, 0),
            changed: (0, 0),
            ..self
        }
    }
}

/// Whether `load` would read this file of a folder.
fn is_resource(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The path from the root, links not followed.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
