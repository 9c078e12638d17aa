//! The thread that writes lines.
//!
//! It owns the file while it holds its lock, for one batch at a time: another process may write the same file, as during an
//! upgrade, and each goes on where the other stopped. After an error it cuts off what was written of a line, keeps the lines
//! and tries again; it never leaves half a line before a whole one. Its input is the queue.

use std::fs::{File, OpenOptions, TryLockError, rename};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::chain::{End, Linked};
use super::{Head, LINE_BYTES_MAX, Line, Links, Progress, Settings, Shared};

/// How long lines are gathered before they are written, where nobody waits for one.
const GATHER: Duration = Duration::from_millis(5);
/// How long after an error the next attempt is made.
const RETRY: Duration = Duration::from_millis(250);
/// How long another process may hold the file's lock: it does for one write.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at it.
const LOCK_STEP: Duration = Duration::from_millis(1);
/// How often another process may put the file aside while this one waits for it.
const REOPEN_MAX: usize = 16;
/// Bytes written at once, about.
const BATCH_BYTES: usize = 1 << 20;

pub fn run(shared: &Shared) {
    let mut writer = Writer::default();
    while let Some(batch) = take(shared) {
        if !put(shared, &mut writer, &batch) {
            return;
        }
    }
    if let Some(open) = &writer.open {
        let _ = open.file.sync_data();
    }
}

/// Lines to write; none when the ledger is closed and nothing waits.
fn take(shared: &Shared) -> Option<Batch> {
    let mut queue = shared.queue.lock();
    loop {
        if !queue.lines.is_empty() {
            break;
        }
        if queue.closed {
            return None;
        }
        shared.work.wait(&mut queue);
        if !queue.closed && queue.lines.iter().all(|line| !line.sync) {
            // A moment later there are more, for one system call.
            shared.work.wait_for(&mut queue, GATHER);
        }
    }
    let mut batch = Batch {
        lines: Vec::new(),
        lost: std::mem::take(&mut queue.lost),
        last: 0,
    };
    let mut bytes = 0;
    while bytes < BATCH_BYTES
        && let Some(line) = queue.lines.pop_front()
    {
        bytes += line.fields.len();
        queue.bytes = queue.bytes.saturating_sub(line.fields.len());
        batch.lines.push(line);
    }
    batch.last = queue.last - queue.lines.len() as u64;
    Some(batch)
}

/// Lines to be written together.
struct Batch {
    lines: Vec<Line>,
    /// Lines dropped before them.
    lost: u64,
    /// The queue's number of the last one.
    last: u64,
}

/// Writes a batch, however long it takes; false if the ledger was closed before it could.
fn put(shared: &Shared, writer: &mut Writer, batch: &Batch) -> bool {
    let settings = || shared.settings.lock().clone();
    let mut told = false;
    while let Err(error) = writer.write(&settings(), batch, shared) {
        shared.failures.fetch_add(1, Ordering::Relaxed);
        let path = settings().path;
        let why = format!("{} cannot be written: {error}", path.display());
        if !told {
            tracing::error!(path = %path.display(), %error, "lines cannot be written");
            told = true;
        }
        let mut queue = shared.queue.lock();
        queue.failing = Some(why.clone());
        shared.progress.send_modify(|p| p.failing = Some(why));
        if queue.closed {
            let lines = (batch.lines.len() + queue.lines.len()) as u64;
            shared.dropped.fetch_add(lines, Ordering::Relaxed);
            return false;
        }
        drop(queue);
        std::thread::sleep(RETRY);
    }
    if told {
        tracing::info!(path = %settings().path.display(), "lines are written again");
    }
    let written = batch.lines.len() as u64;
    shared.written.fetch_add(written, Ordering::Relaxed);
    shared.queue.lock().failing = None;
    *shared.head.lock() = Head {
        seq: writer.end.seq,
        hash: writer.end.hash.clone(),
    };
    shared.progress.send_replace(Progress {
        done: batch.last,
        failing: None,
    });
    true
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes of whole lines; none if it was not looked at yet.
    bytes: Option<u64>,
}

#[derive(Debug, Default)]
struct Writer {
    open: Option<Open>,
    end: End,
    /// Lines of the batch at hand that are written: an error in the middle repeats none.
    done: usize,
    /// Whether the lines lost before it are mentioned.
    mentioned: bool,
}

impl Writer {
    fn write(&mut self, settings: &Settings, batch: &Batch, shared: &Shared) -> io::Result<()> {
        let entered = self.enter(settings);
        let appended = entered.and_then(|()| self.append_all(settings, batch, shared));
        self.leave();
        appended?;
        if batch.lines.iter().any(|line| line.sync)
            && let Some(open) = &self.open
        {
            open.file.sync_data()?;
        }
        self.done = 0;
        self.mentioned = false;
        Ok(())
    }

    fn append_all(
        &mut self,
        settings: &Settings,
        batch: &Batch,
        shared: &Shared,
    ) -> io::Result<()> {
        if batch.lost > 0 && !self.mentioned {
            let lost = batch.lost;
            let fields = format!(
                "\"time\":\"{}\",\"event\":\"gap\",\"lost\":{lost}",
                crate::time::now_text()
            );
            self.append(settings, &[fields.as_str()], shared)?;
            self.mentioned = true;
        }
        while let Some(rest) = batch.lines.get(self.done..).filter(|rest| !rest.is_empty()) {
            let part: Vec<&str> = rest.iter().map(|line| line.fields.as_str()).collect();
            self.done += self.append(settings, &part, shared)?;
        }
        Ok(())
    }

    /// Locks the file that has the path now, and finds its end if that is not where this writer left it.
    fn enter(&mut self, settings: &Settings) -> io::Result<()> {
        for _ in 0..REOPEN_MAX {
            let open = match self.open.take() {
                Some(open) => open,
                None => open(settings)?,
            };
            lock(&open.file)?;
            if is_at(&open.file, &settings.path)? {
                return self.catch_up(open, settings);
            }
        }
        Err(io::Error::other("it is put aside again and again"))
    }

    fn leave(&mut self) {
        // What cannot be unlocked is closed, which does.
        self.open.take_if(|open| open.file.unlock().is_err());
    }

    /// Appends lines up to the one that fills the file; gives how many.
    fn append(
        &mut self,
        settings: &Settings,
        lines: &[&str],
        shared: &Shared,
    ) -> io::Result<usize> {
        let full = |open: &Open| {
            open.bytes
                .is_some_and(|bytes| bytes >= settings.rotate_bytes)
        };
        if self.open.as_ref().is_some_and(full) {
            self.rotate(settings)?;
            shared.rotations.fetch_add(1, Ordering::Relaxed);
        }
        let Some(open) = &mut self.open else {
            return Ok(0);
        };
        let bytes = open.bytes.unwrap_or_default();
        let (mut out, mut end, mut count) = (Vec::new(), self.end.clone(), 0);
        for fields in lines {
            match settings.links {
                Links::Chained => end.link(fields, &mut out),
                Links::None => {
                    out.push(b'{');
                    out.extend_from_slice(fields.as_bytes());
                    out.extend_from_slice(b"}\n");
                }
            }
            count += 1;
            if bytes + out.len() as u64 >= settings.rotate_bytes {
                break;
            }
        }
        if let Err(error) = open.file.write_all(&out) {
            // Half a line would join with the next one; if it cannot be cut off, the file is opened anew, which does.
            let cut = open.file.set_len(bytes);
            if cut.is_err() || open.file.seek(SeekFrom::Start(bytes)).is_err() {
                self.open = None;
            }
            return Err(error);
        }
        open.bytes = Some(bytes + out.len() as u64);
        self.end = end;
        Ok(count)
    }

    /// Goes on where the file ends now. A chain goes on from the highest number known: lines that are gone leave a gap in it.
    fn catch_up(&mut self, open: Open, settings: &Settings) -> io::Result<()> {
        let mut file = open.file;
        let mut length = file.seek(SeekFrom::End(0))?;
        if open.bytes != Some(length) {
            let torn = torn_bytes(&mut file, length)?;
            if torn > 0 {
                // A process died, or was killed, in the middle of a line that nobody was told of.
                length -= torn;
                file.set_len(length)?;
                tracing::warn!(path = %settings.path.display(), bytes = torn, "half a line was cut off");
            }
            if settings.links == Links::Chained {
                let end = last_end(&mut file, length, &settings.path)?;
                if end.seq > self.end.seq {
                    self.end = end;
                }
            }
            file.seek(SeekFrom::Start(length))?;
        }
        self.open = Some(Open {
            file,
            bytes: Some(length),
        });
        Ok(())
    }

    fn rotate(&mut self, settings: &Settings) -> io::Result<()> {
        if let Some(open) = &self.open {
            open.file.sync_data()?;
        }
        let aside = |number: u32| aside(&settings.path, number);
        if settings.keep_files == 0 {
            std::fs::remove_file(&settings.path)?;
        } else {
            for number in (1..settings.keep_files).rev() {
                match rename(aside(number), aside(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            rename(&settings.path, aside(1))?;
        }
        // Others wait for the lock of the file put aside until the new one is locked.
        let before = self.open.take();
        let entered = self.enter(settings);
        drop(before);
        entered
    }
}

fn open(settings: &Settings) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let file = options.open(&settings.path)?;
    match file.metadata()?.is_file() {
        true => Ok(Open { file, bytes: None }),
        false => Err(io::Error::other("it is no file")),
    }
}

fn lock(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_STEP);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process holds it locked"));
            }
        }
    }
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, now) = (file.metadata()?, std::fs::metadata(path));
    match now {
        Ok(now) => Ok((now.dev(), now.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The file that was put aside as this one.
pub fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The last bytes of a file, up to the longest line and one more.
fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let take = length.min(LINE_BYTES_MAX as u64 * 2);
    file.seek(SeekFrom::Start(length - take))?;
    let mut bytes = Vec::new();
    file.take(take).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes behind the last whole line.
fn torn_bytes(file: &mut File, length: u64) -> io::Result<u64> {
    let bytes = tail(file, length)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    Ok((bytes.len() - whole.map_or(0, |at| at + 1)) as u64)
}

/// Where the chain of a file ends. In an empty one, it is where that of the file before ends.
fn last_end(file: &mut File, length: u64, path: &Path) -> io::Result<End> {
    let bytes = tail(file, length)?;
    let last = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    if let Some(line) = last.filter(|line| !line.is_empty()) {
        return Ok(match Linked::parse(line) {
            Some(linked) => End {
                seq: linked.seq,
                hash: linked.hash.to_owned(),
            },
            None => {
                tracing::error!(path = %path.display(), "the last line is none of a chain: a new chain begins");
                End::default()
            }
        });
    }
    match File::open(aside(path, 1)) {
        Ok(mut before) => {
            let length = before.metadata()?.len();
            let bytes = tail(&mut before, length)?;
            let last = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
            let linked = last.and_then(Linked::parse);
            Ok(linked.map_or_else(End::default, |linked| End {
                seq: linked.seq,
                hash: linked.hash.to_owned(),
            }))
        }
        Err(_) => Ok(End::default()),
    }
}
