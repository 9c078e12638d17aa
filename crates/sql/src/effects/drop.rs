//! DROP of tables, databases, prepared statements, accounts and the rest.

use super::tables::take_table;
use super::{Effect, Outcome, prepared};
use crate::cursor::Cursor;
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::verb::Verb;

pub(super) fn read(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.defines(Verb::Drop, Facts::NONE);
    let temporary = cursor.take_word("temporary");
    if cursor.take_any(&["table", "tables", "sequence"]).is_some() {
        if !temporary {
            outcome.facts.add(Facts::IMPLICIT_COMMIT);
        }
        return read_tables(cursor, temporary, outcome);
    }
    if cursor.take_word("prepare") {
        return prepared::read_deallocate(cursor, outcome);
    }
    outcome.facts.add(Facts::IMPLICIT_COMMIT);
    if cursor.take_any(&["user", "role"]).is_some() {
        outcome.is(Verb::UserAdmin);
    } else if cursor.take_any(&["database", "schema"]).is_some() {
        cursor.take_if_exists();
        match cursor.take_name() {
            Some(name) => outcome.effects.push(Effect::DropDatabase(name)),
            None => outcome.unparsed(),
        }
    }
}

fn read_tables(cursor: &mut Cursor<'_>, temporary: bool, outcome: &mut Outcome<'_>) {
    cursor.take_if_exists();
    let mut names = Vec::new();
    loop {
        match take_table(cursor) {
            Some(name) => names.push(name),
            None => return outcome.unparsed(),
        }
        if cursor.take_kind(TokenKind::Comma).is_none() {
            break;
        }
    }
    outcome
        .effects
        .push(Effect::DropTables { names, temporary });
}
