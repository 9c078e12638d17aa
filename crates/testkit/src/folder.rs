//! A folder of its own for every instance, removed with it.
//!
//! Owns the naming and the removal of instance folders. It must never remove a folder whose owner still
//! lives: each folder holds a locked file, and the lock is the proof of life, so that folders left
//! behind by a killed process are removed by the next one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Result, process::at_exit};

const PREFIX: &str = "dbmesh-testkit-";
const LOCK: &str = "owner.lock";

/// A folder that is removed when this value is dropped or the process exits.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes a new, empty folder. The first call also removes what dead processes left.
    pub fn create(purpose: &str) -> Result<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = base();
        if number == 0 {
            sweep(&base);
        }
        let path = base.join(format!("{PREFIX}{}-{number}-{purpose}", process::id()));
        fs::create_dir(&path).map_err(Error::io("create folder", &path))?;
        let lock = path.join(LOCK);
        let file = File::create(&lock).map_err(Error::io("create", &lock))?;
        file.lock().map_err(Error::io("lock", &lock))?;
        at_exit::remove_folder(&path);
        Ok(Folder { path, _lock: file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed now is removed by a later sweep.
        let _ = fs::remove_dir_all(&self.path);
        at_exit::forget_folder(&self.path);
    }
}

/// The system's folder for temporary files, unless socket paths under it would be too long for the
/// 107 bytes that Unix allows.
fn base() -> PathBuf {
    let base = std::env::temp_dir();
    if base.as_os_str().len() > 50 {
        PathBuf::from("/tmp")
    } else {
        base
    }
}

fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(PREFIX) && is_orphan(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// True when nobody holds the lock. A folder without a lock file was made a moment ago by a process
/// that has yet to lock it, unless it is old.
fn is_orphan(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(file) => file.try_lock().is_ok() && is_older_than_seconds(folder, 10),
        Err(error) => error.kind() == io::ErrorKind::NotFound && is_older_than_seconds(folder, 600),
    }
}

fn is_older_than_seconds(folder: &Path, seconds: u64) -> bool {
    let changed = fs::metadata(folder).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age.as_secs() >= seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_and_lives_as_long() {
        let folder = Folder::create("unit").unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        assert!(!is_orphan(&path), "a locked folder is not an orphan");
        drop(folder);
        assert!(!path.exists());
    }
}
