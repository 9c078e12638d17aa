//! Why rows could not be merged.
//!
//! Owns the one error type of the crate. It names the shard, the budget or the reason, says whose fault it
//! is, and never carries bytes of a row. Input: the crate's own findings.

use std::fmt;

use dbmesh_wire::DecodeError;

use crate::spill::SpillError;

/// Why rows could not be merged. The merger is of no use after one.
#[derive(Debug)]
pub enum MergeError {
    /// A shard sent a row that is none, or a value that is none of its column's type.
    BadRow {
        /// The shard, from 0.
        shard: usize,
        /// What is wrong.
        fault: RowFault,
    },
    /// A shard's rows are not in the order that was asked for, or not by the rules known here.
    Unsorted {
        /// The shard, from 0.
        shard: usize,
    },
    /// Two shards describe their columns differently.
    ColumnsDiffer {
        /// The shard that differs from shard 0.
        shard: usize,
        /// The column, from 0; the number of columns when that is what differs.
        column: usize,
    },
    /// It cannot be done exactly as the server does it, so it is not done.
    Refused(Refusal),
    /// More bytes are needed than a budget allows.
    OverBudget {
        /// Which one.
        budget: Budget,
        /// Its limit.
        limit_bytes: u64,
    },
    /// The spill failed.
    Spill(SpillError),
    /// The caller's mistake: a shard that does not exist, a row after the end, a column that is not there.
    Misuse(&'static str),
}

/// A limit in bytes, by the name of its field in [`Budgets`](crate::Budgets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// `memory_bytes_max`.
    Memory,
    /// What mergers share: [`SharedMemory`](crate::SharedMemory).
    Shared,
    /// `spill_bytes_max`.
    Spill,
    /// `row_bytes_max`.
    Row,
}

impl Budget {
    /// The field's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory_bytes_max",
            Self::Shared => "memory of all statements",
            Self::Spill => "spill_bytes_max",
            Self::Row => "row_bytes_max",
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFault {
    /// Its packet cannot be read.
    Decode(DecodeError),
    /// A value is none of its column's type.
    Value {
        /// The column, from 0.
        column: usize,
        /// What it should have been.
        expected: &'static str,
    },
    /// The stream ended within a packet.
    Unfinished,
}

/// What is not done, because it could not be done exactly as the server does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Values of this column cannot be compared as they come: a hidden column has to bring what to compare
    /// (WEIGHT_STRING for strings, the index `c+0` for ENUM and SET, a double for FLOAT in the text protocol).
    NeedsWeight {
        /// The column, from 0.
        column: usize,
        /// Why.
        reason: WeightReason,
    },
    /// The aggregate is not defined here for columns of this type.
    AggregateType {
        /// The column, from 0.
        column: usize,
    },
    /// Sums of floating-point numbers depend on the order of addition, and the specification does not accept that.
    FloatSum {
        /// The column, from 0.
        column: usize,
    },
    /// A sum or a count has more digits than the type holds.
    Overflow,
    /// STD and VARIANCE: the server's recurrence over doubles depends on the order of rows in its last digits.
    Variance,
}

/// Why a column's values cannot be compared as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightReason {
    /// A string, and the specification names no collation.
    NoCollation,
    /// A string of a collation that is not compared here.
    Collation,
    /// A string in a character set from which the collation's cannot be had.
    CharacterSet,
    /// ENUM and SET are ordered by an index that rows do not show.
    EnumOrSet,
    /// JSON has an order of its own.
    Json,
    /// FLOAT in the text protocol, and floating-point numbers with fixed decimals, come rounded.
    RoundedFloat,
    /// Geometry, vectors and types that are not known.
    Type,
}

impl MergeError {
    pub(crate) const fn value(shard: usize, column: usize, expected: &'static str) -> Self {
        Self::BadRow {
            shard,
            fault: RowFault::Value { column, expected },
        }
    }

    pub(crate) const fn decode(shard: usize, error: DecodeError) -> Self {
        Self::BadRow {
            shard,
            fault: RowFault::Decode(error),
        }
    }

    pub(crate) const fn weight(column: usize, reason: WeightReason) -> Self {
        Self::Refused(Refusal::NeedsWeight { column, reason })
    }
}

impl From<SpillError> for MergeError {
    fn from(error: SpillError) -> Self {
        Self::Spill(error)
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRow { shard, fault } => write!(f, "shard {shard} sent a bad row: {fault}"),
            Self::Unsorted { shard } => {
                write!(f, "rows of shard {shard} are not in the order asked for")
            }
            Self::ColumnsDiffer { shard, column } => {
                write!(f, "shard {shard} describes column {column} differently")
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::OverBudget {
                budget,
                limit_bytes,
            } => write!(f, "more than {} ({limit_bytes}) needed", budget.name()),
            Self::Spill(error) => error.fmt(f),
            Self::Misuse(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::Value { column, expected } => {
                write!(f, "the value of column {column} is no {expected}")
            }
            Self::Unfinished => f.write_str("it ends within a packet"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsWeight { column, reason } => {
                write!(
                    f,
                    "column {column} cannot be compared as it comes: {reason}"
                )
            }
            Self::AggregateType { column } => {
                write!(f, "no such aggregate over the type of column {column}")
            }
            Self::FloatSum { column } => write!(
                f,
                "the sum of floating-point column {column} depends on the order of rows"
            ),
            Self::Overflow => f.write_str("an aggregate has more digits than its type holds"),
            Self::Variance => f.write_str("STD and VARIANCE depend on the order of rows"),
        }
    }
}

impl fmt::Display for WeightReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCollation => "the specification names no collation",
            Self::Collation => "its collation needs a hidden WEIGHT_STRING",
            Self::CharacterSet => "it comes in another character set than its collation's",
            Self::EnumOrSet => "ENUM and SET need their index in a hidden column",
            Self::Json => "JSON has an order of its own",
            Self::RoundedFloat => "it comes rounded; a hidden column needs the whole number",
            Self::Type => "values of its type have no order here",
        })
    }
}

impl std::error::Error for MergeError {}
