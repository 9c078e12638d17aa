//! SHOW of what only this session's server knows, and EXPLAIN.

use super::{ConditionKind, Effect, Outcome, query_verb};
use crate::cursor::Cursor;
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::verb::Verb;
use crate::words;

pub(super) fn read(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Show);
    if let Some(kind) = take_conditions(cursor) {
        return read_conditions(cursor, kind, outcome);
    }
    let mut ahead = *cursor;
    if ahead.take_word("count") {
        while ahead
            .peek_kind()
            .is_some_and(|kind| kind != TokenKind::Word)
        {
            ahead.advance();
        }
        match take_conditions(&mut ahead) {
            Some(kind) => outcome.effects.push(Effect::ShowCountWarnings { kind }),
            None => outcome.unparsed(),
        }
        return;
    }
    if cursor.take_any(&["profile", "profiles"]).is_some() {
        outcome.facts.add(Facts::READS_PROFILE);
    }
    // `last_insert_id` and `identity` are among them.
    cursor.take_any(&["session", "local"]);
    if cursor.take_word("variables") {
        outcome.facts.add(Facts::READS_LAST_INSERT_ID);
    }
}

fn take_conditions(cursor: &mut Cursor<'_>) -> Option<ConditionKind> {
    match cursor.take_any(&["warnings", "errors"])? {
        "warnings" => Some(ConditionKind::Warnings),
        _ => Some(ConditionKind::Errors),
    }
}

fn read_conditions(cursor: &mut Cursor<'_>, kind: ConditionKind, outcome: &mut Outcome<'_>) {
    let limit = if cursor.take_word("limit") {
        let Some(first) = take_count(cursor) else {
            return outcome.unparsed();
        };
        let second = if cursor.take_kind(TokenKind::Comma).is_some() {
            take_count(cursor).map(|count| (first, count))
        } else if cursor.take_word("offset") {
            take_count(cursor).map(|offset| (offset, first))
        } else {
            Some((0, first))
        };
        if second.is_none() {
            return outcome.unparsed();
        }
        second
    } else {
        None
    };
    outcome.expect_end(cursor);
    outcome.effects.push(Effect::ShowWarnings { kind, limit });
}

fn take_count(cursor: &mut Cursor<'_>) -> Option<u64> {
    let token = cursor.take_kind(TokenKind::Number)?;
    std::str::from_utf8(cursor.bytes(token)).ok()?.parse().ok()
}

/// EXPLAIN, DESCRIBE, DESC: `EXPLAIN ANALYZE` of a modification may carry it out, so it keeps that verb.
pub(super) fn read_explain(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Explain);
    if cursor.take_word("analyze")
        && let Some(verb) = explained_verb(cursor)
        && verb.class() == crate::verb::Class::Write
    {
        outcome.is(verb);
    }
}

/// The verb of the statement after options like `FORMAT = JSON`.
pub(super) fn explained_verb(cursor: &mut Cursor<'_>) -> Option<Verb> {
    if cursor.take_word("format") {
        cursor.take_kind(TokenKind::Equal);
        cursor.advance();
    }
    let token = cursor.peek()?;
    query_verb(words::lookup(cursor.bytes(token)).keyword)
}
