//! Statements that several shards execute: the connections at work, their answers, and how rows are put together.
//!
//! Owns what a session needs for one statement over several shards, piece by piece; `session/sharded/scatter.rs` puts the
//! pieces to work. Must never read a shard further than the merge has room for. Input: plans, connections, a server's bytes.

pub mod files;
pub mod leg;
pub mod part;
pub mod spec;

use dbmesh_merge::SharedMemory;
use dbmesh_runtime::exposition::{Kind, Text};

/// Writes the metrics of the memory for rows that are put together.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn expose(memory: &SharedMemory, out: &mut Text) {
    for (name, help, kind, value) in [
        (
            "dbmesh_merge_memory_bytes",
            "Memory of rows of several shards that are put together now.",
            Kind::Gauge,
            memory.used_bytes() as f64,
        ),
        (
            "dbmesh_merge_memory_limit_bytes",
            "Memory that they may take, of all sessions.",
            Kind::Gauge,
            memory.bytes_max() as f64,
        ),
        (
            "dbmesh_merge_memory_refused_total",
            "Statements refused because they would have taken more.",
            Kind::Counter,
            memory.refused() as f64,
        ),
        (
            "dbmesh_merge_spill_bytes",
            "Bytes of such rows that are in files now.",
            Kind::Gauge,
            memory.spill_bytes() as f64,
        ),
        (
            "dbmesh_merge_spilled_bytes_total",
            "Bytes of such rows that were written to files.",
            Kind::Counter,
            memory.spilled_bytes() as f64,
        ),
    ] {
        out.family(name, help, kind);
        out.sample(&[], value);
    }
}
