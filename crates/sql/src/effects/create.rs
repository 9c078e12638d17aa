//! CREATE and ALTER: what kind of object, temporary or not, stored body or not.

use super::tables::take_table;
use super::{Effect, Outcome, Scope, TableName};
use crate::cursor::Cursor;
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::verb::Verb;

/// Words before the object's kind are few; more than this is not understood.
const MAX_PREFIX_WORDS: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Table,
    /// Keeps a body or query for later.
    Stored,
    Account,
    Other,
}

pub(super) fn read(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    let Some((object, temporary)) = read_object(cursor) else {
        outcome.defines(Verb::Create, Facts::IMPLICIT_COMMIT | Facts::UNPARSED);
        return;
    };
    match object {
        Object::Account => outcome.defines(Verb::UserAdmin, Facts::IMPLICIT_COMMIT),
        Object::Stored => {
            outcome.defines(Verb::Create, Facts::IMPLICIT_COMMIT);
            outcome.scope = Scope::Body;
        }
        Object::Table if temporary => read_temporary(cursor, outcome),
        Object::Table | Object::Other => outcome.defines(Verb::Create, Facts::IMPLICIT_COMMIT),
    }
}

fn read_temporary(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.defines(Verb::Create, Facts::TEMPORARY_TABLE);
    cursor.take_if_exists();
    let Some(name) = take_table(cursor) else {
        return outcome.unparsed();
    };
    let mut from_select = false;
    while let Some(token) = cursor.advance() {
        from_select |= ["select", "values", "table", "with"]
            .iter()
            .any(|word| cursor.token_is(token, word));
    }
    outcome
        .effects
        .push(Effect::CreateTemporary { name, from_select });
}

/// Reads up to and including the word for the object's kind; tells whether TEMPORARY came before it.
fn read_object(cursor: &mut Cursor<'_>) -> Option<(Object, bool)> {
    let mut temporary = false;
    for _ in 0..MAX_PREFIX_WORDS {
        if cursor.take_word("definer") {
            skip_account(cursor);
            continue;
        }
        if cursor.take_any(&["table", "sequence"]).is_some() {
            return Some((Object::Table, temporary));
        }
        let stored = [
            "view",
            "procedure",
            "function",
            "trigger",
            "event",
            "package",
        ];
        if cursor.take_any(&stored).is_some() {
            return Some((Object::Stored, temporary));
        }
        if cursor.take_any(&["user", "role"]).is_some() {
            return Some((Object::Account, temporary));
        }
        let others = [
            "database",
            "schema",
            "index",
            "server",
            "tablespace",
            "logfile",
            "resource",
            "reference",
            "instance",
            "library",
            "online",
            "offline",
        ];
        if cursor.take_any(&others).is_some() {
            return Some((Object::Other, temporary));
        }
        let token = cursor.advance()?;
        if !matches!(token.kind, TokenKind::Word | TokenKind::Equal) {
            return None;
        }
        temporary |= cursor.token_is(token, "temporary");
    }
    None
}

/// `= 'user'@'host'`, `= CURRENT_USER()`.
fn skip_account(cursor: &mut Cursor<'_>) {
    cursor.take_kind(TokenKind::Equal);
    cursor.advance();
    cursor.take_kind(TokenKind::UserVariable);
    if cursor.take_kind(TokenKind::Open).is_some() {
        cursor.take_kind(TokenKind::Close);
    }
}

pub(super) fn read_alter(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.defines(Verb::Alter, Facts::IMPLICIT_COMMIT);
    match read_object(cursor) {
        Some((Object::Table, _)) => read_alter_table(cursor, outcome),
        Some((Object::Stored, _)) => outcome.scope = Scope::Body,
        Some((Object::Account, _)) => outcome.is(Verb::UserAdmin),
        Some((Object::Other, _)) => {}
        None => outcome.unparsed(),
    }
}

fn read_alter_table(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    cursor.take_if_exists();
    let Some(name) = take_table(cursor) else {
        return outcome.unparsed();
    };
    let mut renamed_to = None;
    let mut depth = 0u32;
    while let Some(token) = cursor.advance() {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Word if depth == 0 && cursor.token_is(token, "rename") => {
                renamed_to = take_new_name(cursor).or(renamed_to);
            }
            _ => {}
        }
    }
    outcome
        .effects
        .push(Effect::AlterTable { name, renamed_to });
}

/// The table after `RENAME [TO | AS | =]`; none when a column or an index is renamed.
fn take_new_name(cursor: &mut Cursor<'_>) -> Option<TableName> {
    if cursor.take_any(&["column", "index", "key"]).is_some() {
        return None;
    }
    if cursor.take_any(&["to", "as"]).is_none() {
        cursor.take_kind(TokenKind::Equal);
    }
    take_table(cursor)
}
