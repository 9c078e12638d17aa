//! A client's session state, apart from any server connection.
//!
//! Owns what one MySQL server would keep for the session: restorable state, pins, diagnostics of the last statement, last
//! insert id, prepared statements. It must never assume where the next statement runs. Input: `absorb.rs` after every
//! statement, COM_RESET_CONNECTION and COM_CHANGE_USER.

use std::sync::Arc;
use std::time::Instant;

use dbmesh_sql::{Dialect, LexCharset};
use dbmesh_wire::charset;
use dbmesh_wire::status::Status;

use crate::backend::{Flavor, ServerFacts};
use crate::fault::Fault;
use crate::pins::Pins;
use crate::position::Position;
use crate::prepared::ClientStatements;
use crate::vector::{Base, Charset, Vector};

/// Where LAST_INSERT_ID() of the session is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastId {
    /// Here.
    Known(u64),
    /// Only on the connection: the id that the server reported may have been given explicitly.
    OnConnection,
}

/// One row of SHOW WARNINGS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Note, Warning or Error.
    pub level: Vec<u8>,
    /// Error number, as text.
    pub code: Vec<u8>,
    /// Message.
    pub message: Vec<u8>,
}

/// Warnings and errors of the last statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Warnings {
    /// There are none.
    #[default]
    None,
    /// They are on the connection, not fetched.
    OnConnection,
    /// Fetched from the connection before it was given back.
    Kept {
        /// The rows, as many as the server keeps.
        rows: Vec<Warning>,
        /// @@warning_count, which counts beyond the rows.
        count: u64,
    },
}

/// FOUND_ROWS() of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundRows {
    /// Counted here.
    Known(u64),
    /// SQL_CALC_FOUND_ROWS: the connection knows, and keeps it until it is asked or given back.
    OnConnection,
    /// Servers differ in what they leave there; while the connection is held they are asked themselves.
    Unknown,
}

/// What a statement leaves for ROW_COUNT(), FOUND_ROWS() and SHOW WARNINGS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// ROW_COUNT().
    pub row_count: i64,
    /// Whether the connection has another ROW_COUNT() by now: a command was answered here, or a ping sent.
    pub row_count_only_here: bool,
    /// FOUND_ROWS().
    pub found_rows: FoundRows,
    /// Whether the connection has another FOUND_ROWS(): most statements leave the one of a statement before.
    pub found_rows_only_here: bool,
    /// Warnings and errors.
    pub warnings: Warnings,
    /// @@warning_count, as the last OK said.
    pub warning_count: u64,
}

/// How far a READ ONLY transaction at a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing was read in it: it could as well begin elsewhere.
    Fresh,
    /// It has a snapshot, or is where a hint wants it. The session may be bound there beyond its end.
    Bound,
}

/// A session's state.
#[derive(Debug)]
pub struct SessionState {
    /// What can be restored on another connection.
    pub vector: Arc<Vector>,
    /// What cannot.
    pub pins: Pins,
    /// Status flags of the last answer.
    pub status: Status,
    /// Of the last statement.
    pub diagnostics: Diagnostics,
    /// LAST_INSERT_ID().
    pub last_insert_id: LastId,
    /// How far its writes have come. It outlives a reset: what was written stays written.
    pub position: Position,
    /// How often servers reported a position.
    pub position_reports: u64,
    /// When the schema was chosen: its collation is the one of then.
    pub schema_since: Instant,
    /// Prepared statements.
    pub statements: ClientStatements,
    /// Prepared statements that read diagnostics: while there is one, the session keeps its connection.
    pub diagnostic_statements: u32,
    /// Its READ ONLY transaction, if that began at a replica.
    pub reading: Option<Reading>,
    dialect: Option<(u64, Dialect)>,
}

/// With which status flags and values a session begins.
pub type Beginning = (Status, Arc<Base>);

impl SessionState {
    /// The state of a session that just logged in.
    #[must_use]
    pub fn fresh(schema: Option<&[u8]>, charset: Charset, (status, base): Beginning) -> Self {
        Self {
            vector: Arc::new(Vector::begun(schema.map(Into::into), charset, base)),
            pins: Pins::default(),
            status,
            diagnostics: Diagnostics {
                row_count: 0,
                row_count_only_here: false,
                found_rows: FoundRows::Known(0),
                found_rows_only_here: true,
                warnings: Warnings::None,
                warning_count: 0,
            },
            last_insert_id: LastId::Known(0),
            position: Position::Start,
            position_reports: 0,
            schema_since: Instant::now(),
            statements: ClientStatements::default(),
            diagnostic_statements: 0,
            reading: None,
            dialect: None,
        }
    }

    /// A client with the flag IGNORE_SPACE begins with that in its sql_mode.
    pub fn ignore_space(&mut self, facts: &ServerFacts) {
        let default = self.sql_mode(facts);
        let mode = if default.is_empty() {
            b"IGNORE_SPACE".to_vec()
        } else {
            [b"IGNORE_SPACE,".as_slice(), &default].concat()
        };
        self.change_vector(|v| v.note_variable("sql_mode", &mode));
    }

    /// Takes in the GTIDs that a server reported.
    pub fn note_position(&mut self, gtids: &[u8], flavor: Flavor) {
        self.position.note(gtids, flavor);
        self.position_reports += 1;
    }

    /// Changes the restorable state.
    pub fn change_vector(&mut self, change: impl FnOnce(&mut Vector)) {
        let vector = Arc::make_mut(&mut self.vector);
        change(vector);
        vector.rehash();
    }

    /// Whether a transaction is open, as the server said last.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.status.contains(Status::IN_TRANS)
    }

    /// How a server in this state reads SQL, if that was found out before.
    #[must_use]
    pub fn known_dialect(&self) -> Option<Dialect> {
        let key = self.vector.hash();
        self.dialect
            .filter(|(known, _)| *known == key)
            .map(|(_, dialect)| dialect)
    }

    /// How a server in this state reads SQL.
    pub fn dialect(&mut self, facts: Option<&ServerFacts>) -> Dialect {
        if let Some(dialect) = self.known_dialect() {
            return dialect;
        }
        let key = self.vector.hash();
        let Some(facts) = facts else {
            return Dialect::default();
        };
        let dialect = facts.dialect(&self.sql_mode(facts), self.lex_charset());
        self.dialect = Some((key, dialect));
        dialect
    }

    fn sql_mode(&self, facts: &ServerFacts) -> Vec<u8> {
        let known = self.vector.value_of("sql_mode");
        let mode = match known {
            Some(sql) => sql.as_ref(),
            None => facts.default_of("sql_mode").unwrap_or_default(),
        };
        mode.iter().copied().filter(|b| *b != b'\'').collect()
    }

    fn lex_charset(&self) -> LexCharset {
        LexCharset::of_charset(&self.charset_of("character_set_client"))
    }

    /// The character set of answers.
    #[must_use]
    pub fn results_charset(&self) -> String {
        self.charset_of("character_set_results")
    }

    /// The character set of statements.
    #[must_use]
    pub fn client_charset(&self) -> String {
        self.charset_of("character_set_client")
    }

    /// The character set that a variable holds, or that the handshake or SET NAMES gave it.
    fn charset_of(&self, variable: &str) -> String {
        let client = self.vector.variables.get(variable);
        match (client, &self.vector.charset) {
            (Some(sql), _) => String::from_utf8_lossy(sql).trim_matches('\'').to_owned(),
            (None, Charset::Handshake(id)) => charset::by_id(*id)
                .map(|c| c.charset.to_owned())
                .unwrap_or_default(),
            (None, Charset::Set(text)) => charset_of_set(text),
            (None, Charset::Server) => String::new(),
        }
    }

    /// Notes the FOUND_ROWS() of a command that was answered here.
    pub fn set_found_rows(&mut self, rows: u64) {
        self.diagnostics.found_rows = FoundRows::Known(rows);
        self.diagnostics.found_rows_only_here = true;
    }

    /// Notes the ROW_COUNT() of a command that no server saw.
    pub fn set_row_count(&mut self, rows: i64) {
        self.diagnostics.row_count = rows;
        self.diagnostics.row_count_only_here = true;
    }

    /// An error of the mesh's own is what the diagnostics speak of, as a server's would be.
    pub fn note_fault(&mut self, fault: &Fault) {
        self.set_row_count(-1);
        let row = Warning {
            level: b"Error".to_vec(),
            code: fault.code().0.to_string().into_bytes(),
            message: fault.to_string().into_bytes(),
        };
        self.diagnostics.warnings = Warnings::Kept {
            rows: vec![row],
            count: 1,
        };
        self.diagnostics.warning_count = 1;
    }

    /// Forgets what COM_RESET_CONNECTION forgets.
    pub fn reset(&mut self, charset: Charset, (status, base): Beginning) {
        let schema = self.vector.schema.clone();
        self.vector = Arc::new(Vector::begun(schema, charset, base));
        self.pins.clear();
        self.last_insert_id = LastId::Known(0);
        self.diagnostics.row_count = 0;
        self.diagnostics.warnings = Warnings::None;
        self.diagnostics.warning_count = 0;
        self.statements.clear();
        self.diagnostic_statements = 0;
        self.reading = None;
        self.status = status;
    }
}

/// The name in `NAMES x …` or `CHARACTER SET x`.
fn charset_of_set(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let name = if first.eq_ignore_ascii_case("NAMES") {
        words.next()
    } else {
        words.nth(1)
    };
    name.unwrap_or_default()
        .trim_matches(['\'', '"', '`'])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lexer_follows_the_client_character_set() {
        let mut state = SessionState::fresh(
            None,
            Charset::Handshake(28),
            (Status::AUTOCOMMIT, Arc::default()),
        );
        assert_eq!(state.lex_charset(), LexCharset::Gbk);
        state.change_vector(|v| v.note_names(b"NAMES 'utf8mb4'".as_slice().into()));
        assert_eq!(state.lex_charset(), LexCharset::AsciiSafe);
        state.change_vector(|v| v.note_variable("character_set_client", b"sjis"));
        assert_eq!(state.lex_charset(), LexCharset::Sjis);
    }

    #[test]
    fn the_dialect_follows_sql_mode() {
        let facts = ServerFacts::new("8.4.3", &[]);
        let mut state = SessionState::fresh(
            None,
            Charset::Handshake(255),
            (Status::AUTOCOMMIT, Arc::default()),
        );
        assert!(!state.dialect(Some(&facts)).ansi_quotes);
        state.change_vector(|v| v.note_variable("sql_mode", b"ANSI_QUOTES,NO_BACKSLASH_ESCAPES"));
        let dialect = state.dialect(Some(&facts));
        assert!(dialect.ansi_quotes && dialect.no_backslash_escapes);
    }
}
