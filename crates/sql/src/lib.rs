//! SQL as a multiplexing proxy reads it: tokens, digest, and the facts that decide whether a backend may be shared.
//!
//! Owns the lexer, the digest, the facts and effects of a statement, literal coding and the splicing of session
//! functions. Must never do I/O, keep state between statements, or re-print what it only has to find: all results are
//! values or spans into the caller's text. Its input is the statement text of a client, hostile until proved otherwise.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod dialect;
pub mod digest;
pub mod effects;
pub mod facts;
pub mod lexer;
pub mod literal;
pub mod splice;
pub mod statement;
pub mod tracking;
pub mod verb;

mod cursor;
mod scan;
mod words;

pub use dialect::{Dialect, Flavor, LexCharset};
pub use digest::{Digest, digest_text};
pub use effects::{Effect, Effects};
pub use facts::Facts;
pub use lexer::{Lexer, Span, Token, TokenKind};
pub use splice::{SessionFunctionValues, replace_session_functions};
pub use statement::{Statement, analyze};
pub use tracking::{TrackingSet, split_tracking_set};
pub use verb::{Class, Verb};
