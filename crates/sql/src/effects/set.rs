//! `SET` in every form.
//!
//! Owns the list of assignments. Must never skip one silently: what is not understood is reported as UNPARSED_SET.

use super::{
    Effect, Outcome, Scope, TransactionScope, Value, VariableScope, query_verb,
    read as read_statement, transaction,
};
use crate::cursor::{Cursor, Expression, name_of};
use crate::dialect::{Dialect, Flavor};
use crate::facts::Facts;
use crate::lexer::{Lexer, TokenKind};
use crate::literal;
use crate::verb::Verb;
use crate::words;

pub(super) fn read(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) {
    outcome.is(Verb::Set);
    if dialect.flavor == Flavor::MariaDb && cursor.is_word("statement") {
        cursor.advance();
        return read_set_statement(cursor, dialect, outcome);
    }
    if read_special(cursor, outcome) {
        return;
    }
    let mut scope = VariableScope::Session;
    loop {
        if read_item(cursor, dialect, &mut scope, outcome).is_none() {
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
}

/// The forms that are no list of assignments.
fn read_special(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) -> bool {
    let mut ahead = *cursor;
    let scope = match ahead.take_any(&["session", "local", "global"]) {
        Some("global") => TransactionScope::Global,
        Some(_) => TransactionScope::Session,
        None => TransactionScope::Next,
    };
    if ahead.take_word("transaction") && matches!(ahead.peek_kind(), Some(TokenKind::Word) | None) {
        *cursor = ahead;
        transaction::read_set(cursor, scope, outcome);
        return true;
    }
    if cursor.take_words(&["default", "role"]) {
        outcome.defines(Verb::UserAdmin, Facts::IMPLICIT_COMMIT);
        return true;
    }
    if cursor.take_words(&["resource", "group"]) {
        outcome.effects.push(Effect::SetResourceGroup);
        // A name, then perhaps FOR and thread ids: nothing that assigns.
        while let Some(token) = cursor.advance() {
            if is_assignment(token.kind) {
                outcome.facts.add(Facts::UNPARSED_SET);
            }
        }
        return true;
    }
    false
}

fn is_assignment(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Equal | TokenKind::Assign)
}

/// `ROLE name`, `PASSWORD = …`: statements of their own in MySQL, items of the list in MariaDB.
fn read_account_item(
    cursor: &mut Cursor<'_>,
    dialect: &Dialect,
    outcome: &mut Outcome<'_>,
) -> Option<bool> {
    let assigned = cursor
        .peek_second()
        .is_some_and(|next| is_assignment(next.kind));
    if cursor.is_word("role") && !assigned {
        cursor.advance();
        outcome.facts.add(Facts::ROLE);
        outcome.effects.push(Effect::SetRole);
        cursor.take_expression()?;
        // MySQL: a list of roles may follow, and nothing else.
        while dialect.flavor == Flavor::MySql && cursor.take_kind(TokenKind::Comma).is_some() {
            let role = cursor.take_expression()?;
            if role.equals {
                return None;
            }
        }
        return Some(true);
    }
    if cursor.is_word("password") {
        cursor.advance();
        outcome.facts.add(Facts::IMPLICIT_COMMIT);
        outcome.effects.push(Effect::SetPassword);
        cursor.take_expression()?;
        return Some(true);
    }
    Some(false)
}

/// MariaDB: `SET STATEMENT a = 1, b = 2 FOR statement` restores the variables itself; only the statement counts.
fn read_set_statement(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) {
    let mut depth = 0u32;
    loop {
        let Some(token) = cursor.advance() else {
            outcome.facts.add(Facts::UNPARSED_SET);
            return;
        };
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Word if depth == 0 && cursor.token_is(token, "for") => break,
            _ => {}
        }
    }
    let Some(head) = cursor.peek() else {
        outcome.facts.add(Facts::UNPARSED_SET);
        return;
    };
    let keyword = words::lookup(cursor.bytes(head)).keyword;
    match query_verb(keyword) {
        Some(verb) => outcome.is(verb),
        // The server refuses most other statements here; one level of nesting is all that is followed.
        None if keyword == words::Keyword::Set => outcome.facts.add(Facts::UNPARSED_SET),
        None => read_statement(keyword, *cursor, dialect, outcome),
    }
    if outcome.scope != Scope::Expression {
        outcome.unparsed();
    }
}

fn read_item(
    cursor: &mut Cursor<'_>,
    dialect: &Dialect,
    scope: &mut VariableScope,
    outcome: &mut Outcome<'_>,
) -> Option<()> {
    let token = cursor.peek()?;
    match token.kind {
        TokenKind::UserVariable => read_user(cursor, dialect, outcome),
        TokenKind::SystemVariable => {
            cursor.advance();
            let (name, scope) = at_variable(cursor, token)?;
            read_assignment(cursor, name, scope, outcome)
        }
        TokenKind::Word | TokenKind::QuotedName => read_named(cursor, dialect, scope, outcome),
        _ => None,
    }
}

fn read_named(
    cursor: &mut Cursor<'_>,
    dialect: &Dialect,
    scope: &mut VariableScope,
    outcome: &mut Outcome<'_>,
) -> Option<()> {
    if read_account_item(cursor, dialect, outcome)? {
        return Some(());
    }
    let next = cursor.peek_second()?.kind;
    if !matches!(next, TokenKind::Equal | TokenKind::Assign | TokenKind::Dot) {
        if cursor.take_word("names") {
            return read_names(cursor, outcome);
        }
        if cursor.take_word("charset")
            || cursor.take_words(&["character", "set"])
            || cursor.take_words(&["char", "set"])
        {
            let charset = charset_value(cursor)?;
            outcome.effects.push(Effect::SetCharacterSet { charset });
            return Some(());
        }
        // A scope holds for the assignments after it, too, until the next scope.
        *scope =
            match cursor.take_any(&["session", "local", "global", "persist", "persist_only"])? {
                "global" => VariableScope::Global,
                "persist" => VariableScope::Persist,
                "persist_only" => VariableScope::PersistOnly,
                _ => VariableScope::Session,
            };
        let named = matches!(
            cursor.peek_kind(),
            Some(TokenKind::Word | TokenKind::QuotedName)
        );
        if !named {
            // `SET SESSION @@x` and the like are errors of the server's making.
            return None;
        }
    }
    let name = dotted_name(cursor)?;
    if dialect.flavor == Flavor::MySql && name.starts_with("new.") {
        return None;
    }
    read_assignment(cursor, name, *scope, outcome)
}

/// `name` or `part.name`, in lower case.
fn dotted_name(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let mut name = cursor.take_name()?.to_lowercase();
    while cursor.take_kind(TokenKind::Dot).is_some() {
        name.push('.');
        name.push_str(&cursor.take_name()?.to_lowercase());
    }
    Some(name.into())
}

/// The name and scope of `@@name`, `@@session.name`, `@@keycache.name`; the `@@` token is read already.
fn at_variable(
    cursor: &mut Cursor<'_>,
    token: crate::lexer::Token,
) -> Option<(Box<str>, VariableScope)> {
    let bytes = cursor.bytes(token).get(2..)?;
    let kind = match bytes.first()? {
        b'`' => TokenKind::QuotedName,
        _ => TokenKind::Word,
    };
    let first = name_of(kind, bytes).to_lowercase();
    if cursor.take_kind(TokenKind::Dot).is_none() {
        let scope = if is_transaction_characteristic(&first) {
            VariableScope::NextTransaction
        } else {
            VariableScope::Session
        };
        return Some((first.into(), scope));
    }
    let rest = dotted_name(cursor)?;
    let scope = match first.as_str() {
        "session" | "local" => VariableScope::Session,
        "global" => VariableScope::Global,
        "persist" => VariableScope::Persist,
        "persist_only" => VariableScope::PersistOnly,
        _ => return Some((format!("{first}.{rest}").into(), VariableScope::Session)),
    };
    Some((rest, scope))
}

/// Variables that, set through `@@` without a scope, hold for the next transaction only.
fn is_transaction_characteristic(name: &str) -> bool {
    matches!(
        name,
        "transaction_isolation" | "transaction_read_only" | "tx_isolation" | "tx_read_only"
    )
}

fn read_assignment(
    cursor: &mut Cursor<'_>,
    name: Box<str>,
    scope: VariableScope,
    outcome: &mut Outcome<'_>,
) -> Option<()> {
    take_equals(cursor)?;
    let expression = cursor.take_expression()?;
    if name.starts_with("session_track_") && scope == VariableScope::Session {
        outcome.facts.add(Facts::SETS_SESSION_TRACK);
    }
    if &*name == "autocommit" {
        outcome.facts.add(Facts::IMPLICIT_COMMIT);
    }
    let value = value_of(cursor, expression, outcome);
    outcome
        .effects
        .push(Effect::SetSystem { name, scope, value });
    Some(())
}

fn read_user(cursor: &mut Cursor<'_>, dialect: &Dialect, outcome: &mut Outcome<'_>) -> Option<()> {
    let token = cursor.advance()?;
    let name = user_variable_name(cursor.bytes(token), dialect)?;
    take_equals(cursor)?;
    let expression = cursor.take_expression()?;
    let mut value = value_of(cursor, expression, outcome);
    if let Value::Literal(span) = value {
        let text = span.of(cursor.sql());
        let constant = literal::decode(text, dialect).is_some()
            || ["null", "true", "false"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        if !constant {
            value = Value::Expr(span);
        }
    }
    if !matches!(value, Value::Literal(_)) {
        outcome.facts.add(Facts::USER_VARIABLE_ASSIGNED);
    }
    outcome.effects.push(Effect::SetUser { name, value });
    Some(())
}

/// The name in `@x`, `@'x'`, `` @`x` ``, in lower case.
pub(crate) fn user_variable_name(token: &[u8], dialect: &Dialect) -> Option<Box<str>> {
    let bytes = token.get(1..)?;
    let name = match bytes.first() {
        Some(b'`') => literal::unquote_name(bytes),
        Some(b'"') if dialect.ansi_quotes => literal::unquote_name(bytes),
        Some(b'\'' | b'"') => literal::decode(bytes, dialect)?,
        _ => bytes.to_vec(),
    };
    Some(String::from_utf8_lossy(&name).to_lowercase().into())
}

fn take_equals(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.peek_kind().filter(|kind| is_assignment(*kind))?;
    cursor.advance();
    Some(())
}

fn value_of(cursor: &Cursor<'_>, expression: Expression, outcome: &mut Outcome<'_>) -> Value {
    if expression.assigns {
        outcome.facts.add(Facts::USER_VARIABLE_ASSIGNED);
    }
    let text = expression.span.of(cursor.sql());
    if expression.tokens == 1 && text.eq_ignore_ascii_case(b"default") {
        return Value::Default;
    }
    let dialect = cursor.dialect();
    let constant = literal::decode(text, dialect).is_some()
        || (expression.tokens == 1 && is_bare_word(text, dialect));
    if constant {
        Value::Literal(expression.span)
    } else {
        Value::Expr(expression.span)
    }
}

fn is_bare_word(text: &[u8], dialect: &Dialect) -> bool {
    Lexer::new(text, dialect)
        .next()
        .is_some_and(|token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName))
}

fn read_names(cursor: &mut Cursor<'_>, outcome: &mut Outcome<'_>) -> Option<()> {
    let charset = charset_value(cursor)?;
    let collate = if cursor.take_word("collate") {
        Some(charset_value(cursor)?)
    } else {
        None
    };
    outcome.effects.push(Effect::SetNames { charset, collate });
    Some(())
}

/// A charset or collation: a word, a quoted name, a string, or DEFAULT.
fn charset_value(cursor: &mut Cursor<'_>) -> Option<Value> {
    let token = cursor.peek().filter(|token| {
        matches!(
            token.kind,
            TokenKind::Word | TokenKind::QuotedName | TokenKind::String
        )
    })?;
    cursor.advance();
    Some(if cursor.token_is(token, "default") {
        Value::Default
    } else {
        Value::Literal(token.span)
    })
}
