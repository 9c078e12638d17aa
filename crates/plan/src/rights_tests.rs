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

/// Every kind of statement, and what is said to a user who may only read `app.orders`. Checked against what MySQL 9.7 and
/// MariaDB 10.11 say to a user with SELECT on one table.
const OF_KINDS: &[(StatementKind, &str, &str)] = {
    use StatementKind as Kind;
    const ADMIN: &str = "the right `admin`";
    const DDL: &str = "the right `ddl` on `*.*`";
    const UNKNOWN: &str = "statements that are not understood";
    const FILES: &str = "files of the server: the right `admin`";
    &[
        (Kind::Select, "SELECT * FROM orders", "ok"),
        (Kind::Values, "VALUES ROW(1)", "ok"),
        (Kind::Table, "TABLE orders", "ok"),
        (
            Kind::Insert,
            "INSERT INTO orders VALUES (1)",
            "WRITE on orders",
        ),
        (
            Kind::Replace,
            "REPLACE orders VALUES (1)",
            "WRITE on orders",
        ),
        (Kind::Update, "UPDATE orders SET a = 1", "WRITE on orders"),
        (Kind::Delete, "DELETE FROM orders", "WRITE on orders"),
        (
            Kind::LoadData,
            "LOAD DATA INFILE 'x' INTO TABLE orders",
            FILES,
        ),
        (
            Kind::LoadData,
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE orders",
            "WRITE on orders",
        ),
        (Kind::ImportTable, "IMPORT TABLE FROM 'x.sdi'", FILES),
        (Kind::Call, "CALL p()", "stored code: the right `call`"),
        (Kind::Do, "DO 1", "ok"),
        (
            Kind::Handler,
            "HANDLER orders OPEN",
            "stored code: the right `call`",
        ),
        (Kind::Set, "SET NAMES utf8mb4, @a = 1, sql_mode = ''", "ok"),
        (Kind::Set, "SET GLOBAL max_connections = 1", ADMIN),
        (Kind::Set, "SET PERSIST max_connections = 1", ADMIN),
        (Kind::Set, "SET PASSWORD = 'x'", ADMIN),
        (Kind::Set, "SET ROLE ALL", ADMIN),
        (Kind::Set, "SET RESOURCE GROUP rg", ADMIN),
        (Kind::Set, "SET SQL_LOG_BIN = 0", ADMIN),
        (
            Kind::Set,
            "SET @a = 1, @@session.gtid_next = 'AUTOMATIC'",
            ADMIN,
        ),
        (Kind::Set, "SET LOCAL binlog_format = 'ROW'", ADMIN),
        (Kind::SetTransaction, "SET TRANSACTION READ ONLY", "ok"),
        (
            Kind::SetTransaction,
            "SET GLOBAL TRANSACTION READ ONLY",
            ADMIN,
        ),
        (Kind::Use, "USE app", "ok"),
        (Kind::Begin, "START TRANSACTION", "ok"),
        (Kind::Commit, "COMMIT", "ok"),
        (Kind::Rollback, "ROLLBACK", "ok"),
        (Kind::Savepoint, "SAVEPOINT a", "ok"),
        (Kind::ReleaseSavepoint, "RELEASE SAVEPOINT a", "ok"),
        (Kind::RollbackTo, "ROLLBACK TO a", "ok"),
        (Kind::Xa, "XA START 'a'", "ok"),
        (Kind::Xa, "XA COMMIT 'a'", "ok"),
        (Kind::Xa, "XA RECOVER", ADMIN),
        (Kind::Xa, "xa /* x */ recover CONVERT XID", ADMIN),
        (Kind::LockTables, "LOCK TABLES orders READ", "ok"),
        (
            Kind::LockTables,
            "LOCK TABLES secrets READ",
            "SELECT on secrets",
        ),
        (Kind::UnlockTables, "UNLOCK TABLES", "ok"),
        (Kind::LockInstance, "LOCK INSTANCE FOR BACKUP", ADMIN),
        (Kind::UnlockInstance, "UNLOCK INSTANCE", ADMIN),
        (Kind::Flush, "FLUSH TABLES orders WITH READ LOCK", ADMIN),
        (Kind::Flush, "FLUSH STATUS", ADMIN),
        (Kind::Prepare, "PREPARE s FROM 'SELECT 1'", "ok"),
        (Kind::Execute, "EXECUTE s", "ok"),
        (Kind::Deallocate, "DEALLOCATE PREPARE s", "ok"),
        (Kind::Kill, "KILL 5", "ok"),
        (Kind::Show, "SHOW VARIABLES", "ok"),
        (
            Kind::Show,
            "SHOW PROCESSLIST",
            "this SHOW: the right `admin`",
        ),
        (
            Kind::Show,
            "SHOW ENGINE INNODB STATUS",
            "this SHOW: the right `admin`",
        ),
        (Kind::Show, "SHOW REPLICAS", "this SHOW: the right `admin`"),
        (
            Kind::Show,
            "SHOW BINARY LOGS",
            "this SHOW: the right `admin`",
        ),
        (Kind::Explain, "EXPLAIN SELECT * FROM orders", "ok"),
        (
            Kind::Explain,
            "EXPLAIN SELECT * FROM secrets",
            "SELECT on secrets",
        ),
        (Kind::Explain, "EXPLAIN FOR CONNECTION 5", ADMIN),
        (
            Kind::Explain,
            "EXPLAIN FOR SCHEMA other SELECT * FROM orders",
            ADMIN,
        ),
        (Kind::Describe, "DESCRIBE orders", "ok"),
        (Kind::Help, "HELP 'select'", "ok"),
        (
            Kind::CreateTable,
            "CREATE TABLE orders (a INT)",
            "ALTER on orders",
        ),
        (
            Kind::AlterTable,
            "ALTER TABLE orders ADD b INT",
            "ALTER on orders",
        ),
        (Kind::DropTable, "DROP TABLE orders", "ALTER on orders"),
        (Kind::TruncateTable, "TRUNCATE orders", "ALTER on orders"),
        (
            Kind::RenameTable,
            "RENAME TABLE orders TO x",
            "ALTER on orders",
        ),
        (
            Kind::CreateIndex,
            "CREATE INDEX i ON orders (a)",
            "ALTER on orders",
        ),
        (Kind::DropIndex, "DROP INDEX i ON orders", "ALTER on orders"),
        (Kind::CreateView, "CREATE VIEW v AS SELECT 1", "ALTER on v"),
        (Kind::AlterView, "ALTER VIEW v AS SELECT 1", "ALTER on v"),
        (Kind::DropView, "DROP VIEW v", "ALTER on v"),
        (Kind::CreateDatabase, "CREATE DATABASE d", DDL),
        (Kind::AlterDatabase, "ALTER DATABASE d READ ONLY = 1", DDL),
        (Kind::DropDatabase, "DROP DATABASE d", DDL),
        (Kind::CreateRoutine, "CREATE PROCEDURE p() SELECT 1", DDL),
        (Kind::AlterRoutine, "ALTER PROCEDURE p COMMENT 'x'", DDL),
        (Kind::DropRoutine, "DROP PROCEDURE p", DDL),
        (
            Kind::CreateTrigger,
            "CREATE TRIGGER g BEFORE INSERT ON orders FOR EACH ROW SET @a = 1",
            DDL,
        ),
        (Kind::DropTrigger, "DROP TRIGGER g", DDL),
        (
            Kind::CreateEvent,
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders",
            DDL,
        ),
        (Kind::AlterEvent, "ALTER EVENT e DISABLE", DDL),
        (Kind::DropEvent, "DROP EVENT e", DDL),
        (
            Kind::CreateOther,
            "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
            ADMIN,
        ),
        (
            Kind::CreateOther,
            "CREATE RESOURCE GROUP g TYPE = USER",
            ADMIN,
        ),
        (Kind::AlterOther, "ALTER INSTANCE RELOAD TLS", ADMIN),
        (Kind::DropOther, "DROP UNDO TABLESPACE u", ADMIN),
        (Kind::UserAdmin, "CREATE USER u", ADMIN),
        (Kind::UserAdmin, "GRANT SELECT ON orders TO u", ADMIN),
        (Kind::Maintenance, "CHECKSUM TABLE orders", "ok"),
        (Kind::Maintenance, "CHECK TABLE orders", "ok"),
        (
            Kind::Maintenance,
            "CHECK TABLE secrets",
            "SELECT on secrets",
        ),
        (Kind::Maintenance, "ANALYZE TABLE orders", "WRITE on orders"),
        (
            Kind::Maintenance,
            "OPTIMIZE TABLE orders",
            "WRITE on orders",
        ),
        (Kind::Maintenance, "REPAIR TABLE orders", "WRITE on orders"),
        (Kind::GetDiagnostics, "GET DIAGNOSTICS @a = NUMBER", "ok"),
        (Kind::Signal, "SIGNAL SQLSTATE '45000'", "ok"),
        (Kind::Reset, "RESET PERSIST", ADMIN),
        (Kind::Replication, "STOP REPLICA", ADMIN),
        (Kind::ServerAdmin, "PURGE BINARY LOGS TO 'x'", ADMIN),
        (Kind::ServerAdmin, "SHUTDOWN", ADMIN),
        (Kind::ServerAdmin, "INSTALL COMPONENT 'file://x'", ADMIN),
        (
            Kind::ServerAdmin,
            "CACHE INDEX orders IN c",
            "ALTER on orders",
        ),
        (Kind::CreateSequence, "CREATE SEQUENCE s", "ALTER on s"),
        (
            Kind::AlterSequence,
            "ALTER SEQUENCE s RESTART 1",
            "ALTER on s",
        ),
        (Kind::DropSequence, "DROP SEQUENCE s", "ALTER on s"),
        (Kind::Compound, "BEGIN NOT ATOMIC SELECT 1; END", UNKNOWN),
    ]
};

#[test]
fn every_kind_of_statement_needs_the_right_that_mysql_asks_for() {
    let own = grant(&[("app", "orders")], &[Right::Read], None);
    let rights = Rights {
        grants: Some(vec![own]),
        ..Rights::default()
    };
    let mysql = Dialect::default();
    let maria = Dialect {
        flavor: Flavor::MariaDb,
        version: 101_100,
        ..Dialect::default()
    };
    let mut seen = std::collections::HashSet::from([StatementKind::Empty]);
    let mut parser = Parser::new();
    for (kind, sql, expected) in OF_KINDS {
        let of_mysql = parser.parse(sql.as_bytes(), &mysql);
        let of_mysql = of_mysql.is_ok_and(|ast| ast.statement().kind == *kind);
        let dialect = if of_mysql { &mysql } else { &maria };
        let ast = parser
            .parse(sql.as_bytes(), dialect)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(ast.statement().kind, *kind, "{sql}");
        assert_eq!(verdict(&rights, sql, dialect), *expected, "{sql}");
        seen.insert(*kind);
    }
    assert_eq!(
        seen.len(),
        StatementKind::Compound as usize + 1,
        "a kind is not listed"
    );
    for (sql, expected) in [
        ("SET sql_log_bin = 0", "the right `admin`"),
        (
            "SET STATEMENT sql_log_bin = 0 FOR SELECT 1",
            "the right `admin`",
        ),
        ("SET max_error_count = 5", "ok"),
        (
            "SET STATEMENT max_statement_time = 1, `Sql_Log_Bin` = 0 FOR SELECT 1",
            "the right `admin`",
        ),
        (
            "SET STATEMENT max_statement_time = 1 FOR SELECT a FROM orders",
            "ok",
        ),
        (
            "SET STATEMENT max_statement_time = 1 FOR SELECT a FROM secrets",
            "SELECT on secrets",
        ),
        ("BACKUP LOCK orders", "the right `admin`"),
        ("BACKUP STAGE START", "the right `admin`"),
    ] {
        assert_eq!(verdict(&rights, sql, &maria), expected, "{sql}");
    }
    let loads = "CREATE FUNCTION f RETURNS INTEGER SONAME 'x.so'";
    let builder = Rights {
        grants: Some(vec![grant(&[("*", "*")], &[Right::Ddl, Right::Call], None)]),
        ..Rights::default()
    };
    assert_eq!(verdict(&builder, loads, &mysql), "the right `admin`");
    assert_eq!(
        verdict(&builder, "CREATE PROCEDURE p() SELECT 1", &mysql),
        "ok"
    );
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
