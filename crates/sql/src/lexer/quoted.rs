//! Everything between quotes: strings, quoted names, hex and bit strings, dollar quotes.
//!
//! Owns where a quote closes under `sql_mode` and the client charset. Must never look inside for meaning; decoding is
//! `literal`'s task.

use super::{Lexer, TokenKind, is_name_byte};
use crate::eight;

impl Lexer<'_> {
    /// A string whose opening quote is at `open`; `start` is where the token starts (`N`, `@` come before the quote).
    pub(super) fn quoted_string(
        &mut self,
        kind: TokenKind,
        start: usize,
        open: usize,
        quote: u8,
    ) -> TokenKind {
        let escapes = !self.dialect.no_backslash_escapes;
        let multi_byte = self.multi_byte();
        let escape = if escapes { b'\\' } else { quote };
        let wide = if multi_byte { eight::HIGHS } else { 0 };
        let mut pos = open + 1;
        loop {
            // Past what is neither a quote nor begins anything longer than a byte.
            while let Some(eight) = eight::load(self.sql, pos) {
                let found =
                    eight::equal(eight, quote) | eight::equal(eight, escape) | (eight & wide);
                pos += (found.trailing_zeros() / 8) as usize;
                if found != 0 {
                    break;
                }
            }
            let Some(byte) = self.byte(pos) else { break };
            if byte == quote {
                if self.byte(pos + 1) != Some(quote) {
                    return self.finish(kind, start, pos + 1);
                }
                pos += 2;
            } else if byte == b'\\' && escapes {
                pos += 2;
            } else if multi_byte && byte >= 0x80 {
                pos += self.dialect.charset.char_len(self.rest(pos));
            } else {
                pos += 1;
            }
        }
        self.finish_open(kind, start, self.sql.len())
    }

    pub(super) fn quoted_name(&mut self, start: usize, quote: u8) -> TokenKind {
        let multi_byte = self.multi_byte();
        let mut pos = start + 1;
        while let Some(byte) = self.byte(pos) {
            if byte == quote {
                if self.byte(pos + 1) != Some(quote) {
                    return self.finish(TokenKind::QuotedName, start, pos + 1);
                }
                pos += 2;
            } else if byte == 0 {
                // NUL ends a quoted name on some servers and is part of nothing on others: not to be trusted.
                return self.finish_open(TokenKind::QuotedName, start, pos + 1);
            } else if multi_byte && byte >= 0x80 {
                pos += self.dialect.charset.char_len(self.rest(pos));
            } else {
                pos += 1;
            }
        }
        self.finish_open(TokenKind::QuotedName, start, self.sql.len())
    }

    /// `x'…'` and `b'…'`: the server takes digits only; anything else is an error there and ends the token here.
    pub(super) fn digits_in_quotes(&mut self, kind: TokenKind, start: usize) -> TokenKind {
        let accepts: fn(&u8) -> bool = match kind {
            TokenKind::HexLiteral => u8::is_ascii_hexdigit,
            _ => |b| matches!(b, b'0' | b'1'),
        };
        let digits = self
            .rest(start + 2)
            .iter()
            .take_while(|b| accepts(b))
            .count();
        let end = start + 2 + digits;
        match self.byte(end) {
            Some(b'\'') => self.finish(kind, start, end + 1),
            _ => self.finish_open(kind, start, end),
        }
    }

    /// `$$…$$` or `$tag$…$tag$`; none when no second `$` follows the tag (then it is a name).
    pub(super) fn dollar_string(&mut self, start: usize) -> Option<TokenKind> {
        let tag = self
            .rest(start + 1)
            .iter()
            .take_while(|&&b| b != b'$' && is_name_byte(b))
            .count();
        let body = start + tag + 2;
        if self.byte(body - 1) != Some(b'$') {
            return None;
        }
        let delimiter = self.sql.get(start..body)?;
        let mut pos = body;
        while let Some(skip) = self.rest(pos).iter().position(|&b| b == b'$') {
            pos += skip;
            if self.rest(pos).starts_with(delimiter) {
                return Some(self.finish(TokenKind::DollarString, start, pos + delimiter.len()));
            }
            pos += 1;
        }
        // `select $$` is how a client asks whether there are dollar quotes: with nothing inside, nothing is hidden.
        let end = self.sql.len();
        Some(
            if self
                .rest(body)
                .iter()
                .all(|&b| super::is_blank(b) || b == b';')
            {
                self.finish(TokenKind::DollarString, start, end)
            } else {
                self.finish_open(TokenKind::DollarString, start, end)
            },
        )
    }
}
