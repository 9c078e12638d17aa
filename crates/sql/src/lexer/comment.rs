//! Comments: the ones the server skips, the ones it runs, and hints.
//!
//! Owns where each form starts and ends. Must never let code that the server runs pass as a comment, nor the reverse.

use super::{Lexer, TokenKind};
use crate::dialect::{Flavor, LexCharset};

impl Lexer<'_> {
    /// `--` is a comment only before a blank, a control character or the end: `1 --1` is an expression.
    pub(super) fn is_dash_comment(&self, start: usize) -> bool {
        if self.byte(start + 1) != Some(b'-') {
            return false;
        }
        match self.byte(start + 2) {
            None => true,
            Some(0xa0) => self.dialect.charset == LexCharset::SingleByte,
            Some(byte) => byte <= b' ' || byte == 0x7f,
        }
    }

    pub(super) fn line_comment(&mut self, start: usize) -> TokenKind {
        // The server ends a line comment at NUL too; what follows is then a syntax error there, code here.
        let end = self
            .rest(start)
            .iter()
            .position(|&b| b == b'\n' || b == 0)
            .map_or(self.sql.len(), |n| start + n);
        self.finish(TokenKind::Comment, start, end.max(start + 1))
    }

    pub(super) fn block_comment(&mut self, start: usize) -> TokenKind {
        match (self.byte(start + 2), self.byte(start + 3)) {
            (Some(b'!'), _) => self.versioned_comment(start, start + 3, false),
            (Some(b'M'), Some(b'!')) if self.dialect.flavor == Flavor::MariaDb => {
                self.versioned_comment(start, start + 4, true)
            }
            (Some(b'+'), _) => self.hint(start),
            _ => self.skipped_comment(start, start + 2, 0),
        }
    }

    fn versioned_comment(&mut self, start: usize, body: usize, mariadb_only: bool) -> TokenKind {
        let digits = self
            .rest(body)
            .iter()
            .take(6)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits >= 5 {
            let version = self
                .rest(body)
                .iter()
                .take(digits)
                .fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
            if !self.dialect.runs_versioned(version, mariadb_only) {
                // The server allows one level of comment inside a comment it skips for its version.
                return self.skipped_comment(start, body, 1);
            }
            self.in_executable = true;
            return self.finish(TokenKind::ExecutableOpen, start, body + digits);
        }
        self.in_executable = true;
        self.finish(TokenKind::ExecutableOpen, start, body)
    }

    fn skipped_comment(&mut self, start: usize, body: usize, nesting: u8) -> TokenKind {
        match self.comment_end(body, nesting) {
            Some(end) => self.finish(TokenKind::Comment, start, end),
            None => self.finish_open(TokenKind::Comment, start, self.sql.len()),
        }
    }

    fn comment_end(&self, mut pos: usize, nesting: u8) -> Option<usize> {
        let mut inner = false;
        while let Some(byte) = self.byte(pos) {
            let next = self.byte(pos + 1);
            if byte == b'*' && next == Some(b'/') {
                if !inner {
                    return Some(pos + 2);
                }
                inner = false;
                pos += 2;
            } else if nesting > 0 && !inner && byte == b'/' && next == Some(b'*') {
                inner = true;
                pos += 2;
            } else {
                pos += 1;
            }
        }
        None
    }

    /// Inside a hint, quotes hide `*/` from the server where it parses hints, and do not where it does not: a hint that
    /// closes inside an open quote is flagged instead of guessed.
    fn hint(&mut self, start: usize) -> TokenKind {
        let Some(end) = self.comment_end(start + 3, 0) else {
            return self.finish_open(TokenKind::Hint, start, self.sql.len());
        };
        let mut quote = None;
        for &byte in self.sql.get(start + 3..end - 2).unwrap_or_default() {
            match quote {
                Some(open) if open == byte => quote = None,
                None if matches!(byte, b'\'' | b'"' | b'`') => quote = Some(byte),
                _ => {}
            }
        }
        match quote {
            Some(_) => self.finish_open(TokenKind::Hint, start, end),
            None => self.finish(TokenKind::Hint, start, end),
        }
    }
}
