//! Every statement of the corpus is parsed, and both tiers agree on what it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/corpus.rs"]
mod corpus;

use dbmesh_sql::ast::Body;
use dbmesh_sql::{Dialect, ParsedFacts, Parser, StatementKind, Verb, analyze};

/// Statements the corpus has at least.
const STATEMENTS_MIN: usize = 2000;

fn run(dialect: &Dialect, accepted: impl Fn(&corpus::Line) -> bool) -> Vec<String> {
    let mut parser = Parser::new();
    let mut failures = Vec::new();
    for line in corpus::lines().into_iter().filter(|line| accepted(line)) {
        let sql = line.sql.as_bytes();
        let mut fail = |why: String| failures.push(format!("{}: {why}: {}", line.place, line.sql));
        let ast = match parser.parse(sql, dialect) {
            Ok(ast) => ast,
            Err(error) => {
                fail(error.to_string());
                continue;
            }
        };
        corpus::check_spans(ast, sql);
        let parsed = ast.statement();
        let understood = matches!(
            parsed.kind,
            StatementKind::Select
                | StatementKind::Table
                | StatementKind::Values
                | StatementKind::Insert
                | StatementKind::Replace
                | StatementKind::Update
                | StatementKind::Delete
                | StatementKind::LoadData
                | StatementKind::CreateTable
        );
        if understood && parsed.body == Body::Recognised {
            fail("recognised only".to_owned());
        }
        let statement = analyze(sql, dialect);
        // MariaDB's ANALYZE has the verb of what it wraps in tier 1.
        let wraps = line.sql.starts_with("ANALYZE");
        if parsed.kind.verb() != statement.verb && !wraps && statement.verb != Verb::Unknown {
            fail(format!(
                "{:?} here, {:?} in tier 1",
                parsed.kind, statement.verb
            ));
        }
        let facts = ParsedFacts::of(ast, sql, dialect);
        if facts.implicit_commit != statement.facts.has(dbmesh_sql::Facts::IMPLICIT_COMMIT) {
            fail(format!("commits: {} here", facts.implicit_commit));
        }
        let proved = facts.read_only == dbmesh_sql::parsed::ReadOnly::Proved;
        // Tier 1 takes these two for calls of unknown functions.
        let like_a_call = ["TABLESAMPLE", "PROCEDURE ANALYSE"]
            .iter()
            .any(|w| line.sql.contains(w));
        if proved && !statement.is_read_only() && !like_a_call {
            fail(format!(
                "proved read-only here, not in tier 1: {:?}",
                statement.facts
            ));
        }
    }
    failures
}

#[test]
fn the_corpus_is_large() {
    assert!(corpus::lines().len() >= STATEMENTS_MIN);
}

#[test]
fn mysql_statements_are_parsed() {
    let failures = run(&corpus::mysql(), |line| line.mysql);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn mariadb_statements_are_parsed() {
    let failures = run(&corpus::mariadb(), |line| line.mariadb);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
