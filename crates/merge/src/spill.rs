//! Where rows go that memory has no room for.
//!
//! Owns the abstract store of runs, the budgets, and the count of what is used of them. It opens no file: the
//! proxy brings an implementation over files, [`MemorySpill`] is for tests. Input: runs that the crate itself
//! wrote; what comes back is still checked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::{Budget, MergeError};

/// A run: bytes written from beginning to end, then read from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub u64);

/// A store of runs. It is called from `next` and `feed`, and may block.
pub trait Spill {
    /// Begins an empty run.
    ///
    /// # Errors
    /// When the store fails.
    fn create(&mut self) -> Result<RunId, SpillError>;

    /// Appends to a run.
    ///
    /// # Errors
    /// When the store fails.
    fn append(&mut self, run: RunId, bytes: &[u8]) -> Result<(), SpillError>;

    /// Reads from a run at an offset; fewer bytes than asked for only at its end.
    ///
    /// # Errors
    /// When the store fails or there is no such run.
    fn read(&mut self, run: RunId, offset: u64, into: &mut [u8]) -> Result<usize, SpillError>;

    /// Removes a run. What is left when the store is dropped goes with it.
    fn remove(&mut self, run: RunId);
}

/// Why a spill failed.
#[derive(Debug)]
pub enum SpillError {
    /// There is none.
    Unavailable,
    /// The store's own error.
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// A run came back with other bytes than were written.
    Corrupt,
}

impl fmt::Display for SpillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("there is no spill"),
            Self::Store(error) => write!(f, "spill: {error}"),
            Self::Corrupt => f.write_str("spill: a run came back with other bytes"),
        }
    }
}

impl std::error::Error for SpillError {}

/// A store of runs in memory, for tests.
#[derive(Debug, Default)]
pub struct MemorySpill {
    runs: Vec<Option<Vec<u8>>>,
}

impl MemorySpill {
    fn run(&mut self, run: RunId) -> Result<&mut Vec<u8>, SpillError> {
        let index = usize::try_from(run.0).map_err(|_| SpillError::Corrupt)?;
        let slot = self.runs.get_mut(index).ok_or(SpillError::Corrupt)?;
        slot.as_mut().ok_or(SpillError::Corrupt)
    }
}

impl Spill for MemorySpill {
    fn create(&mut self) -> Result<RunId, SpillError> {
        self.runs.push(Some(Vec::new()));
        Ok(RunId(self.runs.len() as u64 - 1))
    }

    fn append(&mut self, run: RunId, bytes: &[u8]) -> Result<(), SpillError> {
        self.run(run)?.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, run: RunId, offset: u64, into: &mut [u8]) -> Result<usize, SpillError> {
        let stored = self.run(run)?;
        let from = usize::try_from(offset).map_err(|_| SpillError::Corrupt)?;
        let rest = stored.get(from..).ok_or(SpillError::Corrupt)?;
        let n = rest.len().min(into.len());
        let (head, source) = (into.get_mut(..n), rest.get(..n));
        if let (Some(head), Some(source)) = (head, source) {
            head.copy_from_slice(source);
        }
        Ok(n)
    }

    fn remove(&mut self, run: RunId) {
        let slot = usize::try_from(run.0)
            .ok()
            .and_then(|i| self.runs.get_mut(i));
        if let Some(slot) = slot {
            *slot = None;
        }
    }
}

/// Limits in bytes. Every one of them is named by the error when it is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Of one shard's rows this much is asked for ahead; `feed` answers when it is there. More goes to the spill.
    pub shard_bytes_max: usize,
    /// Everything the merger keeps in memory: waiting rows, groups, runs before they are spilled. With a spill it is enough
    /// for any number of rows where it is eight times `shard_bytes_max` of all shards, and has room for one row of each
    /// and for some sixteen others.
    pub memory_bytes_max: usize,
    /// Everything the merger keeps in the spill at one time.
    pub spill_bytes_max: u64,
    /// One row.
    pub row_bytes_max: usize,
}

impl Default for Budgets {
    /// 256 KiB a shard, 64 MiB in memory, 4 GiB in the spill, 64 MiB a row.
    fn default() -> Self {
        Self {
            shard_bytes_max: 256 << 10,
            memory_bytes_max: 64 << 20,
            spill_bytes_max: 4 << 30,
            row_bytes_max: 64 << 20,
        }
    }
}

/// Memory of several mergers together.
#[derive(Debug)]
pub struct SharedMemory {
    bytes_max: usize,
    used_bytes: AtomicUsize,
    refused: AtomicU64,
    spill_bytes: AtomicU64,
    spilled_bytes: AtomicU64,
}

impl SharedMemory {
    /// Of this many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            used_bytes: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            spill_bytes: AtomicU64::new(0),
            spilled_bytes: AtomicU64::new(0),
        }
    }

    /// How much there is.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// How much is used now.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Mergers that were ended because there was no more.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How much the mergers have in their spills now, beside the memory.
    pub fn spill_bytes(&self) -> u64 {
        self.spill_bytes.load(Ordering::Relaxed)
    }

    /// How much they ever wrote into them.
    pub fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes.load(Ordering::Relaxed)
    }

    fn note_spilled(&self, bytes: u64) {
        self.spill_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.spilled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn note_removed(&self, bytes: u64) {
        self.spill_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What one merger may have of it at most, by how much is left: who comes late spills early.
    pub fn budget(&self, wanted: usize) -> usize {
        let left = self.bytes_max.saturating_sub(self.used_bytes());
        wanted.min((left / 4).max(BUDGET_BYTES_MIN))
    }

    /// There is no more: counted, and said.
    fn refuse(&self) -> MergeError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        MergeError::OverBudget {
            budget: Budget::Shared,
            limit_bytes: self.bytes_max as u64,
        }
    }

    fn change(&self, before: usize, now: usize) -> bool {
        if now <= before {
            self.used_bytes.fetch_sub(before - now, Ordering::Relaxed);
            return true;
        }
        let more = now - before;
        let used = self.used_bytes.fetch_add(more, Ordering::Relaxed);
        used.saturating_add(more) <= self.bytes_max
    }
}

/// A part of it, for what waits elsewhere than in a merger. Given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<SharedMemory>,
    bytes: usize,
}

impl Share {
    /// Nothing yet.
    pub fn of(memory: Arc<SharedMemory>) -> Self {
        Self { memory, bytes: 0 }
    }

    /// Makes it this many bytes; false when there is not so much left, and it is as it was.
    pub fn resize(&mut self, bytes: usize) -> bool {
        let fits = self.memory.change(self.bytes, bytes);
        if fits {
            self.bytes = bytes;
        } else {
            self.memory.change(bytes, self.bytes);
        }
        fits
    }

    /// Makes it larger by so many bytes.
    ///
    /// # Errors
    /// When there is not so much left; it is as it was then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), MergeError> {
        match self.resize(self.bytes.saturating_add(bytes)) {
            true => Ok(()),
            false => Err(self.refuse()),
        }
    }

    /// That there is no more ends the statement.
    pub fn refuse(&self) -> MergeError {
        self.memory.refuse()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.change(self.bytes, 0);
    }
}

/// With less than this, a merger does nothing but spill.
const BUDGET_BYTES_MIN: usize = 4 << 20;

/// How much is used, and how much it was at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in memory now.
    pub memory_bytes: usize,
    /// Bytes in memory at most.
    pub memory_bytes_peak: usize,
    /// Bytes in the spill now.
    pub spill_bytes: u64,
    /// Bytes in the spill at most.
    pub spill_bytes_peak: u64,
    /// Runs written.
    pub runs: u64,
}

/// The spill with its budgets.
pub(crate) struct Spiller {
    store: Option<Box<dyn Spill + Send>>,
    shared: Option<Arc<SharedMemory>>,
    pub(crate) budgets: Budgets,
    pub(crate) usage: Usage,
}

impl Drop for Spiller {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.change(self.usage.memory_bytes, 0);
            shared.note_removed(self.usage.spill_bytes);
        }
    }
}

impl fmt::Debug for Spiller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spiller")
            .field("budgets", &self.budgets)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl Spiller {
    pub(crate) fn new(store: Option<Box<dyn Spill + Send>>, budgets: Budgets) -> Self {
        Self {
            store,
            shared: None,
            budgets,
            usage: Usage::default(),
        }
    }

    /// Takes its memory from what others take theirs from.
    pub(crate) fn share(&mut self, shared: Arc<SharedMemory>) {
        shared.change(0, self.usage.memory_bytes);
        shared.note_spilled(self.usage.spill_bytes);
        self.shared = Some(shared);
    }

    /// Accounts for `now` bytes where `before` were.
    pub(crate) fn resize(&mut self, before: usize, now: usize) -> Result<(), MergeError> {
        let used = self.usage.memory_bytes.saturating_sub(before);
        let used = used.saturating_add(now);
        let before = std::mem::replace(&mut self.usage.memory_bytes, used);
        self.usage.memory_bytes_peak = self.usage.memory_bytes_peak.max(used);
        if let Some(shared) = &self.shared
            && !shared.change(before, used)
        {
            return Err(shared.refuse());
        }
        let limit = self.budgets.memory_bytes_max;
        if used > limit {
            return Err(MergeError::OverBudget {
                budget: Budget::Memory,
                limit_bytes: limit as u64,
            });
        }
        Ok(())
    }

    pub(crate) fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// Whether `now` bytes where `before` are would leave too little for the reading of runs. Who can spill does it then,
    /// whatever its share: others may hold more than theirs.
    pub(crate) fn is_short(&self, before: usize, now: usize) -> bool {
        let used = self.usage.memory_bytes.saturating_sub(before);
        let limit = self.budgets.memory_bytes_max - self.reading_bytes_max();
        self.store.is_some() && used.saturating_add(now) > limit
    }

    /// Whether so many bytes more would leave to the stages less than half of the memory: what waits for them goes to the
    /// spill then.
    pub(crate) fn is_half_full(&self, more: usize) -> bool {
        let used = self.usage.memory_bytes.saturating_add(more);
        self.store.is_some() && used > self.budgets.memory_bytes_max / 2
    }

    /// Bytes for the buffers of runs that are read at the same time.
    pub(crate) fn reading_bytes_max(&self) -> usize {
        self.budgets.memory_bytes_max / 8
    }

    pub(crate) fn create(&mut self) -> Result<RunId, MergeError> {
        self.usage.runs += 1;
        Ok(self.store()?.create()?)
    }

    pub(crate) fn append(&mut self, run: RunId, bytes: &[u8]) -> Result<(), MergeError> {
        let limit = self.budgets.spill_bytes_max;
        let used = self.usage.spill_bytes.saturating_add(bytes.len() as u64);
        if used > limit {
            return Err(MergeError::OverBudget {
                budget: Budget::Spill,
                limit_bytes: limit,
            });
        }
        self.usage.spill_bytes = used;
        self.usage.spill_bytes_peak = self.usage.spill_bytes_peak.max(used);
        if let Some(shared) = &self.shared {
            shared.note_spilled(bytes.len() as u64);
        }
        Ok(self.store()?.append(run, bytes)?)
    }

    pub(crate) fn read(
        &mut self,
        run: RunId,
        offset: u64,
        into: &mut [u8],
    ) -> Result<usize, MergeError> {
        let n = self.store()?.read(run, offset, into)?;
        if n > into.len() {
            return Err(MergeError::Spill(SpillError::Corrupt));
        }
        Ok(n)
    }

    /// Removes a run that has this many bytes.
    pub(crate) fn remove(&mut self, run: RunId, bytes: u64) {
        let bytes = bytes.min(self.usage.spill_bytes);
        self.usage.spill_bytes -= bytes;
        if let Some(shared) = &self.shared {
            shared.note_removed(bytes);
        }
        if let Some(store) = &mut self.store {
            store.remove(run);
        }
    }

    fn store(&mut self) -> Result<&mut Box<dyn Spill + Send>, MergeError> {
        // Without a spill it is memory that was not enough.
        let limit_bytes = self.budgets.memory_bytes_max as u64;
        self.store.as_mut().ok_or(MergeError::OverBudget {
            budget: Budget::Memory,
            limit_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_refused_where_nothing_is_left_and_given_back() {
        let memory = Arc::new(SharedMemory::new(100));
        let (mut one, mut other) = (Share::of(memory.clone()), Share::of(memory.clone()));
        assert!(one.grow(60).is_ok() && other.grow(40).is_ok());
        let refused = other.grow(1);
        assert!(matches!(refused, Err(MergeError::OverBudget { .. })));
        assert_eq!((memory.used_bytes(), memory.refused()), (100, 1));
        assert!(!other.resize(41) && one.resize(10));
        assert!(other.grow(1).is_ok());
        drop((one, other));
        assert_eq!(memory.used_bytes(), 0);
    }

    #[test]
    fn what_is_spilled_is_counted_until_it_is_removed() {
        let memory = Arc::new(SharedMemory::new(100));
        let store = Box::new(MemorySpill::default());
        let mut spiller = Spiller::new(Some(store), Budgets::default());
        spiller.share(memory.clone());
        let (one, other) = (spiller.create().unwrap(), spiller.create().unwrap());
        spiller.append(one, &[1; 10]).unwrap();
        spiller.append(other, &[2; 5]).unwrap();
        assert_eq!((memory.spill_bytes(), memory.spilled_bytes()), (15, 15));
        spiller.remove(one, 10);
        assert_eq!((memory.spill_bytes(), memory.spilled_bytes()), (5, 15));
        drop(spiller);
        assert_eq!((memory.spill_bytes(), memory.spilled_bytes()), (0, 15));
    }
}
