//! Statements prepared by name in SQL: PREPARE, EXECUTE, DEALLOCATE.

use super::{Effect, Outcome};
use crate::cursor::Cursor;
use crate::facts::Facts;
use crate::lexer::Span;
use crate::literal;
use crate::verb::Verb;
use crate::words::Keyword;

pub(super) fn read(keyword: Keyword, cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    match keyword {
        Keyword::Prepare => read_prepare(cursor, outcome),
        Keyword::Execute => read_execute(cursor, outcome),
        _ => {
            outcome.is(Verb::Deallocate);
            if cursor.take_word("prepare") {
                read_deallocate(cursor, outcome);
            } else {
                outcome.unparsed();
            }
        }
    }
}

/// Statement names do not depend on letter case.
fn take_statement_name(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    cursor.take_name().map(|name| name.to_lowercase().into())
}

fn read_prepare(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Prepare);
    let name = take_statement_name(cursor);
    let (Some(name), true) = (name, cursor.take_word("from")) else {
        return outcome.unparsed();
    };
    let text = take_text(cursor);
    outcome.effects.push(Effect::PrepareSql { name, text });
}

/// The rest of the statement, if it is one literal.
fn take_text(cursor: &mut Cursor<'_>) -> Option<Span> {
    let expression = cursor.take_expression()?;
    let text = expression.span.of(cursor.sql());
    literal::decode(text, cursor.dialect()).map(|_| expression.span)
}

fn read_execute(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Execute);
    outcome.facts.add(Facts::DYNAMIC_SQL);
    if cursor.is_word("immediate")
        && cursor
            .peek_second()
            .is_some_and(|next| !cursor.token_is(next, "using"))
    {
        cursor.advance();
        // USING may follow the literal; without a comma it is part of no literal, so look at the first token alone.
        let text = cursor.peek().and_then(|token| {
            let bytes = cursor.bytes(token);
            literal::decode(bytes, cursor.dialect()).map(|_| token.span)
        });
        cursor.advance();
        let alone = cursor.at_end() || cursor.is_word("using");
        let text = if alone { text } else { None };
        outcome.effects.push(Effect::ExecuteImmediate { text });
        return;
    }
    match take_statement_name(cursor) {
        Some(name) => outcome.effects.push(Effect::ExecuteSql { name }),
        None => outcome.unparsed(),
    }
}

/// The name after `DEALLOCATE PREPARE` or `DROP PREPARE`.
pub(super) fn read_deallocate(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Deallocate);
    match take_statement_name(cursor) {
        Some(name) => outcome.effects.push(Effect::DeallocateSql { name }),
        None => outcome.unparsed(),
    }
}
