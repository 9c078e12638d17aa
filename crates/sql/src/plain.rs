//! The text of a statement without what servers do not read, for expressions that are matched against text.
//!
//! Owns which bytes count: comments and runs of blanks are one blank, code in comments that the server runs is code, quotes
//! around a name that needs none go. Must never change a word, a literal or their order. Input: any bytes.

use std::borrow::Cow;

use crate::dialect::Dialect;
use crate::lexer::{Lexer, Span, TokenKind, is_name_byte};
use crate::words;

/// The statement's own words: borrowed where the text is plain already.
pub fn plain_text<'a>(sql: &'a [u8], dialect: &Dialect) -> Cow<'a, [u8]> {
    let sql = sql.trim_ascii();
    if is_plain(sql) {
        return Cow::Borrowed(sql);
    }
    let mut plain = Vec::with_capacity(sql.len());
    let mut end = 0;
    for token in Lexer::new(sql, dialect) {
        let apart = token.span.start > end || token.kind.is_trivia();
        if apart && plain.last().is_some_and(|last| *last != b' ') {
            plain.push(b' ');
        }
        end = token.span.end;
        let bytes = token.span.of(sql);
        match token.kind {
            kind if kind.is_trivia() => {}
            TokenKind::QuotedName => plain.extend_from_slice(unquoted(bytes)),
            _ => plain.extend_from_slice(bytes),
        }
    }
    while plain.last() == Some(&b' ') {
        plain.pop();
    }
    Cow::Owned(plain)
}

/// Whether nothing of the text can be a comment, a quoted name or a run of blanks.
fn is_plain(sql: &[u8]) -> bool {
    let mut before = b'x';
    for &byte in sql {
        let odd = match byte {
            b'`' | b'#' | b'"' => true,
            b' ' | b'-' => before == byte,
            b'*' => before == b'/',
            0..b' ' | 0x7F..=0xFF => true,
            _ => false,
        };
        if odd {
            return false;
        }
        before = byte;
    }
    true
}

/// The name without its quotes, where it means the same without.
fn unquoted(quoted: &[u8]) -> &[u8] {
    let inner = quoted.get(1..quoted.len().saturating_sub(1));
    let inner = inner.unwrap_or_default();
    let needless = !inner.is_empty()
        && inner.iter().all(|byte| is_name_byte(*byte))
        && !words::lookup(inner).is_reserved();
    match needless {
        true => inner,
        false => quoted,
    }
}

/// The statements of a text, each with its `;`.
pub fn split(sql: &[u8], dialect: &Dialect) -> Vec<Span> {
    let mut start = 0;
    let ends = crate::scan::ends(sql, dialect);
    let spans = ends.into_iter().map(|end| Span {
        start: std::mem::replace(&mut start, end),
        end,
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(sql: &str) -> String {
        let text = plain_text(sql.as_bytes(), &Dialect::default());
        String::from_utf8(text.into_owned()).unwrap()
    }

    #[test]
    fn what_servers_do_not_read_goes() {
        for (sql, expected) in [
            ("delete from sock", "delete from sock"),
            ("  delete from sock ", "delete from sock"),
            ("delete/**/from/* x */sock", "delete from sock"),
            ("delete\nfrom\t `sock` -- all of it", "delete from sock"),
            ("/*!50000 delete*/ from # x\n sock", "delete from sock"),
            ("/*!99999 delete*/ from sock", "from sock"),
            (
                "select 'a  /* b */' , \"c  d\"",
                "select 'a  /* b */' , \"c  d\"",
            ),
            ("select `a b`, `select`", "select `a b`, `select`"),
            ("delete from\u{a0}sock", "delete from\u{a0}sock"),
        ] {
            assert_eq!(plain(sql), expected, "{sql}");
        }
    }

    #[test]
    fn statements_are_parted_where_the_server_parts_them() {
        let dialect = Dialect::default();
        let parts = |sql: &str| {
            let spans = split(sql.as_bytes(), &dialect);
            let text = |span: Span| String::from_utf8(span.of(sql.as_bytes()).to_vec()).unwrap();
            spans.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(parts("select 1"), ["select 1"]);
        assert_eq!(
            parts("select ';'; drop table t;"),
            ["select ';';", " drop table t;"]
        );
        let body = "create procedure p() begin select 1; select 2; end";
        assert_eq!(parts(body), [body]);
        assert_eq!(parts(""), Vec::<String>::new());
    }
}
