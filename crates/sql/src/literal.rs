//! Literals and names, to bytes and back.
//!
//! Owns the escapes. Must never produce text that a server could read as more than one literal or name. Its input is
//! tokens of the lexer, or bytes from anywhere to be quoted.

use crate::dialect::Dialect;
use crate::lexer::{Lexer, Span, TokenKind};

/// The bytes a literal stands for: strings without quotes and escapes, numbers as written, hex and bit literals decoded.
/// Several adjacent strings are one. None when `literal` is not exactly one literal (a sign may precede a number).
pub fn decode(literal: &[u8], dialect: &Dialect) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut seen = None;
    for token in Lexer::new(literal, dialect).filter(|token| !token.kind.is_trivia()) {
        let text = token.span.of(literal);
        if token.unterminated {
            return None;
        }
        match (token.kind, seen) {
            (TokenKind::Introducer, None) => {}
            (TokenKind::Operator, None) if matches!(text, b"-" | b"+") && bytes.is_empty() => {
                bytes.extend_from_slice(text);
            }
            (TokenKind::Number, None) => bytes.extend_from_slice(text),
            (TokenKind::HexLiteral, None) if bytes.is_empty() => bytes = decode_hex(text)?,
            (TokenKind::BitLiteral, None) if bytes.is_empty() => bytes = decode_bits(text)?,
            (TokenKind::DollarString, None) if bytes.is_empty() => bytes = decode_dollar(text)?,
            (TokenKind::String | TokenKind::NationalString, None | Some(TokenKind::String)) => {
                if seen.is_none() && !bytes.is_empty() {
                    return None;
                }
                decode_text(text, dialect, &mut bytes)?;
            }
            _ => return None,
        }
        seen = match token.kind {
            TokenKind::Introducer | TokenKind::Operator => seen,
            TokenKind::NationalString => Some(TokenKind::String),
            kind => Some(kind),
        };
    }
    seen.map(|_| bytes)
}

/// The text of the literal at `span` of `sql`.
pub fn decode_span(sql: &[u8], span: Span, dialect: &Dialect) -> Option<Vec<u8>> {
    decode(span.of(sql), dialect)
}

fn decode_text(token: &[u8], dialect: &Dialect, into: &mut Vec<u8>) -> Option<()> {
    let open = token.iter().position(|b| matches!(b, b'\'' | b'"'))?;
    let quote = *token.get(open)?;
    let mut rest = token.get(open + 1..token.len().checked_sub(1)?)?;
    while let Some(&byte) = rest.first() {
        let taken = if byte == quote {
            into.push(quote);
            2
        } else if byte == b'\\' && !dialect.no_backslash_escapes {
            unescape(*rest.get(1)?, into);
            2
        } else {
            let length = dialect.charset.char_len(rest);
            into.extend_from_slice(rest.get(..length)?);
            length
        };
        rest = rest.get(taken..)?;
    }
    Some(())
}

/// The escapes of MySQL string literals; `\%` and `\_` keep their backslash for LIKE.
fn unescape(byte: u8, into: &mut Vec<u8>) {
    match byte {
        b'0' => into.push(0),
        b'n' => into.push(b'\n'),
        b't' => into.push(b'\t'),
        b'r' => into.push(b'\r'),
        b'b' => into.push(8),
        b'Z' => into.push(0x1a),
        b'%' | b'_' => into.extend_from_slice(&[b'\\', byte]),
        other => into.push(other),
    }
}

fn decode_dollar(token: &[u8]) -> Option<Vec<u8>> {
    let tag = token.get(1..)?.iter().position(|&b| b == b'$')? + 2;
    token
        .get(tag..token.len().checked_sub(tag)?)
        .map(<[u8]>::to_vec)
}

fn digits(token: &[u8]) -> Option<&[u8]> {
    match token {
        [_, b'\'', digits @ .., b'\''] => Some(digits),
        [b'0', b'x' | b'b', digits @ ..] => Some(digits),
        _ => None,
    }
}

fn decode_hex(token: &[u8]) -> Option<Vec<u8>> {
    let digits = digits(token)?;
    let nibble = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let mut bytes = Vec::with_capacity(digits.len() / 2 + 1);
    let (odd, pairs) = digits.split_at_checked(digits.len() % 2)?;
    for &byte in odd {
        bytes.push(nibble(byte)?);
    }
    for pair in pairs.chunks_exact(2) {
        if let [high, low] = pair {
            bytes.push(nibble(*high)? << 4 | nibble(*low)?);
        }
    }
    Some(bytes)
}

fn decode_bits(token: &[u8]) -> Option<Vec<u8>> {
    let digits = digits(token)?;
    let (head, rest) = digits.split_at_checked(digits.len() % 8)?;
    let byte = |bits: &[u8]| bits.iter().fold(0u8, |n, &b| n << 1 | u8::from(b == b'1'));
    let mut bytes = Vec::with_capacity(digits.len() / 8 + 1);
    if !head.is_empty() {
        bytes.push(byte(head));
    }
    bytes.extend(rest.chunks(8).map(byte));
    Some(bytes)
}

/// The name inside `` `…` `` or `"…"`.
pub fn unquote_name(token: &[u8]) -> Vec<u8> {
    let Some((&quote, rest)) = token.split_first() else {
        return Vec::new();
    };
    let inner = match rest.split_last() {
        Some((&last, inner)) if last == quote => inner,
        _ => rest,
    };
    let mut name = Vec::with_capacity(inner.len());
    let mut doubled = false;
    for &byte in inner {
        if byte == quote && !doubled {
            doubled = true;
            continue;
        }
        doubled = false;
        name.push(byte);
    }
    name
}

/// `bytes` as one string literal. Right for every client charset whose characters do not hold quote or backslash bytes;
/// for the others (gbk, big5, sjis, gb18030) use [`hex_literal`].
pub fn quote_literal(bytes: &[u8], no_backslash_escapes: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    out.push(b'\'');
    for &byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(b"''"),
            b'\\' if !no_backslash_escapes => out.extend_from_slice(b"\\\\"),
            0 if !no_backslash_escapes => out.extend_from_slice(b"\\0"),
            _ => out.push(byte),
        }
    }
    out.push(b'\'');
    out
}

/// `bytes` as a hexadecimal literal, which no charset or `sql_mode` can change; `x''` when empty.
pub fn hex_literal(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = Vec::with_capacity(bytes.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    for &byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(nibble)));
        }
    }
    out.push(b'\'');
    out
}

/// `name` in backquotes.
pub fn quote_identifier(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    out.push(b'`');
    for &byte in name {
        if byte == b'`' {
            out.push(b'`');
        }
        out.push(byte);
    }
    out.push(b'`');
    out
}

#[cfg(test)]
mod tests;
