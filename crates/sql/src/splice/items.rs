//! Select items, at any depth: where they start and end, and whether they have an alias.

use super::{Edit, Text, quote_alias};
use crate::dialect::Dialect;
use crate::lexer::{Span, TokenKind};
use crate::words::{self, Keyword};

/// Lists deeper than this keep the server's name for their columns out of reach; nothing is replaced wrongly.
const MAX_DEPTH: usize = 256;

/// The longest alias the servers take, in characters.
const MAX_ALIAS_CHARS: usize = 256;

/// The select lists that are open, one per parenthesis depth.
pub(super) struct Items {
    levels: Vec<Level>,
}

#[derive(Clone, Copy, Default)]
struct Level {
    /// First token of the item that is open; none outside of select lists.
    start: Option<usize>,
    /// A call was replaced in it, at its own depth or deeper.
    touched: bool,
    /// `AS` or an implicit alias cannot be told before its end; this is the explicit one.
    aliased: bool,
    interval: bool,
}

impl Items {
    pub(super) fn new() -> Self {
        Self {
            levels: vec![Level::default()],
        }
    }

    /// A call was replaced: every item around it has changed.
    pub(super) fn touched(&mut self) {
        for level in &mut self.levels {
            level.touched |= level.start.is_some();
        }
    }

    /// Takes the token at `index`, before it is looked at for replacement.
    pub(super) fn token(
        &mut self,
        text: &Text<'_>,
        index: usize,
        dialect: &Dialect,
        edits: &mut Vec<Edit>,
    ) {
        match text.kind(index) {
            Some(TokenKind::Open) if self.levels.len() < MAX_DEPTH => {
                self.levels.push(Level::default())
            }
            Some(TokenKind::Close) if self.levels.len() > 1 => {
                self.close_item(text, index, dialect, edits);
                self.levels.pop();
            }
            Some(TokenKind::Comma) => {
                let listed = self
                    .levels
                    .last()
                    .is_some_and(|level| level.start.is_some());
                self.close_item(text, index, dialect, edits);
                if listed {
                    self.open_item(index + 1);
                }
            }
            Some(TokenKind::Word) if !follows_dot(text, index) => {
                self.word(text, index, dialect, edits)
            }
            _ => {}
        }
    }

    pub(super) fn end(&mut self, text: &Text<'_>, dialect: &Dialect, edits: &mut Vec<Edit>) {
        self.close_item(text, text.tokens.len(), dialect, edits);
    }

    fn word(&mut self, text: &Text<'_>, index: usize, dialect: &Dialect, edits: &mut Vec<Edit>) {
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        match text.keyword(index) {
            Keyword::Select => self.open_item(index + 1),
            Keyword::As => level.aliased = true,
            Keyword::From
            | Keyword::Into
            | Keyword::Where
            | Keyword::Having
            | Keyword::Order
            | Keyword::Limit
            | Keyword::Union
            | Keyword::Except
            | Keyword::Intersect
            | Keyword::Window
            | Keyword::For
            | Keyword::Lock
            | Keyword::Procedure
            | Keyword::On => self.close_item(text, index, dialect, edits),
            _ => {
                let bytes = text.bytes(index);
                if level.start == Some(index) && is_modifier(bytes) {
                    level.start = Some(index + 1);
                }
                level.interval |= bytes.eq_ignore_ascii_case(b"interval");
            }
        }
    }

    fn open_item(&mut self, start: usize) {
        if let Some(level) = self.levels.last_mut() {
            *level = Level {
                start: Some(start),
                ..Level::default()
            };
        }
    }

    /// The item ends before token `end`: gives it its alias if it needs one.
    fn close_item(
        &mut self,
        text: &Text<'_>,
        end: usize,
        dialect: &Dialect,
        edits: &mut Vec<Edit>,
    ) {
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let item = std::mem::take(level);
        let (Some(start), true, false) = (item.start, item.touched, item.aliased) else {
            return;
        };
        let Some(last) = end.checked_sub(1).filter(|last| *last >= start) else {
            return;
        };
        if has_implicit_alias(text, start, last, item.interval) {
            return;
        }
        if let Some(span) = text.span(start, last) {
            let name = column_name(text, span);
            if name.contains(&0) {
                // Servers end a quoted name at NUL. An item with one is a syntax error, with or without an alias.
                return;
            }
            let mut bytes = b" AS ".to_vec();
            bytes.extend_from_slice(&quote_alias(&name, dialect));
            let at = Span {
                start: span.end,
                end: span.end,
            };
            edits.push(Edit { span: at, bytes });
        }
    }
}

fn follows_dot(text: &Text<'_>, index: usize) -> bool {
    text.before(index)
        .is_some_and(|before| text.kind(before) == Some(TokenKind::Dot))
}

fn is_modifier(word: &[u8]) -> bool {
    const MODIFIERS: [&[u8]; 10] = [
        b"all",
        b"distinct",
        b"distinctrow",
        b"high_priority",
        b"straight_join",
        b"sql_small_result",
        b"sql_big_result",
        b"sql_buffer_result",
        b"sql_no_cache",
        b"sql_calc_found_rows",
    ];
    MODIFIERS
        .iter()
        .any(|modifier| word.eq_ignore_ascii_case(modifier))
        || word.eq_ignore_ascii_case(b"sql_cache")
}

/// `expression name`: a name or string right after something that is a value already.
fn has_implicit_alias(text: &Text<'_>, start: usize, last: usize, interval: bool) -> bool {
    if last == start {
        return false;
    }
    let bytes = text.bytes(last);
    let count = |keyword| {
        (start..=last)
            .filter(|index| text.keyword(*index) == keyword)
            .count()
    };
    if text.keyword(last) == Keyword::End && count(Keyword::End) <= count(Keyword::Case) {
        return false;
    }
    let names = match text.kind(last) {
        Some(TokenKind::Word) => {
            !(words::lookup(bytes).is_reserved() || (interval && is_unit(bytes)))
        }
        Some(TokenKind::QuotedName | TokenKind::String) => true,
        _ => false,
    };
    let value_before = match text.kind(last - 1) {
        Some(
            TokenKind::Close
            | TokenKind::QuotedName
            | TokenKind::UserVariable
            | TokenKind::SystemVariable,
        ) => true,
        Some(TokenKind::Word) => {
            let word = words::lookup(text.bytes(last - 1));
            !word.is_reserved()
                || matches!(word.keyword, Keyword::Null)
                || follows_dot(text, last - 1)
        }
        Some(kind) => kind.is_literal(),
        None => false,
    };
    names && value_before
}

fn is_unit(word: &[u8]) -> bool {
    const UNITS: [&[u8]; 9] = [
        b"microsecond",
        b"second",
        b"minute",
        b"hour",
        b"day",
        b"week",
        b"month",
        b"quarter",
        b"year",
    ];
    UNITS.iter().any(|unit| word.eq_ignore_ascii_case(unit))
}

/// What the server calls the column: the item's text without the marks, cut to an alias's length.
fn column_name(text: &Text<'_>, item: Span) -> Vec<u8> {
    let mut name = Vec::with_capacity(item.end - item.start);
    let mut done = item.start;
    let first = text.marks.partition_point(|mark| mark.start < item.start);
    let after = text.marks.partition_point(|mark| mark.start < item.end);
    for mark in text.marks.get(first..after).unwrap_or_default() {
        name.extend_from_slice(text.sql.get(done..mark.start).unwrap_or_default());
        done = mark.end;
    }
    name.extend_from_slice(text.sql.get(done..item.end).unwrap_or_default());
    let chars = String::from_utf8_lossy(&name);
    match chars.char_indices().nth(MAX_ALIAS_CHARS) {
        Some((cut, _)) if chars.len() == name.len() => name.truncate(cut),
        _ => {}
    }
    name
}
