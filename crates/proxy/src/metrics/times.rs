//! A histogram of durations that many workers count in.
//!
//! Owns the counts, spread so that no two workers write the same cache line. Input: durations, one per statement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_runtime::exposition::Text;

use super::{BUCKETS, DURATION_BOUNDS_S, SHARDS, bucket_of, shard_index};

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    buckets: [AtomicU64; BUCKETS],
    ns: AtomicU64,
}

/// The histogram.
#[derive(Debug, Default)]
pub struct Times {
    shards: [Shard; SHARDS],
}

impl Times {
    /// Counts a duration.
    pub fn add(&self, took: Duration) {
        let Some(shard) = self.shards.get(shard_index()) else {
            return;
        };
        if let Some(count) = shard.buckets.get(bucket_of(took)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        shard.ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Writes it as a sample of the family at hand.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn expose(&self, labels: &[(&str, &str)], out: &mut Text) {
        let sum = |of: &dyn Fn(&Shard) -> u64| self.shards.iter().map(of).sum::<u64>();
        let counts: Vec<u64> = (0..BUCKETS)
            .map(|at| {
                let of = |s: &Shard| s.buckets.get(at).map_or(0, |c| c.load(Ordering::Relaxed));
                sum(&of)
            })
            .collect();
        let ns = sum(&|s: &Shard| s.ns.load(Ordering::Relaxed));
        out.histogram(labels, &DURATION_BOUNDS_S, &counts, ns as f64 / 1e9);
    }
}
