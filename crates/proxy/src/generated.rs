//! Generated keys: the values that an INSERT into a sharded table leaves to its generator.
//!
//! Owns the generators of the process: two services with the same worker id draw from one. Must never give a value twice,
//! whatever the clock does, nor hold a lock while it waits for a server. Input: what the planner says a statement needs, and a
//! way to ask the source that has the leases.

pub mod lease;
pub mod segment;
pub mod snowflake;
pub mod uuid7;
pub mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dbmesh_model::topology::sharding::{GeneratorKind, Worker};
use dbmesh_plan::shard::{Generation, KeyValue};
use parking_lot::Mutex;

pub use lease::{Ask, AskError};
use segment::Segments;
use snowflake::Snowflake;
use worker::LeasedWorker;

/// Values that one statement may ask for.
pub const VALUES_MAX: usize = 1_000_000;

/// The generators of a process.
#[derive(Debug, Default)]
pub struct Generators {
    /// By worker id.
    fixed: Mutex<BTreeMap<u16, Snowflake>>,
    /// By the place of their leases.
    leased: Mutex<BTreeMap<String, Arc<LeasedWorker>>>,
    /// By the place of their table, and the column.
    segments: Mutex<BTreeMap<(String, String), Arc<Segments>>>,
}

impl Generators {
    /// As many values as a statement needs, in the order of its rows. `place` names the source of the leases among all of
    /// the process.
    ///
    /// # Errors
    /// When a lease cannot be had: why.
    pub async fn values(
        &self,
        generation: &Generation,
        place: &str,
        ask: &impl Ask,
    ) -> Result<Vec<KeyValue>, String> {
        let count = generation.count;
        if count > VALUES_MAX {
            return Err(format!(
                "{count} generated keys at once, at most {VALUES_MAX} are made"
            ));
        }
        let number = |id: u64| KeyValue::Integer(i128::from(id));
        match generation.generator.kind {
            GeneratorKind::Uuid => Ok((0..count)
                .map(|_| KeyValue::Text(uuid7::text(now_ms(), uuid7::entropy()).into_bytes()))
                .collect()),
            GeneratorKind::Snowflake {
                worker: Worker::Fixed(id),
            } => {
                let mut all = self.fixed.lock();
                let generator = all.entry(id).or_insert_with(|| Snowflake::new(id, 0));
                let now = now_ms();
                Ok((0..count).map(|_| number(generator.next(now))).collect())
            }
            GeneratorKind::Snowflake {
                worker: Worker::Leased { .. },
            } => {
                let leased = self
                    .leased
                    .lock()
                    .entry(place.to_owned())
                    .or_default()
                    .clone();
                let ids = leased.take(count, now_ms, ask).await?;
                Ok(ids.into_iter().map(number).collect())
            }
            GeneratorKind::Segment {
                block_size, start, ..
            } => {
                let column = format!("{}.{}", generation.table, generation.generator.column);
                let key = (place.to_owned(), column.clone());
                let segments = self.segments.lock().entry(key).or_default().clone();
                let block = segment::Block {
                    name: &column,
                    size: u64::from(block_size),
                    start,
                };
                let ids = segments.take(count, &block, ask).await?;
                Ok(ids.into_iter().map(number).collect())
            }
        }
    }
}

/// The source that has the leases; none where there are none.
#[must_use]
pub fn leases_at(kind: GeneratorKind) -> Option<usize> {
    match kind {
        GeneratorKind::Uuid
        | GeneratorKind::Snowflake {
            worker: Worker::Fixed(_),
        } => None,
        GeneratorKind::Snowflake {
            worker: Worker::Leased { source },
        }
        | GeneratorKind::Segment { source, .. } => Some(source),
    }
}

/// Milliseconds of 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
