//! One MySQL as the judge of a sharded mesh: the same statement on both, and every difference of their answers.
//!
//! Owns the statements (hand-written families and a seeded grammar), the comparison, the shrinking of what differs, and the
//! report. Must never be part of the shipped binary, and never excuse a difference silently: what may differ in MySQL itself
//! (ties, representatives of equal texts) is said in [`compare`]. Input: a seed, a time, and two places to connect to.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod answer;
pub mod asked;
pub mod compare;
pub mod draw;
pub mod family;
pub mod grammar;
pub mod ground;
pub mod plans;
pub mod report;
pub mod rows;
pub mod run;
pub mod schema;
pub mod shrink;
pub mod statement;
pub mod tpcc;
pub mod tpch;

/// What failed, for a reader.
pub type Result<T> = std::result::Result<T, String>;

/// An error as text, with what was being done.
pub(crate) fn failed<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> String {
    let doing = doing.to_owned();
    move |error| format!("{doing}: {error}")
}
