//! How the rows of several shards become the rows of one answer: plain data for the crate that does it.
//!
//! Types and collations are those of the result's columns, known when it runs. Hidden columns are the last ones.

/// What to do with the rows of all shards, in this order: group, distinct, order, offset and limit, strip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergeSpec {
    /// Columns at the end of every row that the client must not see.
    pub hidden: usize,
    /// Rows of several shards become one.
    pub group: Option<Grouping>,
    /// Rows that are equal in all visible columns become one.
    pub distinct: bool,
    /// The order; empty: none is asked for.
    pub order: Vec<OrderKey>,
    /// Whether the rows of every shard come in that order.
    pub ordered: bool,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to give at most.
    pub limit: Option<u64>,
    /// Columns of tables that columns of the result compare as, where the server does not tell: of MIN and MAX.
    pub origins: Vec<Origin>,
}

/// Which column of a table a column of the result compares as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The column of the result.
    pub column: ColumnRef,
    /// The table, as statements know it.
    pub table: String,
    /// Its column, in lower case.
    pub of: String,
}

/// A column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnRef {
    /// Counted from 0.
    Start(usize),
    /// Counted from the end, where the last is 1: for rows whose length only the server knows (`*`).
    End(usize),
}

/// A key of the order. NULL comes first, or last when descending; texts by the column's collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderKey {
    /// The column.
    pub column: ColumnRef,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Rows with equal keys become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// The keys; empty: all rows are one group, and there is one even without rows.
    pub keys: Vec<ColumnRef>,
    /// What becomes of the other columns. A column that is neither here nor a key keeps the value of any row.
    pub aggregates: Vec<Aggregate>,
    /// Whether the rows of every shard come in the order of the keys, ascending.
    pub sorted: bool,
}

/// A column that is computed from the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Where the result goes.
    pub column: ColumnRef,
    /// How.
    pub function: AggregateFunction,
}

/// How parts of an aggregate are put together. NULL parts are left out, and nothing else than NULL is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AggregateFunction {
    /// The sum of counts; 0 without rows.
    Count,
    /// The sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The quotient of two sums, with the type of the column.
    Avg {
        /// The sums.
        sum: ColumnRef,
        /// The counts.
        count: ColumnRef,
    },
    /// `BIT_AND`; all ones without rows.
    BitAnd,
    /// `BIT_OR`; 0 without rows.
    BitOr,
    /// `BIT_XOR`; 0 without rows.
    BitXor,
    /// `ANY_VALUE`.
    AnyValue,
    /// `GROUP_CONCAT`, cut at the session's `group_concat_max_len`.
    GroupConcat {
        /// Between parts.
        separator: Vec<u8>,
    },
    /// The number of different tuples without NULL, by the columns' collations.
    CountDistinct {
        /// The tuple.
        values: Vec<ColumnRef>,
    },
    /// The sum of different values.
    SumDistinct {
        /// The value.
        value: ColumnRef,
    },
    /// The average of different values.
    AvgDistinct {
        /// The value.
        value: ColumnRef,
    },
}
