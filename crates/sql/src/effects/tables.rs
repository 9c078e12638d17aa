//! Tables that stay open, locked or under another name: LOCK, UNLOCK, FLUSH, HANDLER, RENAME.

use super::{Effect, Outcome, TableName};
use crate::cursor::Cursor;
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::verb::Verb;
use crate::words::Keyword;

/// Reads `name` or `schema.name`.
pub(super) fn take_table(cursor: &mut Cursor<'_>) -> Option<TableName> {
    // MySQL also takes `.name`, an old ODBC form.
    cursor.take_kind(TokenKind::Dot);
    let first = cursor.take_name()?;
    if cursor.take_kind(TokenKind::Dot).is_none() {
        return Some(TableName {
            schema: None,
            table: first,
        });
    }
    Some(TableName {
        schema: Some(first),
        table: cursor.take_name()?,
    })
}

pub(super) fn read_rename(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.defines(Verb::Rename, Facts::IMPLICIT_COMMIT);
    if cursor.take_word("user") {
        return outcome.is(Verb::UserAdmin);
    }
    if cursor.take_any(&["table", "tables"]).is_none() {
        return outcome.unparsed();
    }
    cursor.take_if_exists();
    loop {
        let Some(from) = take_table(cursor) else {
            return outcome.unparsed();
        };
        // MariaDB: WAIT n and NOWAIT may follow the table.
        if cursor.take_word("wait") {
            cursor.advance();
        }
        cursor.take_word("nowait");
        let to = if cursor.take_word("to") {
            take_table(cursor)
        } else {
            None
        };
        let Some(to) = to else {
            return outcome.unparsed();
        };
        outcome.effects.push(Effect::RenameTable { from, to });
        if cursor.take_kind(TokenKind::Comma).is_none() {
            break;
        }
    }
    outcome.expect_end(cursor);
}

pub(super) fn read_locks(keyword: Keyword, cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    let tables = |cursor: &mut Cursor<'_>| cursor.take_any(&["table", "tables"]).is_some();
    match keyword {
        Keyword::Lock => {
            outcome.is(Verb::LockTables);
            if cursor.take_word("instance") {
                outcome.effects.push(Effect::LockInstance);
            } else {
                if !tables(cursor) {
                    outcome.unparsed();
                }
                outcome.facts.add(Facts::IMPLICIT_COMMIT);
                outcome.effects.push(Effect::LockTables);
            }
        }
        Keyword::Unlock => {
            outcome.is(Verb::UnlockTables);
            if cursor.take_word("instance") {
                outcome.effects.push(Effect::UnlockInstance);
            } else {
                if !tables(cursor) {
                    outcome.unparsed();
                }
                outcome.facts.add(Facts::IMPLICIT_COMMIT);
                outcome.effects.push(Effect::UnlockTables);
            }
        }
        _ => read_flush(cursor, outcome),
    }
}

fn read_flush(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.defines(Verb::Flush, Facts::IMPLICIT_COMMIT);
    // The lock stands at the end of the statement; looking for its words anywhere can only find too much.
    while !cursor.at_end() {
        if cursor.take_words(&["with", "read", "lock"]) || cursor.take_words(&["for", "export"]) {
            outcome.effects.push(Effect::FlushTablesLock);
            return;
        }
        cursor.advance();
    }
}

pub(super) fn read_handler(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Handler);
    outcome.facts.add(Facts::HANDLER);
    let Some(table) = take_table(cursor) else {
        return outcome.unparsed();
    };
    if cursor.take_word("open") {
        cursor.take_word("as");
        let name = cursor.take_name().unwrap_or(table.table);
        outcome.effects.push(Effect::HandlerOpen { name });
    } else if cursor.take_word("close") {
        outcome
            .effects
            .push(Effect::HandlerClose { name: table.table });
    } else if !cursor.is_word("read") {
        outcome.unparsed();
    }
}
