//! What the proxy knows of a statement text after one pass.

use crate::dialect::Dialect;
use crate::digest::{Digest, HashSink};
use crate::effects::Effects;
use crate::facts::Facts;
use crate::verb::{Class, Verb};

/// The outcome of [`analyze`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Id of the normalised text, all statements included.
    pub digest: Digest,
    /// Verb of the first statement.
    pub verb: Verb,
    /// The highest class of all statements, with what the facts add (a SELECT that writes a file is a write).
    pub class: Class,
    /// Number of statements that are not empty; it stops counting at 65 535.
    pub statements: u16,
    /// What holds anywhere in the text.
    pub facts: Facts,
    /// What the statements do to the session, in order.
    pub effects: Effects,
    /// A quote or comment is not closed, or the lexer and the server may disagree on where it is.
    pub unterminated: bool,
}

/// Reads `sql` as a server of `dialect` would. Total: any bytes give a statement.
pub fn analyze(sql: &[u8], dialect: &Dialect) -> Statement {
    crate::scan::scan(sql, dialect, HashSink::new())
}
