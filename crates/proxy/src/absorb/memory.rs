//! What a statement leaves for the functions that ask about it: row counts, warnings, the last insert id.
//!
//! Owns the decision what is known here, and what only the connection knows. It must never claim to know what servers
//! disagree on. Input: the statement and the outcome of its answer.

use dbmesh_sql::{Dialect, Effect, Facts, Lexer, Statement, TokenKind, Verb};
use dbmesh_wire::relay::Outcome;

use crate::backend::Flavor;
use crate::pins::PinReason;
use crate::state::{Diagnostics, FoundRows, LastId, SessionState, Warnings};

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
    note_found_rows(d, statement, outcome, (sql, flavor));
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

/// What a statement leaves for FOUND_ROWS(), measured on MySQL 9.7 and MariaDB 10.11.
enum Leaves {
    /// The rows of its answer.
    Rows,
    /// What was there before.
    Before,
    /// Something that the connection knows.
    OnConnection,
    /// That, or what was there before.
    Either,
}

fn note_found_rows(
    d: &mut Diagnostics,
    statement: &Statement,
    outcome: &Outcome,
    (sql, flavor): (&[u8], Flavor),
) {
    match leaves(statement, outcome, sql, flavor) {
        Leaves::Rows => {
            d.found_rows = FoundRows::Known(outcome.rows);
            d.found_rows_only_here = false;
        }
        Leaves::Before => {}
        Leaves::OnConnection => {
            // Given back, it is asked only where the client means to.
            d.found_rows = match statement.facts.has(Facts::CALC_FOUND_ROWS) {
                true => FoundRows::OnConnection,
                false => FoundRows::Unknown,
            };
            d.found_rows_only_here = false;
        }
        Leaves::Either => d.found_rows = FoundRows::Unknown,
    }
}

fn leaves(statement: &Statement, outcome: &Outcome, sql: &[u8], flavor: Flavor) -> Leaves {
    let facts = statement.facts;
    let has = |wanted: &[&[u8]]| words(sql).any(|word| is_one_of(word, wanted));
    let queries = || has(&[b"SELECT", b"TABLE", b"VALUES", b"WITH"]);
    if facts.has(Facts::CALC_FOUND_ROWS) {
        return Leaves::OnConnection;
    }
    if statement.statements > 1
        || facts.has_any(Facts::CALLS_ROUTINE | Facts::DYNAMIC_SQL | Facts::COMPOUND)
    {
        // Whatever gave rows is a query.
        return match outcome.rows {
            0 => Leaves::Either,
            _ => Leaves::OnConnection,
        };
    }
    match statement.verb {
        Verb::Select | Verb::Table | Verb::Values => {
            // MariaDB counts what a LIMIT behind a UNION leaves out.
            let sets: [&[u8]; 3] = [b"UNION", b"EXCEPT", b"INTERSECT"];
            let counts_more = || flavor == Flavor::MariaDb && has(&sets);
            match last_limit(sql, flavor) {
                None if outcome.ended_in_rows => Leaves::Rows,
                Some(limit) if outcome.ended_in_rows && !skips_rows(limit) && !counts_more() => {
                    Leaves::Rows
                }
                _ => Leaves::OnConnection,
            }
        }
        Verb::Show => left_by_show(sql),
        Verb::Set | Verb::Create if flavor == Flavor::MariaDb && has(&[b"SELECT"]) => {
            Leaves::OnConnection
        }
        Verb::Insert | Verb::Replace if has(&[b"SELECT", b"TABLE", b"WITH"]) => {
            Leaves::OnConnection
        }
        Verb::Delete if queries() || has(&[b"USING"]) || !is_delete_from(sql) => Leaves::Either,
        Verb::Update | Verb::Do if flavor == Flavor::MySql => Leaves::OnConnection,
        verb if leaves_rows(verb) => Leaves::Before,
        _ => Leaves::Either,
    }
}

/// Statements that evaluate no query.
fn leaves_rows(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Set
            | Verb::SetTransaction
            | Verb::Use
            | Verb::Begin
            | Verb::Commit
            | Verb::Rollback
            | Verb::Savepoint
            | Verb::ReleaseSavepoint
            | Verb::RollbackTo
            | Verb::LockTables
            | Verb::UnlockTables
            | Verb::Flush
            | Verb::Prepare
            | Verb::Deallocate
            | Verb::Kill
            | Verb::Help
            | Verb::Handler
            | Verb::Insert
            | Verb::Replace
            | Verb::Delete
            | Verb::Create
            | Verb::Alter
            | Verb::Drop
            | Verb::Truncate
            | Verb::Rename
            | Verb::UserAdmin
            | Verb::Maintenance
            | Verb::GetDiagnostics
            | Verb::Signal
            | Verb::Reset
            | Verb::Replication
    )
}

/// Whether FOUND_ROWS() counts the rows of this SHOW.
#[must_use]
pub fn shows_by_query(sql: &[u8]) -> bool {
    matches!(left_by_show(sql), Leaves::Rows)
}

/// Servers answer some SHOW by a query of their own.
fn left_by_show(sql: &[u8]) -> Leaves {
    const BETWEEN: [&[u8]; 7] = [
        b"SHOW",
        b"FULL",
        b"EXTENDED",
        b"GLOBAL",
        b"SESSION",
        b"LOCAL",
        b"STORAGE",
    ];
    const BY_QUERY: [&[u8]; 22] = [
        b"TABLES",
        b"TABLE",
        b"DATABASES",
        b"SCHEMAS",
        b"COLUMNS",
        b"FIELDS",
        b"INDEX",
        b"INDEXES",
        b"KEYS",
        b"VARIABLES",
        b"STATUS",
        b"ENGINES",
        b"PLUGINS",
        b"CHARACTER",
        b"CHARSET",
        b"COLLATION",
        b"OPEN",
        b"TRIGGERS",
        b"EVENTS",
        b"PROCEDURE",
        b"FUNCTION",
        b"COUNT",
    ];
    const OTHERWISE: [&[u8]; 17] = [
        b"CREATE",
        b"WARNINGS",
        b"ERRORS",
        b"GRANTS",
        b"PROCESSLIST",
        b"PRIVILEGES",
        b"BINARY",
        b"MASTER",
        b"REPLICA",
        b"REPLICAS",
        b"SLAVE",
        b"ENGINE",
        b"PROFILES",
        b"BINLOG",
        b"RELAYLOG",
        b"AUTHORS",
        b"CONTRIBUTORS",
    ];
    match words(sql).find(|word| !is_one_of(word, &BETWEEN)) {
        Some(what) if is_one_of(what, &BY_QUERY) => Leaves::Rows,
        Some(what) if is_one_of(what, &OTHERWISE) => Leaves::Before,
        _ => Leaves::Either,
    }
}

/// Whether it deletes from one table, by the form that names it once.
fn is_delete_from(sql: &[u8]) -> bool {
    const BETWEEN: [&[u8]; 5] = [b"DELETE", b"LOW_PRIORITY", b"QUICK", b"IGNORE", b"HISTORY"];
    let first = words(sql).find(|word| !is_one_of(word, &BETWEEN));
    first.is_some_and(|word| word.eq_ignore_ascii_case(b"FROM"))
        && !words(sql).any(|word| word.eq_ignore_ascii_case(b"JOIN"))
}

fn words(sql: &[u8]) -> impl Iterator<Item = &[u8]> {
    let tokens = Lexer::new(sql, &Dialect::default());
    let words = tokens.filter(|token| token.kind == TokenKind::Word);
    words.map(|token| token.span.of(sql))
}

fn is_one_of(word: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|w| word.eq_ignore_ascii_case(w))
}

/// The last place where a LIMIT, or MariaDB's FETCH, may stand, and what is behind it.
fn last_limit(sql: &[u8], flavor: Flavor) -> Option<&[u8]> {
    // Long texts are looked through: most places are none by their first letter.
    let is = |word: &[u8]| match word.first() {
        Some(b'l' | b'L') => word.eq_ignore_ascii_case(b"limit"),
        Some(b'f' | b'F') => flavor == Flavor::MariaDb && word.eq_ignore_ascii_case(b"fetch"),
        _ => false,
    };
    let at = sql.windows(5).rposition(is)?;
    sql.get(at..)
}

/// Whether an OFFSET may stand there: the rows it skips count for FOUND_ROWS().
fn skips_rows(limit: &[u8]) -> bool {
    let offset = |word: &[u8]| word.eq_ignore_ascii_case(b"offset");
    limit.contains(&b',')
        || limit.windows(6).any(offset)
        || limit
            .get(..5)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"fetch"))
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
