//! The room on disk for rows that memory has no room for.
//!
//! Owns one folder-less file per run, removed as soon as it is open: nothing is left behind, whatever ends the process. Must
//! never keep more files open than its limit. Input: runs of the merge.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use dbmesh_merge::{RunId, Spill, SpillError};

/// Most runs of one statement that are open at a time.
const RUNS_MAX: usize = 512;
/// The log hears of a folder that takes nothing no more often.
const TELL_EVERY_S: u64 = 60;

/// Runs in files.
#[derive(Debug)]
pub struct FileSpill {
    folder: PathBuf,
    runs: Vec<Option<File>>,
    open: usize,
}

impl FileSpill {
    /// In this folder, or in the system's for temporary files.
    #[must_use]
    pub fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map_or_else(std::env::temp_dir, Path::to_path_buf),
            runs: Vec::new(),
            open: 0,
        }
    }

    fn run(&mut self, run: RunId) -> Result<&mut File, SpillError> {
        let at = usize::try_from(run.0).map_err(|_| SpillError::Corrupt)?;
        let file = self.runs.get_mut(at).and_then(Option::as_mut);
        file.ok_or(SpillError::Corrupt)
    }
}

impl Spill for FileSpill {
    fn create(&mut self) -> Result<RunId, SpillError> {
        if self.open >= RUNS_MAX {
            let why = format!("more than {RUNS_MAX} runs");
            return Err(SpillError::Store(why.into()));
        }
        let file = unnamed(&self.folder).map_err(|e| failed(&self.folder, &e))?;
        self.open += 1;
        self.runs.push(Some(file));
        Ok(RunId(self.runs.len() as u64 - 1))
    }

    fn append(&mut self, run: RunId, bytes: &[u8]) -> Result<(), SpillError> {
        let written = self.run(run)?.write_all(bytes);
        written.map_err(|e| failed(&self.folder, &e))
    }

    fn read(&mut self, run: RunId, offset: u64, into: &mut [u8]) -> Result<usize, SpillError> {
        let file = self.run(run)?;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(&self.folder, &e)),
            }
        }
        Ok(done)
    }

    fn remove(&mut self, run: RunId) {
        let at = usize::try_from(run.0).ok();
        let file = at
            .and_then(|at| self.runs.get_mut(at))
            .and_then(Option::take);
        if file.is_some() {
            self.open -= 1;
        }
    }
}

/// The folder does not take rows, or does not give them back; the log says so as well, once in a while.
fn failed(folder: &Path, error: &io::Error) -> SpillError {
    static TOLD_AT_S: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since.unwrap_or_default().as_secs();
    let told_at_s = TOLD_AT_S.load(Ordering::Relaxed);
    let due = now_s.abs_diff(told_at_s) >= TELL_EVERY_S;
    let told = |at_s| TOLD_AT_S.compare_exchange(at_s, now_s, Ordering::Relaxed, Ordering::Relaxed);
    if due && told(told_at_s).is_ok() {
        tracing::warn!(
            folder = %folder.display(),
            %error,
            "rows that memory has no room for cannot be put into files: such statements are refused (execution.spillDirectory)"
        );
    }
    let why = format!(
        "the folder {} does not take rows that memory has no room for: {error}; make room in it, or name another one \
         (`execution.spillDirectory` of the DataShard)",
        folder.display()
    );
    SpillError::Store(why.into())
}

/// A file that nobody else can open.
fn unnamed(folder: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("dbmesh-spill-{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_back_as_they_were_written() {
        let mut spill = FileSpill::new(None);
        let (one, two) = (spill.create().unwrap(), spill.create().unwrap());
        spill.append(one, b"hello ").unwrap();
        spill.append(two, b"other").unwrap();
        spill.append(one, b"world").unwrap();
        let mut into = [0; 8];
        assert_eq!(spill.read(one, 6, &mut into).unwrap(), 5);
        assert_eq!(&into[..5], b"world");
        assert_eq!(spill.read(two, 0, &mut into).unwrap(), 5);
        spill.remove(one);
        assert!(spill.read(one, 0, &mut into).is_err());
        assert!(spill.append(two, b"!").is_ok());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let mut spill = FileSpill::new(Some(Path::new("/nowhere/at/all")));
        let said = spill.create().unwrap_err().to_string();
        for words in [
            "the folder /nowhere/at/all",
            "No such file",
            "`execution.spillDirectory`",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
