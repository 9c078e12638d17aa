use dbmesh_sql::{Dialect, Flavor, ParsedFacts, Parser, analyze};

use super::*;

fn grant(tables: &[(&str, &str)], allow: &[Right], columns: Option<&[&str]>) -> Grant {
    let own = |text: &&str| (*text).to_owned();
    Grant {
        tables: tables.iter().map(|(s, t)| (own(s), own(t))).collect(),
        allow: allow.to_vec(),
        columns: columns.map(|names| names.iter().map(own).collect()),
    }
}

fn verdict(rights: &Rights, sql: &str, dialect: &Dialect) -> String {
    let statement = analyze(sql.as_bytes(), dialect);
    let subject = Subject {
        statement: &statement,
        sql: sql.as_bytes(),
        dialect,
        schema: Some(b"app"),
    };
    let mut parser = Parser::new();
    let mut facts = ParsedFacts::default();
    let tree = parser.parse(sql.as_bytes(), dialect).ok().map(|ast| {
        facts.fill(ast, sql.as_bytes(), dialect);
        (ast, &facts)
    });
    match permit(rights, &subject, tree) {
        Ok(()) => "ok".to_owned(),
        Err(denial) => denial.to_string(),
    }
}

fn clerk() -> Rights {
    Rights {
        grants: Some(vec![
            grant(&[("app", "orders")], &[Right::Read, Right::Write], None),
            grant(&[("app", "log_*")], &[Right::Write], None),
            grant(&[("app", "users")], &[Right::Read], Some(&["id", "name"])),
            grant(
                &[("scratch", "*")],
                &[Right::Read, Right::Write, Right::Ddl],
                None,
            ),
        ]),
        ..Rights::default()
    }
}

/// What the clerk may do.
const GRANTED: &[&str] = &[
    "SELECT * FROM orders",
    "SELECT o.id FROM app.orders o JOIN users u ON u.id = o.user_id",
    "UPDATE orders SET a = 1 WHERE id = 2",
    "INSERT INTO log_1 (a) VALUES (1)",
    "SELECT u.name FROM users u WHERE u.id = 1",
    "CREATE TABLE scratch.x (a INT)",
    "DROP TABLE scratch.x",
    "BEGIN",
    "COMMIT",
    "SET NAMES utf8mb4",
    "SET autocommit = 0",
    "SELECT 1",
    "SHOW VARIABLES LIKE 'x'",
    "SHOW WARNINGS",
    "SHOW TABLES",
    "SHOW DATABASES",
    "SHOW CREATE TABLE orders",
    "SHOW COLUMNS FROM users",
    "PREPARE s FROM 'SELECT 1'",
    "EXECUTE s",
    "LOCK TABLES orders WRITE",
    "KILL QUERY 5",
    "EXPLAIN SELECT * FROM orders",
    "SELECT COUNT(*) FROM users",
    "WITH secrets AS (SELECT 1 AS a) SELECT a FROM secrets",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE orders",
];

/// What not, and what is missing.
const DENIED: &[(&str, &str)] = &[
    ("SELECT * FROM secrets", "SELECT on secrets"),
    ("SELECT * FROM Orders", "SELECT on Orders"),
    (
        "SELECT (SELECT 1 FROM secrets LIMIT 1)",
        "SELECT on secrets",
    ),
    (
        "WITH x AS (SELECT * FROM secrets) SELECT 1",
        "SELECT on secrets",
    ),
    (
        "SELECT * FROM orders, (SELECT * FROM other.t) x",
        "SELECT on t",
    ),
    (
        "INSERT INTO orders SELECT * FROM secrets",
        "SELECT on secrets",
    ),
    ("TABLE secrets", "SELECT on secrets"),
    ("SELECT * FROM log_1", "SELECT on log_1"),
    ("UPDATE log_1 SET a = 1 WHERE b = 2", "SELECT on log_1"),
    ("DELETE FROM secrets", "WRITE on secrets"),
    ("DROP TABLE orders", "ALTER on orders"),
    ("TRUNCATE orders", "ALTER on orders"),
    (
        "ALTER TABLE scratch.x RENAME TO app.orders",
        "ALTER on orders",
    ),
    ("CREATE TABLE scratch.y LIKE secrets", "SELECT on secrets"),
    (
        "CREATE VIEW scratch.v AS SELECT * FROM secrets",
        "SELECT on secrets",
    ),
    ("SELECT * FROM users", "column * of users"),
    ("SELECT password FROM users", "column password of users"),
    (
        "SELECT id AS password FROM users WHERE password = 'x'",
        "column password of users",
    ),
    ("SELECT u.password FROM users u", "column password of users"),
    (
        "SELECT 1 FROM users JOIN orders USING (password)",
        "column password of users",
    ),
    (
        "SELECT id FROM users NATURAL JOIN orders",
        "column * of users",
    ),
    ("SHOW CREATE TABLE secrets", "SELECT on secrets"),
    ("SHOW GRANTS", "this SHOW: the right `admin`"),
    ("SHOW PROCESSLIST", "this SHOW: the right `admin`"),
    ("SHOW TABLE STATUS", "this SHOW: the right `admin`"),
    ("SET GLOBAL x = 1", "the right `admin`"),
    ("FLUSH TABLES", "the right `admin`"),
    ("CREATE USER x", "the right `admin`"),
    ("CREATE DATABASE x", "the right `ddl` on `*.*`"),
    ("DROP DATABASE app", "the right `ddl` on `*.*`"),
    ("CALL p()", "stored code: the right `call`"),
    ("SELECT f(1) FROM orders", "stored code: the right `call`"),
    ("HANDLER secrets OPEN", "stored code: the right `call`"),
    ("CREATE PROCEDURE p() SELECT 1", "the right `ddl` on `*.*`"),
    (
        "SELECT * INTO OUTFILE 'x' FROM orders",
        "files of the server: the right `admin`",
    ),
    (
        "SELECT LOAD_FILE('x')",
        "files of the server: the right `admin`",
    ),
    (
        "LOAD DATA INFILE 'x' INTO TABLE orders",
        "files of the server: the right `admin`",
    ),
    ("SELECT a FRM (", "statements that are not understood"),
    ("SELECT * FROM mysql.user", "SELECT on user"),
    (
        "SELECT * FROM information_schema.processlist",
        "SELECT on processlist",
    ),
];

#[test]
fn grants_hold_for_every_table_wherever_it_stands() {
    let (rights, dialect) = (clerk(), Dialect::default());
    for sql in GRANTED {
        assert_eq!(verdict(&rights, sql, &dialect), "ok", "{sql}");
    }
    for (sql, denied) in DENIED {
        assert_eq!(verdict(&rights, sql, &dialect), *denied, "{sql}");
    }
    let maria = Dialect {
        flavor: Flavor::MariaDb,
        version: 101_100,
        ..Dialect::default()
    };
    for (sql, denied) in [
        (
            "DELETE FROM log_1 WHERE a = 1 RETURNING b",
            "SELECT on log_1",
        ),
        (
            "INSERT INTO log_1 (a) VALUES (1) RETURNING b",
            "SELECT on log_1",
        ),
        (
            "BEGIN NOT ATOMIC DELETE FROM orders; END",
            "statements that are not understood",
        ),
    ] {
        assert_eq!(verdict(&rights, sql, &maria), denied, "{sql}");
    }
}

#[test]
fn a_reader_changes_nothing() {
    let dialect = Dialect::default();
    let rights = Rights {
        read_only: true,
        ..Rights::default()
    };
    for sql in [
        "SELECT * FROM t",
        "BEGIN",
        "SET NAMES utf8mb4",
        "SHOW TABLES",
        "USE app",
        "EXECUTE s",
        "PREPARE s FROM 'SELECT 1'",
        "EXPLAIN UPDATE t SET a = 1",
    ] {
        assert_eq!(verdict(&rights, sql, &dialect), "ok", "{sql}");
    }
    for sql in [
        "INSERT INTO t VALUES (1)",
        "SELECT * FROM t FOR UPDATE",
        "SELECT f(1)",
        "CALL p()",
        "SET GLOBAL x = 1",
        "SET @a = f(1)",
        "DROP TABLE t",
        "SELECT 1 INTO OUTFILE 'x'",
        "DO f(1)",
        "SELECT a FRM (",
        "LOCK TABLES t WRITE",
    ] {
        let denied = verdict(&rights, sql, &dialect);
        assert_eq!(denied, "writing: the user is read-only", "{sql}");
    }
}
