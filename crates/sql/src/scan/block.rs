//! Where a `;` belongs to a body and not to the text.
//!
//! Owns the count of BEGIN…END and CASE…END. Must never hide a statement that follows a body: when the count does not
//! come out at zero, the whole is reported as not understood.

use super::Context;
use crate::dialect::Dialect;
use crate::lexer::{Lexer, TokenKind};
use crate::words::{self, Keyword};

/// The nesting of blocks in a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    depth: u32,
    end_pending: bool,
    broken: bool,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            depth: 0,
            end_pending: false,
            broken: false,
        }
    }

    /// Takes the next keyword of a body; `before` is the word right before it.
    pub(super) fn keyword(&mut self, keyword: Keyword, before: Keyword) {
        if self.end_pending {
            self.end_pending = false;
            match keyword {
                // IF, LOOP, WHILE, REPEAT and FOR are not counted when they open, nor when they close.
                Keyword::If | Keyword::Loop | Keyword::While | Keyword::Repeat | Keyword::For => {
                    return;
                }
                Keyword::Case => {
                    self.close();
                    return;
                }
                _ => self.close(),
            }
        }
        match keyword {
            Keyword::Begin if before != Keyword::Xa => self.depth += 1,
            Keyword::Case => self.depth += 1,
            Keyword::End if before != Keyword::Xa => self.end_pending = true,
            _ => {}
        }
    }

    fn close(&mut self) {
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => self.broken = true,
        }
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.end_pending) {
            self.close();
        }
    }

    /// Whether a `;` here stays inside the statement.
    pub(super) fn holds_semicolon(&mut self, context: Context) -> bool {
        match context {
            Context::Compound => true,
            Context::Body => {
                self.settle();
                self.depth > 0
            }
            _ => false,
        }
    }

    /// Whether every block was closed.
    pub(super) fn is_closed(mut self) -> bool {
        self.settle();
        self.depth == 0 && !self.broken
    }
}

/// Offset after the statement that starts at `offset` and holds a stored body: after the `;` outside of its blocks.
pub(crate) fn body_end(sql: &[u8], offset: usize, dialect: &Dialect) -> usize {
    let mut lexer = Lexer::starting_at(sql, offset, dialect);
    let mut block = Block::new();
    let mut before = Keyword::None;
    let mut after_dot = false;
    while let Some(kind) = lexer.step() {
        let token = lexer.read_last(kind);
        match kind {
            kind if kind.is_trivia() => continue,
            TokenKind::Semicolon if !block.holds_semicolon(Context::Body) => {
                return lexer.position();
            }
            TokenKind::Word if !after_dot => {
                let keyword = words::lookup(token.span.of(sql)).keyword;
                if keyword != Keyword::None {
                    block.keyword(keyword, before);
                }
                before = keyword;
            }
            _ => before = Keyword::None,
        }
        after_dot = kind == TokenKind::Dot;
    }
    sql.len()
}
