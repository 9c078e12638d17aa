//! Properties of the parser that hold for every text.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/corpus.rs"]
mod corpus;

use std::time::{Duration, Instant};

use dbmesh_sql::{Dialect, Lexer, ParsedFacts, Parser, Span};
use proptest::prelude::*;

/// Words and signs of the grammar.
const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "(",
    ")",
    ",",
    ".",
    "*",
    "a",
    "t",
    "`q`",
    "'s'",
    "1",
    "?",
    "@v",
    "@@x",
    ":=",
    "=",
    "<=>",
    "<",
    "AND",
    "OR",
    "NOT",
    "||",
    "IN",
    "BETWEEN",
    "LIKE",
    "ESCAPE",
    "IS",
    "NULL",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "INTERVAL",
    "DAY",
    "+",
    "-",
    "!",
    "BINARY",
    "COLLATE",
    "CAST",
    "AS",
    "SIGNED",
    "COUNT(",
    "GROUP_CONCAT(",
    "DISTINCT",
    "ORDER",
    "BY",
    "GROUP",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "UNION",
    "ALL",
    "INTERSECT",
    "WITH",
    "RECURSIVE",
    "JOIN",
    "LEFT",
    "ON",
    "USING",
    "NATURAL",
    "LATERAL",
    "JSON_TABLE(",
    "COLUMNS",
    "NESTED",
    "PATH",
    "VALUES",
    "ROW",
    "TABLE",
    "FOR",
    "UPDATE",
    "SHARE",
    "INTO",
    "OUTFILE",
    "INSERT",
    "SET",
    "DEFAULT",
    "DUPLICATE",
    "KEY",
    "DELETE",
    "REPLACE",
    "OVER",
    "WINDOW",
    "PARTITION",
    "ROWS",
    "PRECEDING",
    "CREATE",
    "ALTER",
    "DROP",
    "INDEX",
    "VIEW",
    "SHOW",
    "EXPLAIN",
    "LOCK",
    "TABLES",
    "LOAD",
    "DATA",
    "INFILE",
    "EXISTS",
    "ANY",
    "->",
    "->>",
    "{",
    "}",
    "/*!",
    "*/",
    "/*+ x */",
    ";",
    "--",
    "MATCH",
    "AGAINST",
    "TRIM(",
    "EXTRACT(",
    "USE",
    "RETURNING",
    "NEXT",
    "VALUE",
    "BEGIN",
    "PROCEDURE",
    "INT",
    "REFERENCES",
];

fn parse_and_check(sql: &[u8], dialect: &Dialect) {
    let mut parser = Parser::new();
    let mut offset = 0;
    // Every statement takes at least one byte, or is the last.
    for _ in 0..=sql.len() {
        let Ok(ast) = parser.parse_at(sql, offset, dialect) else {
            return;
        };
        corpus::check_spans(ast, sql);
        let facts = ParsedFacts::of(ast, sql, dialect);
        for table in &facts.tables {
            assert!(
                table.name.span.end <= sql.len() && table.name.span.start < table.name.span.end
            );
        }
        let next = ast.statement().next_offset;
        if next >= sql.len() {
            return;
        }
        assert!(next > offset, "a statement ends after it starts");
        offset = next;
    }
}

fn both(sql: &[u8]) {
    for dialect in [corpus::mysql(), corpus::mariadb()] {
        parse_and_check(sql, &dialect);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_words_give_a_tree_or_an_error(words in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        both(words.join(" ").as_bytes());
    }

    #[test]
    fn any_bytes_give_a_tree_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        both(&bytes);
    }

    #[test]
    fn a_damaged_statement_gives_a_tree_or_an_error(
        line in prop::sample::select(corpus::lines().into_iter().map(|l| l.sql).collect::<Vec<_>>()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, prop::sample::select(PIECES)), 1..4),
    ) {
        let dialect = Dialect::default();
        let mut tokens: Vec<String> = Lexer::new(line.as_bytes(), &dialect)
            .map(|token| String::from_utf8_lossy(token.span.of(line.as_bytes())).into_owned())
            .collect();
        for (place, what, piece) in edits {
            let at = place.index(tokens.len());
            match what {
                0 if tokens.len() > 1 => drop(tokens.remove(at)),
                1 => tokens.insert(at, piece.to_owned()),
                2 => tokens[at] = piece.to_owned(),
                _ => tokens.truncate(at + 1),
            }
        }
        both(tokens.join(" ").as_bytes());
    }
}

fn spliced(sql: &str, span: Span, name: &str) -> String {
    format!("{}{name}{}", &sql[..span.start], &sql[span.end..])
}

/// What a rewriter relies on: another name at a table's span is another table, and nothing else changes.
#[test]
fn a_table_spliced_is_a_table_renamed() {
    const NEW: &str = "`new ``name`";
    let mut replaced = 0;
    for (dialect, mariadb) in [(corpus::mysql(), false), (corpus::mariadb(), true)] {
        let accepted = |line: &corpus::Line| if mariadb { line.mariadb } else { line.mysql };
        let mut parser = Parser::new();
        for line in corpus::lines().into_iter().filter(accepted) {
            let sql = line.sql.as_str();
            let names = |facts: &ParsedFacts, sql: &str| -> Vec<String> {
                let text = |span: Span| sql[span.start..span.end].to_owned();
                facts
                    .tables
                    .iter()
                    .map(|table| text(table.name.span))
                    .collect()
            };
            let before = ParsedFacts::of(
                parser.parse(sql.as_bytes(), &dialect).unwrap(),
                sql.as_bytes(),
                &dialect,
            );
            let names_before = names(&before, sql);
            for (n, table) in before.tables.iter().enumerate() {
                let new = spliced(sql, table.name.span, NEW);
                let ast = parser
                    .parse(new.as_bytes(), &dialect)
                    .unwrap_or_else(|error| panic!("{}: {error}: {new}", line.place));
                let after = ParsedFacts::of(ast, new.as_bytes(), &dialect);
                let mut expected = names_before.clone();
                expected[n] = NEW.to_owned();
                assert_eq!(names(&after, &new), expected, "{}: {new}", line.place);
                assert_eq!(
                    (after.kind, after.read_only, after.parameters),
                    (before.kind, before.read_only, before.parameters)
                );
                replaced += 1;
            }
        }
    }
    assert!(replaced > 2000, "{replaced} names replaced");
}

#[test]
fn nesting_is_refused_before_the_stack_ends() {
    let mut parser = Parser::new();
    for (open, close) in [
        ("(", ")"),
        ("- ", ""),
        ("NOT ", ""),
        ("! ", ""),
        ("BINARY ", ""),
        ("(SELECT ", ")"),
        ("f(", ")"),
        ("COUNT(", ")"),
        ("CASE WHEN ", " THEN 1 END"),
        ("CAST(", " AS SIGNED)"),
        ("@a := ", ""),
        ("INTERVAL (", ", 1)"),
        ("EXISTS (SELECT ", ")"),
        ("{fn ", "}"),
        ("a IN (", ")"),
        ("1 + (", ")"),
        ("a LIKE (a AND (", "))"),
        ("(1, ", ")"),
        ("SUM(1) OVER (ORDER BY ", ")"),
    ] {
        for depth in [40, 100_000] {
            let sql = format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth));
            let result = parser.parse(sql.as_bytes(), &corpus::mysql()).map(|_| ());
            assert_eq!(
                result.is_ok(),
                depth == 40,
                "{depth} x {open:?}: {result:?}"
            );
        }
    }
    for (head, open, tail) in [
        ("SELECT 1 FROM ", "(", "t"),
        ("SELECT 1 FROM ", "(SELECT 1 FROM ", "t"),
        ("", "(", "SELECT 1"),
        ("", "WITH c AS (", "SELECT 1"),
        ("SELECT 1 FROM t ", "JOIN t ", ""),
        (
            "SELECT 1 FROM JSON_TABLE('', '' COLUMNS (",
            "NESTED PATH '' COLUMNS (",
            "a",
        ),
    ] {
        let sql = format!("{head}{}{tail}", open.repeat(100_000));
        assert!(parser.parse(sql.as_bytes(), &corpus::mysql()).is_err());
    }
}

#[test]
fn chains_are_not_nesting() {
    let mut parser = Parser::new();
    for link in [
        "a = 1 AND ",
        "a = 1 OR ",
        "1 + ",
        "a = ",
        "'x' || ",
        "1 UNION SELECT ",
    ] {
        let sql = format!("SELECT {}1", link.repeat(20_000));
        let ast = parser
            .parse(sql.as_bytes(), &corpus::mysql())
            .unwrap_or_else(|e| panic!("{link}: {e}"));
        ParsedFacts::of(ast, sql.as_bytes(), &corpus::mysql());
    }
}

#[test]
fn megabytes_are_parsed_in_time() {
    let mut parser = Parser::new();
    for (head, piece, tail) in [
        ("SELECT 1 WHERE a IN (1", ", 1", ")"),
        ("INSERT INTO t VALUES (1, 2)", ", (1, 2)", ""),
        ("SELECT a", ", a", " FROM t"),
        ("SELECT 1 FROM t", ", t", ""),
        ("SELECT 1 FROM t", " JOIN t ON 1", ""),
        ("UPDATE t", ", t SET t.a = 1", ""),
        ("DELETE t FROM t", ", t", ""),
        ("SELECT 1", " UNION SELECT 1", ""),
        ("SELECT ", "(", ""),
        ("SELECT ", "INTERVAL(", ""),
        ("WITH a AS (SELECT 1)", ", a AS (SELECT 1)", " SELECT 1"),
        ("CREATE TABLE t (a INT", ", a INT", ")"),
        ("ALTER TABLE t ADD a INT", ", ADD a INT", ""),
        ("LOCK TABLES t READ", ", t READ", ""),
        ("", "BEGIN ", ""),
        ("CREATE PROCEDURE p() BEGIN ", "SELECT 1; ", "END"),
        ("SELECT a", ".a", ""),
        ("SELECT 'a'", " 'a'", ""),
        ("SELECT ", "/*!", "1"),
    ] {
        let sql = format!("{head}{}{tail}", piece.repeat(1_000_000 / piece.len()));
        let start = Instant::now();
        if let Ok(ast) = parser.parse(sql.as_bytes(), &corpus::mysql()) {
            ParsedFacts::of(ast, sql.as_bytes(), &corpus::mysql());
        }
        // An unoptimised build on a busy machine reads this in well under a second; quadratic work takes hours.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{piece}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn statements_of_one_text_are_parsed_one_by_one() {
    let sql = b"SELECT 1; ; CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END; INSERT INTO t VALUES (';') ";
    let mut parser = Parser::new();
    let mut kinds = Vec::new();
    let mut offset = 0;
    while offset < sql.len() {
        let parsed = *parser
            .parse_at(sql, offset, &corpus::mysql())
            .unwrap()
            .statement();
        kinds.push(format!("{:?}", parsed.kind));
        offset = parsed.next_offset;
    }
    assert_eq!(kinds, ["Select", "CreateRoutine", "Insert"]);
}
