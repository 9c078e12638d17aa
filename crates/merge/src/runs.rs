//! Sorted runs in the spill.
//!
//! Owns the form of records (two lengths of four bytes, key, value), the buffers around the spill, and the
//! merging of runs: sixteen of one level become one of the next, so that few are read at a time. Records with
//! equal keys come out in the order of their runs. Input: records in ascending order of their keys.

use crate::error::MergeError;
use crate::spill::{RunId, SpillError, Spiller};
use crate::tournament::Tournament;

/// Runs of one level that become one of the next.
const FAN_IN: usize = 16;
/// Bytes written to the spill at a time.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes read from a run at a time.
const READ_BYTES: usize = 16 << 10;
const HEADER_BYTES: usize = 8;

/// Runs of one store, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct RunSet {
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    id: RunId,
    bytes: u64,
    level: u32,
    /// Its longest record.
    record_bytes: usize,
}

/// Writes one run.
#[derive(Debug)]
pub(crate) struct RunWriter {
    run: Run,
    buffer: Vec<u8>,
}

impl RunWriter {
    pub(crate) fn new(spiller: &mut Spiller) -> Result<Self, MergeError> {
        Self::of_level(spiller, 0)
    }

    fn of_level(spiller: &mut Spiller, level: u32) -> Result<Self, MergeError> {
        let id = spiller.create()?;
        Ok(Self {
            run: Run {
                id,
                bytes: 0,
                level,
                record_bytes: 0,
            },
            buffer: Vec::new(),
        })
    }

    pub(crate) fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        spiller: &mut Spiller,
    ) -> Result<(), MergeError> {
        for length in [key.len(), value.len()] {
            let length = u32::try_from(length)
                .map_err(|_| MergeError::Misuse("a record of 4 GiB cannot be spilled"))?;
            self.buffer.extend_from_slice(&length.to_le_bytes());
        }
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        let record_bytes = HEADER_BYTES + key.len() + value.len();
        self.run.record_bytes = self.run.record_bytes.max(record_bytes);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush(spiller)?;
        }
        Ok(())
    }

    fn flush(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        spiller.append(self.run.id, &self.buffer)?;
        self.run.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the run and adds it to the others.
    pub(crate) fn finish(
        mut self,
        runs: &mut RunSet,
        spiller: &mut Spiller,
    ) -> Result<(), MergeError> {
        self.flush(spiller)?;
        runs.runs.push(self.run);
        runs.compact(spiller)
    }
}

impl RunSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Merges the youngest runs while sixteen of them have one level, or as many as may be read at a time.
    fn compact(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        loop {
            let fan_in = self.readable(spiller).min(FAN_IN);
            let level = self.runs.last().map_or(0, |run| run.level);
            let same = self.runs.iter().rev().take_while(|r| r.level == level);
            let first = self.runs.len() - same.count();
            if self.runs.len() - first < fan_in {
                return Ok(());
            }
            self.merge_youngest(fan_in, level + 1, spiller)?;
        }
    }

    /// How many runs may be read at a time, at least two.
    fn readable(&self, spiller: &Spiller) -> usize {
        let longest = self.runs.iter().map(|run| run.record_bytes).max();
        let buffer_bytes = READ_BYTES + longest.unwrap_or_default();
        (spiller.reading_bytes_max() / buffer_bytes).max(2)
    }

    /// Makes one run of the youngest ones.
    fn merge_youngest(
        &mut self,
        count: usize,
        level: u32,
        spiller: &mut Spiller,
    ) -> Result<(), MergeError> {
        let young = self.runs.split_off(self.runs.len().saturating_sub(count));
        let mut writer = RunWriter::of_level(spiller, level)?;
        let mut merge = RunMerge::new(young, spiller)?;
        while let Some((key, value)) = merge.head() {
            writer.put(key, value, spiller)?;
            merge.advance(spiller)?;
        }
        writer.flush(spiller)?;
        self.runs.push(writer.run);
        Ok(())
    }

    /// Reads all runs as one.
    pub(crate) fn read(mut self, spiller: &mut Spiller) -> Result<RunMerge, MergeError> {
        let readable = self.readable(spiller);
        while let Some(more) = self
            .runs
            .len()
            .checked_sub(readable)
            .filter(|more| *more > 0)
        {
            let level = self.runs.last().map_or(0, |run| run.level);
            self.merge_youngest((more + 1).min(readable), level + 1, spiller)?;
        }
        RunMerge::new(self.runs, spiller)
    }
}

/// Several runs read as one, in the order of their keys. A run is removed when it was read to its end.
#[derive(Debug)]
pub(crate) struct RunMerge {
    readers: Vec<RunReader>,
    tree: Tournament,
}

impl RunMerge {
    fn new(runs: Vec<Run>, spiller: &mut Spiller) -> Result<Self, MergeError> {
        let mut readers = Vec::with_capacity(runs.len());
        for run in runs {
            let mut reader = RunReader {
                run,
                offset: 0,
                buffer: Vec::new(),
                at: 0,
                record: Some((0, 0)),
            };
            reader.advance(spiller)?;
            readers.push(reader);
        }
        let tree = Tournament::new(readers.len(), |a, b| less(&readers, a, b));
        Ok(Self { readers, tree })
    }

    /// The record with the least key.
    pub(crate) fn head(&self) -> Option<(&[u8], &[u8])> {
        self.readers.get(self.tree.winner())?.head()
    }

    /// Goes on to the next record.
    pub(crate) fn advance(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        if let Some(reader) = self.readers.get_mut(self.tree.winner()) {
            reader.advance(spiller)?;
            self.tree.replay(|a, b| less(&self.readers, a, b));
        }
        Ok(())
    }
}

fn less(readers: &[RunReader], a: usize, b: usize) -> bool {
    let key = |index: usize| {
        let head = readers.get(index).and_then(RunReader::head);
        (head.is_none(), head.map(|(key, _)| key), index)
    };
    key(a) < key(b)
}

/// Reads one run.
#[derive(Debug)]
struct RunReader {
    run: Run,
    /// Bytes taken from the spill.
    offset: u64,
    buffer: Vec<u8>,
    /// Where the head is in the buffer.
    at: usize,
    /// Lengths of the head's key and value; `None` at the end.
    record: Option<(usize, usize)>,
}

impl RunReader {
    fn head(&self) -> Option<(&[u8], &[u8])> {
        let (key, value) = self.record?;
        let record = self.buffer.get(self.at + HEADER_BYTES..)?;
        Some((record.get(..key)?, record.get(key..key + value)?))
    }

    fn advance(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        if self.offset > 0 {
            let (key, value) = self.record.unwrap_or_default();
            self.at += HEADER_BYTES + key + value;
        }
        if self.at == self.buffer.len() && self.offset == self.run.bytes {
            if self.record.take().is_some() {
                spiller.remove(self.run.id, self.run.bytes);
                spiller.resize(self.buffer.capacity(), 0)?;
                self.buffer = Vec::new();
                self.at = 0;
            }
            return Ok(());
        }
        self.fill(HEADER_BYTES, spiller)?;
        let lengths = self.buffer.get(self.at..self.at + HEADER_BYTES);
        let Some(&[a, b, c, d, e, f, g, h]) = lengths.and_then(<[u8]>::as_array) else {
            return Err(MergeError::Spill(SpillError::Corrupt));
        };
        let key = u32::from_le_bytes([a, b, c, d]) as usize;
        let value = u32::from_le_bytes([e, f, g, h]) as usize;
        self.fill(HEADER_BYTES + key + value, spiller)?;
        self.record = Some((key, value));
        Ok(())
    }

    /// Makes `needed` bytes from the head on be in the buffer.
    fn fill(&mut self, needed: usize, spiller: &mut Spiller) -> Result<(), MergeError> {
        if self.buffer.len() - self.at >= needed {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let left = self.run.bytes - self.offset;
        let missing = needed - self.buffer.len();
        if missing as u64 > left {
            return Err(MergeError::Spill(SpillError::Corrupt));
        }
        let wanted = READ_BYTES
            .max(missing)
            .min(usize::try_from(left).unwrap_or(READ_BYTES));
        let (have, before) = (self.buffer.len(), self.buffer.capacity());
        // Not twice as much: what it has is counted.
        self.buffer.reserve_exact(wanted);
        self.buffer.resize(have + wanted, 0);
        spiller.resize(before, self.buffer.capacity())?;
        let space = self.buffer.get_mut(have..).unwrap_or_default();
        if spiller.read(self.run.id, self.offset, space)? != wanted {
            return Err(MergeError::Spill(SpillError::Corrupt));
        }
        self.offset += wanted as u64;
        Ok(())
    }
}
