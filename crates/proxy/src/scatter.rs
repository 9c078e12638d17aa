//! Statements that several shards execute: the connections at work, their answers, and how rows are put together.
//!
//! Owns what a session needs for one statement over several shards, piece by piece; `session/sharded/scatter.rs` puts the
//! pieces to work. Must never read a shard further than the merge has room for. Input: plans, connections, a server's bytes.

pub mod files;
pub mod leg;
pub mod part;
pub mod spec;
