//! The trace that a client says its statement belongs to.
//!
//! Owns the reading of `traceparent` and of SQLCommenter's comments. It must never take what stands inside of a string
//! for a comment. Input: attributes and texts of clients. Source: W3C Trace Context, "traceparent"; SQLCommenter's
//! specification.

use dbmesh_sql::{Dialect, Lexer, TokenKind};

const NAME: &[u8] = b"traceparent";

/// Where a statement belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: [u8; 16],
    /// The client's span.
    pub span: [u8; 8],
    /// Whether the client records it.
    pub sampled: bool,
}

fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(out)
}

impl Context {
    /// Of `00-<32 hexadecimal digits>-<16>-<2>`; none if it is not well-formed, or an id is all zeros.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.split(|byte| *byte == b'-');
        let [version]: [u8; 1] = unhex(parts.next()?)?;
        let trace: [u8; 16] = unhex(parts.next()?)?;
        let span: [u8; 8] = unhex(parts.next()?)?;
        let [flags]: [u8; 1] = unhex(parts.next()?)?;
        let more = parts.next().is_some();
        let ids = trace != [0; 16] && span != [0; 8];
        (version != 0xff && ids && !(version == 0 && more)).then_some(Self {
            trace,
            span,
            sampled: flags & 1 != 0,
        })
    }

    /// The random part of the trace's id.
    pub fn low_bits(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.trace;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The context in a comment of SQLCommenter's: `/*…traceparent='…'…*/`.
pub fn in_comment(sql: &[u8], dialect: &Dialect) -> Option<Context> {
    if !sql.windows(NAME.len()).any(|part| part == NAME) {
        return None;
    }
    Lexer::new(sql, dialect)
        .filter(|token| token.kind == TokenKind::Comment)
        .find_map(|token| in_body(token.span.of(sql)))
}

fn in_body(comment: &[u8]) -> Option<Context> {
    let body = comment.strip_prefix(b"/*")?.strip_suffix(b"*/")?;
    body.split(|byte| *byte == b',').find_map(|pair| {
        let pair = pair.trim_ascii().strip_prefix(NAME)?;
        let value = pair.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        Context::parse(value.strip_prefix(b"'")?.strip_suffix(b"'")?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_strictly() {
        let context = Context::parse(PARENT.as_bytes()).unwrap();
        assert_eq!((context.trace[0], context.span[0]), (0x0a, 0xb7));
        assert!(context.sampled);
        let later = format!("01{}-more", &PARENT[2..]);
        assert!(Context::parse(later.as_bytes()).is_some());
        for wrong in [
            "",
            "00",
            &PARENT[1..],
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &format!("ff{}", &PARENT[2..]),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
        ] {
            assert_eq!(Context::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_comment_counts_and_a_string_does_not() {
        let found = |sql: &str| in_comment(sql.as_bytes(), &Dialect::default()).is_some();
        for sql in [
            format!("SELECT 1 /*traceparent='{PARENT}'*/"),
            format!("SELECT 1 /*db_driver='x',traceparent='{PARENT}',tracestate='a%3Db'*/"),
            format!("/* traceparent = '{PARENT}' */ SELECT 1"),
        ] {
            assert!(found(&sql), "{sql}");
        }
        for sql in [
            "SELECT 1".to_owned(),
            format!("SELECT \"/*traceparent='{PARENT}'*/\""),
            format!("SELECT 1 /*traceparent={PARENT}*/"),
            format!("SELECT 1 /*xtraceparent='{PARENT}'*/"),
            format!("SELECT 1 -- traceparent='{PARENT}'"),
            format!("SELECT 1 /*traceparent='{PARENT}"),
            "SELECT traceparent FROM t".to_owned(),
        ] {
            assert!(!found(&sql), "{sql}");
        }
    }
}
