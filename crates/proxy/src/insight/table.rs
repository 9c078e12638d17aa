//! The entries of one shard, in bounded memory.
//!
//! Owns which entries are forgotten: those that took the least time, the longer ago the sooner. It must never take more
//! than its bytes. Input: keys and statements.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::entry::{Entry, Finished};

/// Beyond its bound, this part of the entries goes at once: one in so many.
const EVICTED_PART: usize = 8;
/// What an entry took counts half after this time without a statement: an hour.
const HALF_LIFE_MS: u64 = 3_600_000;
/// Memory of an entry's place in the index, in bytes; generous.
const INDEX_BYTES: usize = 48;

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub digest: u64,
    /// Of service and user; random per process, so that nobody can aim at it.
    pub scope: u64,
}

impl Key {
    pub fn of(finished: &Finished<'_>) -> Self {
        Self {
            digest: finished.digest,
            scope: finished.session.scope,
        }
    }
}

/// Mixes two numbers, of which one is secret.
#[derive(Debug, Default)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n) * 0x9E37_79B9_7F4A_7C15;
        #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
        let folded = (product >> 64) as u64 ^ product as u64;
        self.0 = folded;
    }
}

type Index = HashMap<Key, u32, BuildHasherDefault<Mixer>>;

/// The entries.
#[derive(Debug)]
pub struct Table {
    index: Index,
    entries: Vec<(Key, Entry)>,
    bytes: usize,
    bytes_max: usize,
    entries_max: usize,
    /// Statements since the bytes were counted.
    uncounted: u32,
}

/// Entries grow a little with statements: they are counted anew after this many new ones.
const RECOUNT: u32 = 256;

impl Table {
    pub fn new(bytes_max: usize, entries_max: usize) -> Self {
        Self {
            index: Index::default(),
            entries: Vec::new(),
            bytes: 0,
            bytes_max,
            entries_max,
            uncounted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn clear(&mut self) {
        self.index = Index::default();
        self.entries = Vec::new();
        self.bytes = 0;
    }

    pub fn find(&mut self, key: Key) -> Option<&mut Entry> {
        let at = *self.index.get(&key)?;
        self.entries.get_mut(at as usize).map(|(_, entry)| entry)
    }

    /// Adds the first statement of a key; gives how many entries were forgotten for it.
    pub fn insert(&mut self, key: Key, finished: &Finished<'_>, text: String) -> u64 {
        let mut entry = Entry::new(finished, text);
        entry.add(finished);
        let evicted = self.make_room(entry.bytes() + INDEX_BYTES, finished.now_ms);
        if let Ok(at) = u32::try_from(self.entries.len()) {
            self.bytes += entry.bytes() + INDEX_BYTES;
            self.entries.push((key, entry));
            self.index.insert(key, at);
        }
        evicted
    }

    fn make_room(&mut self, bytes: usize, now_ms: u64) -> u64 {
        self.uncounted += 1;
        if self.uncounted >= RECOUNT {
            self.recount();
        }
        let fits = |table: &Self| {
            table.bytes + bytes <= table.bytes_max && table.entries.len() < table.entries_max
        };
        if fits(self) {
            return 0;
        }
        self.recount();
        let mut evicted = 0;
        while !fits(self) && !self.entries.is_empty() {
            evicted += self.evict(now_ms);
        }
        evicted
    }

    fn recount(&mut self) {
        self.uncounted = 0;
        let bytes = self.entries.iter().map(|(_, e)| e.bytes() + INDEX_BYTES);
        self.bytes = bytes.sum();
    }

    fn evict(&mut self, now_ms: u64) -> u64 {
        let part = (self.entries.len() / EVICTED_PART).max(1);
        let weight = |entry: &Entry| {
            let idle_ms = now_ms.saturating_sub(entry.last_ms);
            let halvings = u32::try_from(idle_ms / HALF_LIFE_MS).unwrap_or(63).min(63);
            entry.time_ns >> halvings
        };
        if part < self.entries.len() {
            self.entries
                .select_nth_unstable_by_key(part, |(_, entry)| weight(entry));
        }
        self.entries.drain(..part);
        self.index.clear();
        for (at, (key, _)) in self.entries.iter().enumerate() {
            if let Ok(at) = u32::try_from(at) {
                self.index.insert(*key, at);
            }
        }
        self.recount();
        part as u64
    }

    /// The key of every entry with a number of it.
    pub fn numbers(&self, of: impl Fn(&Entry) -> u64) -> Vec<(Key, u64)> {
        self.entries.iter().map(|(key, e)| (*key, of(e))).collect()
    }
}
