//! Decides what becomes of a statement: answered here, sent to an endpoint, or refused.
//!
//! Owns [`Plan`] and the pure function that makes one. It must never do I/O or read a clock, and never guess: what is not
//! known to be safe on a shared connection is routed, and pins there. Input: a statement's facts and a view of the session.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod columns;
pub mod explain;
mod judge;
mod memory;
pub mod mesh;
mod prove;
mod reading;
pub mod rights;
pub mod shard;
mod splitting;

use std::fmt;

use dbmesh_model::topology::Splitting;
pub use dbmesh_sql::RoleHint;
use dbmesh_sql::effects::{ConditionKind, Effect, KillKind, KillTarget, Value, VariableScope};
use dbmesh_sql::{Dialect, Facts, Lexer, Span, Statement, TokenKind, Verb};

pub use judge::{Found, Inner, Judge, Subject, inner_of};
pub use prove::{Proof, Prover, at_first_sight};
pub use reading::{InReading, in_reading};
pub use splitting::{Aim, Why, aim};

/// Where the state of a session's last statement (warnings, row counts) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The session has the connection on which its last statement ran.
    Held,
    /// It has none: the next statement may run anywhere.
    Free,
}

/// What planning needs to know of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// Whether the session has a connection.
    pub connection: Connection,
    /// Whether FOUND_ROWS() is known without one.
    pub found_rows: RowsFound,
    /// Where the warnings of the last statement are.
    pub warnings: KeptWarnings,
    /// Who knows ROW_COUNT().
    pub row_count: RowCount,
    /// Whether every statement commits by itself.
    pub autocommit: Autocommit,
    /// How reads are split off, if they are.
    pub splitting: Option<&'a Splitting>,
    /// What is proved of the statement.
    pub proof: Proof,
    /// What the client asks for.
    pub hint: Option<RoleHint>,
}

/// Where the warnings of the last statement are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptWarnings {
    /// In the session, or there are none: the connection may still list another session's.
    Here,
    /// On the connection.
    OnConnection,
}

/// The session's autocommit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autocommit {
    /// Every statement commits by itself.
    On,
    /// Transactions begin by themselves.
    Off,
}

/// Who knows ROW_COUNT() of the last statement while the session has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowCount {
    /// The connection.
    OnConnection,
    /// Only the session: the connection was used for something else since.
    Here,
}

/// Whether FOUND_ROWS() of the last statement is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsFound {
    /// It is.
    Known,
    /// The connection at hand knows.
    OnConnection,
    /// Nobody does.
    Unknown,
}

/// What becomes of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// dbmesh answers.
    Local(Local),
    /// One endpoint executes it.
    Route(Route),
    /// It is refused, with the reason.
    Refuse(Refuse),
}

/// An answer that dbmesh gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// COMMIT or ROLLBACK while no transaction is open and no connection is held: there is nothing to do.
    NothingToEnd,
    /// SET autocommit to what it is: what most drivers say first.
    NothingToSet,
    /// SHOW WARNINGS or SHOW ERRORS, from what was kept of the last statement.
    Warnings {
        /// Which of them.
        kind: ConditionKind,
        /// Rows to skip, and rows to show.
        limit: Option<(u64, u64)>,
    },
    /// SHOW COUNT(*) WARNINGS or ERRORS.
    WarningCount(ConditionKind),
    /// SHOW MESH.
    Mesh(mesh::MeshShow),
    /// EXPLAIN MESH.
    Explain {
        /// The statement to explain.
        subject: Span,
    },
    /// KILL, by the ids that clients see.
    Kill {
        /// The statement only, or the whole connection.
        kind: KillKind,
        /// The session; `None` is the one that asks.
        target: Option<u64>,
    },
}

/// A statement for one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What the endpoint must be.
    pub aim: Aim,
    /// Whether functions that only dbmesh can answer stand in the text and are replaced.
    pub functions: Functions,
    /// Whether LAST_INSERT_ID() must be right on the connection first.
    pub last_insert_id: LastInsertId,
}

/// Functions of the session that the connection would answer wrongly: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Functions(u8);

impl Functions {
    /// None stands in the text.
    pub const NONE: Self = Self(0);
    /// CONNECTION_ID().
    pub const CONNECTION_ID: Self = Self(1);
    /// ROW_COUNT().
    pub const ROW_COUNT: Self = Self(2);
    /// FOUND_ROWS().
    pub const FOUND_ROWS: Self = Self(4);
    /// @@warning_count and @@error_count.
    pub const WARNING_COUNT: Self = Self(8);
    /// All that speak of the statement before.
    pub const DIAGNOSTICS: Self = Self(2 | 4 | 8);

    /// Whether any of `other` is in it.
    #[must_use]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn add_if(&mut self, other: Self, holds: bool) {
        if holds {
            self.0 |= other.0;
        }
    }
}

impl fmt::Display for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::CONNECTION_ID, "CONNECTION_ID()"),
            (Self::ROW_COUNT, "ROW_COUNT()"),
            (Self::FOUND_ROWS, "FOUND_ROWS()"),
            (Self::WARNING_COUNT, "@@warning_count"),
        ];
        let shown: Vec<&str> = names
            .iter()
            .filter(|(one, _)| self.any(*one))
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&shown.join(", "))
    }
}

/// Whether a statement may read LAST_INSERT_ID(), or leave it as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastInsertId {
    /// It cannot.
    Unread,
    /// It does, or may.
    Read,
}

/// Why a statement is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// GET DIAGNOSTICS after the connection of the last statement was given back.
    DiagnosticsGone,
    /// FOUND_ROWS() after the connection that knew it was given back.
    FoundRowsGone,
    /// KILL of something that is not a number.
    KillTarget,
}

/// Plans one statement (or one text of several); `sql` is the text that was analysed.
#[must_use]
pub fn plan(statement: &Statement, sql: &[u8], session: SessionView<'_>) -> Plan {
    if statement.verb == Verb::Explain
        && let Some(subject) = explain::subject(sql, &Dialect::default())
    {
        return Plan::Local(Local::Explain { subject });
    }
    if statement.verb == Verb::Show
        && let Some(show) = mesh::show(sql)
    {
        return Plan::Local(Local::Mesh(show));
    }
    if statement.statements <= 1
        && let Some(plan) = plan_special(statement, sql, session)
    {
        return plan;
    }
    let asks_for_rows = statement.facts.has(Facts::READS_FOUND_ROWS);
    if asks_for_rows
        && session.found_rows == RowsFound::Unknown
        && (statement.statements <= 1 || first_asks_for_rows(sql))
    {
        return Plan::Refuse(Refuse::FoundRowsGone);
    }
    Plan::Route(route(statement, sql, session))
}

/// Whether the first of several statements asks for the rows of the one before the text.
fn first_asks_for_rows(sql: &[u8]) -> bool {
    let mut tokens = Lexer::new(sql, &Dialect::default());
    let end = tokens.find(|token| token.kind == TokenKind::Semicolon);
    let head = sql.get(..end.map_or(sql.len(), |end| end.span.start));
    let name = |word: &[u8]| word.eq_ignore_ascii_case(b"found_rows");
    head.unwrap_or_default().windows(10).any(name)
}

/// The route of a statement that an endpoint executes.
#[must_use]
pub fn route(statement: &Statement, sql: &[u8], session: SessionView<'_>) -> Route {
    let facts = statement.facts;
    let readers = Facts::READS_LAST_INSERT_ID
        | Facts::CALLS_ROUTINE
        | Facts::DYNAMIC_SQL
        | Facts::COMPOUND
        | Facts::UNPARSED
        | Facts::SETS_LAST_INSERT_ID;
    // A server also reports an id that an INSERT itself gives, and then leaves LAST_INSERT_ID() as it was: so that has to
    // be the session's own before.
    let may_leave_it = statement.statements > 1
        || matches!(
            statement.verb,
            Verb::Insert | Verb::Replace | Verb::LoadData
        );
    let last_insert_id = if may_leave_it || facts.has_any(readers) {
        LastInsertId::Read
    } else {
        LastInsertId::Unread
    };
    // Without autocommit a read begins a transaction, which may go on to write.
    let proof = match session.autocommit {
        Autocommit::On => session.proof,
        Autocommit::Off => Proof::NotProved,
    };
    Route {
        aim: aim(session.splitting, proof, session.hint, sql),
        functions: functions(statement, session),
        last_insert_id,
    }
}

/// The functions in a statement that a connection at hand would answer wrongly.
#[must_use]
pub fn functions(statement: &Statement, session: SessionView<'_>) -> Functions {
    let facts = statement.facts;
    let free = session.connection == Connection::Free;
    let reads = |fact| facts.has(fact);
    let mut functions = Functions::NONE;
    functions.add_if(Functions::CONNECTION_ID, reads(Facts::READS_CONNECTION_ID));
    let row_count_here = free || session.row_count == RowCount::Here;
    let rows_here = session.found_rows == RowsFound::Known;
    functions.add_if(
        Functions::FOUND_ROWS,
        reads(Facts::READS_FOUND_ROWS) && rows_here,
    );
    functions.add_if(
        Functions::ROW_COUNT,
        reads(Facts::READS_ROW_COUNT) && row_count_here,
    );
    let warnings_here = free || session.warnings == KeptWarnings::Here;
    functions.add_if(
        Functions::WARNING_COUNT,
        reads(Facts::READS_WARNING_COUNT) && warnings_here,
    );
    functions
}

fn plan_special(statement: &Statement, sql: &[u8], session: SessionView<'_>) -> Option<Plan> {
    let free = session.connection == Connection::Free;
    let kept = session.warnings == KeptWarnings::Here;
    if free
        && matches!(statement.verb, Verb::Commit | Verb::Rollback)
        && !ends_more_than_a_transaction(statement)
    {
        return Some(Plan::Local(Local::NothingToEnd));
    }
    if free && sets_autocommit_again(statement, sql, session.autocommit) {
        return Some(Plan::Local(Local::NothingToSet));
    }
    match statement.effects.first()? {
        Effect::Kill { kind, target } => Some(match target {
            KillTarget::Id(id) => Plan::Local(Local::Kill {
                kind: *kind,
                target: Some(*id),
            }),
            KillTarget::Expr(span) if is_own_id(span.of(sql)) => Plan::Local(Local::Kill {
                kind: *kind,
                target: None,
            }),
            KillTarget::Expr(_) | KillTarget::User(_) => Plan::Refuse(Refuse::KillTarget),
        }),
        Effect::ShowWarnings { kind, limit } if free || kept => {
            Some(Plan::Local(Local::Warnings {
                kind: *kind,
                limit: *limit,
            }))
        }
        Effect::ShowCountWarnings { kind } if free || kept => {
            Some(Plan::Local(Local::WarningCount(*kind)))
        }
        Effect::GetDiagnostics if free => Some(Plan::Refuse(Refuse::DiagnosticsGone)),
        _ => None,
    }
}

fn sets_autocommit_again(statement: &Statement, sql: &[u8], autocommit: Autocommit) -> bool {
    let [
        Effect::SetSystem {
            name,
            scope: VariableScope::Session,
            value: Value::Literal(span),
        },
    ] = &statement.effects[..]
    else {
        return false;
    };
    let wanted: Vec<u8> = span.of(sql).to_ascii_lowercase();
    let same = match autocommit {
        Autocommit::On => matches!(wanted.as_slice(), b"1" | b"on" | b"true"),
        Autocommit::Off => matches!(wanted.as_slice(), b"0" | b"off" | b"false"),
    };
    &**name == "autocommit" && same
}

/// `CONNECTION_ID()`, written in any way.
fn is_own_id(text: &[u8]) -> bool {
    let word: Vec<u8> = text
        .iter()
        .filter(|b| !b.is_ascii_whitespace())
        .map(u8::to_ascii_lowercase)
        .collect();
    word == b"connection_id()"
}

fn ends_more_than_a_transaction(statement: &Statement) -> bool {
    statement
        .facts
        .has_any(Facts::CHAIN | Facts::RELEASE | Facts::UNPARSED)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(Local::NothingToSet) => write!(f, "local: autocommit is that already"),
            Self::Local(Local::NothingToEnd) => write!(f, "local: no transaction is open"),
            Self::Local(Local::Warnings { kind, .. }) => write!(f, "local: kept {kind:?}"),
            Self::Local(Local::WarningCount(kind)) => write!(f, "local: count of kept {kind:?}"),
            Self::Local(Local::Mesh(_)) => write!(f, "local: what operators ask of dbmesh"),
            Self::Local(Local::Explain { .. }) => write!(f, "local: explained, not executed"),
            Self::Local(Local::Kill {
                kind,
                target: Some(id),
            }) => write!(f, "local: kill {kind:?} {id}"),
            Self::Local(Local::Kill { kind, target: None }) => {
                write!(f, "local: kill {kind:?} own")
            }
            Self::Route(route) => {
                write!(f, "route: {:?}", route.aim.role)?;
                if route.functions != Functions::NONE {
                    write!(f, ", replaced: {}", route.functions)?;
                }
                if route.last_insert_id == LastInsertId::Read {
                    write!(f, ", last insert id restored")?;
                }
                Ok(())
            }
            Self::Refuse(reason) => write!(f, "refuse: {reason:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_sql::analyze;

    fn shown(sql: &str, connection: Connection) -> String {
        let statement = analyze(sql.as_bytes(), &Dialect::default());
        let view = SessionView {
            connection,
            found_rows: match connection {
                Connection::Held => RowsFound::OnConnection,
                Connection::Free => RowsFound::Unknown,
            },
            warnings: KeptWarnings::OnConnection,
            row_count: RowCount::OnConnection,
            autocommit: Autocommit::On,
            splitting: None,
            proof: Proof::NotProved,
            hint: None,
        };
        plan(&statement, sql.as_bytes(), view).to_string()
    }

    #[test]
    fn plans_of_a_free_session() {
        let cases = [
            ("SELECT 1", "route: Primary"),
            ("COMMIT", "local: no transaction is open"),
            ("rollback", "local: no transaction is open"),
            ("COMMIT RELEASE", "route: Primary"),
            ("ROLLBACK TO SAVEPOINT a", "route: Primary"),
            ("SET autocommit = 1", "local: autocommit is that already"),
            ("SET autocommit = 0", "route: Primary"),
            ("SET @@global.autocommit = 1", "route: Primary"),
            ("SET autocommit = 1, @a = 2", "route: Primary"),
            ("SHOW WARNINGS", "local: kept Warnings"),
            ("SHOW COUNT(*) ERRORS", "local: count of kept Errors"),
            ("GET DIAGNOSTICS @a = NUMBER", "refuse: DiagnosticsGone"),
            ("SELECT FOUND_ROWS()", "refuse: FoundRowsGone"),
            (
                "SELECT ROW_COUNT()",
                "route: Primary, replaced: ROW_COUNT()",
            ),
            (
                "SELECT CONNECTION_ID()",
                "route: Primary, replaced: CONNECTION_ID()",
            ),
            (
                "SELECT LAST_INSERT_ID()",
                "route: Primary, last insert id restored",
            ),
            (
                "INSERT INTO t VALUES (1)",
                "route: Primary, last insert id restored",
            ),
            ("KILL 7", "local: kill Connection 7"),
            ("KILL QUERY 7", "local: kill Query 7"),
            ("KILL CONNECTION_ID()", "local: kill Connection own"),
            ("KILL @a", "refuse: KillTarget"),
        ];
        for (sql, expected) in cases {
            assert_eq!(shown(sql, Connection::Free), expected, "{sql}");
        }
    }

    #[test]
    fn a_held_connection_answers_for_itself() {
        for sql in [
            "COMMIT",
            "SHOW WARNINGS",
            "GET DIAGNOSTICS @a = NUMBER",
            "SELECT FOUND_ROWS(), ROW_COUNT()",
        ] {
            assert_eq!(shown(sql, Connection::Held), "route: Primary", "{sql}");
        }
    }
}
