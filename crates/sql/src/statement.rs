//! What the proxy knows of a statement text after one pass.

use smallvec::SmallVec;

use crate::dialect::Dialect;
use crate::digest::{Digest, GuardedSink, HashSink};
use crate::effects::{Effect, Effects};
use crate::facts::Facts;
use crate::lexer::Span;
use crate::verb::{Class, Verb};

/// The outcome of [`analyze`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Id of the normalised text, all statements included.
    pub digest: Digest,
    /// The same under a key that clients do not know, so that nobody makes two texts of one digest and one guard; 0
    /// where there was no key.
    pub guard: u64,
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
    /// Comments that hold hints, wherever they stand; one costs no allocation. Of too many, one too many is listed.
    pub hints: SmallVec<[Span; 1]>,
}

impl Statement {
    /// Whether the text is proved to change no rows, no definitions and nothing of the session: a SELECT that writes a
    /// file, locks rows, takes an advisory lock, assigns a variable, or calls unknown code is not.
    pub fn is_read_only(&self) -> bool {
        let changes = Facts::USER_VARIABLE_ASSIGNED
            | Facts::GET_LOCK_FUNCTION
            | Facts::RELEASE_LOCK_FUNCTION
            | Facts::CALC_FOUND_ROWS
            | Facts::SETS_LAST_INSERT_ID
            | Facts::HANDLER
            | Facts::UNPARSED
            | Facts::UNTRUSTED_TEXT;
        let harmless = |effect: &Effect| {
            matches!(
                effect,
                Effect::ShowWarnings { .. } | Effect::ShowCountWarnings { .. }
            )
        };
        self.class <= Class::Read
            && !self.facts.has_any(changes)
            && self.effects.iter().all(harmless)
    }
}

/// Reads `sql` as a server of `dialect` would. Total: any bytes give a statement.
pub fn analyze(sql: &[u8], dialect: &Dialect) -> Statement {
    let (statement, sink) = crate::scan::scan(sql, dialect, HashSink::new());
    Statement {
        digest: sink.digest(),
        ..statement
    }
}

/// As [`analyze`], with a guard: for who remembers verdicts by digest.
pub fn analyze_guarded(sql: &[u8], dialect: &Dialect, key: u64) -> Statement {
    let (statement, sink) = crate::scan::scan(sql, dialect, GuardedSink::new(key));
    let (digest, guard) = sink.finish();
    Statement {
        digest,
        guard,
        ..statement
    }
}
