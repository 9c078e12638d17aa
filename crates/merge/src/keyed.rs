//! Values by key, in memory or with the help of the spill.
//!
//! Owns what is kept for each key: groups, seen rows, distinct values. When its share of memory is used up, all
//! of it goes to the spill as a sorted run, and values of one key are brought together when everything is read.
//! Input: keys as bytes; equal bytes are equal keys.

use std::collections::HashMap;

use crate::error::MergeError;
use crate::runs::{RunMerge, RunSet, RunWriter};
use crate::spill::{SpillError, Spiller};

/// What is kept for a key.
pub(crate) trait Kept: Sized {
    /// Bytes of memory besides the value itself.
    fn heap_bytes(&self) -> usize;
    /// Appends it as bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what `encode` wrote.
    fn decode(bytes: &[u8]) -> Option<Self>;
    /// Takes up what came later for the same key.
    fn absorb(&mut self, later: Self) -> Result<(), MergeError>;
}

/// A key.
pub(crate) type KeyBytes = Box<[u8]>;

/// The least key and its value, or that there is none.
pub(crate) type Popped<V> = Result<Option<(KeyBytes, V)>, MergeError>;

/// Bytes of a key's entry besides the key and the value: pointers, the table's slack.
const ENTRY_BYTES: usize = 48;
/// Where memory is short, this part of a share is worth a run.
pub(crate) const LEAST_PART: usize = 16;

/// Values by key.
#[derive(Debug)]
pub(crate) struct Keyed<V> {
    map: HashMap<KeyBytes, V>,
    bytes: usize,
    share_bytes: usize,
    runs: RunSet,
}

impl<V: Kept> Keyed<V> {
    /// A store that keeps about `share_bytes` in memory.
    pub(crate) fn new(share_bytes: usize) -> Self {
        Self {
            map: HashMap::new(),
            bytes: 0,
            share_bytes,
            runs: RunSet::default(),
        }
    }

    /// Whether values went to the spill.
    pub(crate) fn has_spilled(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Changes the value of a key; `change` is given none where there is none in memory.
    pub(crate) fn update(
        &mut self,
        key: &[u8],
        spiller: &mut Spiller,
        change: impl FnOnce(Option<&mut V>) -> Result<Option<V>, MergeError>,
    ) -> Result<(), MergeError> {
        let before = self.bytes;
        match self.map.get_mut(key) {
            Some(value) => {
                let old = value.heap_bytes();
                change(Some(value))?;
                self.bytes = (self.bytes + value.heap_bytes()).saturating_sub(old);
            }
            None => {
                if let Some(value) = change(None)? {
                    self.bytes += key.len() + value.heap_bytes() + size_of::<V>() * 2 + ENTRY_BYTES;
                    self.map.insert(key.into(), value);
                }
            }
        }
        let worth_a_run = self.bytes > self.share_bytes / LEAST_PART;
        if self.bytes > self.share_bytes || (worth_a_run && spiller.is_short(before, self.bytes)) {
            spiller.resize(before, 0)?;
            self.bytes = 0;
            return self.spill(spiller);
        }
        spiller.resize(before, self.bytes)
    }

    /// Whether a key has a value in memory.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.map.contains_key(key)
    }

    fn spill(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        let mut writer = RunWriter::new(spiller)?;
        let mut encoded = Vec::new();
        for (key, value) in sorted(std::mem::take(&mut self.map)) {
            encoded.clear();
            value.encode(&mut encoded);
            writer.put(&key, &encoded, spiller)?;
        }
        writer.finish(&mut self.runs, spiller)
    }

    /// Everything in the order of the keys, and an empty store.
    pub(crate) fn drain(&mut self, spiller: &mut Spiller) -> Result<Drain<V>, MergeError> {
        if self.has_spilled() && !self.map.is_empty() {
            // What is drained stays where it is for long, and the stages behind need the memory.
            spiller.resize(std::mem::take(&mut self.bytes), 0)?;
            self.spill(spiller)?;
        }
        let memory = sorted(std::mem::take(&mut self.map)).into_iter();
        let memory_bytes = std::mem::take(&mut self.bytes);
        let runs = std::mem::take(&mut self.runs).read(spiller)?;
        let mut drain = Drain {
            memory,
            memory_bytes,
            next: None,
            runs,
        };
        drain.next = drain.memory.next();
        Ok(drain)
    }
}

fn sorted<V>(map: HashMap<KeyBytes, V>) -> Vec<(KeyBytes, V)> {
    let mut all: Vec<_> = map.into_iter().collect();
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Keys with their values, in the order of the keys.
#[derive(Debug)]
pub(crate) struct Drain<V> {
    memory: std::vec::IntoIter<(KeyBytes, V)>,
    memory_bytes: usize,
    next: Option<(KeyBytes, V)>,
    runs: RunMerge,
}

impl<V: Kept> Drain<V> {
    /// The least key that is left.
    pub(crate) fn peek(&self) -> Option<&[u8]> {
        let memory = self.next.as_ref().map(|(key, _)| &**key);
        let spilled = self.runs.head().map(|(key, _)| key);
        match (memory, spilled) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The least key and its value.
    pub(crate) fn pop(&mut self, spiller: &mut Spiller) -> Popped<V> {
        let Some(key) = self.peek() else {
            return Ok(None);
        };
        let key: KeyBytes = key.into();
        let mut found: Option<V> = None;
        // What was spilled came earlier than what is in memory.
        while let Some((of, bytes)) = self.runs.head()
            && *of == *key
        {
            let value = V::decode(bytes).ok_or(MergeError::Spill(SpillError::Corrupt))?;
            match &mut found {
                Some(found) => found.absorb(value)?,
                None => found = Some(value),
            }
            self.runs.advance(spiller)?;
        }
        if self.next.as_ref().is_some_and(|(of, _)| *of == key)
            && let Some((_, value)) = std::mem::replace(&mut self.next, self.memory.next())
        {
            match &mut found {
                Some(found) => found.absorb(value)?,
                None => found = Some(value),
            }
        }
        if self.next.is_none() {
            spiller.resize(std::mem::take(&mut self.memory_bytes), 0)?;
        }
        Ok(found.map(|value| (key, value)))
    }
}
