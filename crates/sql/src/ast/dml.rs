//! INSERT, REPLACE, UPDATE, DELETE, LOAD DATA.
//!
//! Owns their forms. Must never flatten a VALUES list: each row and each value keeps its span, for partitioning by key.

use super::{
    Clause, ExprId, Id, Limit, List, Name, OrderItem, Query, SelectItem, TableName, TableRef, With,
};
use crate::lexer::Span;

/// Words between the verb and its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modifiers {
    /// `LOW_PRIORITY`.
    pub low_priority: bool,
    /// `HIGH_PRIORITY`.
    pub high_priority: bool,
    /// `DELAYED`.
    pub delayed: bool,
    /// `QUICK`.
    pub quick: bool,
    /// `IGNORE`.
    pub ignore: bool,
}

/// `(a, b)` of a VALUES list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// With its parentheses, and `ROW` where written.
    pub span: Span,
    /// The values.
    pub values: List<ExprId>,
}

/// `column = value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// Its text.
    pub span: Span,
    /// The column.
    pub column: Name,
    /// The value, maybe [`super::ExprKind::Default`].
    pub value: ExprId,
}

/// INSERT or REPLACE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insert {
    /// Words after the verb.
    pub modifiers: Modifiers,
    /// The table.
    pub table: Id<TableName>,
    /// `PARTITION (…)`.
    pub partitions: List<Name>,
    /// The columns; none where not said.
    pub columns: List<Name>,
    /// The column list with its parentheses; empty at the place for one where not said.
    pub columns_span: Span,
    /// What is inserted.
    pub source: InsertSource,
    /// `AS new(m, n)`.
    pub row_alias: Option<Span>,
    /// Column aliases of the row alias.
    pub row_columns: List<Name>,
    /// `ON DUPLICATE KEY UPDATE`.
    pub on_duplicate: Option<DuplicateKey>,
    /// MariaDB's `RETURNING`.
    pub returning: List<SelectItem>,
}

/// What is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertSource {
    /// `VALUES (…), (…)`; `rows` is the text after the keyword.
    Values {
        /// The rows.
        rows: List<Row>,
        /// From the first row to the last.
        span: Span,
    },
    /// `SET a = 1`.
    Set(List<Assignment>),
    /// A query.
    Query(Id<Query>),
}

/// `ON DUPLICATE KEY UPDATE …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateKey {
    /// Its text.
    pub span: Span,
    /// What is set.
    pub assignments: List<Assignment>,
}

/// UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// `WITH …`.
    pub with: Option<With>,
    /// Words after the verb.
    pub modifiers: Modifiers,
    /// The tables and joins.
    pub tables: List<Id<TableRef>>,
    /// `SET`.
    pub assignments: List<Assignment>,
    /// The text of the assignments.
    pub assignments_span: Span,
    /// `WHERE`.
    pub selection: Option<Clause>,
    /// `ORDER BY`.
    pub order_by: List<OrderItem>,
    /// `LIMIT`.
    pub limit: Option<Limit>,
    /// `RETURNING`.
    pub returning: List<SelectItem>,
}

/// DELETE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delete {
    /// `WITH …`.
    pub with: Option<With>,
    /// Words after the verb.
    pub modifiers: Modifiers,
    /// The tables that lose rows, in `DELETE a, b FROM …` and `DELETE FROM a, b USING …`; none in the form with one table.
    pub targets: List<Name>,
    /// The tables and joins.
    pub tables: List<Id<TableRef>>,
    /// `WHERE`.
    pub selection: Option<Clause>,
    /// `ORDER BY`.
    pub order_by: List<OrderItem>,
    /// `LIMIT`.
    pub limit: Option<Limit>,
    /// MariaDB's `RETURNING`.
    pub returning: List<SelectItem>,
}

/// LOAD DATA, LOAD XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadData {
    /// The file's name.
    pub file: Span,
    /// `LOCAL`: the client sends the file.
    pub local: bool,
    /// The table.
    pub table: Id<TableName>,
    /// `SET a = 1`.
    pub assignments: List<Assignment>,
}
