//! The parser accepts what real servers accept: every statement of the corpus is PREPAREd on MySQL and on MariaDB.
//!
//! Owns the comparison of syntax alone: a server's syntax errors (1064, 1149) are refusals, every other answer means that its
//! grammar took the text. It must never execute a statement of the corpus. What a server takes and the parser does not is a
//! failure; the reverse is counted and bounded. Input: `crates/sql/cases/corpus/*.sql`; `DBMESH_CORPUS_SHOW` lists the reverse.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;

use dbmesh_sql::{Dialect, Flavor, Parser};
use dbmesh_testkit::{Error, Kind, Server, ServerOptions, Session};

/// Statements that a server refuses and the parser takes. These are options of definitions and of administration that only
/// the other flavor has (nothing depends on them: such statements are recognised, not understood), counts of arguments
/// (MariaDB's LAG has two), types of casts, and VALUES() outside of ON DUPLICATE KEY UPDATE, which MariaDB refuses.
const TAKEN_BEYOND_MAX: [(Kind, usize); 2] = [(Kind::MySql, 60), (Kind::MariaDb, 130)];

/// ER_PARSE_ERROR, ER_SYNTAX_ERROR, and MariaDB's unknown name after `EXPLAIN FORMAT =`.
const SYNTAX_ERRORS: [u16; 3] = [1064, 1149, 1791];

/// Tables that most statements of the corpus name, so that servers come to the end of what they check.
const SCHEMA: &[&str] = &[
    "CREATE DATABASE test",
    "USE test",
    "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b INT, c INT, d DATETIME, doc JSON, txt VARCHAR(50), \
     KEY ia (a), KEY ib (b), FULLTEXT KEY ft (txt))",
    "CREATE TABLE s (id INT, a INT, b INT, c INT)",
    "CREATE TABLE t1 (id INT, a INT, b INT)",
];

fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/cases/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    let lines: Vec<String> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let statement = |line: &String| line.split_once("| ").map(|(_, sql)| sql.to_owned());
    lines.iter().filter_map(statement).collect()
}

/// Whether the server's grammar takes the statement, and what it said otherwise.
fn prepare(session: &Session, sql: &str) -> Result<(), String> {
    let hex: String = sql.bytes().map(|byte| format!("{byte:02x}")).collect();
    session
        .execute(&format!("SET @corpus = _utf8mb4 x'{hex}'"))
        .unwrap();
    match session.execute("PREPARE corpus FROM @corpus") {
        Err(Error::Sql { code, message, .. }) if SYNTAX_ERRORS.contains(&code) => Err(message),
        Ok(()) | Err(Error::Sql { .. }) => Ok(()),
        Err(error) => panic!("{sql}: {error}"),
    }
}

fn compare(kind: Kind) {
    let server = Server::start(ServerOptions::new(kind)).unwrap();
    let session = Session::over_socket(&server.socket_path()).unwrap();
    for sql in SCHEMA {
        session.execute(sql).unwrap();
    }
    let dialect = match kind {
        Kind::MySql => Dialect {
            version: 90_700,
            ..Dialect::default()
        },
        Kind::MariaDb => Dialect {
            flavor: Flavor::MariaDb,
            version: 101_119,
            ..Dialect::default()
        },
    };
    let mut parser = Parser::new();
    let (mut refused, mut beyond, mut both) = (Vec::new(), Vec::new(), 0);
    for sql in statements() {
        let ours = parser.parse(sql.as_bytes(), &dialect).map(|_| ());
        match (prepare(&session, &sql), ours) {
            (Ok(()), Ok(())) => both += 1,
            (Ok(()), Err(error)) => refused.push(format!("{error}: {sql}")),
            (Err(_), Ok(())) => beyond.push(sql),
            (Err(_), Err(_)) => {}
        }
    }
    let version = server.installation().version();
    println!(
        "{kind} {version}: {both} taken by both, {} by the server alone, {} by the parser alone",
        refused.len(),
        beyond.len()
    );
    if std::env::var_os("DBMESH_CORPUS_SHOW").is_some() {
        println!("{}", beyond.join("\n"));
    }
    assert!(
        refused.is_empty(),
        "taken by {kind} {version} alone:\n{}",
        refused.join("\n")
    );
    let max = TAKEN_BEYOND_MAX
        .iter()
        .find(|(of, _)| *of == kind)
        .unwrap()
        .1;
    assert!(
        beyond.len() <= max,
        "taken by the parser alone:\n{}",
        beyond.join("\n")
    );
}

#[test]
fn mysql_takes_no_statement_that_the_parser_refuses() {
    compare(Kind::MySql);
}

#[test]
fn mariadb_takes_no_statement_that_the_parser_refuses() {
    compare(Kind::MariaDb);
}
