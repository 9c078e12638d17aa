//! What `dbmesh import` wrote, served before real servers: answers are those that the servers give.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

use dbmesh_testkit::folder::Folder;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::Proxy;
use dbmesh_testkit::query::{Rows, Session};
use dbmesh_testkit::server::{APP_PASSWORD, APP_USER, Kind, shared};

/// What the command writes.
fn import(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dbmesh"))
        .arg("import")
        .args(arguments)
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{listed}");
    String::from_utf8(output.stdout).unwrap()
}

/// Rows that both servers and the mesh have in the same order.
fn rows(session: &Session, sql: &str) -> Rows {
    session
        .query(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

const TABLES: [&str; 4] = [
    "CREATE TABLE t_order (id BIGINT NOT NULL, user_id INT NOT NULL, total DECIMAL(9,2), PRIMARY KEY (id, user_id))",
    "CREATE TABLE t_log (id BIGINT NOT NULL PRIMARY KEY, line VARCHAR(20))",
    "CREATE TABLE t_country (code CHAR(2) NOT NULL PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE t_one (id INT NOT NULL PRIMARY KEY)",
];

const QUERIES: [&str; 8] = [
    "SELECT * FROM t_order ORDER BY id",
    "SELECT user_id, COUNT(*), SUM(total) FROM t_order GROUP BY user_id ORDER BY user_id",
    "SELECT * FROM t_order WHERE user_id = 3 AND id = 10",
    "SELECT * FROM t_order WHERE id BETWEEN 3 AND 9 ORDER BY id DESC LIMIT 3",
    "SELECT * FROM t_log WHERE id = 5000000035",
    "SELECT MIN(id), MAX(id), COUNT(*) FROM t_log",
    "SELECT * FROM t_country ORDER BY code",
    "SELECT * FROM t_one ORDER BY id",
];

/// A file of ShardingSphere's Proxy.
fn sharding_sphere(server: u16, listen: u16) -> String {
    let source = |n: u32| {
        format!(
            "  ds_{n}:\n    url: jdbc:mysql://127.0.0.1:{}/ss_{n}?useSSL=false\n    username: {APP_USER}\n    password: {APP_PASSWORD}\n",
            server
        )
    };
    format!(
        "databaseName: ss\ndataSources:\n{}{}props:\n  proxy-default-port: {}\nauthority:\n  users:\n  - {{user: 'root@%', password: root-secret}}\n\
         rules:\n- !SHARDING\n  tables:\n    t_order:\n      actualDataNodes: ds_${{0..1}}.t_order_$->{{0..1}}\n      databaseStrategy:\n        \
         standard: {{shardingColumn: user_id, shardingAlgorithmName: db}}\n      tableStrategy:\n        standard: {{shardingColumn: id, \
         shardingAlgorithmName: table}}\n  autoTables:\n    t_log:\n      actualDataSources: ds_${{0..1}}\n      shardingStrategy:\n        \
         standard: {{shardingColumn: id, shardingAlgorithmName: four}}\n  shardingAlgorithms:\n    db: {{type: INLINE, props: \
         {{algorithm-expression: 'ds_${{user_id % 2}}'}}}}\n    table: {{type: INLINE, props: {{algorithm-expression: 't_order_$->{{id % 2}}'}}}}\n    \
         four: {{type: HASH_MOD, props: {{sharding-count: 4}}}}\n- !BROADCAST\n  tables: [t_country]\n- !SINGLE\n  tables: ['ds_1.t_one']\n",
        source(0),
        source(1),
        listen
    )
}

#[test]
fn tables_of_shardingsphere_answer_as_whole_ones() {
    let server = shared(Kind::MySql);
    let port = Port::reserve().unwrap();
    let folder = Folder::create("imported").unwrap();
    let file = folder.path().join("config.yaml");
    let text = sharding_sphere(server.port(), port.number());
    std::fs::write(&file, text).unwrap();
    let config = import(&["shardingsphere", file.to_str().unwrap(), "--strict"]);
    for schema in ["ss_0", "ss_1", "ss_whole"] {
        server
            .execute(&format!("CREATE DATABASE {schema}"))
            .unwrap();
    }
    let proxy = Proxy::start(&config, &[]).unwrap();
    let mesh = Session::over_tcp(port.number(), "root", "root-secret", Some("ss")).unwrap();
    let whole = Session::over_tcp(server.port(), APP_USER, APP_PASSWORD, Some("ss_whole")).unwrap();
    for table in TABLES {
        mesh.execute(table)
            .unwrap_or_else(|error| panic!("{table}: {error}\n{}", proxy.log_tail(20)));
        whole.execute(table).unwrap();
    }
    let mut changes = vec![
        "INSERT INTO t_country VALUES ('de', 'Germany'), ('fr', 'France')".to_owned(),
        "INSERT INTO t_one VALUES (1), (2)".to_owned(),
    ];
    for id in 0..40 {
        changes.push(format!(
            "INSERT INTO t_order VALUES ({id}, {}, {id}.25)",
            id % 7
        ));
        changes.push(format!(
            "INSERT INTO t_log VALUES ({}, 'line {id}')",
            i64::from(id) * 1_000_000_007
        ));
    }
    changes.push("UPDATE t_order SET total = total + 1 WHERE user_id = 3".to_owned());
    changes.push("DELETE FROM t_order WHERE id = 5 AND user_id = 5".to_owned());
    for change in &changes {
        mesh.execute(change)
            .unwrap_or_else(|error| panic!("{change}: {error}"));
        whole.execute(change).unwrap();
    }
    for query in QUERIES {
        assert_eq!(rows(&mesh, query), rows(&whole, query), "{query}");
    }
    // Rows are where ShardingSphere would look for them: HASH_MOD is Java's hash of a Long, autoTables take turns.
    let hash = |id: i64| u64::from(((id ^ (id >> 32)) as i32).unsigned_abs());
    for id in (0..40_i64).map(|n| n * 1_000_000_007) {
        let slot = hash(id) % 4;
        let found = server.query_value(&format!(
            "SELECT COUNT(*) FROM ss_{}.t_log_{slot} WHERE id = {id}",
            slot % 2
        ));
        assert_eq!(found.unwrap().as_deref(), Some("1"), "{id}");
    }
    for id in [8, 15] {
        let found = server.query_value(&format!(
            "SELECT COUNT(*) FROM ss_{}.t_order_{} WHERE id = {id}",
            (id % 7) % 2,
            id % 2
        ));
        assert_eq!(found.unwrap().as_deref(), Some("1"), "{id}");
    }
}

#[test]
fn a_running_proxysql_is_asked_for_its_tables() {
    // An admin interface is a server with tables of these names, which asks for mysql_native_password as MariaDB does.
    let server = shared(Kind::MariaDb);
    let port = Port::reserve().unwrap();
    let (db, listen) = (server.port(), port.number());
    for statement in [
        "CREATE DATABASE main".to_owned(),
        "CREATE DATABASE psql_shop".to_owned(),
        "CREATE TABLE psql_shop.t (id INT PRIMARY KEY)".to_owned(),
        "INSERT INTO psql_shop.t VALUES (1), (2)".to_owned(),
        "CREATE USER 'admin'@'127.0.0.1' IDENTIFIED BY 'admin-secret'".to_owned(),
        "GRANT SELECT ON main.* TO 'admin'@'127.0.0.1'".to_owned(),
        "CREATE TABLE main.mysql_servers (hostgroup_id INT, hostname VARCHAR(99), port INT, status VARCHAR(20), weight INT, \
         compression INT, max_connections INT, max_replication_lag INT, use_ssl INT, max_latency_ms INT, comment VARCHAR(99))"
            .to_owned(),
        format!("INSERT INTO main.mysql_servers VALUES (0, '127.0.0.1', {db}, 'ONLINE', 1, 0, 20, 0, 0, 0, '')"),
        "CREATE TABLE main.mysql_users (username VARCHAR(99), password VARCHAR(99), active INT, use_ssl INT, default_hostgroup INT, \
         default_schema VARCHAR(99), schema_locked INT, transaction_persistent INT, fast_forward INT, backend INT, frontend INT, \
         max_connections INT, attributes VARCHAR(99), comment VARCHAR(99))"
            .to_owned(),
        format!("INSERT INTO main.mysql_users VALUES ('{APP_USER}', '{APP_PASSWORD}', 1, 0, 0, 'psql_shop', 0, 1, 0, 1, 1, 100, '', '')"),
        "CREATE TABLE main.mysql_query_rules (rule_id INT, active INT, username VARCHAR(99), flagIN INT, match_digest VARCHAR(99), \
         re_modifiers VARCHAR(99), error_msg VARCHAR(99), apply INT)"
            .to_owned(),
        "INSERT INTO main.mysql_query_rules VALUES (1, 1, NULL, 0, '^DELETE FROM t$', 'CASELESS', 'no', 0)".to_owned(),
        "CREATE TABLE main.global_variables (variable_name VARCHAR(99), variable_value VARCHAR(99))".to_owned(),
        format!("INSERT INTO main.global_variables VALUES ('mysql-interfaces', '127.0.0.1:{listen}')"),
    ] {
        server.execute(&statement).unwrap();
    }
    let dsn = format!("mysql://admin:admin-secret@127.0.0.1:{db}/main");
    let config = import(&["proxysql", &dsn, "--strict"]);
    let _proxy = Proxy::start(&config, &[]).unwrap();
    let session = Session::over_tcp(listen, APP_USER, APP_PASSWORD, None).unwrap();
    assert_eq!(
        rows(&session, "SELECT COUNT(*), DATABASE() FROM t"),
        [[Some("2".to_owned()), Some("psql_shop".to_owned())]]
    );
    let refused = session.execute("delete from t").unwrap_err().to_string();
    assert!(refused.contains("rule-1"), "{refused}");
    assert_eq!(
        rows(&session, "SELECT COUNT(*) FROM t"),
        [[Some("2".to_owned())]]
    );

    let wrong = format!("mysql://admin:wrong@127.0.0.1:{db}/main");
    let output = Command::new(env!("CARGO_BIN_EXE_dbmesh"))
        .args(["import", "proxysql", &wrong])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("Access denied") && !said.contains("wrong"),
        "{said}"
    );
}
