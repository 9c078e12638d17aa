//! Query expressions: SELECT, TABLE, VALUES, their clauses, and tables in FROM.
//!
//! Owns their forms. Must never merge a clause into its neighbour: each that a rewriter may replace has a span with its
//! keywords.

use super::{ExprId, Id, List, Name, Row, TableName, Window};
use crate::lexer::Span;

/// A clause that is one expression: WHERE, HAVING, QUALIFY, with its keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    /// Keyword and expression.
    pub span: Span,
    /// The expression.
    pub expr: ExprId,
}

/// A query expression: a body with what may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Its text, without parentheses around it.
    pub span: Span,
    /// `WITH …`.
    pub with: Option<With>,
    /// What gives the rows.
    pub body: QueryBody,
    /// `ORDER BY`.
    pub order_by: List<OrderItem>,
    /// The text of ORDER BY; empty where there is none.
    pub order_by_span: Span,
    /// `LIMIT`, MariaDB's `FETCH FIRST`.
    pub limit: Option<Limit>,
    /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`.
    pub locking: List<Locking>,
    /// `INTO`, wherever it stands.
    pub into: Option<Id<Into>>,
}

/// What gives a query its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryBody {
    /// `SELECT`.
    Select(Id<Select>),
    /// `TABLE t`.
    Table(Id<TableName>),
    /// `VALUES ROW(…), …`; MariaDB's `VALUES (…), …`.
    Values(List<Row>),
    /// `UNION` and its like. A chain of them grows to the left without limit: follow `left` in a loop.
    Set {
        /// Which.
        op: SetOp,
        /// Whether ALL was said.
        all: bool,
        /// Left.
        left: Id<Query>,
        /// Right.
        right: Id<Query>,
    },
    /// `(…)`.
    Parenthesised(Id<Query>),
}

/// Set operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// `UNION`.
    Union,
    /// `INTERSECT`, which binds closer.
    Intersect,
    /// `EXCEPT`, MariaDB's `MINUS` in Oracle mode.
    Except,
}

/// `WITH [RECURSIVE] a AS (…), …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct With {
    /// Its text.
    pub span: Span,
    /// Whether RECURSIVE was said.
    pub recursive: bool,
    /// The common table expressions.
    pub tables: List<CommonTable>,
}

/// A common table expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonTable {
    /// Its text.
    pub span: Span,
    /// Its name.
    pub name: Span,
    /// The columns' names.
    pub columns: List<Name>,
    /// Its query.
    pub query: Id<Query>,
}

/// DISTINCT or ALL of a SELECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distinct {
    /// `ALL`, or nothing.
    All,
    /// `DISTINCT`, `DISTINCTROW`, MariaDB's `UNIQUE`.
    Distinct,
}

/// A query block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Select {
    /// Its text.
    pub span: Span,
    /// Its number among the blocks of the statement, from 1.
    pub block: u32,
    /// Whether duplicates are removed.
    pub distinct: Distinct,
    /// The options between SELECT and the list.
    pub options: Span,
    /// Whether `SQL_CALC_FOUND_ROWS` was said.
    pub calc_found_rows: bool,
    /// Whether `STRAIGHT_JOIN` was said.
    pub straight_join: bool,
    /// The select list.
    pub items: List<SelectItem>,
    /// The text of the select list.
    pub items_span: Span,
    /// `FROM`.
    pub from: Option<From>,
    /// `WHERE`.
    pub selection: Option<Clause>,
    /// `GROUP BY`.
    pub group_by: Option<GroupBy>,
    /// `HAVING`.
    pub having: Option<Clause>,
    /// `WINDOW`.
    pub windows: List<Window>,
    /// `QUALIFY`.
    pub qualify: Option<Clause>,
}

/// An element of the select list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectItem {
    /// Its text with the alias.
    pub span: Span,
    /// What it is.
    pub kind: SelectItemKind,
    /// Its alias, quotes included.
    pub alias: Option<Span>,
}

/// What an element of the select list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectItemKind {
    /// `*`.
    Star,
    /// `t.*`, `db.t.*`: the table.
    TableStar(Name),
    /// An expression.
    Expr(ExprId),
}

/// `FROM a, b JOIN c …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From {
    /// The keyword and the tables.
    pub span: Span,
    /// The tables and joins; none for `DUAL`.
    pub tables: List<Id<TableRef>>,
}

/// `GROUP BY a, b WITH ROLLUP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// Its text.
    pub span: Span,
    /// The expressions; MariaDB lets them have a direction.
    pub items: List<OrderItem>,
    /// Whether `WITH ROLLUP` or `ROLLUP (…)` was said.
    pub rollup: bool,
}

/// An element of ORDER BY and GROUP BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderItem {
    /// Its text with the direction.
    pub span: Span,
    /// What is sorted by.
    pub expr: ExprId,
    /// Whether DESC was said.
    pub descending: bool,
}

/// `LIMIT`: literals, parameters, or variables of a routine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Its text.
    pub span: Span,
    /// How many rows; none for MariaDB's `OFFSET n ROWS` alone.
    pub count: Option<ExprId>,
    /// How many rows to skip.
    pub offset: Option<ExprId>,
    /// MariaDB's `WITH TIES`.
    pub with_ties: bool,
}

/// A locking clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locking {
    /// Its text.
    pub span: Span,
    /// How rows are locked.
    pub strength: LockStrength,
    /// After OF.
    pub tables: List<Name>,
    /// What becomes of rows that others have locked.
    pub wait: LockWait,
}

/// How rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockStrength {
    /// `FOR UPDATE`.
    Update,
    /// `FOR SHARE`, `LOCK IN SHARE MODE`.
    Share,
}

/// What becomes of rows that others have locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockWait {
    /// The statement waits; MariaDB may say for how long.
    Wait,
    /// `NOWAIT`.
    NoWait,
    /// `SKIP LOCKED`.
    SkipLocked,
}

/// `INTO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Into {
    /// Its text.
    pub span: Span,
    /// To where.
    pub kind: IntoKind,
}

/// Where the rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntoKind {
    /// `INTO OUTFILE 'f' …`: the file's name.
    Outfile(Span),
    /// `INTO DUMPFILE 'f'`.
    Dumpfile(Span),
    /// `INTO @x, y`.
    Variables(List<ExprId>),
}

/// A table or join in FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRef {
    /// Its text with alias and hints.
    pub span: Span,
    /// What it is.
    pub kind: TableRefKind,
    /// Its alias.
    pub alias: Option<Span>,
    /// Names of its columns after the alias.
    pub columns: List<Name>,
}

/// What a table reference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRefKind {
    /// A table by name.
    Table {
        /// Its name.
        table: Id<TableName>,
        /// `PARTITION (p0, p1)`.
        partitions: List<Name>,
        /// MariaDB: `FOR SYSTEM_TIME …`.
        history: Option<Span>,
        /// Where an alias stands, or would.
        alias_at: usize,
        /// `USE INDEX` and its like.
        hints: List<IndexHint>,
    },
    /// A sub-query.
    Derived {
        /// The query.
        query: Id<Query>,
        /// Whether LATERAL was said.
        lateral: bool,
    },
    /// `JSON_TABLE(doc, path COLUMNS (…))`.
    JsonTable {
        /// The document.
        document: ExprId,
        /// The text of the path.
        path: Span,
        /// The columns.
        json_columns: List<JsonColumn>,
    },
    /// A join. A chain of them grows to the left without limit: follow [`Join::left`] in a loop.
    Join(Id<Join>),
    /// `(a, b)`, `{OJ a JOIN b}`.
    Parenthesised(List<Id<TableRef>>),
}

/// `left JOIN right ON …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// Which join.
    pub kind: JoinKind,
    /// Left.
    pub left: Id<TableRef>,
    /// Right.
    pub right: Id<TableRef>,
    /// `ON`.
    pub on: Option<ExprId>,
    /// `USING (a, b)`.
    pub using: List<Name>,
}

/// Kinds of joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// `JOIN`, `INNER JOIN`, `CROSS JOIN`.
    Inner,
    /// `STRAIGHT_JOIN`.
    Straight,
    /// `LEFT JOIN`.
    Left,
    /// `RIGHT JOIN`.
    Right,
    /// `FULL JOIN`.
    Full,
    /// `NATURAL JOIN`.
    Natural,
    /// `NATURAL LEFT JOIN`.
    NaturalLeft,
    /// `NATURAL RIGHT JOIN`.
    NaturalRight,
}

/// `USE INDEX (…)` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexHint {
    /// Its text.
    pub span: Span,
    /// Which.
    pub kind: IndexHintKind,
    /// The indexes; none for `USE INDEX ()`.
    pub indexes: List<Name>,
}

/// Kinds of index hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexHintKind {
    /// `USE`.
    Use,
    /// `FORCE`.
    Force,
    /// `IGNORE`.
    Ignore,
}

/// A column of JSON_TABLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonColumn {
    /// Its text.
    pub span: Span,
    /// Its name; empty for NESTED.
    pub name: Span,
    /// What it is.
    pub kind: JsonColumnKind,
}

/// What a column of JSON_TABLE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonColumnKind {
    /// `FOR ORDINALITY`.
    Ordinality,
    /// A value of a path.
    Path,
    /// `EXISTS PATH`.
    Exists,
    /// `NESTED PATH … COLUMNS (…)`.
    Nested(List<JsonColumn>),
}
