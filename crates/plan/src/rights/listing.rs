//! SHOW TABLES and SHOW DATABASES for a user who may not see all of them.
//!
//! Owns the text that shows what is granted and nothing else. Names go into it as bytes, so that no quote of theirs counts.

use dbmesh_model::topology::Grant;
use dbmesh_sql::ast::Ast;
use dbmesh_sql::literal::{hex_literal, quote_identifier};
use dbmesh_sql::{Lexer, Token, TokenKind, Verb};

use super::shown;
use crate::judge::Subject;

/// What a SHOW of names must be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// SHOW DATABASES.
    Schemas,
    /// SHOW TABLES.
    Tables,
}

/// The SHOW of names that a statement is.
#[must_use]
pub fn listing(subject: &Subject<'_>) -> Option<Listing> {
    if subject.statement.verb != Verb::Show {
        return None;
    }
    let text = shown(subject);
    let is = |words: &str| text == words || text.starts_with(&format!("{words} "));
    if is("DATABASES") || is("SCHEMAS") {
        return Some(Listing::Schemas);
    }
    (is("TABLES") || is("FULL TABLES")).then_some(Listing::Tables)
}

/// The statement with a WHERE that leaves out what no grant speaks of; none if it is no SHOW of names.
#[must_use]
pub fn filtered(grants: &[Grant], subject: &Subject<'_>) -> Option<Vec<u8>> {
    let listing = listing(subject)?;
    let sql = subject.sql;
    let tokens: Vec<Token> = Lexer::new(sql, subject.dialect)
        .filter(|token| !token.kind.is_trivia() && token.kind != TokenKind::Semicolon)
        .collect();
    let is = |at: usize, word: &str| {
        let token: Option<&Token> = tokens.get(at);
        token.is_some_and(|t| t.span.of(sql).eq_ignore_ascii_case(word.as_bytes()))
    };
    let full = is(1, "FULL");
    let mut at = if full { 3 } else { 2 };
    let mut schema = subject.schema.unwrap_or_default().to_vec();
    let named = listing == Listing::Tables && (is(at, "FROM") || is(at, "IN"));
    if named {
        schema = Ast::unquoted(sql, tokens.get(at + 1)?.span, subject.dialect).into_owned();
        at += 2;
    }
    let name = String::from_utf8_lossy(&schema).into_owned();
    let (head, column, patterns) = match listing {
        Listing::Schemas => {
            let all = grants.iter().flat_map(|grant| &grant.tables);
            let schemas = all.map(|(schema, _)| schema.clone());
            let always = ["information_schema".to_owned()];
            let patterns: Vec<String> = schemas.chain(always).collect();
            (b"SHOW DATABASES".to_vec(), "Database".to_owned(), patterns)
        }
        Listing::Tables => {
            let here = grants.iter().filter(|grant| grant.reaches(&name));
            let tables = here.flat_map(|grant| &grant.tables);
            let patterns = tables.map(|(_, table)| table.clone()).collect();
            let mut head = if full {
                b"SHOW FULL TABLES".to_vec()
            } else {
                b"SHOW TABLES".to_vec()
            };
            if named {
                head.extend_from_slice(b" FROM ");
                head.extend_from_slice(&quote_identifier(&schema));
            }
            (head, format!("Tables_in_{name}"), patterns)
        }
    };
    let column = quote_identifier(column.as_bytes());
    let mut text = head;
    text.extend_from_slice(b" WHERE (");
    text.extend_from_slice(&granted(&column, &patterns));
    text.push(b')');
    if let Some(condition) = tokens.get(at) {
        let rest = sql.get(condition.span.end..tokens.last()?.span.end)?;
        text.extend_from_slice(b" AND (");
        match condition.span.of(sql).to_ascii_uppercase().as_slice() {
            b"LIKE" => {
                text.extend_from_slice(&column);
                text.extend_from_slice(b" LIKE ");
            }
            b"WHERE" => {}
            _ => return None,
        }
        text.extend_from_slice(rest);
        text.push(b')');
    }
    Some(text)
}

/// One of the patterns, letter by letter.
fn granted(column: &[u8], patterns: &[String]) -> Vec<u8> {
    let mut text = b"1 = 0".to_vec();
    for pattern in patterns {
        let mut like = Vec::new();
        for byte in pattern.bytes() {
            match byte {
                b'*' => like.push(b'%'),
                b'%' | b'_' | b'|' => like.extend_from_slice(&[b'|', byte]),
                other => like.push(other),
            }
        }
        text.extend_from_slice(b" OR CONVERT(");
        text.extend_from_slice(column);
        text.extend_from_slice(b" USING utf8mb4) COLLATE utf8mb4_bin LIKE _utf8mb4 ");
        text.extend_from_slice(&hex_literal(&like));
        text.extend_from_slice(b" ESCAPE '|'");
    }
    text
}
