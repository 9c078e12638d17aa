//! The parser accepts what real servers accept: every statement of the corpus is PREPAREd on MySQL and on MariaDB.
//!
//! Owns the comparison of syntax alone: a server's syntax errors (1064, 1149) are refusals, every other answer means that its
//! grammar took the text. It must never execute a statement of the corpus. What a server takes and the parser does not is a
//! failure; the reverse is counted and bounded. Input: `crates/sql/cases/corpus/*.sql`; `DBMESH_CORPUS_SHOW` lists the reverse,
//! `DBMESH_CORPUS_SEED` and `DBMESH_CORPUS_COUNT` draw other damaged statements.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::Path;

use dbmesh_sql::ast::{Ast, Expr, ExprKind};
use dbmesh_sql::{Dialect, Flavor, Lexer, ParsedFacts, Parser};
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

fn start(kind: Kind) -> (Server, Session) {
    let server = Server::start(ServerOptions::new(kind)).unwrap();
    let session = Session::over_socket(&server.socket_path()).unwrap();
    for sql in SCHEMA {
        session.execute(sql).unwrap();
    }
    (server, session)
}

fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::MySql => Dialect {
            version: 90_700,
            ..Dialect::default()
        },
        Kind::MariaDb => Dialect {
            flavor: Flavor::MariaDb,
            version: 101_119,
            ..Dialect::default()
        },
    }
}

fn compare(kind: Kind) {
    let (server, session) = start(kind);
    let dialect = dialect(kind);
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

/// Draws numbers: the same ones for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// Operands, to stand where others stood.
const OPERANDS: &[&str] = &[
    "(SELECT 1)",
    "a + 1",
    "NOT a",
    "CASE a WHEN 1 THEN 2 END",
    "COUNT(*)",
    "@x := 1",
    "(a, b)",
    "ROW(1, 2)",
    "EXISTS (SELECT 1)",
    "INTERVAL 1 DAY + d",
    "a IN (1)",
    "a BETWEEN 1 AND 2",
    "a LIKE 'x'",
    "BINARY a",
    "a COLLATE utf8mb4_bin",
    "-a",
    "a IS NULL",
    "a = 1",
    "a OR b",
    "(SELECT 1 UNION SELECT 2)",
    "'a' 'b'",
    "CAST(a AS SIGNED)",
    "SUM(a) OVER (ORDER BY b)",
    "DEFAULT",
    "NULL",
    "?",
    "t.*",
    "*",
    "DATE '2024-01-01'",
    "a DIV 2",
    "a XOR b",
    "!a",
    "((SELECT 1) UNION (SELECT 2))",
    "{fn NOW()}",
    "a REGEXP b",
];

/// A statement of the corpus with one or two tokens taken away, doubled, exchanged or replaced by an operand.
fn damaged(draw: &mut Draw, statements: &[String], dialect: &Dialect) -> String {
    let tokens = |sql: &str| -> Vec<String> {
        Lexer::new(sql.as_bytes(), dialect)
            .map(|token| String::from_utf8_lossy(token.span.of(sql.as_bytes())).into_owned())
            .collect()
    };
    let mut words = tokens(&statements[draw.below(statements.len())]);
    let other = tokens(&statements[draw.below(statements.len())]);
    for _ in 0..=draw.below(2) {
        let at = draw.below(words.len());
        match draw.below(5) {
            0 if words.len() > 1 => drop(words.remove(at)),
            1 => words.insert(at, other[draw.below(other.len())].clone()),
            2 => words[at] = other[draw.below(other.len())].clone(),
            3 => words.insert(at, OPERANDS[draw.below(OPERANDS.len())].to_owned()),
            _ => words[at] = OPERANDS[draw.below(OPERANDS.len())].to_owned(),
        }
    }
    words.join(" ")
}

/// Queries and changes of rows that nobody wrote: what a server prepares to its end, the parser takes.
fn compare_damaged(kind: Kind) {
    let (_server, session) = start(kind);
    compare_damaged_in(kind, &session, &dialect(kind));
    session
        .execute("SET sql_mode = 'ANSI,HIGH_NOT_PRECEDENCE,NO_BACKSLASH_ESCAPES'")
        .unwrap();
    let ansi = Dialect {
        ansi_quotes: true,
        no_backslash_escapes: true,
        ignore_space: true,
        pipes_as_concat: true,
        high_not_precedence: true,
        ..dialect(kind)
    };
    compare_damaged_in(kind, &session, &ansi);
}

fn compare_damaged_in(kind: Kind, session: &Session, dialect: &Dialect) {
    let seed = std::env::var("DBMESH_CORPUS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let count = std::env::var("DBMESH_CORPUS_COUNT").map_or(1500, |count| count.parse().unwrap());
    let mut draw = Draw(seed);
    let known = |sql: &String| {
        let verb = sql.split_whitespace().next().unwrap_or_default();
        [
            "SELECT", "(SELECT", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE", "VALUES", "TABLE",
        ]
        .contains(&verb)
    };
    let statements: Vec<String> = statements().into_iter().filter(known).collect();
    let mut parser = Parser::new();
    let (mut prepared, mut refused) = (0, Vec::new());
    for _ in 0..count {
        let sql = damaged(&mut draw, &statements, dialect);
        let hex: String = sql.bytes().map(|byte| format!("{byte:02x}")).collect();
        session
            .execute(&format!("SET @corpus = _utf8mb4 x'{hex}'"))
            .unwrap();
        if session.execute("PREPARE corpus FROM @corpus").is_err() {
            continue;
        }
        prepared += 1;
        if let Err(error) = parser.parse(sql.as_bytes(), dialect) {
            refused.push(format!("{error}: {sql}"));
        }
    }
    println!(
        "{kind}, seed {seed}: {prepared} of {count} damaged statements are prepared, {} refused",
        refused.len()
    );
    assert!(
        refused.is_empty(),
        "prepared by {kind}, refused by the parser:\n{}",
        refused.join("\n")
    );
}

/// An expression of constants.
fn expression(draw: &mut Draw, depth: usize) -> String {
    const CONSTANTS: &[&str] = &[
        "0", "1", "2", "3", "7", "-1", "NULL", "1.5", "'1'", "'a'", "TRUE", "FALSE",
    ];
    const BETWEEN: &[&str] = &[
        "OR",
        "AND",
        "XOR",
        "&&",
        "||",
        "=",
        "<=>",
        "<",
        ">",
        "<=",
        ">=",
        "<>",
        "+",
        "-",
        "*",
        "/",
        "DIV",
        "MOD",
        "%",
        "|",
        "&",
        "^",
        "<<",
        ">>",
        "LIKE",
        "NOT LIKE",
        "REGEXP",
        "NOT REGEXP",
    ];
    let constant = |draw: &mut Draw| CONSTANTS[draw.below(CONSTANTS.len())].to_owned();
    if depth == 0 {
        return constant(draw);
    }
    let inner = |draw: &mut Draw| expression(draw, depth - 1);
    match draw.below(12) {
        0 => format!("NOT {}", inner(draw)),
        1 => format!("- {}", inner(draw)),
        2 => format!("! {}", inner(draw)),
        3 => format!("{} IS NULL", inner(draw)),
        4 => format!("{} IS NOT TRUE", inner(draw)),
        5 => format!("{} IN (1, {})", inner(draw), inner(draw)),
        6 => format!(
            "{} BETWEEN {} AND {}",
            inner(draw),
            inner(draw),
            inner(draw)
        ),
        7 => format!("({})", inner(draw)),
        _ => format!(
            "{} {} {}",
            inner(draw),
            BETWEEN[draw.below(BETWEEN.len())],
            inner(draw)
        ),
    }
}

/// The same text with parentheses around everything that the tree says belongs together.
fn parenthesised(ast: &Ast, sql: &str) -> String {
    let mut signs: Vec<(usize, bool)> = Vec::new();
    for node in ast.all::<Expr>() {
        let grouped = matches!(
            node.kind,
            ExprKind::Binary { .. }
                | ExprKind::And(_)
                | ExprKind::Or(_)
                | ExprKind::Unary(..)
                | ExprKind::Is { .. }
                | ExprKind::In { .. }
                | ExprKind::Between { .. }
                | ExprKind::Like { .. }
        );
        if grouped {
            signs.push((node.span.start, true));
            signs.push((node.span.end, false));
        }
    }
    // Where one ends and another begins, the end comes first; they never meet at one place without a blank.
    signs.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut out = sql.to_owned();
    for (at, open) in signs {
        out.insert(at, if open { '(' } else { ')' });
    }
    out
}

/// What the tree groups is what the server groups: parentheses around it change no value.
fn compare_groups(kind: Kind) {
    let (_server, session) = start(kind);
    session.execute("SET sql_mode = ''").unwrap();
    let seed = std::env::var("DBMESH_CORPUS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let count = std::env::var("DBMESH_CORPUS_COUNT").map_or(1500, |count| count.parse().unwrap());
    let modes = [
        ("", dialect(kind)),
        (
            "PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE",
            Dialect {
                pipes_as_concat: true,
                high_not_precedence: true,
                ..dialect(kind)
            },
        ),
    ];
    for (mode, dialect) in modes {
        session
            .execute(&format!("SET sql_mode = '{mode}'"))
            .unwrap();
        let mut draw = Draw(seed);
        let mut parser = Parser::new();
        let (mut compared, mut differences) = (0, Vec::new());
        for _ in 0..count {
            let depth = 1 + draw.below(3);
            let sql = format!("SELECT {}", expression(&mut draw, depth));
            let value = session.query(&sql);
            let ast = match (parser.parse(sql.as_bytes(), &dialect), &value) {
                (Ok(ast), Ok(_)) => ast,
                (Err(error), Ok(_)) => {
                    differences.push(format!("{error}: {sql}"));
                    continue;
                }
                _ => continue,
            };
            compared += 1;
            let grouped = parenthesised(ast, &sql);
            let again = session.query(&grouped);
            if again.as_ref().ok() != value.as_ref().ok() {
                differences.push(format!("{sql} is {value:?}\n{grouped} is {again:?}"));
            }
        }
        println!(
            "{kind} with sql_mode '{mode}', seed {seed}: {compared} expressions compared, {} differ",
            differences.len()
        );
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;

/// Where there are no tables, servers name the first that they miss: it is among the facts.
fn compare_tables(kind: Kind) {
    let (_server, session) = start(kind);
    session
        .execute("CREATE DATABASE empty_schema; USE empty_schema")
        .unwrap();
    let dialect = dialect(kind);
    let mut parser = Parser::new();
    let (mut missed, mut found) = (Vec::new(), 0);
    for sql in statements() {
        let hex: String = sql.bytes().map(|byte| format!("{byte:02x}")).collect();
        session
            .execute(&format!("SET @corpus = _utf8mb4 x'{hex}'"))
            .unwrap();
        let Err(Error::Sql {
            code: NO_SUCH_TABLE,
            message,
            ..
        }) = session.execute("PREPARE corpus FROM @corpus")
        else {
            continue;
        };
        // Table 'schema.name' doesn't exist
        let name = message
            .split('\'')
            .nth(1)
            .and_then(|name| name.split_once('.'))
            .unwrap()
            .1;
        let ast = parser.parse(sql.as_bytes(), &dialect).unwrap();
        let facts = ParsedFacts::of(ast, sql.as_bytes(), &dialect);
        let known = facts.tables.iter().any(|table| {
            let text = Ast::unquoted(sql.as_bytes(), table.name.name, &dialect);
            text.eq_ignore_ascii_case(name.as_bytes())
        });
        // MariaDB does not see an outer common table expression from the WITH of a derived table.
        let nested = kind == Kind::MariaDb && sql.contains("(WITH d AS (SELECT * FROM c)");
        match known || !facts.tables_known || nested {
            true => found += 1,
            false => missed.push(format!("{name}: {sql}")),
        }
    }
    println!(
        "{kind}: {found} missing tables are among the facts, {} are not",
        missed.len()
    );
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(found > 300, "{found}");
}

#[test]
fn mysql_misses_no_table_that_is_not_among_the_facts() {
    compare_tables(Kind::MySql);
}

#[test]
fn mariadb_misses_no_table_that_is_not_among_the_facts() {
    compare_tables(Kind::MariaDb);
}

#[test]
fn mysql_groups_expressions_as_the_parser_does() {
    compare_groups(Kind::MySql);
}

#[test]
fn mariadb_groups_expressions_as_the_parser_does() {
    compare_groups(Kind::MariaDb);
}

#[test]
fn mysql_prepares_no_damaged_statement_that_the_parser_refuses() {
    compare_damaged(Kind::MySql);
}

#[test]
fn mariadb_prepares_no_damaged_statement_that_the_parser_refuses() {
    compare_damaged(Kind::MariaDb);
}

#[test]
fn mysql_takes_no_statement_that_the_parser_refuses() {
    compare(Kind::MySql);
}

#[test]
fn mariadb_takes_no_statement_that_the_parser_refuses() {
    compare(Kind::MariaDb);
}
