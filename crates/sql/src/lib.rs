//! SQL as a multiplexing proxy reads it: tokens, digest, and the facts that decide whether a backend may be shared.
//!
//! Owns the lexer, the digest, the facts and effects of a statement, literal coding, the splicing of session functions,
//! and the parser. Must never do I/O, keep state between statements, or re-print what it only has to find: all results are
//! values or spans into the caller's text. Its input is the statement text of a client, hostile until proved otherwise.
//!
//! # Two tiers
//!
//! [`analyze`] reads every statement once, without a tree: digest, verb, and what the session's state depends on. It never
//! fails; what it does not understand, it says so. [`Parser`] is asked where a plan needs the parts: it gives a tree of
//! spans ([`ast`]) or a [`ParseError`], and [`ParsedFacts`] says what the tree means: every table with its span and access,
//! whether the statement is proved to only read, the shape of the outermost query. [`parsed::predicate`] reads conditions
//! node by node. A rewriter splices at spans and never prints an expression.
//!
//! ```
//! use dbmesh_sql::parsed::{Access, Operand, Predicate, ReadOnly, predicate};
//! use dbmesh_sql::{Dialect, ParsedFacts, Parser, ast};
//!
//! let sql = b"SELECT a FROM shop.orders AS o WHERE o.id = ? AND (b = 1 OR c IN (2, 3))";
//! let dialect = Dialect::default();
//! let mut parser = Parser::new(); // kept by its user: parsing again does not allocate
//! let ast = parser.parse(sql, &dialect).unwrap();
//! let facts = ParsedFacts::of(ast, sql, &dialect);
//! assert_eq!(facts.read_only, ReadOnly::Proved);
//! assert_eq!(facts.tables[0].name.span.of(sql), b"shop.orders");
//! assert_eq!(facts.tables[0].access, Access::Read);
//! let condition = ast.all::<ast::Select>()[0].selection.unwrap().expr;
//! let Predicate::And(terms) = predicate(ast, condition) else { panic!() };
//! assert!(matches!(
//!     predicate(ast, terms[0]),
//!     Predicate::Compare { op: ast::BinaryOp::Equal, value: Operand::Parameter(0, _), .. }
//! ));
//! assert!(matches!(predicate(ast, terms[1]), Predicate::Or(_)));
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod ast;
pub mod dialect;
pub mod digest;
pub mod effects;
pub mod facts;
pub mod hints;
pub mod lexer;
pub mod literal;
pub mod parsed;
pub mod parser;
pub mod plain;
pub mod splice;
pub mod statement;
pub mod tracking;
pub mod variables;
pub mod verb;

mod cursor;
mod eight;
mod scan;
mod words;

pub use dialect::{Dialect, Flavor, LexCharset};
pub use digest::{Digest, digest_text, digest_text_with_hints};
pub use effects::{Effect, Effects};
pub use facts::Facts;
pub use hints::{HintError, Hints, RoleHint};
pub use lexer::{Lexer, Span, Token, TokenKind};
pub use parsed::ParsedFacts;
pub use parser::{ParseError, Parser, StatementKind};
pub use plain::{plain_text, split};
pub use splice::{SessionFunctionValues, replace_session_functions};
pub use statement::{Statement, analyze, analyze_guarded};
pub use tracking::{TrackingSet, split_tracking_set};
pub use variables::user_variables;
pub use verb::{Class, Verb};
