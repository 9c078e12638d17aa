//! What the journals of all sessions may take together.
//!
//! Owns the count. It must never let journals hold more than they may, nor forget what one that ended held. Input: the
//! steps that journals keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_runtime::exposition::{Kind, Text};

/// The memory of all journals.
#[derive(Debug)]
pub struct ReplayMemory {
    max_bytes: u64,
    used_bytes: AtomicU64,
}

impl ReplayMemory {
    /// Of this many bytes.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            used_bytes: AtomicU64::new(0),
        }
    }

    /// Writes its metrics.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn expose(&self, out: &mut Text) {
        for (name, help, value) in [
            (
                "dbmesh_replay_memory_bytes",
                "Memory of the journals of open transactions.",
                self.used_bytes.load(Ordering::Relaxed),
            ),
            (
                "dbmesh_replay_memory_limit_bytes",
                "Memory that they may take.",
                self.max_bytes,
            ),
        ] {
            out.family(name, help, Kind::Gauge);
            out.sample(&[], value as f64);
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.max_bytes;
        if !fits {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

/// What one journal holds of it.
#[derive(Debug)]
pub(super) struct Held {
    of: Arc<ReplayMemory>,
    bytes: u64,
}

/// There is no room for the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Held {
    /// Nothing yet.
    pub(super) fn none(of: Arc<ReplayMemory>) -> Self {
        Self { of, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes room for more.
    ///
    /// # Errors
    /// [`Full`]; what is held is as it was.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), Full> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if !self.of.take(bytes) {
            return Err(Full);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// The steps are gone.
    pub(super) fn release(&mut self) {
        self.of.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_hold_no_more_than_they_may_and_give_it_back() {
        let all = Arc::new(ReplayMemory::new(100));
        let mut first = Held::none(all.clone());
        let mut second = Held::none(all.clone());
        assert_eq!(first.add(60), Ok(()));
        assert_eq!(second.add(41), Err(Full));
        assert_eq!(second.add(usize::MAX), Err(Full));
        assert_eq!((second.bytes(), second.add(40)), (0, Ok(())));
        drop(first);
        assert_eq!(second.add(60), Ok(()));
        second.release();
        assert_eq!(all.used_bytes.load(Ordering::Relaxed), 0);
    }
}
