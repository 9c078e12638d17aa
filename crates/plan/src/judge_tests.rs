use dbmesh_model::host::Host;
use dbmesh_model::topology::Topology;
use dbmesh_model::{load_text, resolve};
use dbmesh_sql::{Flavor, analyze_guarded};
use std::path::Path;
use zeroize::Zeroizing;

use super::*;

struct NoHost;

impl Host for NoHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn read(&self, _: &Path) -> std::io::Result<Zeroizing<String>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// A topology with these lines in its strategy.
fn with(lines: &str) -> Topology {
    let text = format!(
        "apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {{name: v}}
spec: {{services: [{{name: s, databaseMySQL: {{user: u, password: long-password}}, trafficStrategy: t}}]}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {{name: t}}
spec:
  selector: {{}}
{lines}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: e}}
spec: {{database: {{MySQL: {{host: 127.0.0.1, port: 3306, user: r, password: r-password}}}}}}
"
    );
    resolve(load_text(Path::new("x.yaml"), &text), &NoHost)
        .unwrap_or_else(|e| panic!("{e}\n{text}"))
}

const RULES: &str = r#"
  circuitBreaks: [{name: older, regex: ["^delete from sock$"]}]
  rules:
  - {name: verbs, match: {verbs: [drop, delete]}, action: deny}
  - {name: classes, match: {classes: [ddl]}, action: deny}
  - {name: regex, match: {regex: ["^SELECT SLEEP\\(\\?\\)"]}, action: deny}
  - {name: tables, match: {tables: [app.secrets, "log_*"]}, action: deny}
  - {name: writes, match: {tables: [app.t], access: write}, action: deny}
  - {name: columns, match: {columns: [app.users.password]}, action: deny}
  - {name: no-where, match: {verbs: [update, delete], without: [where]}, action: deny}
  - {name: everything, delayMs: 1}
"#;

/// The names of rules that hold, and of those that cannot be told, with `?`.
fn judged(judge: &mut Judge, topology: &Topology, sql: &str, dialect: &Dialect) -> String {
    let book = &topology.services[0].strategy.rules;
    let statement = analyze_guarded(sql.as_bytes(), dialect, 7);
    let subject = Subject {
        statement: &statement,
        sql: sql.as_bytes(),
        dialect,
        schema: Some(b"App"),
    };
    let found = judge.find(book, 1, &subject);
    assert_eq!(found, judge.find(book, 1, &subject), "{sql}, remembered");
    let name = |place: usize| book.rules()[place].name.clone();
    let mut names: Vec<String> = found.sure.iter().map(name).collect();
    names.retain(|name| name != "everything");
    names.extend(
        found
            .unknown
            .iter()
            .map(|place| format!("{}?", name(place))),
    );
    names.join(" ")
}

#[test]
fn texts_are_judged_by_what_servers_read() {
    let topology = with(RULES);
    let (mut judge, dialect) = (Judge::default(), Dialect::default());
    for (sql, expected) in [
        ("SELECT 1", ""),
        ("delete from sock", "older verbs no-where"),
        ("delete/**/from\n`sock`", "older verbs no-where"),
        ("/*!50000 delete*/ from sock", "older verbs no-where"),
        ("/*!99999 delete*/ SELECT 1", ""),
        ("select /* x */ sleep( 5 )", "regex"),
        ("SELECT a FROM `Secrets`", "tables"),
        ("SELECT a FROM app . secrets", "tables"),
        ("SELECT a FROM other.secrets", ""),
        ("SELECT a FROM other.log_2024", "tables"),
        ("WITH s AS (SELECT * FROM secrets) SELECT 1", "tables"),
        ("WITH secrets AS (SELECT 1 AS a) SELECT a FROM secrets", ""),
        ("SELECT (SELECT MAX(x) FROM app.secrets)", "tables"),
        ("INSERT INTO x SELECT * FROM secrets", "tables"),
        ("TABLE secrets", "tables"),
        ("EXPLAIN SELECT * FROM secrets", "tables"),
        ("SELECT a FROM t", ""),
        ("INSERT INTO t (a) VALUES (1)", "writes"),
        ("UPDATE t, u SET u.a = t.a WHERE t.a = 1", ""),
        ("SELECT id FROM users", ""),
        ("SELECT PassWord FROM users", "columns"),
        ("SELECT u.* FROM users u", "columns"),
        ("SELECT COUNT(*) FROM users", ""),
        (
            "SELECT x FROM (SELECT `password` AS x FROM users) y",
            "columns",
        ),
        ("UPDATE u SET a = 1 WHERE 1 = 1", "no-where"),
        ("UPDATE u SET a = 1 WHERE b = 1", ""),
        ("SELECT f(a) FROM u", "tables? writes? columns?"),
        ("CALL p()", "tables? writes? columns?"),
        (
            "CREATE PROCEDURE p() BEGIN DELETE FROM t; END",
            "classes verbs? regex? tables? writes? columns? no-where?",
        ),
        ("SELECT a FRM t WHERE (", "tables? writes? columns?"),
    ] {
        let found = judged(&mut judge, &topology, sql, &dialect);
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn hints_are_code_that_expressions_see_and_that_evades_none() {
    let rules = r#"
  rules:
  - {name: hints, match: {regex: ["/\\*\\+.*SET_VAR"]}, action: deny}
  - {name: sleeps, match: {regex: ["^SELECT SLEEP"]}, action: deny}
"#;
    let topology = with(rules);
    let (mut judge, dialect) = (Judge::default(), Dialect::default());
    for (sql, expected) in [
        ("SELECT sleep(1)", "sleeps"),
        ("SELECT /*+ BKA(t) */ sleep(1)", "sleeps"),
        ("SELECT /*+ set_var (a=1) */ sleep(1)", "hints sleeps"),
        ("SELECT /*+ set_var(a=1) */ 1", "hints"),
        ("SELECT /* set_var(a=1) */ 1", ""),
        ("SELECT 1", ""),
    ] {
        let found = judged(&mut judge, &topology, sql, &dialect);
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn the_dialect_decides_what_a_text_is() {
    let topology = with(RULES);
    let mut judge = Judge::default();
    let sql = r#"SELECT "a" FROM t WHERE b = "x' UNION SELECT password FROM users -- ""#;
    assert_eq!(judged(&mut judge, &topology, sql, &Dialect::default()), "");
    let maria = Dialect {
        flavor: Flavor::MariaDb,
        version: 101_100,
        ..Dialect::default()
    };
    // ANALYZE runs what it explains.
    let sql = "ANALYZE DELETE FROM u WHERE a = 1";
    assert_eq!(judged(&mut judge, &topology, sql, &maria), "verbs");
    let ansi = Dialect {
        ansi_quotes: true,
        ..Dialect::default()
    };
    let sql = r#"SELECT "password" FROM "users""#;
    assert_eq!(judged(&mut judge, &topology, sql, &ansi), "columns");
}

#[test]
fn what_runs_inside_is_found() {
    let dialect = Dialect::default();
    let inner = |sql: &str| {
        let statement = dbmesh_sql::analyze(sql.as_bytes(), &dialect);
        inner_of(&Subject {
            statement: &statement,
            sql: sql.as_bytes(),
            dialect: &dialect,
            schema: None,
        })
    };
    assert_eq!(inner("SELECT 1"), []);
    assert_eq!(
        inner("PREPARE S FROM 'DROP TABLE t'"),
        [Inner::Text(Some("s".into()), b"DROP TABLE t".to_vec())]
    );
    assert_eq!(
        inner("PREPARE s FROM @q"),
        [Inner::Hidden(Some("s".into()))]
    );
    assert_eq!(
        inner("PREPARE s FROM _utf16 'DROP'"),
        [Inner::Hidden(Some("s".into()))]
    );
    assert_eq!(inner("EXECUTE S USING @a"), [Inner::Named("s".into())]);
}

#[test]
fn what_is_read_in_another_way_is_not_known() {
    let dialect = Dialect {
        flavor: dbmesh_sql::Flavor::MariaDb,
        ..Dialect::default()
    };
    for (settings, hidden) in [
        ("max_statement_time = 1", false),
        ("sql_mode = 'ANSI_QUOTES'", true),
        ("max_statement_time = 1, `SQL_MODE` = ''", true),
        ("character_set_client = gbk", true),
    ] {
        let sql = format!("SET STATEMENT {settings} FOR EXECUTE IMMEDIATE 'SELECT \"a\"'");
        let statement = dbmesh_sql::analyze(sql.as_bytes(), &dialect);
        let inner = inner_of(&Subject {
            statement: &statement,
            sql: sql.as_bytes(),
            dialect: &dialect,
            schema: None,
        });
        let known = Inner::Text(None, b"SELECT \"a\"".to_vec());
        let expected = if hidden { Inner::Hidden(None) } else { known };
        assert_eq!(inner, [expected], "{settings}");
    }
}
