//! Hints in comments and query attributes, over real fleets.

use std::time::Duration;

use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, shared};
use dbmesh_wire::caps::Capabilities;

use crate::ask::{assert_error, attributed, execute, prepare, query_with};
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

/// A primary, `server-0`, and a replica, `server-1`; `app.who` says which it is.
fn fleet(kind: Kind) -> Fleet {
    let fleet = Fleet::start(FleetOptions::new(kind, 1)).unwrap();
    let primary = fleet.primary();
    primary
        .execute("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.who (id VARCHAR(9)); CREATE TABLE app.t (id INT)")
        .unwrap();
    fleet.wait_until_caught_up().unwrap();
    primary
        .execute("SET sql_log_bin = 0; INSERT INTO app.who VALUES ('primary')")
        .unwrap();
    let replica = &fleet.replicas()[0];
    let opens = match kind {
        Kind::MySql => "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0",
        Kind::MariaDb => "SET GLOBAL read_only = 0",
    };
    let closes = match kind {
        Kind::MySql => "SET GLOBAL super_read_only = 1",
        Kind::MariaDb => "SET GLOBAL read_only = 1",
    };
    replica
        .execute(&format!(
            "{opens}; SET sql_log_bin = 0; INSERT INTO app.who VALUES ('replica'); {closes}"
        ))
        .unwrap();
    fleet
}

fn before(fleet: &Fleet, hints: &str) -> Stage {
    let port = Port::reserve().unwrap();
    let yaml = Config::of_fleet(fleet, port.number(), 4)
        .schema("app")
        .service("users: [{name: other, password: other-password}]")
        .strategy(
            "loadBalance: {readWriteSplitting: {static: {defaultTarget: readwrite, rules: []}}}",
        )
        .strategy(hints)
        .to_yaml();
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let mut client = RawClient::app(stage.port);
    eventually("the replica serves", Duration::from_secs(20), || {
        client
            .query("/* mesh: replica */ SELECT id FROM app.who")
            .value()
            == "replica"
    });
    stage
}

#[test]
fn a_hint_says_where_a_statement_runs() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let fleet = fleet(kind);
        let stage = before(&fleet, "hints: {users: [app]}");
        let mut client = RawClient::app(stage.port);
        let primary = [
            "SELECT id FROM app.who",
            "/* mesh: primary */ SELECT id FROM app.who",
            "SELECT id FROM app.who -- mesh: endpoint=server-0",
            "/* SHARDINGSPHERE_HINT: WRITE_ROUTE_ONLY=true */ SELECT id FROM app.who",
            "/* mesh: replica */ SELECT id FROM app.who FOR UPDATE",
            "SELECT '/* mesh: replica */', id FROM app.who",
        ];
        for sql in primary {
            let Reply::Rows(rows) = client.query(sql) else {
                panic!("{kind:?}: {sql}")
            };
            let last = rows[0].last().unwrap().clone();
            assert_eq!(last.as_deref(), Some("primary"), "{kind:?}: {sql}");
        }
        let replica = [
            "/* mesh: replica */ SELECT id FROM app.who",
            "SELECT id FROM app.who # mesh: replica",
            "SELECT id FROM app.who /* mesh: endpoint=server-1, tenant=t, tag.a=b */",
            "/* SHARDINGSPHERE_HINT: DATA_SOURCE_NAME=server-1 */ SELECT id FROM app.who",
        ];
        for sql in replica {
            assert_eq!(client.query(sql).value(), "replica", "{kind:?}: {sql}");
        }
        let (id, _) = prepare(&mut client, "/* mesh: replica */ SELECT id FROM app.who").unwrap();
        for _ in 0..3 {
            let reply = execute(&mut client, id, &[], None);
            assert_eq!(reply.value(), "replica", "{kind:?}: prepared");
        }
    }
}

#[test]
fn hints_of_a_text_that_is_divided_are_for_all_of_it() {
    let fleet = fleet(Kind::MySql);
    let stage = before(&fleet, "hints: {users: [app]}");
    let several = Credentials::app().more(Capabilities::MULTI_STATEMENTS);
    let mut client = RawClient::logged_in(stage.port, &several);
    // What may change how the rest is read goes before it by itself.
    for text in [
        "/* mesh: replica */ SET sql_mode = ''; SELECT id FROM app.who",
        "SET sql_mode = ''; SELECT id FROM app.who -- mesh: replica",
    ] {
        client.begin_query(text);
        assert_eq!(client.reply(), Reply::Ok, "{text}");
        assert_eq!(client.reply().value(), "replica", "{text}");
        assert_eq!(client.query("SELECT id FROM app.who").value(), "primary");
    }
    // As of a text that goes to a server as a whole: SET is not proved to read only.
    let there = "SET sql_mode = ''; SELECT id FROM app.who /* mesh: endpoint=server-1 */";
    assert_error(&client.query(there), 1105, "not proved to read only");
    let unknown = "SET sql_mode = ''; DELETE FROM app.who /* mesh: primry */";
    assert_error(&client.query(unknown), 1064, "no hint 'primry'");
    assert_eq!(client.query("SELECT id FROM app.who").value(), "primary");
}

#[test]
fn what_cannot_be_followed_is_refused_and_the_session_goes_on() {
    let fleet = fleet(Kind::MySql);
    let stage = before(&fleet, "hints: {users: [app]}");
    let mut client = RawClient::app(stage.port);
    let read_only = "not proved to read only";
    for (sql, code, says) in [
        ("/* mesh: primry */ SELECT 1", 1064, "no hint 'primry'"),
        (
            "/* mesh: endpoint=server-9 */ SELECT 1",
            1064,
            "no endpoint 'server-9'",
        ),
        (
            "/* mesh: endpoint=server-0, primary */ SELECT 1",
            1064,
            "excludes",
        ),
        (
            "/* mesh: endpoint=server-1 */ INSERT INTO t VALUES (1)",
            1105,
            read_only,
        ),
        (
            "/* mesh: endpoint=server-1 */ SELECT id FROM t FOR UPDATE",
            1105,
            read_only,
        ),
        (
            "/* mesh: endpoint=server-1 */ SELECT 1; DELETE FROM t",
            1105,
            read_only,
        ),
        ("/* mesh: shadow */ SELECT 1", 1064, "'shadow' needs"),
        ("/* mesh: unit=1 */ SELECT 1", 1064, "'unit' needs"),
        (
            "/* mesh: timeout_ms=5 */ COMMIT",
            1064,
            "'timeout_ms' cannot",
        ),
    ] {
        assert_error(&client.query(sql), code, says);
        assert_error(
            &client.query("SHOW WARNINGS /* mesh: primry */"),
            1064,
            "primry",
        );
        assert_eq!(client.query("SELECT 1").value(), "1");
    }
    assert_eq!(client.query("BEGIN"), Reply::Ok);
    assert_eq!(client.query("INSERT INTO t VALUES (7)"), Reply::Ok);
    let away = "/* mesh: endpoint=server-1 */ SELECT id FROM who";
    assert_error(
        &client.query(away),
        1105,
        "bound to server-0 by its transaction",
    );
    let here = "/* mesh: endpoint=server-0 */ SELECT id FROM t";
    assert_eq!(client.query(here).value(), "7");
    assert_eq!(client.query("ROLLBACK"), Reply::Ok);
    assert_eq!(client.query(away).value(), "replica");
    assert_eq!(client.query("SET autocommit = 0"), Reply::Ok);
    assert_error(&client.query(away), 1105, "without autocommit");
    assert!(stage.metric("dbmesh_hints_refused_total") >= 5.0);
}

/// The value of a field of an explanation.
fn explained(reply: &Reply, field: &str) -> String {
    let Reply::Rows(rows) = reply else {
        panic!("{reply:?}")
    };
    let named = rows.iter().find(|row| row[0].as_deref() == Some(field));
    named.and_then(|row| row[1].clone()).unwrap_or_default()
}

#[test]
fn an_explanation_follows_the_hints_of_the_statement_in_it() {
    let fleet = fleet(Kind::MySql);
    let stage = before(&fleet, "hints: {users: [app]}");
    let mut client = RawClient::app(stage.port);
    let read = "EXPLAIN MESH SELECT id FROM app.who";
    for (hint, role, target) in [
        ("", "primary", ""),
        ("/* mesh: replica */", "replica", ""),
        ("/* mesh: primary */", "primary", ""),
        (
            "/* mesh: endpoint=server-1 */",
            "",
            "endpoint server-1, and no other",
        ),
        (
            "/* mesh: endpoint=server-0 */",
            "",
            "endpoint server-0, and no other",
        ),
    ] {
        let reply = client.query(&format!("{read} {hint}"));
        let shown = explained(&reply, "target");
        assert!(
            shown.contains(role) && shown.contains(target),
            "{hint}: {reply:?}"
        );
    }
    // What the statement would be refused for, its explanation is.
    let write = "EXPLAIN MESH INSERT INTO app.t VALUES (1) /* mesh: endpoint=server-1 */";
    assert_error(&client.query(write), 1105, "not proved to read only");
    let unknown = "EXPLAIN MESH SELECT 1 /* mesh: endpoint=server-9 */";
    assert_error(&client.query(unknown), 1064, "no endpoint 'server-9'");
    // It leaves the session where it is.
    assert_eq!(client.query("BEGIN"), Reply::Ok);
    assert_eq!(client.query("INSERT INTO app.t VALUES (7)"), Reply::Ok);
    let reply = client.query(&format!("{read} /* mesh: endpoint=server-1 */"));
    assert!(matches!(reply, Reply::Rows(_)), "{reply:?}");
    assert_eq!(client.query("SELECT id FROM app.t").value(), "7");
    assert_eq!(client.query("ROLLBACK"), Reply::Ok);
}

#[test]
fn who_may_use_hints_is_policy() {
    let fleet = fleet(Kind::MySql);
    let other = Credentials::of("other", "other-password").schema("app");
    let plain = "/* mesh: primary */ SELECT id FROM who";
    let named = "/* mesh: endpoint=server-1 */ SELECT id FROM who";
    {
        let stage = before(&fleet, "hints: {mode: on, users: [app]}");
        let mut client = RawClient::logged_in(stage.port, &other);
        assert_error(&client.query(plain), 1227, "may not use hints");
        assert_error(&client.query(named), 1227, "may not use hints");
        assert_eq!(client.query("SELECT id FROM who").value(), "primary");
    }
    {
        let stage = before(&fleet, "hints: {mode: on}");
        let mut client = RawClient::logged_in(stage.port, &other);
        assert_eq!(client.query(plain).value(), "primary");
        assert_error(&client.query(named), 1227, "may not use hint 'endpoint'");
        let shadow = "/* mesh: shadow */ SELECT 1";
        assert_error(&client.query(shadow), 1227, "may not use hint 'shadow'");
    }
    let stage = Stage::before(Kind::MySql, fleet.primary().port(), |c| {
        c.schema("app").strategy("hints: {mode: off}")
    });
    let mut client = RawClient::app(stage.port);
    assert_eq!(
        client.query("/* mesh: no such thing */ SELECT 1").value(),
        "1"
    );
    let mut client = attributed(stage.port);
    assert_eq!(query_with(&mut client, "nothing", "SELECT 1").value(), "1");
}

#[test]
fn query_attributes_carry_hints_for_text_and_prepared_statements() {
    let fleet = fleet(Kind::MySql);
    let stage = before(&fleet, "hints: {users: [app]}");
    let mut client = attributed(stage.port);
    let who = "SELECT id FROM app.who";
    assert_eq!(client.query(who).value(), "primary");
    assert_eq!(query_with(&mut client, "replica", who).value(), "replica");
    let both = query_with(
        &mut client,
        "primary",
        "/* mesh: replica */ SELECT id FROM app.who",
    );
    assert_eq!(
        both.value(),
        "primary",
        "the attribute says more than the comment"
    );
    assert_error(
        &query_with(&mut client, "replicas", who),
        1064,
        "'replicas'",
    );
    let (id, params) = prepare(&mut client, "SELECT id FROM app.who WHERE id <> ?").unwrap();
    assert_eq!(params, 1);
    for _ in 0..3 {
        assert_eq!(execute(&mut client, id, &["x"], None).value(), "primary");
        let there = execute(&mut client, id, &["x"], Some("endpoint=server-1"));
        assert_eq!(there.value(), "replica");
        let reply = execute(&mut client, id, &["x"], Some("endpoint"));
        assert_error(&reply, 1064, "'endpoint' needs a value");
    }
    let (id, _) = prepare(&mut client, "INSERT INTO app.t VALUES (1)").unwrap();
    let reply = execute(&mut client, id, &[], Some("endpoint=server-1"));
    assert_error(&reply, 1105, "not proved to read only");
}

#[test]
fn labels_are_shown_to_who_looks_at_sessions() {
    let stage = Stage::before(Kind::MySql, shared(Kind::MySql).port(), |c| c);
    let mut client = RawClient::app(stage.port);
    let sql = "SELECT 1 /* mesh: tenant=acme, tag.job='night run' */";
    assert_eq!(client.query(sql).value(), "1");
    let (_, page) = stage.proxy.admin_get("/debug/sessions").unwrap();
    assert!(
        page.contains("acme") && page.contains("night run"),
        "{page}"
    );
}

#[test]
fn what_runs_at_a_replica_is_killed_there() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let fleet = fleet(kind);
        let stage = before(&fleet, "hints: {users: [app]}");
        let mut client = RawClient::app(stage.port);
        let mut killer = RawClient::app(stage.port);
        let slow = "/* mesh: replica */ SELECT id, SLEEP(30), 'at the replica' FROM app.who";
        let runs = "SELECT COUNT(*) FROM information_schema.processlist \
                    WHERE info LIKE '%at the replica%' AND info NOT LIKE '%processlist%'";
        let running = |n: &str| {
            eventually("statements at the replica", Duration::from_secs(10), || {
                fleet.replicas()[0].query_value(runs).unwrap().as_deref() == Some(n)
            });
        };
        client.begin_query(slow);
        running("1");
        assert_eq!(
            killer.query(&format!("KILL QUERY {}", client.id)),
            Reply::Ok
        );
        let reply = client.reply();
        let ended = match &reply {
            // MySQL answers a SLEEP that was interrupted with a row.
            Reply::Rows(rows) => rows[0][1].as_deref() == Some("1"),
            other => other.code() == Some(1317),
        };
        assert!(ended, "{kind:?}: {reply:?}");
        running("0");
        let late = slow.replace("replica */", "replica, timeout_ms=300 */");
        assert_error(&client.query(&late), 3024, "it was killed");
        running("0");
        client.begin_query(slow);
        running("1");
        drop(client);
        running("0");
    }
}
