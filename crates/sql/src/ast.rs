//! The tree of one parsed statement: an arena whose nodes are numbers and whose names are spans.
//!
//! Owns the shape of the tree and the storage that the next parse uses again. Must never copy text of the statement nor
//! judge what the statement does: that is `parsed`'s. Every node says which bytes of the text it stands for, so that a
//! rewriter can splice. It is filled by `parser`; nodes are stored children first, a list lies in one piece.

mod arena;
mod ddl;
mod dml;
mod expr;
mod query;

pub(crate) use arena::Arena;
pub use arena::{ExprId, Id, List, Stored};
pub use ddl::{
    ColumnDefinition, CreateTable, DdlFlags, KeyDefinition, KeyKind, MentionRole, TableMention,
};
pub use dml::{
    Assignment, Delete, DuplicateKey, Insert, InsertSource, LoadData, Modifiers, Row, Update,
};
pub use expr::{
    BinaryOp, Call, CallKind, CaseArm, Expr, ExprKind, FrameBound, FrameUnits, LiteralKind,
    Quantifier, TemporalKind, UnaryOp, VariableScope, Window, WindowFrame,
};
pub use query::{
    Clause, CommonTable, Distinct, From, GroupBy, IndexHint, IndexHintKind, Into, IntoKind, Join,
    JoinKind, JsonColumn, JsonColumnKind, Limit, LockStrength, LockWait, Locking, OrderItem, Query,
    QueryBody, Select, SelectItem, SelectItemKind, SetOp, TableRef, TableRefKind, With,
};

use crate::dialect::Dialect;
use crate::lexer::{Span, TokenKind};
use crate::literal;
use crate::parser::StatementKind;

/// A name as written: up to three parts with dots between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Name {
    /// All parts.
    pub span: Span,
    /// The last part.
    pub name: Span,
    /// The part before it: a column's table, a table's schema.
    pub qualifier: Option<Span>,
    /// The part before that: the schema of a column's table.
    pub schema: Option<Span>,
}

impl Name {
    /// A name of one part.
    pub fn simple(span: Span) -> Self {
        Self {
            span,
            name: span,
            qualifier: None,
            schema: None,
        }
    }
}

/// A table's name where it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableName {
    /// Schema and name; the span to splice at.
    pub name: Name,
    /// It means the common table expression whose name is defined there, and no table.
    pub common_table: Option<Span>,
}

/// An optimizer hint comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// From `/*+` to `*/`.
    pub span: Span,
}

/// The parts of a statement, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// SELECT, TABLE, VALUES and what WITH, parentheses and set operations make of them.
    Query(Id<Query>),
    /// INSERT and REPLACE.
    Insert(Id<Insert>),
    /// UPDATE.
    Update(Id<Update>),
    /// DELETE.
    Delete(Id<Delete>),
    /// LOAD DATA and LOAD XML.
    LoadData(Id<LoadData>),
    /// CREATE TABLE.
    CreateTable(Id<CreateTable>),
    /// CREATE VIEW, ALTER VIEW: the stored query.
    View(Id<Query>),
    /// EXPLAIN and DESCRIBE of a statement, whose own body and kind are here.
    Explain {
        /// Kind of the statement that is explained.
        kind: StatementKind,
        /// Its parts.
        body: ExplainedBody,
        /// Its text.
        span: Span,
        /// `ANALYZE`: it also runs.
        runs: bool,
    },
    /// DO, CALL and SET of expressions, and the WHERE of a SHOW: its expressions.
    Expressions(List<ExprId>),
    /// Nothing but the kind, and the tables in [`Ast::mentions`].
    #[default]
    Recognised,
}

/// What EXPLAIN may explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainedBody {
    /// A query.
    Query(Id<Query>),
    /// INSERT and REPLACE.
    Insert(Id<Insert>),
    /// UPDATE.
    Update(Id<Update>),
    /// DELETE.
    Delete(Id<Delete>),
}

/// What was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parsed {
    /// Which statement.
    pub kind: StatementKind,
    /// Its text, from the first token to the last.
    pub span: Span,
    /// Its parts.
    pub body: Body,
    /// IF EXISTS, IF NOT EXISTS, OR REPLACE, TEMPORARY.
    pub flags: DdlFlags,
    /// Number of `?`.
    pub parameters: u32,
    /// Offset after the statement and its `;`: where the next one starts.
    pub next_offset: usize,
}

macro_rules! arenas {
    ($($(#[$doc:meta])* $field:ident: $node:ty,)*) => {
        /// The arena. One value serves many statements, one after the other; what it has allocated stays.
        #[derive(Debug, Default)]
        pub struct Ast {
            pub(crate) parsed: Parsed,
            $($(#[$doc])* pub(crate) $field: Arena<$node>,)*
        }

        $(impl Stored for $node {
            fn arena(ast: &Ast) -> &Arena<Self> {
                &ast.$field
            }
            fn arena_mut(ast: &mut Ast) -> &mut Arena<Self> {
                &mut ast.$field
            }
        })*

        impl Ast {
            /// Forgets the statement; keeps the memory, unless one large statement made it unreasonably much.
            pub fn clear(&mut self) {
                self.parsed = Parsed::default();
                $(self.$field.clear();)*
            }
        }
    };
}

arenas! {
    exprs: Expr,
    expr_ids: ExprId,
    names: Name,
    columns: ColumnName,
    calls: Call,
    case_arms: CaseArm,
    windows: Window,
    queries: Query,
    selects: Select,
    select_items: SelectItem,
    order_items: OrderItem,
    common_tables: CommonTable,
    tables: TableRef,
    table_ids: Id<TableRef>,
    joins: Join,
    index_hints: IndexHint,
    json_columns: JsonColumn,
    lockings: Locking,
    intos: Into,
    rows: Row,
    assignments: Assignment,
    inserts: Insert,
    updates: Update,
    deletes: Delete,
    loads: LoadData,
    create_tables: CreateTable,
    column_definitions: ColumnDefinition,
    key_definitions: KeyDefinition,
    table_names: TableName,
    mention_list: TableMention,
    hints: Hint,
}

/// A column as an expression, with the query block it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnName {
    /// The name.
    pub name: Name,
    /// The query block it stands in: [`Select::block`], 0 outside of all.
    pub block: u32,
}

impl Ast {
    /// An empty arena.
    pub fn new() -> Self {
        Self::default()
    }

    /// The statement parsed last.
    pub fn statement(&self) -> &Parsed {
        &self.parsed
    }

    /// The node of that number; none for a number of another statement's arena.
    pub fn node<T: Stored>(&self, id: Id<T>) -> Option<&T> {
        T::arena(self).node(id)
    }

    /// The elements of a list, in the order of the text.
    pub fn list<T: Stored>(&self, list: List<T>) -> &[T] {
        T::arena(self).list(list)
    }

    /// All nodes of a type in the statement, children before parents.
    pub fn all<T: Stored>(&self) -> &[T] {
        T::arena(self).all()
    }

    /// The expression of that number.
    pub fn expr(&self, id: ExprId) -> Option<&Expr> {
        self.node(id.0)
    }

    /// The tables that statements other than queries and DML name: DDL, SHOW, LOCK TABLES, maintenance….
    pub fn mentions(&self) -> &[TableMention] {
        self.mention_list.all()
    }

    /// The text of a name's part without quotes; borrowed unless quotes are doubled inside.
    pub fn unquoted<'a>(
        sql: &'a [u8],
        part: Span,
        dialect: &Dialect,
    ) -> std::borrow::Cow<'a, [u8]> {
        unquoted(part.of(sql), dialect)
    }
}

/// A name without its quotes: backquotes, double quotes, or the single quotes of an alias.
pub(crate) fn unquoted<'a>(text: &'a [u8], dialect: &Dialect) -> std::borrow::Cow<'a, [u8]> {
    use std::borrow::Cow;
    match text {
        [quote @ (b'`' | b'"' | b'\''), inner @ .., last] if last == quote => {
            let plain = !inner.contains(quote) && (*quote == b'`' || !inner.contains(&b'\\'));
            if plain {
                return Cow::Borrowed(inner);
            }
            match crate::lexer::Lexer::new(text, dialect).next() {
                Some(token) if token.kind == TokenKind::String => {
                    Cow::Owned(literal::decode(text, dialect).unwrap_or_default())
                }
                _ => Cow::Owned(literal::unquote_name(text)),
            }
        }
        _ => Cow::Borrowed(text),
    }
}
