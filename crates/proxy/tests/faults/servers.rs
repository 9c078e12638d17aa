//! Servers that die, freeze, come back, or are one of two.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::FaultRelay;
use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::relay::Arrival;
use dbmesh_testkit::server::{Kind, Server, ServerOptions, shared};

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

fn own_server(kind: Kind) -> Server {
    let server = Server::start(ServerOptions::new(kind)).unwrap();
    server
        .execute("CREATE DATABASE f; CREATE TABLE f.t (id INT PRIMARY KEY)")
        .unwrap();
    server
}

/// A session after this statement.
fn after(port: u16, statements: &[&str]) -> RawClient {
    let mut client = RawClient::app(port);
    for statement in statements {
        let reply = client.query(statement);
        assert!(
            matches!(reply, Reply::Ok | Reply::Rows(_)),
            "{statement}: {reply:?}"
        );
    }
    client
}

/// The next statement of a session whose state was on the server.
fn is_told(client: &mut RawClient, statement: &str) {
    let reply = client.query(statement);
    assert_eq!(reply.code(), Some(2013), "{reply:?}");
    assert!(
        client.is_closed(),
        "its state is gone: it must not go on without"
    );
}

fn a_restart_between_statements(kind: Kind) {
    let server = own_server(kind);
    let stage = Stage::before(kind, server.port(), |c| {
        c.service("limits: {queueWaitMs: 3000}")
    });
    let port = stage.port;
    let mut going_on: Vec<RawClient> = (0..3).map(|_| after(port, &["DO 1"])).collect();
    // These two merely hold a connection: for FOUND_ROWS(), and for a warning.
    going_on.push(after(port, &["SELECT 1 LIMIT 1"]));
    going_on.push(after(
        port,
        &["DROP TABLE IF EXISTS f.nothing_of_this_name"],
    ));
    let mut transaction = after(port, &["BEGIN", "INSERT INTO f.t VALUES (100)"]);
    let mut pinned = after(port, &["CREATE TEMPORARY TABLE f.mine (id INT)"]);

    server.kill_9();
    let mut during = RawClient::app(port);
    let began = Instant::now();
    let reply = during.query("SELECT 1");
    assert_eq!(reply.code(), Some(2003), "{reply:?}");
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    server.restart().unwrap();

    for (id, client) in going_on.iter_mut().enumerate() {
        assert_eq!(
            client.query(&format!("INSERT INTO f.t VALUES ({id})")),
            Reply::Ok,
            "session {id}"
        );
    }
    assert_eq!(
        during.query("SELECT 1").value(),
        "1",
        "who was told of the outage goes on"
    );
    is_told(&mut transaction, "INSERT INTO f.t VALUES (101)");
    is_told(&mut pinned, "SELECT * FROM f.mine");
    let ids = server
        .query_value("SELECT GROUP_CONCAT(id ORDER BY id) FROM f.t")
        .unwrap();
    assert_eq!(ids.as_deref(), Some("0,1,2,3,4"));
    stage.assert_pool_calm();
}

#[test]
fn a_restart_between_statements_costs_only_what_was_on_the_server_mysql() {
    a_restart_between_statements(Kind::MySql);
}

#[test]
fn a_restart_between_statements_costs_only_what_was_on_the_server_mariadb() {
    a_restart_between_statements(Kind::MariaDb);
}

/// Inserts ids of its own until told to stop; gives what was acknowledged and the codes of errors.
fn insert(port: u16, first: u32, stop: &AtomicBool) -> (BTreeSet<u32>, Vec<u16>) {
    let (mut acknowledged, mut errors) = (BTreeSet::new(), Vec::new());
    let mut client = RawClient::app(port);
    for id in (first..).take(200_000) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match client.query(&format!("INSERT INTO f.t VALUES ({id})")) {
            Reply::Ok => {
                acknowledged.insert(id);
            }
            Reply::Error(e) => {
                errors.push(e.code);
                std::thread::sleep(Duration::from_millis(20));
            }
            Reply::Closed => client = RawClient::app(port),
            other => panic!("{other:?}"),
        }
    }
    (acknowledged, errors)
}

#[test]
fn what_was_acknowledged_survives_a_kill_under_load() {
    let server = Server::start(ServerOptions::new(Kind::MySql).durable()).unwrap();
    server
        .execute("CREATE DATABASE f; CREATE TABLE f.t (id INT PRIMARY KEY)")
        .unwrap();
    let stage = Stage::before(Kind::MySql, server.port(), |c| {
        c.service("limits: {queueWaitMs: 2000}")
    });
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let (stop, port) = (stop.clone(), stage.port);
            std::thread::spawn(move || insert(port, n * 1_000_000, &stop))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    server.kill_9();
    std::thread::sleep(Duration::from_millis(500));
    server.restart().unwrap();
    let back = Instant::now();
    eventually("answers after the restart", Duration::from_secs(10), || {
        RawClient::app(stage.port)
            .query("SELECT 1")
            .code()
            .is_none()
    });
    println!(
        "first answer {} ms after the restart",
        back.elapsed().as_millis()
    );
    std::thread::sleep(Duration::from_millis(1000));
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for worker in workers {
        let (ids, errors) = worker.join().unwrap();
        assert!(
            errors.iter().all(|code| [2003, 2013, 1203].contains(code)),
            "{errors:?}"
        );
        println!("{} acknowledged, {} errors", ids.len(), errors.len());
        acknowledged.extend(ids);
    }
    let rows = server.query("SELECT id FROM f.t").unwrap();
    let present: BTreeSet<u32> = rows
        .iter()
        .filter_map(|row| row[0].as_deref()?.parse().ok())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // A statement whose answer was lost may have been done, once: ids are keys.
    assert!(
        present.len() <= acknowledged.len() + 8,
        "{} present, {} acknowledged",
        present.len(),
        acknowledged.len()
    );
    stage.assert_pool_calm();
}

#[test]
fn late_answers_of_a_frozen_server_reach_nobody_else() {
    let server = own_server(Kind::MySql);
    let stage = Stage::before(Kind::MySql, server.port(), |c| {
        c.service("limits: {queueWaitMs: 1000}\npool: {connectTimeoutMs: 2500}")
    });
    let mut warm: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    hold_each(&mut warm);
    assert_eq!(
        stage.metric("dbmesh_pool_open"),
        8.0,
        "a connection for each"
    );
    server.pause();
    let mut killer = RawClient::app(stage.port);
    for (n, client) in warm.iter_mut().enumerate() {
        client.begin_query(&format!("SELECT 'late {n}'"));
    }
    // An idle connection left over would take the statement of who comes later.
    eventually(
        "all are at the frozen server",
        Duration::from_secs(20),
        || {
            let (_, sessions) = stage.proxy.admin_get("/debug/sessions").unwrap();
            sessions.matches("\"thread_id\"").count() == 8
        },
    );
    // Half of those who wait are killed, a quarter leaves, the rest has patience.
    for client in &warm[..4] {
        assert_eq!(
            killer.query(&format!("KILL {}", client.id)),
            Reply::Ok,
            "a frozen server does not save a session"
        );
    }
    for client in &mut warm[..4] {
        client.patience(Duration::from_secs(20));
        assert!(client.is_closed());
    }
    let patient = warm.split_off(6);
    drop(warm);
    let mut fresh = RawClient::app(stage.port);
    let began = Instant::now();
    let reply = fresh.query("SELECT 'fresh'");
    assert!(matches!(reply.code(), Some(2003 | 1203)), "{reply:?}");
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    std::thread::sleep(Duration::from_secs(3));
    server.resume();
    for (n, mut client) in patient.into_iter().enumerate() {
        assert_eq!(client.reply().value(), format!("late {}", n + 6));
    }
    for n in 0..60 {
        let token = format!("token {n}");
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query(&format!("SELECT '{token}'")).value(), token);
    }
    stage.assert_pool_calm();
}

/// Opens all eight connections, in the default state.
fn warm_all(stage: &Stage) {
    let mut warm: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    hold_each(&mut warm);
}

/// Every client has a connection of its own for a while, so that there are as many.
fn hold_each(clients: &mut [RawClient]) {
    for client in &mut *clients {
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("SELECT 1").value(), "1");
    }
    for client in clients {
        assert_eq!(client.query("ROLLBACK"), Reply::Ok);
    }
}

#[test]
fn a_server_frozen_before_the_statement_does_not_save_a_session_from_kill() {
    let server = own_server(Kind::MySql);
    let stage = Stage::before(Kind::MySql, server.port(), |c| {
        c.service("limits: {queueWaitMs: 1000}\npool: {connectTimeoutMs: 3000}")
    });
    // Each needs something of the connection before its statement: state, an id, a statement prepared there.
    let mut state = after(stage.port, &["SET time_zone = '+03:00'"]);
    let mut id = after(
        stage.port,
        &[
            "CREATE TABLE f.a (id INT PRIMARY KEY AUTO_INCREMENT)",
            "INSERT INTO f.a VALUES ()",
        ],
    );
    let mut schema = after(stage.port, &["USE mysql"]);
    let mut prepares = RawClient::app(stage.port);
    warm_all(&stage);
    server.pause();
    state.begin_query("SELECT 1");
    id.begin_query("SELECT LAST_INSERT_ID()");
    schema.begin_query("SELECT 1");
    prepares.command(b"\x16SELECT 1");
    std::thread::sleep(Duration::from_millis(500));
    let mut killer = RawClient::app(stage.port);
    for (who, mut client) in [
        ("state", state),
        ("id", id),
        ("schema", schema),
        ("prepare", prepares),
    ] {
        assert_eq!(
            killer.query(&format!("KILL {}", client.id)),
            Reply::Ok,
            "{who}"
        );
        client.patience(Duration::from_secs(20));
        assert!(client.is_closed(), "{who}");
    }
    server.resume();
    stage.assert_serves();
    stage.assert_pool_calm();
}

#[test]
fn a_server_behind_a_dead_line_is_left_and_found_again() {
    let relay = FaultRelay::start(shared(Kind::MySql).port()).unwrap();
    let stage = Stage::before(Kind::MySql, relay.port(), |c| {
        c.service("limits: {queueWaitMs: 1500}\npool: {connectTimeoutMs: 700}")
    });
    stage.assert_serves();
    relay.half_open();
    relay.set_arrival(Arrival::Silent);
    let mut waiting = RawClient::app(stage.port);
    waiting.begin_query("SELECT 1");
    std::thread::sleep(Duration::from_millis(200));
    let mut killer = RawClient::app(stage.port);
    assert_eq!(killer.query(&format!("KILL {}", waiting.id)), Reply::Ok);
    waiting.patience(Duration::from_secs(20));
    assert!(
        waiting.is_closed(),
        "a dead line does not hold a session that was killed"
    );
    let mut fresh: Vec<RawClient> = (0..12).map(|_| RawClient::app(stage.port)).collect();
    for client in &mut fresh {
        client.begin_query("SELECT 2");
    }
    std::thread::sleep(Duration::from_millis(2500));
    relay.reset_all();
    relay.heal();
    for client in &mut fresh {
        let reply = client.reply();
        assert!(
            matches!(reply.code(), None | Some(2003 | 2013 | 1203)),
            "{reply:?}"
        );
        assert_eq!(client.query("SELECT 3").value(), "3");
    }
    stage.assert_serves();
    stage.assert_pool_calm();
}

/// Two primaries of which the second is behind a relay.
fn pair(relay: &FaultRelay, port: u16) -> String {
    let kind = Kind::MySql;
    Config::new(shared(kind), port, 8)
        .replica(Backend { kind, port: relay.port() })
        .strategy("failover: {ejection: {consecutiveConnectFailures: 2, baseEjectionMs: 500, maxEjectionMs: 1000}}")
        .to_yaml()
        .replace("role: replica", "role: primary")
}

#[test]
fn one_dead_primary_of_two_is_ejected_and_comes_back() {
    let relay = FaultRelay::start(shared(Kind::MySql).port()).unwrap();
    relay.set_arrival(Arrival::Reset);
    let port = Port::reserve().unwrap();
    let stage = Stage::of_yaml(&pair(&relay, port.number()), port, &[]);
    let mut clients: Vec<RawClient> = (0..4).map(|_| RawClient::app(stage.port)).collect();
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(
                client.query("SELECT 1").value(),
                "1",
                "the living endpoint answers for both"
            );
        }
    }
    assert!(stage.metric("dbmesh_endpoint_ejections_total") >= 1.0);
    let tries = stage.metric("dbmesh_pool_connect_failures_total");
    for _ in 0..100 {
        assert_eq!(clients[0].query("SELECT 1").value(), "1");
    }
    let more = stage.metric("dbmesh_pool_connect_failures_total") - tries;
    assert!(
        more <= 5.0,
        "{more} more tries: an ejected endpoint is left alone"
    );
    relay.heal();
    eventually(
        "the second primary serves again",
        Duration::from_secs(10),
        || {
            for client in &mut clients {
                assert_eq!(client.query("SELECT 1").value(), "1");
            }
            let served = stage
                .proxy
                .metric("dbmesh_endpoint_statements_total", "endpoint=\"server-1\"")
                .unwrap();
            served.unwrap_or(0.0) > 5.0
        },
    );
    assert_eq!(stage.metric("dbmesh_endpoint_ejected"), 0.0);
    // It dies under load, without a farewell.
    relay.set_arrival(Arrival::Reset);
    relay.reset_all();
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.query("SELECT 1").value(), "1");
        }
    }
}

#[test]
fn an_idle_server_that_says_good_bye_first_costs_no_statement() {
    let server = Server::start(
        ServerOptions::new(Kind::MySql)
            .arg("--wait-timeout=1")
            .arg("--interactive-timeout=1"),
    )
    .unwrap();
    server
        .execute("CREATE DATABASE f; CREATE TABLE f.t (id INT PRIMARY KEY)")
        .unwrap();
    for tls in ["disabled", "required"] {
        let stage = Stage::before(Kind::MySql, server.port(), |c| {
            c.service("pool: {keepaliveMs: 600000}")
                .endpoint(&format!("tls: {{mode: {tls}}}"))
        });
        let mut idle = RawClient::logged_in(stage.port, &Credentials::app().schema("f"));
        let mut held = RawClient::app(stage.port);
        assert_eq!(idle.query("DO 1"), Reply::Ok);
        assert_eq!(held.query("SELECT 1 LIMIT 1").value(), "1");
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(
            idle.query("REPLACE INTO t VALUES (1)"),
            Reply::Ok,
            "tls {tls}"
        );
        assert_eq!(
            held.query("REPLACE INTO f.t VALUES (2)"),
            Reply::Ok,
            "tls {tls}, held"
        );
    }
}
