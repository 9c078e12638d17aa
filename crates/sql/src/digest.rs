//! The normalised form of a text, as a 64-bit id and as readable text.
//!
//! Owns which differences count: literals, white space, comments and the letter case of keywords do not; names, operators
//! and structure do. Optimizer hints, which are code, count for the guard and for who asks for the text with them, and not
//! for the id: what is said of a statement by its id holds for it with hints too. A list of literals after `IN` or `VALUES` counts the same whatever its length, and so do repeated
//! rows. Must never allocate for the id. The id is stable within [`DIGEST_VERSION`]; it is no defence against someone
//! who looks for collisions, so a firewall compares the text as well.

mod hash;
mod normal;
mod text;

use crate::dialect::Dialect;
use crate::lexer::Chars;
use std::fmt;

pub(crate) use hash::{GuardedSink, HashSink};
pub(crate) use normal::Normalizer;

/// Changes whenever the same text may give another digest.
pub const DIGEST_VERSION: u16 = 1;

/// The 64-bit id of a normalised text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The normalised text of `sql`, cut at `max_bytes`; bytes that are not UTF-8 are replaced.
pub fn digest_text(sql: &[u8], dialect: &Dialect, max_bytes: usize) -> String {
    crate::scan::normalise(sql, dialect, text::TextSink::new(max_bytes)).finish()
}

/// The same with the optimizer hints of `/*+ … */`, which the server runs as code: what tells two statements apart.
pub fn digest_text_with_hints(sql: &[u8], dialect: &Dialect, max_bytes: usize) -> String {
    crate::scan::normalise(sql, dialect, text::TextSink::with_hints(max_bytes)).finish()
}

/// One piece of a normalised text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A keyword or built-in function: letter case ignored.
    Keyword(Chars<'a>),
    /// A name, without quotes.
    Name(Chars<'a>),
    /// An operator or punctuation, or a variable with its `@`.
    Symbol(Chars<'a>),
    /// A literal or parameter: `?`.
    Value,
    /// A parenthesised list of literals: `(...)`.
    List,
}

/// Where normalised pieces go. Marks let a run of pieces be taken back once it proves to be a list.
pub(crate) trait Sink {
    type Mark: Copy;
    /// What identifies the pieces between two marks.
    type Row: Copy;

    fn put(&mut self, piece: Piece<'_>);
    /// A piece of an optimizer hint.
    fn put_hint(&mut self, piece: Piece<'_>);
    fn mark(&self) -> Self::Mark;
    fn reset(&mut self, mark: Self::Mark);
    /// Starts a row: the pieces that follow belong to it until `close_row`.
    fn open_row(&mut self) -> Self::Mark;
    /// Ends the row opened at `mark`; drops it, back to `before`, when it equals `previous`.
    fn close_row(
        &mut self,
        mark: Self::Mark,
        previous: Option<(Self::Mark, Self::Row)>,
    ) -> Self::Row;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze_guarded;

    #[test]
    fn hints_count_for_the_guard_and_the_text_with_them_alone() {
        let dialect = Dialect::default();
        let of = |sql: &str| {
            let statement = analyze_guarded(sql.as_bytes(), &dialect, 7);
            let text = digest_text_with_hints(sql.as_bytes(), &dialect, 1000);
            (statement.digest, statement.guard, text)
        };
        let plain = of("SELECT a FROM t WHERE b IN (SELECT 1)");
        for (sql, text) in [
            (
                "select /*+ set_var(foreign_key_checks=off) max_execution_time(1) */ a from t where b in (select 2)",
                "SELECT /*+ SET_VAR(foreign_key_checks = off) MAX_EXECUTION_TIME(?) */ a FROM t WHERE b IN (SELECT ?)",
            ),
            (
                "SELECT a FROM t WHERE b IN (SELECT /*+ NO_MERGE(`t`) -- x */ 1)",
                "SELECT a FROM t WHERE b IN (SELECT /*+ NO_MERGE(t) -- x */ ?)",
            ),
        ] {
            let hinted = of(sql);
            assert_eq!(hinted.2, text);
            assert_eq!(hinted.0, plain.0, "{sql}");
            assert_ne!(hinted.1, plain.1, "{sql}");
            assert_eq!(digest_text(sql.as_bytes(), &dialect, 1000), plain.2);
        }
        let same = [
            of("SELECT /*+ max_execution_time(5)*/ 1"),
            of("SELECT /*+MAX_EXECUTION_TIME( 70 ) */ 2"),
        ];
        assert_eq!(same[0], same[1]);
        let rows = |hint: &str| {
            of(&format!(
                "SELECT a IN ((SELECT 1), (SELECT {hint} 1)) FROM t"
            ))
        };
        assert_ne!(rows("/*+ BKA(t) */").1, rows("").1);
        assert_ne!(rows("/*+ BKA(t) */").2, rows("").2);
    }
}
