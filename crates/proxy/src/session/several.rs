//! Several statements in one text that do not go to a server as they came: those of a sharded service, as each may go
//! elsewhere, and those of which one may change how the next is read.
//!
//! Owns the text's division. Each statement takes the whole path by itself, is read as its server reads it then, has the hints
//! of the whole text, and all but the last say that more comes. Must never go on behind an error. Input: a text of several
//! statements.

use std::pin::Pin;
use std::sync::Arc;

use dbmesh_sql::effects::{Effect, VariableScope};
use dbmesh_sql::{Dialect, Facts, Span, Statement, analyze, split};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::Query;
use dbmesh_wire::status::Status;

use super::demand::TextHints;
use super::{Failure, Flow, Session};
use crate::fault::Fault;

/// How often a text may change how the rest of it is read: each time, all of that is looked at anew.
const CHANGES_MAX: u32 = 64;

impl Session {
    /// Whether a text is divided before it is looked at any further.
    pub(super) fn divides(&mut self, statement: &Statement, sql: &[u8]) -> bool {
        match self.sharded.is_some() {
            true => statement.statements > 1 || has_tail(sql, &self.dialect()),
            // A client that did not ask for several statements hears so from its server.
            false => statement.statements > 1 && changes_reading(statement) && self.takes_several(),
        }
    }

    fn takes_several(&self) -> bool {
        let capabilities = self.client.capabilities;
        capabilities.contains(Capabilities::MULTI_STATEMENTS)
    }

    /// Runs the statements of a text one after the other.
    pub(super) fn query_several<'a>(
        &'a mut self,
        packet: &'a [u8],
        query: &'a Query<'a>,
        statement: &'a Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Flow, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let obscure = Facts::COMPOUND | Facts::UNPARSED;
            if self.sharded.is_some() && statement.facts.has_any(obscure) {
                let why = "a text of several statements that cannot be told apart";
                return Err(Fault::Sharding(why.into()).into());
            }
            let takes_several = self.takes_several();
            if !takes_several && statement.statements > 1 {
                return Err(Fault::Server {
                    code: 1064,
                    sqlstate: "42000".into(),
                    message: "You have an error in your SQL syntax: the client did not ask for several statements".into(),
                }
                .into());
            }
            self.demand.text = self.hints_of_all(query, statement);
            let ran = self.run_each(packet, query, takes_several).await;
            self.demand.text = None;
            ran
        })
    }

    async fn run_each(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        takes_several: bool,
    ) -> Result<Flow, Failure> {
        let head = packet.get(..query.sql_offset).unwrap_or_default();
        let mut pieces = Pieces::of(query.sql, self.dialect());
        let mut flow = Flow::Continue;
        while let Some((piece, more)) = pieces.next(self.dialect())? {
            let more = more && takes_several;
            self.say_more(more);
            let text = [head, piece].concat();
            let answered = self.query_text(&text).await;
            let failed = self.noted.failed;
            self.say_more(false);
            flow = answered?;
            if flow == Flow::Quit || failed || !more {
                break;
            }
        }
        Ok(flow)
    }

    /// The hints of a text, wherever in it they stand.
    fn hints_of_all(&mut self, query: &Query<'_>, statement: &Statement) -> Option<Arc<TextHints>> {
        if statement.hints.is_empty() && query.attributes.is_empty() {
            return None;
        }
        let mut hints = TextHints::default();
        if statement.hints.is_empty() {
            return Some(Arc::new(hints));
        }
        let dialect = self.dialect();
        // A long text may repeat them in each statement.
        let mut pieces = Pieces::of(query.sql, dialect);
        while let Ok(Some((piece, _))) = pieces.next(dialect) {
            hints.add(&analyze(piece, &dialect), piece);
        }
        Some(Arc::new(hints))
    }

    /// Says in the answers that come whether another one follows.
    fn say_more(&mut self, more: bool) {
        let status = self.state.status;
        self.state.status = match more {
            true => status.union(Status::MORE_RESULTS),
            false => status.difference(Status::MORE_RESULTS),
        };
        self.noted.failed = false;
    }
}

/// Whether something stands behind the `;` of a text, be it a comment.
fn has_tail(sql: &[u8], dialect: &Dialect) -> bool {
    // This look of every statement is taken at several bytes at once.
    if !sql.contains(&b';') {
        return false;
    }
    let first = sql.iter().take_while(|byte| **byte != b';').count();
    let behind = |at: usize| !sql.get(at..).unwrap_or_default().trim_ascii().is_empty();
    // Seldom anything does; a `;` may also be in a literal.
    behind(first + 1)
        && split(sql, dialect)
            .first()
            .is_some_and(|span| behind(span.end))
}

/// Whether a statement of the text may change how servers read what stands behind it: sql_mode, or the character set of
/// statements.
fn changes_reading(statement: &Statement) -> bool {
    // Whatever they do is not seen.
    let obscure = Facts::DYNAMIC_SQL
        | Facts::CALLS_ROUTINE
        | Facts::COMPOUND
        | Facts::UNPARSED_SET
        | Facts::UNTRUSTED_TEXT;
    let changes = |effect: &Effect| match effect {
        Effect::SetNames { .. } | Effect::SetCharacterSet { .. } => true,
        Effect::ExecuteSql { .. } | Effect::ExecuteImmediate { .. } => true,
        Effect::SetSystem { name, scope, .. } => {
            let reads = ["sql_mode", "character_set_client"];
            *scope == VariableScope::Session && reads.contains(&name.as_ref())
        }
        _ => false,
    };
    statement.facts.has_any(obscure) || statement.effects.iter().any(changes)
}

/// The statements of a text, each with its `;`. Servers answer a comment behind the last one with OK, and complain of a `;`
/// alone.
struct Pieces<'a> {
    rest: &'a [u8],
    dialect: Dialect,
    /// Of the rest, the first one last.
    spans: Vec<Span>,
    /// Where the rest stands in what they are places of.
    origin: usize,
    changes: u32,
}

impl<'a> Pieces<'a> {
    fn of(sql: &'a [u8], dialect: Dialect) -> Self {
        let mut pieces = Self {
            rest: sql,
            dialect,
            spans: Vec::new(),
            origin: 0,
            changes: 0,
        };
        pieces.read();
        pieces
    }

    fn read(&mut self) {
        self.spans = split(self.rest, &self.dialect);
        self.spans.reverse();
        self.origin = 0;
    }

    /// The next statement, as it is read now, and whether another one follows.
    fn next(&mut self, dialect: Dialect) -> Result<Option<(&'a [u8], bool)>, Fault> {
        if dialect != self.dialect {
            self.changes += 1;
            if self.changes > CHANGES_MAX {
                let message = format!(
                    "a text that changes sql_mode or its character set more than {CHANGES_MAX} times; send it in parts"
                );
                return Err(Fault::Server {
                    code: 1235,
                    sqlstate: "42000".into(),
                    message: format!("dbmesh: {message}"),
                });
            }
            self.dialect = dialect;
            self.read();
        }
        while let Some(span) = self.spans.pop() {
            let len = span.end.saturating_sub(self.origin);
            let (piece, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
            (self.rest, self.origin) = (rest, span.end);
            if !piece.trim_ascii().is_empty() {
                return Ok(Some((piece, !rest.trim_ascii().is_empty())));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str, mode_behind_first: Option<Dialect>) -> Vec<(String, bool)> {
        let mut dialect = Dialect::default();
        let mut pieces = Pieces::of(sql.as_bytes(), dialect);
        let mut all = Vec::new();
        while let Some((piece, more)) = pieces.next(dialect).unwrap() {
            let piece = piece.trim_ascii();
            all.push((String::from_utf8(piece.to_vec()).unwrap(), more));
            dialect = mode_behind_first.unwrap_or(dialect);
        }
        all
    }

    #[test]
    fn a_text_is_divided_at_its_semicolons() {
        let sql = "SELECT ';' ; ; UPDATE t SET a = 1; -- x";
        let expected = ["SELECT ';' ;", ";", "UPDATE t SET a = 1;", "-- x"];
        let texts = texts(sql, None);
        let more: Vec<bool> = texts.iter().map(|(_, more)| *more).collect();
        let texts: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, expected);
        assert_eq!(more, [true, true, true, false]);
    }

    #[test]
    fn the_rest_is_read_as_what_ran_left_it() {
        let sql = r"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\'; DELETE FROM t; -- '";
        let behind = Dialect {
            no_backslash_escapes: true,
            ..Dialect::default()
        };
        let as_read = texts(sql, Some(behind));
        assert_eq!(as_read.len(), 4, "{as_read:?}");
        assert_eq!(as_read[1], (r"SELECT '\';".to_owned(), true));
        assert_eq!(texts(sql, None).len(), 2);
    }

    #[test]
    fn comments_behind_a_statement_are_found() {
        let dialect = Dialect::default();
        for (sql, tail) in [
            ("SELECT 1", false),
            ("SELECT 1;\n", false),
            ("SELECT ';' , 2", false),
            ("SELECT ';' ; ", false),
            ("SELECT 1; /* x */", true),
            ("SELECT 1 /* x */;", false),
        ] {
            assert_eq!(has_tail(sql.as_bytes(), &dialect), tail, "{sql}");
        }
    }

    #[test]
    fn what_may_change_the_reading_is_known() {
        let changes = |sql: &str| changes_reading(&analyze(sql.as_bytes(), &Dialect::default()));
        for sql in [
            "SET sql_mode = ''; SELECT 1",
            "SET @a = 1, @@session.SQL_MODE = ANSI; SELECT 1",
            "SET NAMES gbk; SELECT 1",
            "SET CHARACTER SET gbk; SELECT 1",
            "SET character_set_client = gbk; SELECT 1",
            "EXECUTE s; SELECT 1",
            "CALL p(); SELECT 1",
            "SELECT f(); SELECT 1",
            "SELECT 1; SET sql_mode = ''; SELECT 2",
        ] {
            assert!(changes(sql), "{sql}");
        }
        for sql in [
            "SELECT 1; SELECT 2",
            "SET time_zone = '+00:00'; SELECT COUNT(*) FROM t",
            "SET GLOBAL sql_mode = ''; SELECT 1",
            "SELECT 1; SELEC 2; SELECT 3",
            "SELECT 1; SELEC 2; SELECT 3",
        ] {
            assert!(!changes(sql), "{sql}");
        }
    }
}
