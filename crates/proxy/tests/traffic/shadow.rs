//! Shadow statements, over two real servers: what is marked never reaches production, and nothing else a shadow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::Server;
use dbmesh_testkit::config::Config;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::relay::{Arrival, Direction, Fault, FaultRelay};
use dbmesh_testkit::server::{Kind, ServerOptions};

use crate::ask::{assert_error, attributed, execute, prepare, query_with};
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::stage::Stage;

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// A server of production and a shadow, with the same tables; `who` says which it is.
pub fn pair(kind: Kind) -> (Server, Server) {
    let start = || Server::start(ServerOptions::new(kind)).unwrap();
    let (home, shadow) = std::thread::scope(|scope| {
        let home = scope.spawn(start);
        let shadow = start();
        (home.join().unwrap(), shadow)
    });
    for (server, name) in [(&home, "home"), (&shadow, "away")] {
        server
            .execute(&format!(
                "CREATE DATABASE app; CREATE TABLE app.who (id VARCHAR(9)); INSERT INTO app.who VALUES ('{name}'); \
                 CREATE TABLE app.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, mark VARCHAR(9))"
            ))
            .unwrap();
    }
    (home, shadow)
}

/// A document of an endpoint at this port.
pub fn endpoint(name: &str, role: &str, kind: Kind, port: u16) -> String {
    format!(
        "---\napiVersion: core.database-mesh.io/v1alpha1\nkind: DatabaseEndpoint\nmetadata: {{name: {name}}}\n\
         spec: {{role: {role}, database: {{{kind}: {{host: 127.0.0.1, port: {port}, user: app, password: app-password}}}}}}\n"
    )
}

fn before(home: &Server, shadow_port: u16, strategy: &[&str]) -> Stage {
    let port = Port::reserve().unwrap();
    let config = Config::new(home, port.number(), 8)
        .schema("app")
        .service("users: [{name: load, password: load-password}]");
    let config = strategy
        .iter()
        .fold(config, |config, line| config.strategy(line));
    let yaml = config.to_yaml() + &endpoint("shade", "shadow", home.kind(), shadow_port);
    Stage::of_yaml(&yaml, port, &[])
}

const WHO: &str = "SELECT id FROM who";
const SHADOW_WHO: &str = "/* mesh: shadow */ SELECT id FROM who";

#[test]
fn marked_statements_run_on_the_shadow_instead() {
    for kind in KINDS {
        let (home, shadow) = pair(kind);
        let rules = "shadow: {endpoint: shade, rules: [{name: load, users: [load]}, \
                     {name: text, regex: ['(?i)pressure']}, {name: tag, tags: {load: '1'}}]}";
        let stage = before(
            &home,
            shadow.port(),
            &[rules, "hints: {users: [app, load]}"],
        );
        let mut client = RawClient::app(stage.port);
        for sql in [
            SHADOW_WHO,
            "SELECT id FROM who WHERE 'Pressure' <> ''",
            "SELECT id FROM who /* mesh: tag.load=1 */",
            "/* SHARDINGSPHERE_HINT: SHADOW=true */ SELECT id FROM who",
        ] {
            assert_eq!(client.query(sql).value(), "away", "{kind:?}: {sql}");
            assert_eq!(client.query(WHO).value(), "home", "{kind:?}");
        }
        for sql in ["SELECT id FROM who /* mesh: tag.load=2 */", WHO] {
            assert_eq!(client.query(sql).value(), "home", "{kind:?}: {sql}");
        }
        let (marked, _) = prepare(&mut client, SHADOW_WHO).unwrap();
        let (plain, _) = prepare(&mut client, WHO).unwrap();
        for _ in 0..3 {
            assert_eq!(execute(&mut client, marked, &[], None).value(), "away");
            assert_eq!(execute(&mut client, plain, &[], None).value(), "home");
        }
        let credentials = Credentials::of("load", "load-password").schema("app");
        let mut load = RawClient::logged_in(stage.port, &credentials);
        assert_eq!(load.query(WHO).value(), "away");
        assert_eq!(load.query("BEGIN"), Reply::Ok);
        assert_eq!(load.query("INSERT INTO t VALUES (1, 'load')"), Reply::Ok);
        assert_eq!(load.query("COMMIT"), Reply::Ok);
        let (id, _) = prepare(&mut load, WHO).unwrap();
        assert_eq!(execute(&mut load, id, &[], None).value(), "away");
        let count = "SELECT COUNT(*) FROM app.t";
        assert_eq!(home.query_value(count).unwrap().as_deref(), Some("0"));
        assert_eq!(shadow.query_value(count).unwrap().as_deref(), Some("1"));
    }
}

#[test]
fn an_attribute_marks_one_execution() {
    let (home, shadow) = pair(Kind::MySql);
    let lines = ["shadow: {endpoint: shade}", "hints: {users: [app]}"];
    let stage = before(&home, shadow.port(), &lines);
    let mut client = attributed(stage.port);
    let who = "SELECT id FROM app.who";
    assert_eq!(query_with(&mut client, "shadow", who).value(), "away");
    let (id, _) = prepare(&mut client, who).unwrap();
    for _ in 0..3 {
        assert_eq!(
            execute(&mut client, id, &[], Some("shadow")).value(),
            "away"
        );
        assert_eq!(execute(&mut client, id, &[], None).value(), "home");
    }
    let begin = query_with(&mut client, "shadow", "BEGIN");
    assert_eq!(begin, Reply::Ok);
    let (late, _) = prepare(&mut client, "SELECT id FROM app.who WHERE 1").unwrap();
    assert_eq!(
        execute(&mut client, late, &[], Some("shadow")).value(),
        "away"
    );
    assert_error(
        &execute(&mut client, late, &[], None),
        1105,
        "bound to shade",
    );
}

#[test]
fn a_session_stays_where_its_transaction_began() {
    for kind in KINDS {
        let (home, shadow) = pair(kind);
        let lines = ["shadow: {endpoint: shade}", "hints: {users: [app]}"];
        let stage = before(&home, shadow.port(), &lines);
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("INSERT INTO t VALUES (1, 'u')"), Reply::Ok);
        let marked = "/* mesh: shadow */ INSERT INTO t VALUES (2, 'm')";
        assert_error(
            &client.query(marked),
            1105,
            "bound to server-0 by its transaction",
        );
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(client.query("/* mesh: shadow */ BEGIN"), Reply::Ok);
        assert_eq!(client.query(marked), Reply::Ok);
        let plain = "INSERT INTO t VALUES (3, 'u')";
        assert_error(
            &client.query(plain),
            1105,
            "bound to shade by its transaction",
        );
        assert_error(&client.query("BEGIN"), 1105, "bound to shade");
        assert_eq!(client.query("SAVEPOINT a"), Reply::Ok);
        let again = "/* mesh: shadow */ INSERT INTO t VALUES (4, 'm')";
        assert_eq!(client.query(again), Reply::Ok);
        assert_eq!(client.query("ROLLBACK TO SAVEPOINT a"), Reply::Ok);
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(client.query(WHO).value(), "home", "{kind:?}");
        let ids = "SELECT GROUP_CONCAT(id ORDER BY id) FROM app.t";
        assert_eq!(
            home.query_value(ids).unwrap().as_deref(),
            Some("1"),
            "{kind:?}"
        );
        assert_eq!(
            shadow.query_value(ids).unwrap().as_deref(),
            Some("2"),
            "{kind:?}"
        );
        // Without autocommit the first statement decides.
        assert_eq!(client.query("SET autocommit = 0"), Reply::Ok);
        assert_eq!(client.query(SHADOW_WHO).value(), "away");
        assert_error(&client.query(WHO), 1105, "bound to shade");
        assert_eq!(client.query("SET autocommit = 1"), Reply::Ok);
        assert_eq!(client.query(WHO).value(), "home", "{kind:?}");
        // Pins bind as transactions do.
        let temporary = "/* mesh: shadow */ CREATE TEMPORARY TABLE x (id INT)";
        assert_eq!(client.query(temporary), Reply::Ok);
        assert_error(
            &client.query(WHO),
            1105,
            "state that only its connection has",
        );
    }
}

#[test]
fn what_is_known_of_the_last_statement_comes_along() {
    for kind in KINDS {
        let (home, shadow) = pair(kind);
        let lines = ["shadow: {endpoint: shade}", "hints: {users: [app]}"];
        let stage = before(&home, shadow.port(), &lines);
        let mut client = RawClient::app(stage.port);
        let insert = "/* mesh: shadow */ INSERT INTO t (id, mark) VALUES (NULL, 'm'), (NULL, 'm')";
        shadow
            .execute("ALTER TABLE app.t AUTO_INCREMENT = 500")
            .unwrap();
        assert_eq!(client.query(insert), Reply::Ok);
        let id = client.query("SELECT LAST_INSERT_ID() FROM who").value();
        assert_eq!(id, "500", "{kind:?}");
        let rows = "/* mesh: shadow */ SELECT SQL_CALC_FOUND_ROWS id FROM t LIMIT 1";
        assert!(matches!(client.query(rows), Reply::Rows(_)));
        assert_eq!(client.query("SELECT FOUND_ROWS()").value(), "2", "{kind:?}");
        let warns = "/* mesh: shadow */ SELECT CAST('x' AS SIGNED)";
        assert_eq!(client.query(warns).value(), "0");
        let Reply::Rows(rows) = client.query("SHOW WARNINGS") else {
            panic!()
        };
        assert_eq!(rows[0][1].as_deref(), Some("1292"), "{kind:?}");
    }
}

#[test]
fn a_shadow_that_is_gone_is_an_error_and_production_goes_on() {
    let (home, shadow) = pair(Kind::MySql);
    let relay = FaultRelay::start(shadow.port()).unwrap();
    let lines = ["shadow: {endpoint: shade}", "hints: {users: [app]}"];
    let stage = before(&home, relay.port(), &lines);
    let mut client = RawClient::app(stage.port);
    let insert = "/* mesh: shadow */ INSERT INTO t (mark) VALUES ('m')";
    assert_eq!(client.query(insert), Reply::Ok);
    relay.set_arrival(Arrival::Reset);
    relay.set(Direction::ToTarget, Fault::CutAfter(0));
    for _ in 0..10 {
        let reply = client.query(insert);
        assert!(matches!(reply.code(), Some(2003 | 2013)), "{reply:?}");
        assert_eq!(client.query(WHO).value(), "home");
    }
    relay.heal();
    assert_eq!(client.query(insert), Reply::Ok);
    let marked = home.query_value("SELECT COUNT(*) FROM app.t").unwrap();
    assert_eq!(marked.as_deref(), Some("0"));
}

/// Numbers that look random and are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// A write of this id, with or without a mark, in one of several ways.
fn insert(
    client: &mut RawClient,
    way: u64,
    [plain, shadow]: [u32; 2],
    (id, marked): (u64, bool),
    attributes: bool,
) -> Reply {
    let mark = if marked { "m" } else { "u" };
    let hint = if marked { "shadow" } else { "tenant=x" };
    let text = format!("INSERT INTO app.t VALUES ({id}, '{mark}')");
    match way % 4 {
        0 => client.query(&format!("/* mesh: {hint} */ {text}")),
        1 if attributes => query_with(client, hint, &text),
        1 | 2 => client.query(&format!("{text} # mesh: {hint}")),
        _ => {
            let statement = if marked { shadow } else { plain };
            let hint = attributes.then_some(hint);
            execute(client, statement, &[&id.to_string(), mark], hint)
        }
    }
}

/// Writes with and without marks in every way; gives the unmarked ids that must be in production.
fn interleave(kind: Kind, port: u16, seed: u64, next: &AtomicU64, stop: &AtomicBool) -> Vec<u64> {
    // MariaDB knows no query attributes: there, the mark stands in the text of a statement that is prepared.
    let attributes = kind == Kind::MySql;
    let mut draw = Draw(seed);
    let mut sure = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut client = match attributes {
            true => attributed(port),
            false => RawClient::app(port),
        };
        let texts = match attributes {
            true => ["INSERT INTO app.t VALUES (?, ?)"; 2],
            false => [
                "INSERT INTO app.t VALUES (?, ?)",
                "/* mesh: shadow */ INSERT INTO app.t VALUES (?, ?)",
            ],
        };
        let prepared = texts.map(|text| prepare(&mut client, text));
        let [Ok((plain, _)), Ok((shadow, _))] = prepared else {
            continue;
        };
        let mut pending: Option<Vec<u64>> = None;
        for _ in 0..40 {
            let marked = draw.below(2) == 1;
            let reply = match draw.below(10) {
                0 => {
                    let begin = ["BEGIN", "/* mesh: shadow */ BEGIN"][usize::from(marked)];
                    let reply = client.query(begin);
                    if reply == Reply::Ok {
                        // A second BEGIN commits what was before.
                        sure.extend(pending.replace(Vec::new()).unwrap_or_default());
                    }
                    reply
                }
                1 => {
                    let reply = client.query("COMMIT");
                    let done = pending.take().unwrap_or_default();
                    if reply == Reply::Ok {
                        sure.extend(done);
                    }
                    reply
                }
                2 => {
                    pending = None;
                    client.query("ROLLBACK")
                }
                way => {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let statements = [plain, shadow];
                    let reply = insert(&mut client, way, statements, (id, marked), attributes);
                    if reply == Reply::Ok && !marked {
                        match &mut pending {
                            Some(pending) => pending.push(id),
                            None => sure.push(id),
                        }
                    }
                    reply
                }
            };
            match reply {
                Reply::Ok => {}
                Reply::Error(e) if matches!(e.code, 1105 | 2003 | 2013) => {}
                Reply::Closed => break,
                other => panic!("{other:?}"),
            }
        }
    }
    sure
}

#[test]
fn no_interleaving_lets_marked_and_unmarked_statements_meet() {
    for kind in KINDS {
        let (home, shadow) = pair(kind);
        let relay = FaultRelay::start(shadow.port()).unwrap();
        let lines = ["shadow: {endpoint: shade}", "hints: {users: [app]}"];
        let stage = before(&home, relay.port(), &lines);
        let (next, stop) = (AtomicU64::new(1), AtomicBool::new(false));
        let sure: Vec<u64> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..6)
                .map(|n| {
                    let (next, stop, port) = (&next, &stop, stage.port);
                    scope.spawn(move || interleave(kind, port, 77 + n, next, stop))
                })
                .collect();
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(6) {
                std::thread::sleep(Duration::from_millis(700));
                relay.set(Direction::FromTarget, Fault::CutAfter(100));
                relay.set_arrival(Arrival::Reset);
                std::thread::sleep(Duration::from_millis(200));
                relay.heal();
            }
            stop.store(true, Ordering::Relaxed);
            workers
                .into_iter()
                .flat_map(|w| w.join().unwrap())
                .collect()
        });
        let count = |server: &Server, mark: &str| -> u64 {
            let sql = format!("SELECT COUNT(*) FROM app.t WHERE mark = '{mark}'");
            server.query_value(&sql).unwrap().unwrap().parse().unwrap()
        };
        assert_eq!(count(&home, "m"), 0, "{kind:?}: marked in production");
        assert_eq!(count(&shadow, "u"), 0, "{kind:?}: unmarked in the shadow");
        assert!(
            count(&shadow, "m") > 50,
            "{kind:?}: {}",
            count(&shadow, "m")
        );
        assert!(sure.len() > 50, "{kind:?}: {}", sure.len());
        assert!(
            count(&home, "u") >= sure.len() as u64,
            "{kind:?}: an unmarked write is missing"
        );
        let rows = home.query("SELECT id FROM app.t").unwrap();
        let there: std::collections::HashSet<u64> = rows
            .into_iter()
            .map(|row| row[0].as_ref().unwrap().parse().unwrap())
            .collect();
        let missing: Vec<_> = sure.iter().filter(|id| !there.contains(id)).collect();
        assert!(missing.is_empty(), "{kind:?}: {missing:?}");
    }
}

fn assert_without_place(client: &mut RawClient) {
    // What has rows of both, or cannot be told, has no place.
    for (sql, why) in [
        (
            "INSERT INTO t (id, mark) VALUES (21, 'load'), (22, 'real')",
            "rows of the shadow and others",
        ),
        (
            "UPDATE t SET mark = 'real' WHERE mark = 'load'",
            "rows of the shadow and others",
        ),
        (
            "SELECT * FROM t WHERE mark IN ('load', 'real')",
            "rows of the shadow and others",
        ),
        (
            "SELECT id FROM t WHERE mark = 'load' UNION SELECT id FROM t",
            "rows of the shadow and others",
        ),
        (
            "INSERT INTO t (id, mark) VALUES (21, CONCAT('lo', 'ad'))",
            "a value is computed",
        ),
        ("INSERT INTO t VALUES (21, 'load')", "names no columns"),
        (
            "INSERT INTO t (id, mark) SELECT 21, 'load'",
            "come from a query",
        ),
        (
            "UPDATE t SET mark = LOWER('LOAD') WHERE id = 11",
            "a value is computed",
        ),
    ] {
        assert_error(&client.query(sql), 1105, why);
    }
}

/// By query blocks within others.
fn assert_bound_inside(client: &mut RawClient) {
    for inside in [
        "SELECT COUNT(*) FROM (SELECT id FROM t WHERE mark = 'load') d",
        "WITH c AS (SELECT * FROM t) SELECT COUNT(*) FROM c WHERE mark = 'load'",
        "SELECT COUNT(*) FROM t WHERE mark = 'load' AND FALSE UNION SELECT COUNT(*) FROM t x WHERE x.mark = 'load' \
         LIMIT 1, 1",
    ] {
        assert_eq!(client.query(inside).value(), "2", "{inside}");
    }
}

/// By value and by expression.
#[test]
fn values_of_columns_mark_statements_in_text_and_prepared() {
    for kind in KINDS {
        let (home, shadow) = pair(kind);
        let rules = "shadow: {endpoint: shade, rules: [{name: values, columns: [\
                     {table: app.t, column: mark, operations: [insert, update, delete, select], values: [load, '7']}, \
                     {table: t, column: id, operations: [delete], regex: ['^9+$']}]}]}";
        let stage = before(&home, shadow.port(), &[rules]);
        let mut client = RawClient::app(stage.port);
        let ids = |server: &Server| {
            let all = "SELECT COALESCE(GROUP_CONCAT(id ORDER BY id), '') FROM app.t";
            server.query_value(all).unwrap().unwrap()
        };
        for sql in [
            "INSERT INTO t (id, mark) VALUES (1, 'load'), (2, 'load')",
            "INSERT INTO t SET id = 3, mark = 7",
            "REPLACE INTO app.t (mark, id) VALUES ('load', 4)",
            "UPDATE t SET mark = 'load' WHERE mark = 'load' AND id = 1",
            "DELETE FROM t WHERE mark IN ('load') AND id = 2",
            "DELETE FROM t WHERE id = 999",
            "INSERT INTO t (id, mark) VALUES (11, 'real')",
            "INSERT INTO t (id) VALUES (12)",
            "UPDATE t SET id = id + 1 WHERE id = 12",
            "DELETE FROM t WHERE id = 3",
        ] {
            assert_eq!(client.query(sql), Reply::Ok, "{kind}: {sql}");
        }
        assert_eq!((ids(&home), ids(&shadow)), ("11,13".into(), "1,3,4".into()));
        let count = |condition: &str| format!("SELECT COUNT(*) FROM t WHERE {condition}");
        assert_eq!(client.query(&count("mark = 'load'")).value(), "2");
        assert_eq!(
            client
                .query(&count("mark = 'real' OR mark IS NULL"))
                .value(),
            "2"
        );
        assert_eq!(client.query("SELECT COUNT(*) FROM t").value(), "2");

        assert_bound_inside(&mut client);
        assert_without_place(&mut client);
        let (insert, _) = prepare(&mut client, "INSERT INTO t (mark, id) VALUES (?, 31)").unwrap();
        let (delete, _) = prepare(&mut client, "DELETE FROM t WHERE mark = ?").unwrap();
        for mark in ["load", "real"] {
            assert_eq!(
                execute(&mut client, insert, &[mark], None),
                Reply::Ok,
                "{kind}: {mark}"
            );
        }
        assert_eq!(
            (ids(&home), ids(&shadow)),
            ("11,13,31".into(), "1,3,4,31".into())
        );
        assert_eq!(execute(&mut client, delete, &["load"], None), Reply::Ok);
        assert_eq!((ids(&home), ids(&shadow)), ("11,13,31".into(), "3".into()));

        // A transaction of production takes no row of the shadow.
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            client.query("INSERT INTO t (id, mark) VALUES (41, 'real')"),
            Reply::Ok
        );
        let reply = client.query("INSERT INTO t (id, mark) VALUES (42, 'load')");
        assert_error(&reply, 1105, "bound to server-0 by its transaction");
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(
            (ids(&home), ids(&shadow)),
            ("11,13,31,41".into(), "3".into())
        );
    }
}
