//! Whether a statement is proved to change nothing.
//!
//! Owns the closed decision. A statement is read-only when it is SELECT, TABLE, VALUES, or WITH … SELECT, without INTO,
//! locking clause, `:=` and SQL_CALC_FOUND_ROWS, and calls only built-in functions that leave no state: not GET_LOCK and
//! its like, LAST_INSERT_ID(x), NEXTVAL and SETVAL. SHOW, DESCRIBE, HELP and EXPLAIN that does not run are too. SLEEP,
//! BENCHMARK, RAND and UUID change nothing. A function of a schema, or one that is not known, may be stored: not proved.
//! The proof is about the text: a view may call a stored function that writes, and only the server knows which names are
//! views.

use crate::ast::{Ast, Body, Call, CallKind, Expr, ExprKind, Into, Locking, Select};
use crate::parser::StatementKind;

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadOnly {
    /// It changes neither rows, definitions nor the session.
    Proved,
    /// It does, or may.
    No(NotReadOnly),
}

impl Default for ReadOnly {
    fn default() -> Self {
        Self::No(NotReadOnly::Kind)
    }
}

/// Why a statement is not proved to be read-only: the first reason found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotReadOnly {
    /// A statement of this kind is none.
    Kind,
    /// `INTO`.
    Into,
    /// `FOR UPDATE` and its like.
    Locking,
    /// `:=`.
    Assignment,
    /// `SQL_CALC_FOUND_ROWS` leaves a number for FOUND_ROWS().
    CalcFoundRows,
    /// A function that is not built in.
    UnknownFunction,
    /// GET_LOCK, RELEASE_LOCK, RELEASE_ALL_LOCKS.
    AdvisoryLock,
    /// LAST_INSERT_ID(x).
    SetsLastInsertId,
    /// NEXTVAL, SETVAL, LASTVAL, NEXT VALUE FOR.
    Sequence,
    /// EXPLAIN that runs the statement.
    Runs,
}

pub(super) fn read_only(ast: &Ast, sql: &[u8]) -> ReadOnly {
    match reason(ast, sql) {
        Some(reason) => ReadOnly::No(reason),
        None => ReadOnly::Proved,
    }
}

fn reason(ast: &Ast, sql: &[u8]) -> Option<NotReadOnly> {
    use StatementKind as Kind;
    let parsed = ast.statement();
    match (parsed.kind, parsed.body) {
        (Kind::Select | Kind::Table | Kind::Values, Body::Query(_)) => query_reason(ast, sql),
        (Kind::Explain, Body::Explain { runs, kind, .. }) => match runs {
            true if matches!(kind, Kind::Select | Kind::Table | Kind::Values) => {
                query_reason(ast, sql)
            }
            true => Some(NotReadOnly::Runs),
            false if !ast.all::<Into>().is_empty() => Some(NotReadOnly::Into),
            // MySQL runs derived tables when it explains; their functions count.
            false => function_reason(ast, sql),
        },
        (Kind::Show | Kind::Explain | Kind::Describe | Kind::Help | Kind::Empty, _) => {
            function_reason(ast, sql)
        }
        _ => Some(NotReadOnly::Kind),
    }
}

fn query_reason(ast: &Ast, sql: &[u8]) -> Option<NotReadOnly> {
    if !ast.all::<Into>().is_empty() {
        return Some(NotReadOnly::Into);
    }
    if !ast.all::<Locking>().is_empty() {
        return Some(NotReadOnly::Locking);
    }
    if ast.all::<Select>().iter().any(|s| s.calc_found_rows) {
        return Some(NotReadOnly::CalcFoundRows);
    }
    function_reason(ast, sql)
}

fn function_reason(ast: &Ast, sql: &[u8]) -> Option<NotReadOnly> {
    let assigns = |expr: &Expr| matches!(expr.kind, ExprKind::Assign { .. });
    if ast.all::<Expr>().iter().any(assigns) {
        return Some(NotReadOnly::Assignment);
    }
    ast.all::<Call>()
        .iter()
        .find_map(|call| call_reason(call, sql))
}

/// NEXTVAL, SETVAL, LASTVAL.
pub(super) fn is_sequence(call: &Call, sql: &[u8]) -> bool {
    let name = call.name.name.of(sql);
    ["nextval", "setval", "lastval"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn call_reason(call: &Call, sql: &[u8]) -> Option<NotReadOnly> {
    match call.kind {
        CallKind::Unknown => return Some(NotReadOnly::UnknownFunction),
        CallKind::Sequence => return Some(NotReadOnly::Sequence),
        _ => {}
    }
    let name = call.name.name.of(sql);
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
    };
    if is(&["get_lock", "release_lock", "release_all_locks"]) {
        Some(NotReadOnly::AdvisoryLock)
    } else if is(&["last_insert_id"]) && !call.arguments.is_empty() {
        Some(NotReadOnly::SetsLastInsertId)
    } else if is_sequence(call, sql) {
        Some(NotReadOnly::Sequence)
    } else {
        None
    }
}
