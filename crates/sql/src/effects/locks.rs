//! Advisory locks whose name and number are certain.
//!
//! Owns the exact form `SELECT | DO GET_LOCK('name', n)` and its releases, one call and nothing else. Anything more stays
//! a fact: the lock may be taken any number of times, or not at all.

use super::{Effect, Effects};
use crate::cursor::Cursor;
use crate::dialect::Dialect;
use crate::lexer::{Lexer, TokenKind};
use crate::literal;

/// Whether the statement at `start` is exactly one lock call; its effect is added then.
pub(crate) fn parse(start: Lexer<'_>, dialect: &Dialect, effects: &mut Effects) -> bool {
    match exact_call(Cursor::new(start), dialect) {
        Some(effect) => {
            effects.push(effect);
            true
        }
        None => false,
    }
}

fn exact_call(mut cursor: Cursor<'_>, dialect: &Dialect) -> Option<Effect> {
    let select = cursor.take_any(&["select", "do"])? == "select";
    let function = cursor.take_any(&["get_lock", "release_lock", "release_all_locks"])?;
    cursor.take_kind(TokenKind::Open)?;
    let effect = match function {
        "get_lock" => {
            let name = take_lock_name(&mut cursor, dialect)?;
            cursor.take_kind(TokenKind::Comma)?;
            take_timeout(&mut cursor)?;
            Effect::GetLock(name)
        }
        "release_lock" => Effect::ReleaseLock(take_lock_name(&mut cursor, dialect)?),
        _ => Effect::ReleaseAllLocks,
    };
    cursor.take_kind(TokenKind::Close)?;
    if select {
        skip_alias(&mut cursor);
    }
    cursor.at_end().then_some(effect)
}

/// As it was written: on MariaDB, names that differ in letter case are different locks.
fn take_lock_name(cursor: &mut Cursor<'_>, dialect: &Dialect) -> Option<Box<str>> {
    let token = cursor.take_kind(TokenKind::String)?;
    let name = literal::decode(cursor.bytes(token), dialect)?;
    Some(String::from_utf8_lossy(&name).into())
}

fn take_timeout(cursor: &mut Cursor<'_>) -> Option<()> {
    if let Some(token) = cursor.take_kind(TokenKind::Operator)
        && !matches!(cursor.bytes(token), b"-" | b"+")
    {
        return None;
    }
    cursor
        .take_kind(TokenKind::Number)
        .or_else(|| cursor.take_kind(TokenKind::Parameter))
        .map(|_| ())
}

fn skip_alias(cursor: &mut Cursor<'_>) {
    let explicit = cursor.take_word("as");
    let alias = matches!(
        cursor.peek_kind(),
        Some(TokenKind::QuotedName | TokenKind::String)
    ) || (cursor.peek_kind() == Some(TokenKind::Word)
        && (explicit
            || ![
                "from",
                "where",
                "into",
                "for",
                "limit",
                "union",
                "order",
                "group",
                "having",
                "window",
                "lock",
                "procedure",
                "except",
                "intersect",
                "minus",
            ]
            .iter()
            .any(|word| cursor.is_word(word))));
    if alias {
        cursor.advance();
    }
}
