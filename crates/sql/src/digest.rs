//! The normalised form of a text, as a 64-bit id and as readable text.
//!
//! Owns which differences count: literals, white space, comments and the letter case of keywords do not; names, operators
//! and structure do. A list of literals after `IN` or `VALUES` counts the same whatever its length, and so do repeated
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
