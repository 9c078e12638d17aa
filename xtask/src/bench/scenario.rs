//! Benchmarks of one quality each: many clients, idle clients, a long result, the start, a long run, failover,
//! stale reads, commits over nodes, neighbours, the cost of governing, split tables, and
//! many of them or of their rows. Each starts what it needs
//! on a rig, prints a table and returns the same numbers as JSON. Input: the options of the command line.

pub mod cluster;
pub mod commit;
pub mod failover;
pub mod governance;
pub mod idle;
pub mod isolation;
pub mod many;
pub mod scale;
pub mod sharded;
pub mod soak;
pub mod splitting;
pub mod stale;
pub mod start;
pub mod stream;

use serde_json::Value;

/// What a benchmark leaves: a Markdown table to read, JSON to keep, and the server it was measured with.
pub struct Outcome {
    /// The version of the server behind.
    pub server: String,
    /// Markdown.
    pub table: String,
    /// Every number, with its unit at the end of its name.
    pub json: Value,
}

/// Bytes in mebibytes.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
