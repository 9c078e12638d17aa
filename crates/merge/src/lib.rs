//! Row work over the result streams of several shards, without I/O: ordered merge, grouped aggregation, DISTINCT,
//! LIMIT, concatenation, with the comparison rules of MySQL.
//!
//! Owns the rows between the shards' packets and the client's, their budgets in bytes, and what goes to the spill
//! ([`spill::Spill`]). It must never yield what one server holding all rows would not: what cannot be done
//! exactly is refused, and a budget that is not enough is an error that names it. It opens no file, reads no
//! clock and spawns nothing. Input: a [`spec::MergeSpec`] of the planner, column definitions and row packets of
//! the shards; all of a shard's bytes are untrusted.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod aggregate;
pub mod collate;
pub mod column;
mod decimal;
mod distinct;
pub mod error;
mod group;
mod inbox;
mod key;
mod keyed;
mod merger;
pub mod row;
mod runs;
mod sorter;
mod source;
pub mod spec;
pub mod spill;
mod tournament;
mod value;
mod waiting;

pub use column::Definition;
pub use error::{Budget, MergeError, Refusal, RowFault, WeightReason};
pub use group::CutWarning;
pub use merger::{Appetite, Merger, Step};
pub use spec::{
    Aggregate, Comparison, Direction, FloatSums, GroupConcat, Grouping, Key, Limit, MergeSpec,
    Output, OutputDefinition,
};
pub use spill::{Budgets, MemorySpill, RunId, Share, SharedMemory, Spill, SpillError, Usage};
