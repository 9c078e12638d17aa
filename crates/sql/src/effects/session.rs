//! Statements about the session and its peers: USE, CALL, KILL, LOAD DATA, GET DIAGNOSTICS.

use super::tables::take_table;
use super::{Effect, KillKind, KillTarget, Outcome, Scope};
use crate::cursor::Cursor;
use crate::dialect::{Dialect, Flavor};
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::literal;
use crate::verb::Verb;
use crate::words::Keyword;

pub(super) fn read(
    keyword: Keyword,
    cursor: &mut Cursor<'_>,
    dialect: &Dialect,
    outcome: &mut Outcome<'_>,
) {
    match keyword {
        Keyword::Use => {
            outcome.is(Verb::Use);
            match cursor.take_name() {
                Some(name) => outcome.effects.push(Effect::Use(name)),
                None => outcome.unparsed(),
            }
            outcome.expect_end(cursor);
        }
        Keyword::Call => {
            outcome.is(Verb::Call);
            outcome.facts.add(Facts::CALLS_ROUTINE);
            match take_table(cursor) {
                Some(name) => outcome.effects.push(Effect::CallRoutine { name }),
                None => outcome.unparsed(),
            }
        }
        Keyword::Kill => read_kill(cursor, dialect, outcome),
        Keyword::Load => read_load(cursor, dialect, outcome),
        _ => {
            outcome.is(Verb::GetDiagnostics);
            cursor.take_any(&["current", "stacked"]);
            if cursor.take_word("diagnostics") {
                outcome.effects.push(Effect::GetDiagnostics);
            } else {
                outcome.unparsed();
            }
        }
    }
}

fn read_kill(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Kill);
    if dialect.flavor == Flavor::MariaDb {
        cursor.take_any(&["hard", "soft"]);
    }
    let kind = match cursor.take_any(&["query", "connection"]) {
        Some("query") => KillKind::Query,
        _ => KillKind::Connection,
    };
    let target = if dialect.flavor == Flavor::MariaDb && cursor.take_word("user") {
        cursor.take_name_or_text(dialect).map(KillTarget::User)
    } else {
        if dialect.flavor == Flavor::MariaDb && kind == KillKind::Query {
            cursor.take_word("id");
        }
        cursor.take_expression().map(|expression| {
            let text = expression.span.of(cursor.sql());
            match std::str::from_utf8(text)
                .ok()
                .and_then(|digits| digits.parse().ok())
            {
                Some(id) => KillTarget::Id(id),
                None => KillTarget::Expr(expression.span),
            }
        })
    };
    match target {
        Some(target) => outcome.effects.push(Effect::Kill { kind, target }),
        None => outcome.unparsed(),
    }
}

fn read_load(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) {
    if cursor.take_any(&["data", "xml"]).is_none() {
        // LOAD INDEX INTO CACHE.
        outcome.defines(Verb::ServerAdmin, Facts::IMPLICIT_COMMIT);
        return;
    }
    outcome.is(Verb::LoadData);
    outcome.scope = Scope::LoadColumns;
    cursor.take_any(&["low_priority", "concurrent"]);
    cursor.take_word("from");
    if !cursor.take_word("local") {
        return;
    }
    outcome.facts.add(Facts::LOCAL_INFILE);
    cursor.take_any(&["infile", "url", "s3"]);
    let file = cursor
        .take_kind(TokenKind::String)
        .and_then(|token| literal::decode(cursor.bytes(token), dialect));
    match file {
        Some(file) => outcome
            .effects
            .push(Effect::LoadLocalInfile { file: file.into() }),
        None => outcome.unparsed(),
    }
}
