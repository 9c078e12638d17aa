//! Files of JSON lines: the audit and the slow log.
//!
//! It owns a bounded queue, one writer thread, the rotation of its files by size, and, where asked, the chain of hashes
//! that shows whether a line was changed. A full disk blocks nobody: what cannot be queued is refused to the caller, or
//! dropped and counted in the file itself. It never looks into a line. Its input is one line at a time, as the fields of
//! an object.

mod chain;
mod verify;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

pub use verify::{Found, Report, verify};

/// Lines that wait to be written.
const QUEUE_LINES_MAX: usize = 65_536;
/// Their bytes.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Longest line, in bytes; who makes lines cuts texts long before.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// How lines are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Size from which on it is put aside as `PATH.1`, and those before as `PATH.2` and so on.
    pub rotate_bytes: u64,
    /// Files put aside that are kept.
    pub keep_files: u32,
    /// Whether lines are linked by hashes.
    pub links: Links,
}

/// Whether lines are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Each line has a number, the hash of the line before and its own.
    Chained,
    /// Lines are what they were given as.
    None,
}

/// Why a line cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// As much waits as may.
    Full,
    /// The file cannot be written: why.
    Failing(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many lines wait to be written"),
            Self::Failing(why) => f.write_str(why),
        }
    }
}

/// A line that waits.
#[derive(Debug)]
struct Line {
    fields: String,
    /// Whether somebody waits for it to be on the disk.
    sync: bool,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Places promised to lines that are still to come.
    reserved: usize,
    /// Number of the last line queued, from 1 on; not its number in the file.
    last: u64,
    /// Lines dropped that the file does not mention yet.
    lost: u64,
    failing: Option<String>,
    closed: bool,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.lines.len() + self.reserved >= QUEUE_LINES_MAX || self.bytes >= QUEUE_BYTES_MAX
    }

    fn put(&mut self, line: Line) -> u64 {
        self.bytes += line.fields.len();
        self.lines.push_back(line);
        self.last += 1;
        self.last
    }
}

#[derive(Debug)]
struct Shared {
    settings: Mutex<Settings>,
    queue: Mutex<Queue>,
    work: Condvar,
    /// The last line that is where it was to be, and whether writing fails.
    progress: watch::Sender<Progress>,
    written: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    rotations: AtomicU64,
    head: Mutex<Head>,
}

/// The end of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of the last line.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    done: u64,
    failing: Option<String>,
}

/// A file of lines and its writer. Dropping it writes what waits.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// A place for one line, promised.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    taken: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            let mut queue = self.shared.queue.lock();
            queue.reserved = queue.reserved.saturating_sub(1);
        }
    }
}

impl Place {
    /// Queues the line that it was promised for.
    pub fn fill(mut self, fields: String) {
        self.taken = true;
        let mut queue = self.shared.queue.lock();
        queue.reserved = queue.reserved.saturating_sub(1);
        let wake = queue.lines.is_empty();
        queue.put(Line {
            fields,
            sync: false,
        });
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
    }
}

/// What a ledger counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Lines written.
    pub written: u64,
    /// Lines dropped.
    pub dropped: u64,
    /// Attempts to write that failed.
    pub failures: u64,
    /// Files put aside.
    pub rotations: u64,
    /// Lines that wait.
    pub waiting: usize,
    /// Whether writing fails now.
    pub failing: bool,
}

impl Ledger {
    /// Starts a writer. A file that cannot be opened is tried again and again, and lines are refused meanwhile.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let (progress, _) = watch::channel(Progress::default());
        let shared = Arc::new(Shared {
            settings: Mutex::new(settings),
            queue: Mutex::default(),
            work: Condvar::new(),
            progress,
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            rotations: AtomicU64::new(0),
            head: Mutex::default(),
        });
        let of_writer = shared.clone();
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer::run(&of_writer))?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    /// Other sizes from now on. The path stays.
    pub fn configure(&self, rotate_bytes: u64, keep_files: u32) {
        let mut settings = self.shared.settings.lock();
        settings.rotate_bytes = rotate_bytes;
        settings.keep_files = keep_files;
    }

    /// Queues a line: the fields of a JSON object without its braces. Where there is no room, or writing fails and much
    /// waits already, it is dropped and counted.
    pub fn push(&self, fields: String) {
        let mut queue = self.shared.queue.lock();
        if queue.is_full() {
            queue.lost += 1;
            drop(queue);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let wake = queue.lines.is_empty();
        queue.put(Line {
            fields,
            sync: false,
        });
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
    }

    /// Promises a place for a line.
    ///
    /// # Errors
    /// If there is none, or writing fails.
    pub fn reserve(&self) -> Result<Place, Refused> {
        let mut queue = self.shared.queue.lock();
        if let Some(why) = &queue.failing {
            return Err(Refused::Failing(why.clone()));
        }
        if queue.is_full() {
            return Err(Refused::Full);
        }
        queue.reserved += 1;
        Ok(Place {
            shared: self.shared.clone(),
            taken: false,
        })
    }

    /// Queues a line and waits until it is on the disk.
    ///
    /// # Errors
    /// If there is no room, or writing fails.
    pub async fn push_synced(&self, fields: String) -> Result<(), Refused> {
        let mut progress = self.shared.progress.subscribe();
        let number = {
            let mut queue = self.shared.queue.lock();
            if let Some(why) = &queue.failing {
                return Err(Refused::Failing(why.clone()));
            }
            if queue.is_full() {
                return Err(Refused::Full);
            }
            queue.put(Line { fields, sync: true })
        };
        self.shared.work.notify_one();
        let done = progress.wait_for(|p| p.done >= number || p.failing.is_some());
        match done.await {
            Ok(progress) if progress.done >= number => Ok(()),
            Ok(progress) => Err(Refused::Failing(
                progress.failing.clone().unwrap_or_default(),
            )),
            Err(_) => Err(Refused::Failing("the writer has ended".to_owned())),
        }
    }

    /// What it counted.
    pub fn counts(&self) -> Counts {
        let queue = self.shared.queue.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            written: count(&self.shared.written),
            dropped: count(&self.shared.dropped),
            failures: count(&self.shared.failures),
            rotations: count(&self.shared.rotations),
            waiting: queue.lines.len(),
            failing: queue.failing.is_some(),
        }
    }

    /// The end of the chain, to be kept where nobody who can write the file can write.
    pub fn head(&self) -> Head {
        self.shared.head.lock().clone()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
