//! Sorting rows, in memory or with the help of the spill.
//!
//! Owns the rows from their arrival to their departure; rows with equal keys keep their order. Memory holds a
//! share of the budget, then a sorted run is spilled. Input: rows with their keys.

use crate::error::MergeError;
use crate::keyed::LEAST_PART;
use crate::runs::{RunMerge, RunSet, RunWriter};
use crate::spill::Spiller;

/// Rows that are to be sorted.
#[derive(Debug)]
pub(crate) struct Sorter {
    /// Keys and rows, one behind the other.
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Bytes of the spiller's budget that are accounted for.
    accounted: usize,
    share_bytes: usize,
    runs: RunSet,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    prefix: u64,
    start: usize,
    key_bytes: u32,
    row_bytes: u32,
}

impl Entry {
    fn key<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let end = self.start + self.key_bytes as usize;
        arena.get(self.start..end).unwrap_or_default()
    }

    fn row<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = self.start + self.key_bytes as usize;
        let end = start + self.row_bytes as usize;
        arena.get(start..end).unwrap_or_default()
    }
}

impl Sorter {
    /// A sorter that keeps about `share_bytes` in memory.
    pub(crate) fn new(share_bytes: usize) -> Self {
        Self {
            arena: Vec::new(),
            entries: Vec::new(),
            accounted: 0,
            share_bytes,
            runs: RunSet::default(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(
        &mut self,
        key: &[u8],
        row: &[u8],
        spiller: &mut Spiller,
    ) -> Result<(), MergeError> {
        let more = key.len() + row.len();
        let room = self.arena.capacity() - self.arena.len();
        // A buffer that grows doubles: the spill comes first.
        let grown = if more > room {
            self.arena.capacity() * 2
        } else {
            self.arena.capacity()
        };
        let entries = (self.entries.len() + 1) * size_of::<Entry>() * 2;
        let needed = grown.max(self.arena.len() + more) + entries;
        let worth_a_run = self.arena.len() > self.share_bytes / LEAST_PART;
        if !self.entries.is_empty()
            && (needed > self.share_bytes
                || (worth_a_run && spiller.is_short(self.accounted, needed)))
        {
            self.spill(spiller)?;
        }
        let length = |bytes: &[u8]| {
            u32::try_from(bytes.len())
                .map_err(|_| MergeError::Misuse("a row of 4 GiB cannot be sorted"))
        };
        self.entries.push(Entry {
            prefix: prefix(key),
            start: self.arena.len(),
            key_bytes: length(key)?,
            row_bytes: length(row)?,
        });
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(row);
        self.account(spiller)
    }

    fn account(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        let now = self.arena.capacity() + self.entries.capacity() * size_of::<Entry>();
        if now != self.accounted {
            spiller.resize(self.accounted, now)?;
            self.accounted = now;
        }
        Ok(())
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.entries.sort_by(|a, b| {
            let prefixes = a.prefix.cmp(&b.prefix);
            prefixes.then_with(|| a.key(arena).cmp(b.key(arena)))
        });
    }

    fn spill(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        self.sort();
        let mut writer = RunWriter::new(spiller)?;
        for entry in &self.entries {
            writer.put(entry.key(&self.arena), entry.row(&self.arena), spiller)?;
        }
        self.entries.clear();
        self.arena.clear();
        if spiller.is_short(0, 0) {
            (self.arena, self.entries) = (Vec::new(), Vec::new());
            self.account(spiller)?;
        }
        writer.finish(&mut self.runs, spiller)
    }

    /// All rows in their order.
    pub(crate) fn finish(mut self, spiller: &mut Spiller) -> Result<Sorted, MergeError> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(Sorted::Memory {
                sorter: self,
                next: 0,
            });
        }
        if !self.entries.is_empty() {
            self.spill(spiller)?;
        }
        (self.arena, self.entries) = (Vec::new(), Vec::new());
        self.account(spiller)?;
        let merge = self.runs.read(spiller)?;
        Ok(Sorted::Spilled {
            merge,
            started: false,
        })
    }
}

/// Sorted rows.
#[derive(Debug)]
pub(crate) enum Sorted {
    Memory { sorter: Sorter, next: usize },
    Spilled { merge: RunMerge, started: bool },
}

impl Sorted {
    /// Goes on to the next row; false at the end.
    pub(crate) fn advance(&mut self, spiller: &mut Spiller) -> Result<bool, MergeError> {
        match self {
            Self::Memory { sorter, next } => {
                *next += 1;
                Ok(*next <= sorter.entries.len())
            }
            Self::Spilled { merge, started } => {
                if *started {
                    merge.advance(spiller)?;
                }
                *started = true;
                Ok(merge.head().is_some())
            }
        }
    }

    /// The current row.
    pub(crate) fn row(&self) -> &[u8] {
        match self {
            Self::Memory { sorter, next } => next
                .checked_sub(1)
                .and_then(|index| sorter.entries.get(index))
                .map_or(&[], |entry| entry.row(&sorter.arena)),
            Self::Spilled { merge, .. } => merge.head().map_or(&[], |(_, row)| row),
        }
    }
}

fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    first
        .iter_mut()
        .zip(key)
        .for_each(|(slot, byte)| *slot = *byte);
    u64::from_be_bytes(first)
}
