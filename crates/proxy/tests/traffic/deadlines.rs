//! Statements that take too long, over real servers.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::relay::FaultRelay;
use dbmesh_testkit::server::{Kind, Server, ServerOptions, shared};
use dbmesh_wire::caps::Capabilities;

use crate::ask::{assert_error, attributed, execute, prepare};
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// A table of its own with one row, which somebody else has locked for as long as the session lives.
fn locked_row(kind: Kind, table: &str) -> dbmesh_testkit::query::Session {
    let server = shared(kind);
    server
        .execute(&format!(
            "CREATE DATABASE IF NOT EXISTS late; DROP TABLE IF EXISTS late.{table}; \
             CREATE TABLE late.{table} (id INT PRIMARY KEY, v INT) ENGINE = InnoDB; \
             INSERT INTO late.{table} VALUES (1, 0), (2, 0)"
        ))
        .unwrap();
    let holder = server.session().unwrap();
    holder
        .execute(&format!(
            "BEGIN; UPDATE late.{table} SET v = 1 WHERE id = 1"
        ))
        .unwrap();
    holder
}

fn assert_nothing_runs(kind: Kind, text: &str) {
    assert_run(kind, text, 0);
}

/// So many statements with this text run at the server, soon.
fn assert_run(kind: Kind, text: &str, count: usize) {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%{text}%' AND info NOT LIKE '%processlist%'"
    );
    eventually(
        &format!("{count} statements run"),
        Duration::from_secs(30),
        || shared(kind).query_value(&sql).unwrap() == Some(count.to_string()),
    );
}

fn within(limit: Duration, what: impl FnOnce() -> Reply) -> Reply {
    let began = Instant::now();
    let reply = what();
    assert!(began.elapsed() < limit, "{:?}: {reply:?}", began.elapsed());
    reply
}

#[test]
fn a_write_that_waits_for_a_lock_is_killed() {
    for kind in KINDS {
        let holder = locked_row(kind, "a_write");
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let mut client = RawClient::app(stage.port);
        let update = "/* mesh: timeout_ms=300 */ UPDATE late.a_write SET v = 9 WHERE id = 1";
        for _ in 0..3 {
            let reply = within(Duration::from_secs(5), || client.query(update));
            assert_error(&reply, 3024, "dbmesh: 300 ms; it was killed");
            let Reply::Rows(rows) = client.query("SHOW WARNINGS") else {
                panic!()
            };
            assert_eq!(rows[0][1].as_deref(), Some("3024"), "{kind:?}: {rows:?}");
            assert_eq!(client.query("SELECT 1").value(), "1");
        }
        assert_nothing_runs(kind, "a_write SET v = 9");
        assert_eq!(stage.metric("dbmesh_statements_overdue_total"), 3.0);
        holder.execute("ROLLBACK").unwrap();
        let v = client.query("SELECT v FROM late.a_write WHERE id = 1");
        assert_eq!(v.value(), "0", "{kind:?}");
        drop(client);
        stage.assert_pool_calm();
    }
}

#[test]
fn a_read_that_takes_too_long_is_an_error_whatever_its_server_makes_of_it() {
    for kind in KINDS {
        let stage = Stage::before(kind, shared(kind).port(), |c| {
            c.service("limits: {statementTimeoutMs: 400}")
        });
        let mut client = RawClient::app(stage.port);
        // MySQL answers a SLEEP that was interrupted with a row.
        for sql in [
            "SELECT SLEEP(30), 'read'",
            "SELECT SLEEP(30), 'read' /* mesh: timeout_ms=60000 */",
            "SELECT SLEEP(30), 'read' /* mesh: timeout_ms=100 */",
        ] {
            let reply = within(Duration::from_secs(5), || client.query(sql));
            assert_error(&reply, 3024, "it was killed");
            assert_eq!(client.query("SELECT 7").value(), "7", "{kind:?}");
        }
        assert_eq!(client.query("SELECT SLEEP(0.1)").value(), "0", "{kind:?}");
        assert_nothing_runs(kind, "SLEEP(30), ''read''");
        let (id, _) = prepare(&mut client, "SELECT CONCAT(SLEEP(?))").unwrap();
        let reply = within(Duration::from_secs(5), || {
            execute(&mut client, id, &["30"], None)
        });
        assert_error(&reply, 3024, "dbmesh: 400 ms");
        assert_eq!(execute(&mut client, id, &["0"], None).value(), "0");
    }
}

#[test]
fn an_attribute_bounds_one_execution() {
    let stage = Stage::before(Kind::MySql, shared(Kind::MySql).port(), |c| c);
    let mut client = attributed(stage.port);
    let (id, _) = prepare(&mut client, "SELECT CONCAT(SLEEP(?))").unwrap();
    let reply = within(Duration::from_secs(5), || {
        execute(&mut client, id, &["30"], Some("timeout_ms=200"))
    });
    assert_error(&reply, 3024, "dbmesh: 200 ms");
    assert_eq!(execute(&mut client, id, &["0.3"], None).value(), "0");
}

#[test]
fn a_transaction_goes_on_after_a_statement_of_it_was_killed() {
    for kind in KINDS {
        let _holder = locked_row(kind, "goes_on");
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        let other = "UPDATE late.goes_on SET v = 5 WHERE id = 2";
        assert_eq!(client.query(other), Reply::Ok);
        let update = "/* mesh: timeout_ms=300 */ UPDATE late.goes_on SET v = 9 WHERE id = 1";
        assert_error(&client.query(update), 3024, "it was killed");
        let read = "/* mesh: timeout_ms=200 */ SELECT v, SLEEP(30) FROM late.goes_on WHERE id = 2";
        assert_error(&client.query(read), 3024, "it was killed");
        let v = "SELECT v FROM late.goes_on WHERE id = 2";
        assert_eq!(client.query(v).value(), "5", "{kind:?}: its own write");
        let mut bystander = RawClient::app(stage.port);
        assert_eq!(bystander.query(v).value(), "0", "{kind:?}: not committed");
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(bystander.query(v).value(), "5", "{kind:?}: committed");
    }
}

#[test]
fn without_autocommit_a_killed_read_leaves_its_transaction_open() {
    for kind in KINDS {
        let _holder = locked_row(kind, "open_read");
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("SET autocommit = 0"), Reply::Ok);
        let read =
            "/* mesh: timeout_ms=200 */ SELECT v, SLEEP(30) FROM late.open_read WHERE id = 2";
        assert_error(&client.query(read), 3024, "it was killed");
        let update = "UPDATE late.open_read SET v = 3 WHERE id = 2";
        assert_eq!(client.query(update), Reply::Ok);
        assert_eq!(client.query("ROLLBACK"), Reply::Ok);
        let v = client.query("SELECT v FROM late.open_read WHERE id = 2");
        assert_eq!(v.value(), "0", "{kind:?}");
    }
}

#[test]
fn rows_that_were_sent_are_followed_by_the_servers_own_error() {
    for kind in KINDS {
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let mut client = RawClient::app(stage.port);
        shared(kind)
            .execute(
                "CREATE DATABASE IF NOT EXISTS late; CREATE TABLE IF NOT EXISTS late.many (id INT PRIMARY KEY); \
                 REPLACE INTO late.many WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
                 SELECT i FROM n",
            )
            .unwrap();
        let sql =
            "/* mesh: timeout_ms=1000 */ SELECT REPEAT('x', 8000), SLEEP(0.02) FROM late.many";
        let reply = within(Duration::from_secs(8), || client.query(sql));
        assert_eq!(reply.code(), Some(1317), "{kind:?}: {reply:?}");
        for _ in 0..5 {
            assert_eq!(client.query("SELECT 1").value(), "1");
        }
        drop(client);
        stage.assert_pool_calm();
    }
}

#[test]
fn the_wait_for_a_connection_counts() {
    let stage = Stage::before(Kind::MySql, shared(Kind::MySql).port(), |c| {
        c.service("pool: {size: 8}")
    });
    let mut holders: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    for holder in &mut holders {
        assert_eq!(
            holder.query("SELECT GET_LOCK(CONNECTION_ID(), 0)").value(),
            "1"
        );
    }
    let mut client = RawClient::app(stage.port);
    let reply = within(Duration::from_secs(3), || {
        client.query("/* mesh: timeout_ms=300 */ SELECT 1")
    });
    assert_error(
        &reply,
        3024,
        "it waited for a connection and was not executed",
    );
    drop(holders);
    assert_eq!(client.query("SELECT 1").value(), "1");
}

#[test]
fn a_server_that_does_not_end_a_statement_loses_the_connection() {
    let relay = FaultRelay::start(shared(Kind::MySql).port()).unwrap();
    let stage = Stage::before(Kind::MySql, relay.port(), |c| {
        c.service("limits: {statementTimeoutMs: 500}")
    });
    let mut client = RawClient::app(stage.port);
    assert_eq!(client.query("SELECT 1").value(), "1");
    relay.half_open();
    let reply = within(Duration::from_secs(12), || client.query("SELECT 2"));
    assert_error(&reply, 3024, "may or may not have been executed");
    relay.heal();
    assert_eq!(
        client.query("SELECT 3").value(),
        "3",
        "on another connection"
    );
}

#[test]
fn kill_query_reaches_a_statement_that_dbmesh_holds() {
    let interrupted = |stage: &Stage, mut client: RawClient, sql: &str| {
        let began = Instant::now();
        client.begin_query(sql);
        let mut killer = RawClient::app(stage.port);
        let id = client.id;
        client.patience(Duration::from_millis(50));
        let reply = loop {
            assert!(began.elapsed() < Duration::from_secs(8), "not interrupted");
            assert_eq!(killer.query(&format!("KILL QUERY {id}")), Reply::Ok);
            match client.reply() {
                Reply::Silent => {}
                reply => break reply,
            }
        };
        assert_eq!(reply.code(), Some(1317), "{reply:?}");
        client.patience(Duration::from_secs(20));
        client
    };
    let stage = Stage::before(Kind::MySql, shared(Kind::MySql).port(), |c| {
        c.service("pool: {size: 8}")
    });
    let mut holders: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    for holder in &mut holders {
        assert_eq!(
            holder.query("SELECT GET_LOCK(CONNECTION_ID(), 0)").value(),
            "1"
        );
    }
    let mut client = interrupted(&stage, RawClient::app(stage.port), "SELECT 'in the pool'");
    drop(holders);
    assert_eq!(client.query("SELECT 1").value(), "1");
    // Nobody listens at this port.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let stage = Stage::before(Kind::MySql, port, |c| {
        c.strategy("failover: {buffer: {maxWaitMs: 20000}}")
            .service("limits: {statementTimeoutMs: 15000}")
    });
    let client = RawClient::connect(stage.port);
    drop(client);
    let client = RawClient::app(stage.port);
    let mut client = interrupted(&stage, client, "SELECT 'for a primary'");
    let reply = within(Duration::from_secs(5), || {
        client.query("/* mesh: timeout_ms=300 */ SELECT 1")
    });
    assert_error(&reply, 3024, "was not executed");
}

#[test]
fn a_client_that_says_goodbye_takes_its_statement_along() {
    for kind in KINDS {
        let stage = Stage::before(kind, shared(kind).port(), |c| c.service("pool: {size: 8}"));
        let mut clients = [RawClient::app(stage.port), RawClient::app(stage.port)];
        for client in &mut clients {
            client.begin_query("SELECT SLEEP(300), 'goodbye'");
        }
        assert_run(kind, "goodbye", 2);
        let [mut polite, curt] = clients;
        polite.command(&[1]);
        drop((polite, curt));
        assert_nothing_runs(kind, "goodbye");
        stage.assert_pool_calm();
    }
}

/// Sleeps longer than it may, over and over.
fn be_late(port: u16, stop: &AtomicBool) -> u32 {
    let mut client = RawClient::app(port);
    let mut late = 0;
    while !stop.load(Ordering::Relaxed) {
        // Around the limit: the KILL comes before, with and after the end.
        let sql = format!(
            "SELECT SLEEP(0.0{:02}) /* mesh: timeout_ms=20 */",
            15 + late % 10
        );
        match client.query(&sql) {
            Reply::Rows(rows) => assert_eq!(rows[0][0].as_deref(), Some("0"), "half an answer"),
            Reply::Error(e) if e.code == 3024 => {}
            other => panic!("late: {other:?}"),
        }
        late += 1;
    }
    late
}

#[test]
fn deadlines_under_load_hit_nobody_else() {
    for kind in KINDS {
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let late: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| be_late(stage.port, &stop)))
                .collect();
            let mut bystanders = Vec::new();
            for n in 0..8 {
                let (stop, port) = (&stop, stage.port);
                bystanders.push(scope.spawn(move || {
                    let mut client = RawClient::app(port);
                    let mut done = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let reply = client.query(&format!("SELECT SLEEP(0.002), '{n} {done}'"));
                        let Reply::Rows(rows) = reply else {
                            panic!("a bystander was hit: {reply:?}")
                        };
                        assert_eq!(rows[0][0].as_deref(), Some("0"), "interrupted");
                        assert_eq!(rows[0][1], Some(format!("{n} {done}")));
                        done += 1;
                    }
                    done
                }));
            }
            std::thread::sleep(Duration::from_secs(4));
            stop.store(true, Ordering::Relaxed);
            let late: u32 = late.into_iter().map(|l| l.join().unwrap()).sum();
            let done: u32 = bystanders.into_iter().map(|b| b.join().unwrap()).sum();
            assert!(late > 40 && done > 100, "{late} late, {done} done");
        });
        assert!(stage.metric("dbmesh_statements_overdue_total") > 10.0);
        stage.assert_pool_calm();
    }
}

#[test]
fn sending_a_large_command_counts() {
    let server = Server::start(ServerOptions::new(Kind::MySql)).unwrap();
    let stage = Stage::before(Kind::MySql, server.port(), |c| c);
    let mut client = RawClient::app(stage.port);
    assert_eq!(client.query("SELECT 1").value(), "1");
    // It reads nothing any more: what the kernel does not take stays here.
    server.pause();
    let text = "x".repeat(40 << 20);
    let large = format!("SELECT LENGTH('{text}') /* mesh: timeout_ms=3000 */");
    assert_error(&client.query(&large), 3024, "dbmesh: 3000 ms");
    server.resume();
    assert_eq!(client.query("SELECT 2").value(), "2", "the session goes on");
}

#[test]
fn a_file_that_does_not_come_counts() {
    for kind in KINDS {
        let _holder = locked_row(kind, "file");
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let files = Credentials::app().more(Capabilities::LOCAL_FILES);
        let mut client = RawClient::logged_in(stage.port, &files);
        client.begin_query(
            "/* mesh: timeout_ms=500 */ LOAD DATA LOCAL INFILE 'x' INTO TABLE late.file",
        );
        assert_eq!(client.packet().unwrap().first(), Some(&0xFB), "{kind:?}");
        assert!(client.is_closed(), "{kind:?}");
        assert_nothing_runs(kind, "INTO TABLE late.file");
        stage.assert_serves();
    }
}
