//! Numbers, and names that start like numbers (`1a`, `0xZZ`, `2b$c`).
//!
//! Owns where a number ends. Must never take a name for a number: `SELECT 1e FROM t` reads a column.

use super::{Lexer, TokenKind, is_name_byte};

impl Lexer<'_> {
    pub(super) fn number_or_name(&mut self, start: usize) -> TokenKind {
        if self.byte(start) == Some(b'0')
            && let Some(token) = self.prefixed(start)
        {
            return token;
        }
        let digits = self.digits_end(start);
        match self.byte(digits) {
            Some(b'.') => {
                self.fraction(digits);
                return self.retag(TokenKind::Number, start);
            }
            Some(b'e' | b'E') => {
                if let Some(end) = self.exponent_end(digits) {
                    return self.finish(TokenKind::Number, start, end);
                }
            }
            _ => {}
        }
        if self.byte(digits).is_some_and(is_name_byte) {
            let end = self.word_end(digits);
            return self.word(TokenKind::Word, start, end.max(start + 1));
        }
        self.finish(TokenKind::Number, start, digits)
    }

    /// A number from its decimal point on.
    pub(super) fn fraction(&mut self, point: usize) -> TokenKind {
        let digits = self.digits_end(point + 1);
        let end = match self.byte(digits) {
            Some(b'e' | b'E') => self.exponent_end(digits).unwrap_or(digits),
            _ => digits,
        };
        self.finish(TokenKind::Number, point, end)
    }

    /// `0x4D` and `0b01`: lower-case prefixes only, and only when nothing else of a name follows.
    fn prefixed(&mut self, start: usize) -> Option<TokenKind> {
        let (kind, accepts): (_, fn(&u8) -> bool) = match self.byte(start + 1)? {
            b'x' => (TokenKind::HexLiteral, u8::is_ascii_hexdigit),
            b'b' => (TokenKind::BitLiteral, |b| matches!(b, b'0' | b'1')),
            _ => return None,
        };
        let digits = self
            .rest(start + 2)
            .iter()
            .take_while(|b| accepts(b))
            .count();
        let end = start + 2 + digits;
        if digits == 0 || self.byte(end).is_some_and(is_name_byte) {
            return None;
        }
        Some(self.finish(kind, start, end))
    }

    fn digits_end(&self, pos: usize) -> usize {
        pos + self
            .rest(pos)
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    }

    /// The end of `e5`, `e+5` or `e-5` at `pos`; none when no digit follows.
    fn exponent_end(&self, pos: usize) -> Option<usize> {
        let sign = usize::from(matches!(self.byte(pos + 1), Some(b'+' | b'-')));
        let digits = pos + 1 + sign;
        let end = self.digits_end(digits);
        (end > digits).then_some(end)
    }
}
