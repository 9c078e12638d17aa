//! The tokens of one statement, with what the grammar asks of each again and again.
//!
//! Owns the buffer and the matching of parentheses. Must never keep a token whose end is not sure. Its input is the lexer.

use super::{ParseError, Result};
use crate::ast::{Arena, Hint};
use crate::dialect::Dialect;
use crate::lexer::{Lexer, Span, TokenKind};
use crate::words::{self, GrammarWord, Term};

/// Tokens above which the buffer is given back.
const RETAINED_TOKENS: usize = 16_384;

/// A token as the grammar sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tok {
    pub(super) span: Span,
    /// Of an operator: its bytes, the first lowest. Of `(`: the index of its `)` plus one. Of `?`: its ordinal.
    pub(super) aux: u32,
    pub(super) term: Term,
    pub(super) kind: TokenKind,
    reserved: bool,
}

impl Tok {
    /// What follows the last token.
    pub(super) fn end(offset: usize) -> Self {
        Self {
            span: Span {
                start: offset,
                end: offset,
            },
            aux: 0,
            term: Term::None,
            kind: TokenKind::Semicolon,
            reserved: true,
        }
    }

    /// Whether it may be a name.
    #[inline]
    pub(super) fn is_ident(self) -> bool {
        match self.kind {
            TokenKind::Word => !self.reserved,
            TokenKind::QuotedName => true,
            _ => false,
        }
    }
}

/// An operator's bytes as a number.
pub(super) const fn op(text: &[u8]) -> u32 {
    match *text {
        [a] => a as u32,
        [a, b] => a as u32 | (b as u32) << 8,
        [a, b, c] => a as u32 | (b as u32) << 8 | (c as u32) << 16,
        _ => 0,
    }
}

/// `*`.
pub(super) const STAR: u32 = op(b"*");

/// The buffer.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    tokens: Vec<Tok>,
    open: Vec<u32>,
    parameters: u32,
}

impl Tokens {
    pub(super) fn all(&self) -> &[Tok] {
        &self.tokens
    }

    pub(super) fn parameters(&self) -> u32 {
        self.parameters
    }

    /// Reads the statement at `offset`, and gives the offset after it and its `;`.
    pub(super) fn read(
        &mut self,
        sql: &[u8],
        offset: usize,
        dialect: &Dialect,
        hints: &mut Arena<Hint>,
    ) -> Result<usize> {
        self.tokens.clear();
        self.open.clear();
        self.parameters = 0;
        if self.tokens.capacity() > RETAINED_TOKENS {
            self.tokens = Vec::new();
        }
        let mut lexer = Lexer::starting_at(sql, offset, dialect);
        while let Some(kind) = lexer.step() {
            let token = lexer.read_last(kind);
            if token.unterminated {
                return Err(ParseError {
                    offset: token.span.start,
                    found: token.span,
                    expected: "the end of a quoted text or comment",
                });
            }
            match kind {
                TokenKind::Hint => {
                    hints.add(Hint { span: token.span });
                }
                TokenKind::Semicolon if self.tokens.is_empty() => {}
                TokenKind::Semicolon if !lexer.in_executable_comment() => {
                    return Ok(lexer.position());
                }
                kind if kind.is_trivia() => {}
                kind => self.push(sql, dialect, kind, token.span),
            }
        }
        if lexer.in_executable_comment() {
            return Err(ParseError {
                offset: sql.len(),
                found: Span::default(),
                expected: "the end of an executable comment",
            });
        }
        Ok(sql.len())
    }

    #[inline]
    fn push(&mut self, sql: &[u8], dialect: &Dialect, kind: TokenKind, span: Span) {
        let index = u32::try_from(self.tokens.len()).unwrap_or(u32::MAX);
        let mut word = GrammarWord::NAME;
        let mut aux = 0;
        match kind {
            TokenKind::Word => word = words::lookup_grammar(span.of(sql), dialect.flavor),
            TokenKind::Operator => aux = op(span.of(sql)),
            TokenKind::Open => self.open.push(index),
            TokenKind::Close => {
                let open = self
                    .open
                    .pop()
                    .and_then(|open| self.tokens.get_mut(open as usize));
                if let Some(open) = open {
                    open.aux = index + 1;
                }
            }
            TokenKind::Parameter => {
                aux = self.parameters;
                self.parameters += 1;
            }
            _ => {}
        }
        self.tokens.push(Tok {
            span,
            aux,
            term: word.term,
            kind,
            reserved: word.reserved,
        });
    }
}
