//! What is to be done with the rows of several shards: plain data.
//!
//! Owns the input specification. It decides nothing and checks nothing; [`Merger::new`](crate::Merger::new)
//! does, against the columns that the shards describe. Input: the planner, which knows the statement and the
//! tables. Rows pass the parts in this order:
//!
//! ```text
//! shards → order (or concatenation) → group → distinct → sort → limit → hidden columns dropped
//! ```
//!
//! Columns are numbered from 0 in the shards' rows. With `group`, what follows counts in the group's outputs.

/// What is to be done with the rows of several shards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergeSpec {
    /// The order that every shard's rows have (the ORDER BY sent to it), and that is kept between them. Empty:
    /// rows are concatenated as they come.
    pub order: Vec<Key>,
    /// Groups of rows become one row each.
    pub group: Option<Grouping>,
    /// Of rows with equal keys only the first remains: DISTINCT, UNION.
    pub distinct: Vec<Key>,
    /// Rows are sorted here: for an order that shards cannot have, such as that of an aggregate. Ties keep their order.
    pub sort: Vec<Key>,
    /// Which of the rows remain.
    pub limit: Limit,
    /// How many columns at the end are not the client's: weights, counts, indexes of ENUM.
    pub hidden: usize,
}

/// LIMIT and OFFSET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Rows left out at the beginning.
    pub offset_rows: u64,
    /// Rows after those; `None` is all.
    pub count_rows: Option<u64>,
}

/// A column that rows are compared by. NULL is less than anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The column.
    pub column: usize,
    /// ASC or DESC. Without meaning where only equality counts.
    pub direction: Direction,
    /// How its values compare.
    pub comparison: Comparison,
}

impl Key {
    /// An ascending key that compares as its type does.
    pub const fn ascending(column: usize) -> Self {
        Self {
            column,
            direction: Direction::Ascending,
            comparison: Comparison::ByType,
        }
    }

    /// The same key, descending.
    pub const fn descending(self) -> Self {
        Self {
            direction: Direction::Descending,
            ..self
        }
    }

    /// The same key, by a collation.
    pub const fn collated(self, collation: u16) -> Self {
        Self {
            comparison: Comparison::Collation(collation),
            ..self
        }
    }

    /// The same key; the column holds WEIGHT_STRING of a value of this collation.
    pub const fn weighed(self, collation: u16) -> Self {
        Self {
            comparison: Comparison::Weight(collation),
            ..self
        }
    }
}

/// ASC or DESC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The least value first.
    Ascending,
    /// The greatest value first.
    Descending,
}

/// How the values of a column compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// As its type does: numbers, dates and times, BIT, binary strings.
    ByType,
    /// Strings by the collation with this id. Column definitions do not tell it: they name the collation of
    /// `character_set_results`. Refused for collations that are not compared here: see
    /// [`compares`](crate::collate::compares).
    ///
    /// MySQL (not MariaDB) groups unicode_ci and unicode_520_ci by a hash that is stricter than its own comparison:
    /// it parts `'a'` from `'a \0'` and from `'a'` with a no-break space behind. Here they are equal, as they are to
    /// ORDER BY.
    Collation(u16),
    /// The column holds WEIGHT_STRING of a value of the collation with this id.
    Weight(u16),
}

/// Rows with equal keys become one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grouping {
    /// What is equal within a group. None: all rows are one group, also when there are none. Groups come as
    /// their rows come where `order` begins with these columns, else in ascending order of the keys.
    pub keys: Vec<Key>,
    /// The columns of the rows that come out, the hidden ones last.
    pub outputs: Vec<Output>,
    /// Whether sums of floating-point numbers may differ in their last digits.
    pub float_sums: FloatSums,
}

/// What becomes of SUM and AVG over floating-point numbers, whose last digits depend on the order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum FloatSums {
    /// They are refused.
    #[default]
    Refuse,
    /// They are added in the order in which rows come.
    Accept,
}

/// One column of a grouped row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its value.
    pub value: Aggregate,
    /// Its name, type and the rest for the client.
    pub definition: OutputDefinition,
}

/// Where an output's column definition comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputDefinition {
    /// The definition of this input column as it is: partial aggregates have the type of the whole, and a
    /// hidden `AVG(x)` has that of AVG.
    Column(usize),
    /// By MySQL's rules from the definition of the aggregate's input, under this name. Proved for everything but:
    /// AVG from a partial SUM of 65 digits and AVG on MariaDB of more than 26 digits after the point (give a hidden
    /// `AVG(x)`), and GROUP_CONCAT over strings that are not utf8mb4 or on MariaDB, whose length is said otherwise.
    Derived(Vec<u8>),
}

/// An aggregate. "Partial" columns hold the shards' own aggregates; other columns hold values of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aggregate {
    /// The value of the group's first row: group keys, ANY_VALUE.
    First(usize),
    /// COUNT(*).
    CountRows,
    /// COUNT(column).
    Count(usize),
    /// COUNT of everything from partial COUNTs.
    CountPartial(usize),
    /// SUM, from values or from partial SUMs.
    Sum(usize),
    /// AVG from values. `increment` is div_precision_increment (4).
    Avg {
        /// The column.
        column: usize,
        /// div_precision_increment.
        increment: u8,
    },
    /// AVG from partial SUMs and partial COUNTs.
    AvgPartial {
        /// The column of SUM.
        sum: usize,
        /// The column of COUNT.
        count: usize,
        /// div_precision_increment.
        increment: u8,
    },
    /// MIN, from values or partial MINs. MIN of ENUM and SET compares them as strings: give a collation.
    Min(Key),
    /// MAX, likewise.
    Max(Key),
    /// BIT_AND, from values or partial ones. Integers only.
    BitAnd(usize),
    /// BIT_OR, likewise.
    BitOr(usize),
    /// BIT_XOR, likewise.
    BitXor(usize),
    /// COUNT(DISTINCT a, b, …), from values.
    CountDistinct(Vec<Key>),
    /// SUM(DISTINCT column), from values.
    SumDistinct(Key),
    /// AVG(DISTINCT column), from values.
    AvgDistinct {
        /// The column.
        key: Key,
        /// div_precision_increment.
        increment: u8,
    },
    /// GROUP_CONCAT, from values.
    GroupConcat(GroupConcat),
    /// STD, STDDEV, VARIANCE and their kin: always refused, see [`Refusal::Variance`](crate::Refusal::Variance).
    Variance(usize),
}

/// GROUP_CONCAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConcat {
    /// What is put together: strings, DECIMAL and integers, in the text protocol everything.
    pub columns: Vec<usize>,
    /// DISTINCT, by these keys; empty without.
    pub distinct: Vec<Key>,
    /// ORDER BY.
    pub order: Vec<Key>,
    /// SEPARATOR.
    pub separator: Vec<u8>,
    /// group_concat_max_len.
    pub bytes_max: u64,
}
