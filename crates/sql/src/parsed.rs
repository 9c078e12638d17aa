//! What the tree of a statement says: tables, whether it only reads, and on what its answer depends.
//!
//! Owns these decisions and their reasons. Must never call a statement read-only that is not proved to be: the list of what
//! is allowed is closed, and an unknown function is a stored one. Its input is a tree of `parser` and the text it came from.
//! Every question is answered by one pass over the arena, not by descending into it.

mod clauses;
mod local;
mod predicate;
mod proof;
mod shape;
mod tables;

pub use clauses::{lacks_limit, lacks_where, takes_every_column};
pub use predicate::{Operand, Predicate, column, operand, predicate, row};
pub use proof::{NotReadOnly, ReadOnly};
pub use shape::QueryShape;
pub use tables::{Access, TableUse};

use crate::ast::{Ast, Body, ExplainedBody, Id, Query};
use crate::dialect::Dialect;
use crate::facts::Facts;
use crate::parser::StatementKind;

/// What is known of a parsed statement. One value can be filled again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedFacts {
    /// Which statement.
    pub kind: StatementKind,
    /// Every table that is named, in queries and outside. Names of common table expressions are not among them.
    pub tables: Vec<TableUse>,
    /// Whether `tables` has all of them: not where a routine, a stored body or dynamic SQL runs.
    pub tables_known: bool,
    /// Whether it is proved to change nothing.
    pub read_only: ReadOnly,
    /// What of the session its answer depends on: the `READS_…` facts, and USER_VARIABLE.
    pub session: Facts,
    /// Its answer differs from server to server: system schemas, `@@global` and server variables, replication functions.
    pub server_local: bool,
    /// It commits the open transaction.
    pub implicit_commit: bool,
    /// Number of `?`.
    pub parameters: u32,
    /// Clauses of the outermost query.
    pub shape: Option<QueryShape>,
}

impl ParsedFacts {
    /// The facts of the statement in `ast`, which was parsed from `sql`.
    pub fn of(ast: &Ast, sql: &[u8], dialect: &Dialect) -> Self {
        let mut facts = Self::default();
        facts.fill(ast, sql, dialect);
        facts
    }

    /// As [`ParsedFacts::of`], with the memory of the statement before.
    pub fn fill(&mut self, ast: &Ast, sql: &[u8], dialect: &Dialect) {
        let parsed = ast.statement();
        self.kind = parsed.kind;
        self.parameters = parsed.parameters;
        tables::collect(ast, sql, dialect, &mut self.tables);
        self.tables_known = tables_known(ast, sql);
        self.session = local::session(ast, sql, dialect);
        self.server_local = local::server(ast, sql, dialect, &self.tables);
        self.read_only = proof::read_only(ast, sql);
        self.implicit_commit = implicit_commit(ast, sql, dialect);
        self.shape = main_query(ast).and_then(|query| shape::of(ast, query));
    }
}

/// The outermost query: of a SELECT, or of an EXPLAIN of one.
pub fn main_query(ast: &Ast) -> Option<Id<Query>> {
    match ast.statement().body {
        Body::Query(query)
        | Body::Explain {
            body: ExplainedBody::Query(query),
            ..
        } => Some(query),
        _ => None,
    }
}

/// Not where text runs that is not in the tree.
fn tables_known(ast: &Ast, sql: &[u8]) -> bool {
    use crate::ast::{Call, CallKind};
    use StatementKind as Kind;
    let hidden = matches!(
        ast.statement().kind,
        Kind::Call
            | Kind::Execute
            | Kind::Prepare
            | Kind::Compound
            | Kind::CreateRoutine
            | Kind::CreateTrigger
            | Kind::CreateEvent
            | Kind::AlterEvent
            | Kind::DropTrigger
            | Kind::Handler
            | Kind::ImportTable
            | Kind::UserAdmin
            | Kind::CreateOther
            | Kind::AlterOther
    );
    // NEXTVAL(s) names a sequence in its argument.
    let calls_unknown =
        |call: &Call| call.kind == CallKind::Unknown || proof::is_sequence(call, sql);
    let unread_view =
        ast.statement().kind == Kind::CreateView && ast.statement().body == Body::Recognised;
    !hidden && !unread_view && !ast.all::<Call>().iter().any(calls_unknown)
}

/// Whether the server commits before the statement. Tier 1 knows; queries and changes of rows need not ask it.
fn implicit_commit(ast: &Ast, sql: &[u8], dialect: &Dialect) -> bool {
    use StatementKind as Kind;
    let parsed = ast.statement();
    match parsed.kind {
        Kind::Select
        | Kind::Table
        | Kind::Values
        | Kind::Insert
        | Kind::Replace
        | Kind::Update
        | Kind::Delete
        | Kind::Explain => false,
        _ => crate::analyze(parsed.span.of(sql), dialect)
            .facts
            .has(Facts::IMPLICIT_COMMIT),
    }
}
