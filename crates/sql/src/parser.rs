//! From tokens to a tree: recursive descent for statements and clauses, precedence climbing for expressions.
//!
//! Owns the grammar of MySQL 8.4–9.x and MariaDB 10.11. Must never guess (what it cannot read is a [`ParseError`] with the
//! offset, the token and what was expected), never panic, recurse past [`DEPTH_MAX`], or take more than linear time. Its
//! input is the text of a client, hostile until proved otherwise. The statement path does not call it: tier 1 (`analyze`)
//! classifies every statement, and a plan that needs the parts of one asks here.
//!
//! ```
//! use dbmesh_sql::{Dialect, Parser, ast::Body};
//! let mut parser = Parser::new();
//! let ast = parser.parse(b"SELECT a FROM t WHERE id = ?", &Dialect::default()).unwrap();
//! assert!(matches!(ast.statement().body, Body::Query(_)));
//! assert_eq!(ast.statement().parameters, 1);
//! ```

mod admin;
mod alter;
mod call;
mod create;
mod data_type;
mod dml;
mod expr;
mod from;
mod head;
mod kind;
mod load;
mod primary;
mod query;
mod select;
mod show;
mod table_definition;
mod tokens;
mod window;

pub use kind::StatementKind;

use std::fmt;

use crate::ast::{Ast, Expr, ExprId, ExprKind, Id, List, Name, Stored, TableName};
use crate::dialect::{Dialect, Flavor};
use crate::lexer::{Span, TokenKind};
use crate::words::Term;
use tokens::{Tok, Tokens};

/// Levels of parentheses, sub-queries and prefix operators.
pub const DEPTH_MAX: u32 = 200;
/// Common table expressions that are in scope at one place.
pub const COMMON_TABLES_MAX: usize = 256;
/// Bytes of text that are parsed at most; the protocol's own limit is 1 GiB.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// Why a text is not a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// Where the token starts that does not fit.
    pub offset: usize,
    /// The token; empty at the end of the statement.
    pub found: Span,
    /// What would have fitted.
    pub expected: &'static str,
}

impl ParseError {
    /// The token's text, shortened; none at the end of the statement.
    pub fn found_text(self, sql: &[u8]) -> Option<String> {
        const SHOWN_BYTES: usize = 40;
        let text = self.found.of(sql);
        let text = text.get(..SHOWN_BYTES).unwrap_or(text);
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match self.found.start == self.found.end {
            true => "at the end of the statement, ",
            false => "",
        };
        write!(f, "{at}at byte {}: expected {}", self.offset, self.expected)
    }
}

impl std::error::Error for ParseError {}

pub(crate) type Result<T> = std::result::Result<T, ParseError>;

/// A parser with its memory. In a steady state it does not allocate.
#[derive(Debug, Default)]
pub struct Parser {
    tokens: Tokens,
    scope: Vec<Span>,
    ast: Ast,
}

impl Parser {
    /// A parser without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the first statement of `sql`. The tree is valid until the next call.
    pub fn parse(&mut self, sql: &[u8], dialect: &Dialect) -> Result<&Ast> {
        self.parse_at(sql, 0, dialect)
    }

    /// Parses the statement that starts at `offset`; [`crate::ast::Parsed::next_offset`] of the one before.
    pub fn parse_at(&mut self, sql: &[u8], offset: usize, dialect: &Dialect) -> Result<&Ast> {
        self.ast.clear();
        self.scope.clear();
        if sql.len() > TEXT_BYTES_MAX {
            return Err(ParseError {
                offset: TEXT_BYTES_MAX,
                found: Span::default(),
                expected: "a shorter text",
            });
        }
        let next = self
            .tokens
            .read(sql, offset, dialect, &mut self.ast.hints)?;
        let mut reader = Reader {
            sql,
            dialect,
            tokens: self.tokens.all(),
            pos: 0,
            depth: 0,
            block: 0,
            blocks: 0,
            mariadb: dialect.flavor == Flavor::MariaDb,
            ast: &mut self.ast,
            scope: &mut self.scope,
            end: next,
        };
        reader.statement()?;
        let end = reader.end;
        self.ast.parsed.next_offset = end;
        self.ast.parsed.parameters = self.tokens.parameters();
        Ok(&self.ast)
    }

    /// The tree of the statement parsed last.
    pub fn ast(&self) -> &Ast {
        &self.ast
    }
}

/// Reads the tokens of one statement into the arena.
struct Reader<'a> {
    sql: &'a [u8],
    dialect: &'a Dialect,
    tokens: &'a [Tok],
    pos: usize,
    depth: u32,
    /// The query block that is being read, 0 outside of all.
    block: u32,
    blocks: u32,
    mariadb: bool,
    ast: &'a mut Ast,
    /// Names of the common table expressions that are visible here, the innermost last.
    scope: &'a mut Vec<Span>,
    /// Offset after the statement.
    end: usize,
}

impl Reader<'_> {
    #[inline]
    fn peek(&self) -> Tok {
        self.peek_at(0)
    }

    #[inline]
    fn peek_at(&self, ahead: usize) -> Tok {
        match self.tokens.get(self.pos + ahead) {
            Some(tok) => *tok,
            None => Tok::end(self.end),
        }
    }

    #[inline]
    fn bump(&mut self) -> Tok {
        let tok = self.peek();
        if self.pos < self.tokens.len() {
            self.pos += 1;
        }
        tok
    }

    #[inline]
    fn at_end(&self) -> bool {
        self.pos >= self.tokens.len()
    }

    /// Offset where the next token starts.
    #[inline]
    fn start(&self) -> usize {
        self.peek().span.start
    }

    /// From `start` to the end of the token read last.
    #[inline]
    fn span_from(&self, start: usize) -> Span {
        let end = match self.pos.checked_sub(1).and_then(|pos| self.tokens.get(pos)) {
            Some(tok) => tok.span.end,
            None => start,
        };
        Span {
            start,
            end: end.max(start),
        }
    }

    #[inline]
    fn is(&self, term: Term) -> bool {
        self.peek().term == term
    }

    #[inline]
    fn is_at(&self, ahead: usize, term: Term) -> bool {
        self.peek_at(ahead).term == term
    }

    #[inline]
    fn take(&mut self, term: Term) -> bool {
        let taken = self.is(term);
        if taken {
            self.pos += 1;
        }
        taken
    }

    /// Reads both words if both come next.
    fn take_both(&mut self, first: Term, second: Term) -> bool {
        let taken = self.is(first) && self.is_at(1, second);
        if taken {
            self.pos += 2;
        }
        taken
    }

    /// Reads one of these words.
    fn take_any(&mut self, terms: &[Term]) -> Option<Term> {
        let term = self.peek().term;
        (term != Term::None && terms.contains(&term)).then(|| {
            self.pos += 1;
            term
        })
    }

    #[inline]
    fn require(&mut self, term: Term) -> Result<()> {
        if self.take(term) {
            return Ok(());
        }
        Err(self.refuse(term.text()))
    }

    #[inline]
    fn is_kind(&self, kind: TokenKind) -> bool {
        self.peek().kind == kind && !self.at_end()
    }

    #[inline]
    fn take_kind(&mut self, kind: TokenKind) -> bool {
        let taken = self.is_kind(kind);
        if taken {
            self.pos += 1;
        }
        taken
    }

    #[inline]
    fn open(&mut self) -> Result<()> {
        if self.take_kind(TokenKind::Open) {
            return Ok(());
        }
        Err(self.refuse("("))
    }

    #[inline]
    fn close(&mut self) -> Result<()> {
        if self.take_kind(TokenKind::Close) {
            return Ok(());
        }
        Err(self.refuse(")"))
    }

    #[inline]
    fn comma(&mut self) -> bool {
        self.take_kind(TokenKind::Comma)
    }

    #[inline]
    fn is_op(&self, op: u32) -> bool {
        let tok = self.peek();
        tok.kind == TokenKind::Operator && tok.aux == op
    }

    #[inline]
    fn is_star_at(&self, ahead: usize) -> bool {
        let tok = self.peek_at(ahead);
        tok.kind == TokenKind::Operator && tok.aux == tokens::STAR
    }

    fn take_op(&mut self, op: u32) -> bool {
        let taken = self.is_op(op);
        if taken {
            self.pos += 1;
        }
        taken
    }

    /// Whether the next token is this word, for words that are not worth a term.
    fn is_text(&self, word: &str) -> bool {
        self.is_text_at(0, word)
    }

    fn is_text_at(&self, ahead: usize, word: &str) -> bool {
        let tok = self.peek_at(ahead);
        tok.kind == TokenKind::Word && tok.span.of(self.sql).eq_ignore_ascii_case(word.as_bytes())
    }

    fn take_text(&mut self, word: &str) -> bool {
        let taken = self.is_text(word);
        if taken {
            self.pos += 1;
        }
        taken
    }

    /// Reads these words if they all come next.
    fn take_texts(&mut self, words: &[&str]) -> bool {
        let all = words
            .iter()
            .enumerate()
            .all(|(n, word)| self.is_text_at(n, word));
        if all {
            self.pos += words.len();
        }
        all
    }

    #[cold]
    fn refuse(&self, expected: &'static str) -> ParseError {
        let tok = self.peek();
        ParseError {
            offset: tok.span.start,
            found: tok.span,
            expected,
        }
    }

    /// One level deeper, unless that is too deep.
    #[inline]
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_MAX {
            return Err(self.refuse("less nesting"));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// A new query block begins.
    fn next_block(&mut self) -> u32 {
        self.blocks += 1;
        self.block = self.blocks;
        self.block
    }

    #[inline]
    fn add<T: Stored>(&mut self, node: T) -> Id<T> {
        T::arena_mut(self.ast).add(node)
    }

    #[inline]
    fn expr_node(&mut self, start: usize, kind: ExprKind) -> ExprId {
        let span = self.span_from(start);
        ExprId(self.ast.exprs.add(Expr { span, kind }))
    }

    fn mark<T: Stored>(&mut self) -> usize {
        T::arena_mut(self.ast).mark()
    }

    fn hold<T: Stored>(&mut self, node: T) {
        T::arena_mut(self.ast).hold(node);
    }

    fn seal<T: Stored>(&mut self, mark: usize) -> List<T> {
        T::arena_mut(self.ast).seal(mark)
    }

    /// One or more of these, with commas between.
    fn list<T: Stored>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<List<T>> {
        let mark = self.mark::<T>();
        loop {
            let node = element(self)?;
            self.hold(node);
            if !self.comma() {
                break;
            }
        }
        Ok(self.seal(mark))
    }

    /// `(a, b)`.
    fn parenthesised_list<T: Stored>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<List<T>> {
        self.open()?;
        let list = self.list(element)?;
        self.close()?;
        Ok(list)
    }

    /// `(…)` of anything, skipped.
    fn skip_parenthesised(&mut self) -> Result<Span> {
        let tok = self.peek();
        if !self.is_kind(TokenKind::Open) {
            return Err(self.refuse("("));
        }
        match (tok.aux as usize).checked_sub(1) {
            Some(close) => self.pos = close + 1,
            None => return Err(self.refuse("a closed parenthesis")),
        }
        Ok(self.span_from(tok.span.start))
    }

    #[inline]
    fn is_ident(&self) -> bool {
        self.peek().is_ident()
    }

    /// A name of one part.
    #[inline]
    fn ident(&mut self) -> Result<Span> {
        if !self.is_ident() {
            return Err(self.refuse("a name"));
        }
        Ok(self.bump().span)
    }

    fn simple_name(&mut self) -> Result<Name> {
        Ok(Name::simple(self.ident()?))
    }

    /// A name or a string.
    fn ident_or_text(&mut self) -> Result<Span> {
        if self.is_kind(TokenKind::String) {
            return Ok(self.bump().span);
        }
        self.ident()
    }

    fn text(&mut self) -> Result<Span> {
        if self.is_kind(TokenKind::String) {
            return Ok(self.bump().span);
        }
        Err(self.refuse("a string"))
    }

    /// The part of a name after a dot: directly after it every word is a name.
    fn part(&mut self) -> Result<Span> {
        let tok = self.peek();
        let adjacent = self
            .pos
            .checked_sub(1)
            .and_then(|pos| self.tokens.get(pos))
            .is_some_and(|dot| dot.span.end == tok.span.start);
        if tok.is_ident() || (adjacent && tok.kind == TokenKind::Word) {
            return Ok(self.bump().span);
        }
        Err(self.refuse("a name after the dot"))
    }

    /// A name of up to `parts` parts.
    fn name(&mut self, parts: u8) -> Result<Name> {
        let first = self.ident()?;
        let mut name = Name::simple(first);
        for _ in 1..parts {
            if !self.is_kind(TokenKind::Dot) || self.is_star_at(1) {
                break;
            }
            self.bump();
            let part = self.part()?;
            name.schema = name.qualifier;
            name.qualifier = Some(name.name);
            name.name = part;
        }
        name.span = self.span_from(first.start);
        Ok(name)
    }

    /// A table, which may be a common table expression in scope.
    fn table_name(&mut self) -> Result<Id<TableName>> {
        if self.mariadb && self.take_kind(TokenKind::Dot) {
            // `.t` is a table of the session's schema, and never a common table expression.
            return self.base_table_name();
        }
        let name = self.name(2)?;
        let common_table = match name.qualifier {
            None if !self.scope.is_empty() => self.common_table(name.name),
            _ => None,
        };
        Ok(self.add(TableName { name, common_table }))
    }

    /// A table that cannot be a common table expression.
    fn base_table_name(&mut self) -> Result<Id<TableName>> {
        if self.mariadb {
            self.take_kind(TokenKind::Dot);
        }
        let name = self.name(2)?;
        Ok(self.add(TableName {
            name,
            common_table: None,
        }))
    }

    /// The innermost common table expression of that name.
    fn common_table(&self, name: Span) -> Option<Span> {
        let wanted = crate::ast::unquoted(name.of(self.sql), self.dialect);
        let same = |known: &&Span| {
            crate::ast::unquoted(known.of(self.sql), self.dialect).eq_ignore_ascii_case(&wanted)
        };
        self.scope.iter().rev().find(same).copied()
    }
}
