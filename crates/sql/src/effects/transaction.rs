//! Transactions: BEGIN to ROLLBACK TO, XA, and SET TRANSACTION.

use super::{AccessMode, Effect, Isolation, Outcome, Scope, TransactionScope, XaVerb};
use crate::cursor::Cursor;
use crate::dialect::{Dialect, Flavor};
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::verb::Verb;
use crate::words::Keyword;

pub(super) fn read(
    keyword: Keyword,
    cursor: &mut Cursor<'_>,
    dialect: &Dialect,
    outcome: &mut Outcome<'_>,
) {
    match keyword {
        Keyword::Begin => read_begin(cursor, dialect, outcome),
        Keyword::Start => read_start(cursor, outcome),
        Keyword::Commit => {
            outcome.is(Verb::Commit);
            let (chain, release) = read_completion(cursor, outcome);
            outcome.effects.push(Effect::Commit { chain, release });
        }
        Keyword::Rollback => read_rollback(cursor, outcome),
        Keyword::Savepoint => outcome.is(Verb::Savepoint),
        Keyword::Release => {
            outcome.is(Verb::ReleaseSavepoint);
            if !cursor.is_word("savepoint") {
                outcome.unparsed();
            }
        }
        _ => read_xa(cursor, outcome),
    }
}

fn read_begin(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) {
    cursor.take_word("work");
    if cursor.at_end() {
        outcome.is(Verb::Begin);
        outcome.facts.add(Facts::IMPLICIT_COMMIT);
        outcome.effects.push(Effect::Begin {
            access: None,
            consistent_snapshot: false,
        });
    } else if dialect.flavor == Flavor::MariaDb {
        outcome.is(Verb::Compound);
        outcome.scope = Scope::Compound;
    } else {
        outcome.is(Verb::Begin);
        outcome.unparsed();
    }
}

fn read_start(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    if !cursor.take_word("transaction") {
        outcome.defines(Verb::Replication, Facts::IMPLICIT_COMMIT);
        return;
    }
    outcome.is(Verb::Begin);
    outcome.facts.add(Facts::IMPLICIT_COMMIT);
    let mut access = None;
    let mut consistent_snapshot = false;
    while !cursor.at_end() {
        if cursor.take_words(&["with", "consistent", "snapshot"]) {
            consistent_snapshot = true;
        } else if let Some(mode) = read_access(cursor) {
            access = Some(mode);
        } else {
            outcome.unparsed();
            break;
        }
        cursor.take_kind(TokenKind::Comma);
    }
    outcome.effects.push(Effect::Begin {
        access,
        consistent_snapshot,
    });
}

fn read_access(cursor: &mut Cursor<'_>) -> Option<AccessMode> {
    if cursor.take_words(&["read", "only"]) {
        Some(AccessMode::ReadOnly)
    } else if cursor.take_words(&["read", "write"]) {
        Some(AccessMode::ReadWrite)
    } else {
        None
    }
}

/// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]` up to the end.
fn read_completion(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) -> (bool, bool) {
    cursor.take_word("work");
    let chain = !cursor.take_words(&["and", "no", "chain"]) && cursor.take_words(&["and", "chain"]);
    let release = !cursor.take_words(&["no", "release"]) && cursor.take_word("release");
    if chain {
        outcome.facts.add(Facts::CHAIN);
    }
    if release {
        outcome.facts.add(Facts::RELEASE);
    }
    outcome.expect_end(cursor);
    (chain, release)
}

fn read_rollback(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    let mut ahead = *cursor;
    ahead.take_word("work");
    if ahead.is_word("to") {
        outcome.is(Verb::RollbackTo);
        return;
    }
    outcome.is(Verb::Rollback);
    let (chain, release) = read_completion(cursor, outcome);
    outcome.effects.push(Effect::Rollback { chain, release });
}

fn read_xa(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Xa);
    let verb = match cursor.take_any(&[
        "start", "begin", "end", "prepare", "commit", "rollback", "recover",
    ]) {
        Some("start" | "begin") => XaVerb::Start,
        Some("end") => XaVerb::End,
        Some("prepare") => XaVerb::Prepare,
        Some("rollback") => XaVerb::Rollback,
        Some("recover") => XaVerb::Recover,
        Some(_) => {
            while !cursor.at_end() && !cursor.is_word("one") {
                cursor.advance();
            }
            if cursor.take_words(&["one", "phase"]) {
                XaVerb::CommitOnePhase
            } else {
                XaVerb::Commit
            }
        }
        None => return outcome.unparsed(),
    };
    outcome.effects.push(Effect::Xa(verb));
}

/// `SET [scope] TRANSACTION`, after those words.
pub(super) fn read_set(
    cursor: &mut Cursor<'_>,
    scope: TransactionScope,
    outcome: &mut Outcome<'_>,
) {
    outcome.is(Verb::SetTransaction);
    let mut isolation = None;
    let mut access = None;
    loop {
        if let Some(mode) = read_access(cursor) {
            access = Some(mode);
        } else if let Some(level) = read_isolation(cursor) {
            isolation = Some(level);
        } else {
            outcome.facts.add(Facts::UNPARSED_SET);
            return;
        }
        if cursor.take_kind(TokenKind::Comma).is_none() {
            break;
        }
    }
    if !cursor.at_end() {
        outcome.facts.add(Facts::UNPARSED_SET);
    }
    outcome.effects.push(Effect::SetTransaction {
        scope,
        isolation,
        access,
    });
}

fn read_isolation(cursor: &mut Cursor<'_>) -> Option<Isolation> {
    if !cursor.take_words(&["isolation", "level"]) {
        return None;
    }
    const LEVELS: [(&[&str], Isolation); 4] = [
        (&["read", "uncommitted"], Isolation::ReadUncommitted),
        (&["read", "committed"], Isolation::ReadCommitted),
        (&["repeatable", "read"], Isolation::RepeatableRead),
        (&["serializable"], Isolation::Serializable),
    ];
    LEVELS
        .iter()
        .find(|(words, _)| cursor.take_words(words))
        .map(|(_, level)| *level)
}
