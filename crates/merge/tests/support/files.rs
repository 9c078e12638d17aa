//! A spill over files of a folder of its own, as the proxy will have one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_merge::{RunId, Spill, SpillError};

/// Runs as files; the folder goes when this is dropped.
#[derive(Debug)]
pub struct FileSpill {
    folder: PathBuf,
    files: Vec<Option<(File, u64)>>,
}

impl FileSpill {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dbmesh-merge-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            files: Vec::new(),
        }
    }

    fn path(&self, run: usize) -> PathBuf {
        self.folder.join(run.to_string())
    }

    fn file(&mut self, run: RunId) -> Result<&mut (File, u64), SpillError> {
        let slot = self.files.get_mut(run.0 as usize).and_then(Option::as_mut);
        slot.ok_or(SpillError::Corrupt)
    }
}

fn store(error: std::io::Error) -> SpillError {
    SpillError::Store(Box::new(error))
}

impl Spill for FileSpill {
    fn create(&mut self) -> Result<RunId, SpillError> {
        let run = self.files.len();
        let path = self.path(run);
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(path);
        self.files.push(Some((file.map_err(store)?, 0)));
        Ok(RunId(run as u64))
    }

    fn append(&mut self, run: RunId, bytes: &[u8]) -> Result<(), SpillError> {
        let (file, length) = self.file(run)?;
        file.write_all_at(bytes, *length).map_err(store)?;
        *length += bytes.len() as u64;
        Ok(())
    }

    fn read(&mut self, run: RunId, offset: u64, into: &mut [u8]) -> Result<usize, SpillError> {
        let (file, length) = self.file(run)?;
        let n = into.len().min((*length - offset) as usize);
        file.read_exact_at(&mut into[..n], offset).map_err(store)?;
        Ok(n)
    }

    fn remove(&mut self, run: RunId) {
        let run = run.0 as usize;
        if self.files[run].take().is_some() {
            let _ = std::fs::remove_file(self.path(run));
        }
    }
}

impl Drop for FileSpill {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
