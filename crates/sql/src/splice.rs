//! Session functions replaced by their values.
//!
//! Owns finding the calls that only the proxy can answer, and keeping the names of the columns they stand in: the server
//! names a column after the text of its expression. Must never touch strings, comments, names, definitions, or calls of
//! stored functions of the same name.

mod items;

use std::fmt::Display;

use crate::dialect::Dialect;
use crate::lexer::{Lexer, Span, Token, TokenKind};
use crate::literal;
use crate::words::{self, Keyword};
use items::Items;

/// The values to put in; what is none stays a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionFunctionValues {
    /// For `CONNECTION_ID()` and `@@pseudo_thread_id`.
    pub connection_id: Option<u64>,
    /// For `ROW_COUNT()`.
    pub row_count: Option<i64>,
    /// For `FOUND_ROWS()`.
    pub found_rows: Option<u64>,
    /// For `@@warning_count`.
    pub warning_count: Option<u64>,
    /// For `@@error_count`.
    pub error_count: Option<u64>,
    /// For `LAST_INSERT_ID()`, `@@last_insert_id` and `@@identity`.
    pub last_insert_id: Option<u64>,
}

/// `sql` with the session functions of `values` replaced by `CAST(n AS …)`. A select item that holds one and has no alias
/// gets its original text as alias. None when there is nothing to replace.
pub fn replace_session_functions(
    sql: &[u8],
    dialect: &Dialect,
    values: &SessionFunctionValues,
) -> Option<Vec<u8>> {
    let mut edits = Vec::new();
    let (trivia, tokens): (Vec<Token>, Vec<Token>) =
        Lexer::new(sql, dialect).partition(|token| token.kind.is_trivia());
    let marks: Vec<Span> = trivia
        .iter()
        .filter(|token| is_mark(**token, sql))
        .map(|token| token.span)
        .collect();
    for statement in tokens.split(|token| token.kind == TokenKind::Semicolon) {
        let text = Text {
            sql,
            tokens: statement,
            marks: &marks,
        };
        if text.defines() {
            // A stored definition must keep its calls; a `;` inside its body does not end it.
            break;
        }
        edit_statement(&text, values, dialect, &mut edits);
    }
    if edits.is_empty() {
        return None;
    }
    apply(sql, &mut edits)
}

/// One change: these bytes instead of that span.
struct Edit {
    span: Span,
    bytes: Vec<u8>,
}

/// The tokens of one statement with the text they are of.
struct Text<'a> {
    sql: &'a [u8],
    tokens: &'a [Token],
    /// What the server takes out of the text before it names columns after it.
    marks: &'a [Span],
}

/// The marks of comments that the server runs, and comments that it skips for their version; plain comments stay.
fn is_mark(token: Token, sql: &[u8]) -> bool {
    let text = token.span.of(sql);
    match token.kind {
        TokenKind::ExecutableOpen | TokenKind::ExecutableClose => true,
        TokenKind::Comment => text.starts_with(b"/*!") || text.starts_with(b"/*M!"),
        _ => false,
    }
}

impl Text<'_> {
    fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    fn bytes(&self, index: usize) -> &[u8] {
        self.tokens
            .get(index)
            .map(|token| token.span.of(self.sql))
            .unwrap_or_default()
    }

    fn before(&self, index: usize) -> Option<usize> {
        index.checked_sub(1)
    }

    fn keyword(&self, index: usize) -> Keyword {
        match self.kind(index) {
            Some(TokenKind::Word) => words::lookup(self.bytes(index)).keyword,
            _ => Keyword::None,
        }
    }

    /// Whether the statement stores its text: CREATE and ALTER of anything but a table.
    fn defines(&self) -> bool {
        let keeps = |keyword| {
            matches!(
                keyword,
                Keyword::View
                    | Keyword::Procedure
                    | Keyword::Function
                    | Keyword::Trigger
                    | Keyword::Event
                    | Keyword::Package
            )
        };
        matches!(self.keyword(0), Keyword::Create | Keyword::Alter)
            && (1..self.tokens.len()).any(|index| keeps(self.keyword(index)))
    }

    fn span(&self, from: usize, to: usize) -> Option<Span> {
        Some(Span {
            start: self.tokens.get(from)?.span.start,
            end: self.tokens.get(to)?.span.end,
        })
    }
}

fn edit_statement(
    text: &Text<'_>,
    values: &SessionFunctionValues,
    dialect: &Dialect,
    edits: &mut Vec<Edit>,
) {
    let mut items = Items::new();
    let mut index = 0;
    while index < text.tokens.len() {
        items.token(text, index, dialect, edits);
        match find(text, index, values) {
            Some((last, bytes)) => {
                if let Some(span) = text.span(index, last) {
                    edits.push(Edit { span, bytes });
                    items.touched();
                }
                index = last + 1;
            }
            None => index += 1,
        }
    }
    items.end(text, dialect, edits);
}

/// The replacement that starts at token `index`, with the index of the last token it stands for.
fn find(text: &Text<'_>, index: usize, values: &SessionFunctionValues) -> Option<(usize, Vec<u8>)> {
    match text.kind(index)? {
        TokenKind::Word | TokenKind::QuotedName => find_call(text, index, values),
        TokenKind::SystemVariable => find_variable(text, index, values),
        _ => None,
    }
}

fn find_call(
    text: &Text<'_>,
    index: usize,
    values: &SessionFunctionValues,
) -> Option<(usize, Vec<u8>)> {
    let bytes = text.bytes(index);
    let name = match bytes {
        [b'`' | b'"', inner @ .., _] => inner,
        bytes => bytes,
    };
    let value = match words::lookup(name).keyword {
        Keyword::ConnectionId => cast(&values.connection_id?, "UNSIGNED"),
        Keyword::RowCount => wide(&values.row_count?),
        Keyword::FoundRows => wide(&values.found_rows?),
        Keyword::LastInsertId => cast(&format_args!("{}|0", values.last_insert_id?), "UNSIGNED"),
        _ => return None,
    };
    let is_call = text.kind(index + 1) == Some(TokenKind::Open)
        && text.kind(index + 2) == Some(TokenKind::Close);
    let names_other = text.before(index).is_some_and(|before| {
        text.kind(before) == Some(TokenKind::Dot)
            || matches!(
                text.keyword(before),
                Keyword::Into
                    | Keyword::Insert
                    | Keyword::Replace
                    | Keyword::Table
                    | Keyword::Call
                    | Keyword::As
            )
    });
    (is_call && !names_other).then_some((index + 2, value))
}

fn find_variable(
    text: &Text<'_>,
    index: usize,
    values: &SessionFunctionValues,
) -> Option<(usize, Vec<u8>)> {
    let first = plain(text.bytes(index).strip_prefix(b"@@")?);
    let scoped = first.eq_ignore_ascii_case(b"session") || first.eq_ignore_ascii_case(b"local");
    let (name, last) = if scoped && text.kind(index + 1) == Some(TokenKind::Dot) {
        (plain(text.bytes(index + 2)), index + 2)
    } else {
        (first, index)
    };
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let value = if is("pseudo_thread_id") {
        values.connection_id?
    } else if is("warning_count") {
        values.warning_count?
    } else if is("error_count") {
        values.error_count?
    } else if is("last_insert_id") || is("identity") {
        values.last_insert_id?
    } else {
        return None;
    };
    // `SET @@pseudo_thread_id = …` assigns it.
    let assigned = matches!(
        text.kind(last + 1),
        Some(TokenKind::Equal | TokenKind::Assign)
    ) && text.keyword(0) == Keyword::Set
        && text
            .before(index)
            .is_some_and(|before| before == 0 || text.kind(before) == Some(TokenKind::Comma));
    (!assigned && text.kind(last + 1) != Some(TokenKind::Dot)).then(|| (last, wide_variable(value)))
}

fn plain(name: &[u8]) -> &[u8] {
    match name {
        [b'`', inner @ .., b'`'] => inner,
        name => name,
    }
}

fn cast(value: &dyn Display, kind: &str) -> Vec<u8> {
    format!("CAST({value} AS {kind})").into_bytes()
}

/// A BIGINT that is never NULL and 21 characters long, as these functions are: MariaDB makes a cast of a short literal a
/// short INT, but bits are always wide.
fn wide(value: &dyn Display) -> Vec<u8> {
    format!("CAST({value}|0 AS SIGNED)").into_bytes()
}

/// An unsigned BIGINT that may be NULL, as both servers describe variables.
fn wide_variable(value: u64) -> Vec<u8> {
    format!("IF(1,{value}|0,NULL)").into_bytes()
}

/// Applies the edits, which do not overlap.
fn apply(sql: &[u8], edits: &mut [Edit]) -> Option<Vec<u8>> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let grown: usize = edits.iter().map(|edit| edit.bytes.len()).sum();
    let mut out = Vec::with_capacity(sql.len() + grown);
    let mut done = 0;
    for edit in edits.iter() {
        out.extend_from_slice(sql.get(done..edit.span.start)?);
        out.extend_from_slice(&edit.bytes);
        done = edit.span.end;
    }
    out.extend_from_slice(sql.get(done..)?);
    Some(out)
}

/// `text` in backquotes; characters of the client charset are kept whole.
fn quote_alias(text: &[u8], dialect: &Dialect) -> Vec<u8> {
    if dialect.charset.char_len(b"\xb0\x60") == 1 && dialect.charset.char_len(b"\x81\x60") == 1 {
        return literal::quote_identifier(text);
    }
    let mut out = vec![b'`'];
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let (head, tail) = rest.split_at(dialect.charset.char_len(rest).min(rest.len()));
        if byte == b'`' {
            out.push(b'`');
        }
        out.extend_from_slice(head);
        rest = tail;
    }
    out.push(b'`');
    out
}

#[cfg(test)]
mod tests;
