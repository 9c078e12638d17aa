//! Locks beside files that are replaced when they are written: which process may write one.
//!
//! It owns `FILE.lock`, which stays, and says which process has it. A lock ends with its process, however that ends. Its input is
//! the path of the file that is to be written.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks at a lock that another process has.
const STEP: Duration = Duration::from_millis(10);
/// Digits of a process's number.
const PID_BYTES_MAX: u64 = 20;

/// The right to write a file, until dropped.
#[derive(Debug)]
pub struct Lock(File);

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The file to be written.
        path: PathBuf,
        /// The process, if it says so.
        pid: Option<u32>,
    },
    /// The lock cannot be made.
    Io(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid } => {
                let path = path.display();
                match pid {
                    Some(pid) => write!(f, "{path} is written by process {pid}")?,
                    None => write!(f, "{path} is written by another process")?,
                }
                write!(f, ", which holds {path}.lock")
            }
            Self::Io(lock, error) => write!(f, "{}: {error}", lock.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl Lock {
    /// The lock of a file; waits so long for another process.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn beside(path: &Path, wait: Duration) -> Result<Self, LockError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let name = PathBuf::from(name);
        let failed = |error| LockError::Io(name.clone(), error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let mut file = options.open(&name).map_err(failed)?;
        let deadline = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(STEP);
                }
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    let _ = file.take(PID_BYTES_MAX).read_to_string(&mut text);
                    return Err(LockError::Held {
                        path: path.to_owned(),
                        pid: text.trim().parse().ok(),
                    });
                }
            }
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        let written = written.and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    #[test]
    fn one_has_the_lock_and_the_other_is_told_who() {
        let folder = TestFolder::new();
        let path = folder.path().join("state.json");
        let first = Lock::beside(&path, Duration::ZERO).unwrap();
        let error = Lock::beside(&path, Duration::from_millis(20)).unwrap_err();
        let expected = format!(
            "{0} is written by process {1}, which holds {0}.lock",
            path.display(),
            std::process::id()
        );
        assert_eq!(error.to_string(), expected);
        drop(first);
        Lock::beside(&path, Duration::ZERO).unwrap();
        let nowhere = folder.path().join("none").join("state.json");
        let error = Lock::beside(&nowhere, Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(error.contains("none/state.json.lock"), "{error}");
    }
}
