//! Copies of statements, over two real servers.

use std::time::{Duration, Instant};

use dbmesh_testkit::config::Config;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::relay::FaultRelay;
use dbmesh_testkit::server::Kind;

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::shadow::{endpoint, pair};

fn before(kind: Kind, home: u16, mirror: u16, line: &str) -> Stage {
    let port = Port::reserve().unwrap();
    let home = dbmesh_testkit::config::Backend { kind, port: home };
    let config = Config::new(home, port.number(), 8)
        .schema("app")
        .strategy(line);
    let yaml = config.to_yaml() + &endpoint("next", "shadow", kind, mirror);
    Stage::of_yaml(&yaml, port, &[])
}

fn outcome(stage: &Stage, name: &str) -> f64 {
    let label = format!("outcome=\"{name}\"");
    let metric = stage.proxy.metric("dbmesh_mirror_copies_total", &label);
    metric.unwrap().unwrap_or(0.0)
}

fn comes_to(stage: &Stage, name: &str, count: f64) {
    eventually(
        &format!("{count} copies: {name}"),
        Duration::from_secs(10),
        || outcome(stage, name) == count,
    );
}

#[test]
fn copies_of_reads_are_compared() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let (home, next) = pair(kind);
        for (server, extra) in [(&home, "b"), (&next, "c")] {
            server
                .execute(&format!(
                    "INSERT INTO app.t VALUES (1, 'a'), (2, '{extra}'); CREATE TABLE app.same (id INT)"
                ))
                .unwrap();
        }
        next.execute("INSERT INTO app.t VALUES (3, 'only here'); DROP TABLE app.who")
            .unwrap();
        let stage = before(
            kind,
            home.port(),
            next.port(),
            "mirror: {endpoint: next, percent: 100}",
        );
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("SELECT mark FROM t WHERE id = 1").value(), "a");
        comes_to(&stage, "same", 1.0);
        assert_eq!(client.query("SELECT mark FROM t WHERE id = 2").value(), "b");
        comes_to(&stage, "content", 1.0);
        assert_eq!(
            client.query("SELECT COUNT(*) FROM t WHERE id > 1").value(),
            "1"
        );
        comes_to(&stage, "content", 2.0);
        assert!(matches!(client.query("SELECT id FROM t"), Reply::Rows(rows) if rows.len() == 2));
        comes_to(&stage, "rows", 1.0);
        assert_eq!(client.query("SELECT id FROM who").value(), "home");
        comes_to(&stage, "error", 1.0);
        assert_eq!(client.query("SELECT id FROM nowhere").code(), Some(1146));
        comes_to(&stage, "same", 2.0);
        // Neither writes nor what a transaction sees.
        assert_eq!(client.query("INSERT INTO same VALUES (1)"), Reply::Ok);
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("SELECT mark FROM t WHERE id = 1").value(), "a");
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(client.query("SELECT mark FROM t WHERE id = 1").value(), "a");
        comes_to(&stage, "same", 3.0);
        let count = next.query_value("SELECT COUNT(*) FROM app.same").unwrap();
        assert_eq!(count.as_deref(), Some("0"), "{kind:?}");
        assert_eq!(stage.metric("dbmesh_mirror_copies_total"), 7.0, "{kind:?}");
        assert!(stage.metric("dbmesh_mirror_seconds_total") > 0.0);
    }
}

#[test]
fn writes_are_copied_where_the_policy_says_so() {
    let kind = Kind::MySql;
    let (home, next) = pair(kind);
    let line = "mirror: {endpoint: next, percent: 100, writes: true}";
    let stage = before(kind, home.port(), next.port(), line);
    let mut client = RawClient::app(stage.port);
    assert_eq!(
        client.query("INSERT INTO t VALUES (1, 'a'), (2, 'b')"),
        Reply::Ok
    );
    comes_to(&stage, "same", 1.0);
    assert_eq!(
        client.query("UPDATE t SET mark = 'c' WHERE id = 1"),
        Reply::Ok
    );
    comes_to(&stage, "same", 2.0);
    assert_eq!(
        client.query("INSERT INTO t VALUES (1, 'a')").code(),
        Some(1062)
    );
    comes_to(&stage, "same", 3.0);
    assert_eq!(client.query("BEGIN"), Reply::Ok);
    assert_eq!(client.query("DELETE FROM t"), Reply::Ok);
    assert_eq!(client.query("ROLLBACK"), Reply::Ok);
    let marks = "SELECT GROUP_CONCAT(mark ORDER BY id) FROM app.t";
    assert_eq!(next.query_value(marks).unwrap().as_deref(), Some("c,b"));
    assert_eq!(home.query_value(marks).unwrap().as_deref(), Some("c,b"));
}

#[test]
fn a_mirror_that_hangs_slows_nobody_and_holds_no_more_than_it_may() {
    let kind = Kind::MySql;
    let (home, next) = pair(kind);
    let relay = FaultRelay::start(next.port()).unwrap();
    let line =
        "mirror: {endpoint: next, percent: 100, maxCopies: 10, connections: 2, timeoutMs: 1500}";
    let stage = before(kind, home.port(), relay.port(), line);
    let mut client = RawClient::app(stage.port);
    assert_eq!(client.query("SELECT id FROM who").value(), "home");
    comes_to(&stage, "content", 1.0);
    relay.half_open();
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.query("SELECT id FROM who").value(), "home");
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(
        outcome(&stage, "dropped") >= 80.0,
        "{}",
        outcome(&stage, "dropped")
    );
    assert!(stage.metric("dbmesh_mirror_copies") <= 10.0);
    eventually("copies give up", Duration::from_secs(15), || {
        stage.metric("dbmesh_mirror_copies") == 0.0
    });
    relay.heal();
    let compared = outcome(&stage, "content");
    eventually("copies again", Duration::from_secs(10), || {
        assert_eq!(client.query("SELECT id FROM who").value(), "home");
        outcome(&stage, "content") > compared
    });
}
