//! SQL insight: what statements of one service, user and digest have in common, summed up.
//!
//! Owns the sums, spread over shards so that workers do not meet per statement, and their bound in bytes: the least
//! important of them are forgotten, and how many is counted. It must never keep a literal of a statement. Input: every
//! statement that ended; the admin page and SHOW MESH DIGESTS look in.

mod entry;
mod listing;
mod sketch;
mod table;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dbmesh_runtime::exposition::{Kind, Text};
use parking_lot::Mutex;

pub use entry::{Finished, Protocol};
pub use listing::{Order, Question};
use table::{Key, Table};

/// Memory of all sums together, in bytes.
const BYTES_MAX: usize = 48 << 20;
/// Sums of all shards together.
const ENTRIES_MAX: usize = 32_768;
/// Most shards: more workers share them.
const SHARDS_MAX: usize = 8;
/// Longest normalised text that is kept, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The sums of the process.
#[derive(Debug)]
pub struct Insight {
    shards: Vec<Shard>,
    evicted: AtomicU64,
}

/// The sums of some workers, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    table: Mutex<Table>,
}

impl Default for Insight {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self::with_shards(workers.clamp(1, SHARDS_MAX))
    }
}

impl Insight {
    fn with_shards(count: usize) -> Self {
        let shard = |_| Shard {
            table: Mutex::new(Table::new(BYTES_MAX / count, ENTRIES_MAX / count)),
        };
        Self {
            shards: (0..count).map(shard).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Adds a statement; `text` gives its normalised text if it is new here.
    pub fn add(&self, finished: &Finished<'_>, text: impl FnOnce() -> String) {
        let Some(shard) = self.shards.get(worker() % self.shards.len().max(1)) else {
            return;
        };
        let key = Key::of(finished);
        if let Some(entry) = shard.table.lock().find(key) {
            entry.add(finished);
            return;
        }
        // Reading the text again takes a while: nobody waits for that.
        let text = text();
        let evicted = shard.table.lock().insert(key, finished, text);
        if evicted > 0 {
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.table.lock().clear();
        }
    }

    /// Its own metrics.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn metrics(&self, out: &mut Text) {
        let sum = |of: fn(&Table) -> usize| -> f64 {
            let of_all = self.shards.iter().map(|shard| of(&shard.table.lock()));
            of_all.sum::<usize>() as f64
        };
        let families = [
            (
                "dbmesh_insight_digests",
                "Sums of SQL insight that are kept, by worker.",
                Kind::Gauge,
                sum(Table::len),
            ),
            (
                "dbmesh_insight_bytes",
                "Memory of SQL insight.",
                Kind::Gauge,
                sum(Table::bytes),
            ),
            (
                "dbmesh_insight_bytes_max",
                "Most memory that SQL insight takes.",
                Kind::Gauge,
                BYTES_MAX as f64,
            ),
            (
                "dbmesh_insight_evictions_total",
                "Sums of SQL insight that were forgotten to make room.",
                Kind::Counter,
                self.evicted.load(Ordering::Relaxed) as f64,
            ),
        ];
        for (name, help, kind, value) in families {
            out.family(name, help, kind);
            out.sample(&[], value);
        }
    }
}

/// A number of this thread.
fn worker() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests;
