//! What a statement leaves for the functions that ask about it: row counts, warnings, the last insert id.
//!
//! Owns the decision what is known here, and what only the connection knows. It must never claim to know what servers
//! disagree on. Input: the statement and the outcome of its answer.

use dbmesh_sql::{Dialect, Effect, Facts, Lexer, Statement, TokenKind, Verb};
use dbmesh_wire::relay::Outcome;

use crate::backend::Flavor;
use crate::pins::PinReason;
use crate::state::{FoundRows, LastId, SessionState, Warnings};

/// Takes in what ROW_COUNT(), FOUND_ROWS() and SHOW WARNINGS say from now on.
pub(super) fn diagnostics(
    state: &mut SessionState,
    statement: &Statement,
    outcome: &Outcome,
    sql: &[u8],
    flavor: Flavor,
) {
    let keeps = statement.statements <= 1
        && statement.effects.iter().any(|e| {
            matches!(
                e,
                Effect::ShowWarnings { .. }
                    | Effect::ShowCountWarnings { .. }
                    | Effect::GetDiagnostics
            )
        });
    let d = &mut state.diagnostics;
    d.row_count_only_here = false;
    if outcome.error.is_some() {
        d.row_count = -1;
        d.warnings = Warnings::OnConnection;
        d.warning_count = 0;
        return;
    }
    d.row_count = if outcome.ended_in_rows {
        -1
    } else {
        i64::try_from(outcome.affected_rows).unwrap_or(i64::MAX)
    };
    d.found_rows = found_rows(d.found_rows, statement, outcome, sql);
    let keeps = keeps
        || (outcome.warnings == 0 && flavor == Flavor::MariaDb && leaves_warnings(statement, sql));
    if !keeps {
        d.warnings = if outcome.warnings > 0 {
            Warnings::OnConnection
        } else {
            Warnings::None
        };
        d.warning_count = u64::from(outcome.warnings);
    }
}

/// Statements that use no table leave the warnings of the one before on MariaDB.
fn leaves_warnings(statement: &Statement, sql: &[u8]) -> bool {
    match statement.verb {
        Verb::Set
        | Verb::SetTransaction
        | Verb::Use
        | Verb::Do
        | Verb::Begin
        | Verb::Commit
        | Verb::Rollback
        | Verb::Prepare => true,
        Verb::Select => !names_table(sql),
        _ => false,
    }
}

/// Whether a FROM names a table: not DUAL, nor the FROM of a function such as `TRIM(LEADING 'x' FROM s)`.
fn names_table(sql: &[u8]) -> bool {
    const FUNCTIONS: [&[u8]; 4] = [b"EXTRACT", b"TRIM", b"SUBSTRING", b"SUBSTR"];
    let is = |word: &[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
    let mut opened = Vec::new();
    let mut last: &[u8] = b"";
    let mut tokens = Lexer::new(sql, &Dialect::default());
    while let Some(token) = tokens.next() {
        let text = token.span.of(sql);
        match token.kind {
            TokenKind::Open => opened.push(FUNCTIONS.iter().any(|name| is(last, name))),
            TokenKind::Close => {
                opened.pop();
            }
            TokenKind::Word if is(text, b"FROM") && opened.last() != Some(&true) => {
                let next = tokens.next();
                if !next.is_some_and(|t| is(t.span.of(sql), b"DUAL")) {
                    return true;
                }
            }
            _ => {}
        }
        last = text;
    }
    false
}

/// FOUND_ROWS() after a statement, as far as both servers agree on it (measured on MySQL 9.7 and MariaDB 10.11).
fn found_rows(
    before: FoundRows,
    statement: &Statement,
    outcome: &Outcome,
    sql: &[u8],
) -> FoundRows {
    let facts = statement.facts;
    if facts.has(Facts::CALC_FOUND_ROWS) {
        return FoundRows::OnConnection;
    }
    if statement.statements > 1
        || facts.has_any(Facts::CALLS_ROUTINE | Facts::DYNAMIC_SQL | Facts::COMPOUND)
    {
        return FoundRows::Unknown;
    }
    match (statement.verb, outcome.ended_in_rows) {
        (Verb::Select, true) if skips_rows(sql) => FoundRows::Unknown,
        (Verb::Select | Verb::Show, true) => FoundRows::Known(outcome.rows),
        (
            Verb::Set
            | Verb::Use
            | Verb::Begin
            | Verb::Commit
            | Verb::Rollback
            | Verb::Create
            | Verb::LockTables
            | Verb::UnlockTables,
            false,
        ) => before,
        _ => FoundRows::Unknown,
    }
}

/// Whether an OFFSET may stand in a text: the rows it skips count for FOUND_ROWS().
fn skips_rows(sql: &[u8]) -> bool {
    let Some(limit) = sql
        .windows(5)
        .rposition(|w| w.eq_ignore_ascii_case(b"limit"))
    else {
        return false;
    };
    let behind = sql.get(limit..).unwrap_or_default();
    behind.contains(&b',') || sql.windows(6).any(|w| w.eq_ignore_ascii_case(b"offset"))
}

/// Takes in what LAST_INSERT_ID() says from now on.
pub(super) fn insert_id(
    state: &mut SessionState,
    statement: &Statement,
    outcome: &Outcome,
    sql: &[u8],
) {
    if outcome.last_insert_id == 0 {
        let elsewhere = Facts::CALLS_ROUTINE
            | Facts::DYNAMIC_SQL
            | Facts::COMPOUND
            | Facts::SETS_LAST_INSERT_ID;
        if statement.facts.has_any(elsewhere) {
            state.last_insert_id = LastId::OnConnection;
        }
        return;
    }
    state.pins.remove(PinReason::LastInsertId);
    let given = statement.statements <= 1 && generated(statement, sql, outcome.last_insert_id);
    state.last_insert_id = if given {
        LastId::Known(outcome.last_insert_id)
    } else {
        LastId::OnConnection
    };
}

/// Whether a reported id was surely generated by the server. A server also reports an id that the statement itself
/// gives for the AUTO_INCREMENT column, and then LAST_INSERT_ID() stays what it was. Only a text of plain literals in
/// which the number does not occur proves that it was generated.
fn generated(statement: &Statement, sql: &[u8], id: u64) -> bool {
    if statement.facts.has(Facts::SETS_LAST_INSERT_ID) && statement.verb == Verb::Update {
        return true;
    }
    if sql.is_empty() || statement.verb != Verb::Insert || !has_literal_values_only(sql) {
        return false;
    }
    let digits = id.to_string();
    !sql.windows(digits.len()).any(|w| w == digits.as_bytes())
}

/// Whether behind VALUES there are only literals, NULL and DEFAULT. Read with the default dialect: where another one
/// would see other tokens, the number is still looked for in the whole text.
fn has_literal_values_only(sql: &[u8]) -> bool {
    let mut behind_values = false;
    for token in Lexer::new(sql, &Dialect::default()) {
        let text = token.span.of(sql);
        if !behind_values {
            behind_values = token.kind == TokenKind::Word
                && (text.eq_ignore_ascii_case(b"VALUES") || text.eq_ignore_ascii_case(b"VALUE"));
            continue;
        }
        let plain = match token.kind {
            TokenKind::String => true,
            TokenKind::Number => text.iter().all(u8::is_ascii_digit),
            TokenKind::Word => {
                text.eq_ignore_ascii_case(b"NULL") || text.eq_ignore_ascii_case(b"DEFAULT")
            }
            TokenKind::Open
            | TokenKind::Close
            | TokenKind::Comma
            | TokenKind::Semicolon
            | TokenKind::Comment => true,
            _ => false,
        };
        if !plain {
            return false;
        }
    }
    behind_values
}
