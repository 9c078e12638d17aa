//! An endpoint taken out of service and back.

use std::time::Duration;

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{BUFFER, KINDS, Load, SPLITTING, dbmesh, endpoint, fleet, said, stage, yaml};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::Kind;

fn statements(stage: &Stage, name: &str) -> u64 {
    endpoint(stage, name)["statements"].as_u64().unwrap()
}

fn counted(fleet: &dbmesh_testkit::Fleet) -> u64 {
    let count = fleet.primary().query_value("SELECT COUNT(*) FROM app.t");
    count.unwrap().unwrap().parse().unwrap()
}

#[test]
fn a_replica_is_drained_under_load_and_no_statement_fails() {
    for kind in KINDS {
        let fleet = fleet(kind, 2);
        let stage = stage(&fleet, 4, &[SPLITTING]);
        let load = Load::start(stage.port);
        eventually("it serves", Duration::from_secs(10), || {
            statements(&stage, "server-1") > 50
        });
        let (code, text) = said(&dbmesh(&stage, &["drain", "server-1", "--timeout", "20s"]));
        assert_eq!(code, Some(0), "{kind:?}: {text}");
        assert!(text.contains("server-1 is drained"), "{text}");
        let drained = endpoint(&stage, "server-1");
        assert_eq!(drained["admin_state"], "draining");
        assert_eq!(drained["serves_not"], "draining");
        assert_eq!(drained["pool"]["open"], 0);
        let (before, others) = (
            statements(&stage, "server-1"),
            statements(&stage, "server-2"),
        );
        eventually("the other replica serves", Duration::from_secs(10), || {
            statements(&stage, "server-2") > others + 50
        });
        assert_eq!(statements(&stage, "server-1"), before, "{kind:?}");
        assert_eq!(endpoint(&stage, "server-1")["pool"]["open"], 0);
        let (code, text) = said(&dbmesh(&stage, &["undrain", "server-1"]));
        assert_eq!(code, Some(0), "{text}");
        eventually("it serves again", Duration::from_secs(10), || {
            statements(&stage, "server-1") > before + 20
        });
        let rows = load.end();
        assert_eq!(counted(&fleet), rows, "{kind:?}");
        let log = stage.proxy.log();
        for line in [
            "an operator drains the endpoint",
            "an operator lets the endpoint serve again",
        ] {
            let line = log.lines().find(|l| l.contains(line)).expect(line);
            assert!(line.contains("server-1") && line.contains("ann"), "{line}");
        }
    }
}

#[test]
fn the_primary_is_drained_under_load_and_statements_wait() {
    for kind in KINDS {
        let fleet = fleet(kind, 1);
        let stage = stage(&fleet, 4, &[SPLITTING, BUFFER]);
        let load = Load::start(stage.port);
        eventually("it serves", Duration::from_secs(10), || {
            statements(&stage, "server-0") > 50
        });
        let (code, text) = said(&dbmesh(&stage, &["drain", "server-0", "--timeout", "20s"]));
        assert_eq!(code, Some(0), "{kind:?}: {text}");
        let (_, ready) = stage.proxy.admin_get("/readyz").unwrap();
        assert!(ready.contains("default/testkit/mysql"), "{ready}");
        eventually("statements wait", Duration::from_secs(10), || {
            stage.metric("dbmesh_statements_waiting_for_primary") >= 4.0
        });
        let before = statements(&stage, "server-0");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(statements(&stage, "server-0"), before);
        let (code, text) = said(&dbmesh(&stage, &["undrain", "server-0"]));
        assert_eq!(code, Some(0), "{text}");
        eventually("it serves again", Duration::from_secs(10), || {
            statements(&stage, "server-0") > before + 50
        });
        let rows = load.end();
        assert_eq!(counted(&fleet), rows, "{kind:?}");
    }
}

#[test]
fn transactions_end_by_themselves_and_nobody_else_gets_in() {
    let fleet = fleet(Kind::MySql, 0);
    let stage = stage(&fleet, 4, &[]);
    let mut inside = RawClient::app(stage.port);
    assert_eq!(inside.query("BEGIN"), Reply::Ok);
    let insert = "INSERT INTO app.t (v) VALUES (7)";
    assert_eq!(inside.query(insert), Reply::Ok);
    let (code, text) = said(&dbmesh(
        &stage,
        &["drain", "server-0", "--timeout", "700ms"],
    ));
    assert_eq!(code, Some(1), "{text}");
    for words in ["1 connection left", "of app: transaction", "stays draining"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let mut outside = RawClient::app(stage.port);
    match outside.query("SELECT 1 FROM app.t") {
        Reply::Error(e) => {
            assert_eq!(e.code, 2003);
            assert!(
                e.message.contains("server-0 is being drained"),
                "{}",
                e.message
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(inside.query(insert), Reply::Ok);
    assert_eq!(inside.query("COMMIT"), Reply::Ok);
    let (code, text) = said(&dbmesh(&stage, &["drain", "server-0", "--timeout", "10s"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(inside.query("BEGIN").code().is_some(), "a new transaction");
    assert_eq!(said(&dbmesh(&stage, &["undrain", "server-0"])).0, Some(0));
    assert_eq!(outside.query("SELECT COUNT(*) FROM app.t").value(), "2");
    assert_eq!(inside.query("BEGIN"), Reply::Ok);
}

#[test]
fn who_waits_for_a_connection_of_a_drained_endpoint_waits_for_a_primary() {
    let fleet = fleet(Kind::MySql, 0);
    let stage = stage(&fleet, 1, &[BUFFER]);
    let mut holder = RawClient::app(stage.port);
    assert_eq!(holder.query("BEGIN"), Reply::Ok);
    let mut waiters: Vec<RawClient> = (0..3).map(|_| RawClient::app(stage.port)).collect();
    for waiter in &mut waiters {
        waiter.begin_query("INSERT INTO app.t (v) VALUES (1)");
    }
    eventually("three wait", Duration::from_secs(10), || {
        let pool = &endpoint(&stage, "server-0")["pool"];
        pool["waiting"] == 3 && pool["oldest_wait_ms"].as_u64().unwrap() > 100
    });
    let (_, text) = said(&dbmesh(&stage, &["get", "endpoints"]));
    assert!(text.contains("3 for "), "{text}");
    let (code, text) = said(&dbmesh(
        &stage,
        &["drain", "server-0", "--timeout", "300ms"],
    ));
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(endpoint(&stage, "server-0")["pool"]["waiting"], 0);
    assert_eq!(holder.query("COMMIT"), Reply::Ok);
    let (code, text) = said(&dbmesh(&stage, &["drain", "server-0"]));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(counted(&fleet), 0);
    assert_eq!(said(&dbmesh(&stage, &["undrain", "server-0"])).0, Some(0));
    for waiter in &mut waiters {
        assert_eq!(waiter.reply(), Reply::Ok);
    }
    assert_eq!(counted(&fleet), 3);
}

#[test]
fn a_reload_keeps_what_drains_as_long_as_its_pool_lives() {
    let fleet = fleet(Kind::MySql, 1);
    let port = Port::reserve().unwrap();
    let number = port.number();
    let stage = Stage::of_yaml(&yaml(&fleet, number, 4, &[SPLITTING]), port, &[]);
    let (code, text) = said(&dbmesh(&stage, &["drain", "server-1"]));
    assert_eq!(code, Some(0), "{text}");
    let apply = |yaml: &str| {
        let applied = || stage.proxy.log().matches("configuration applied").count();
        let before = applied();
        stage.proxy.rewrite_config(yaml).unwrap();
        stage.proxy.sighup();
        eventually("applied", Duration::from_secs(15), || applied() > before);
    };
    apply(&yaml(
        &fleet,
        number,
        4,
        &[SPLITTING, "circuitBreaks: [{regex: [nothing]}]"],
    ));
    assert_eq!(endpoint(&stage, "server-1")["admin_state"], "draining");
    assert_eq!(endpoint(&stage, "server-1")["pool"]["open"], 0);
    apply(&yaml(&fleet, number, 5, &[SPLITTING]));
    assert_eq!(endpoint(&stage, "server-1")["admin_state"], "active");
    assert!(
        stage.proxy.log().contains("it was draining"),
        "{}",
        stage.proxy.log()
    );
}

#[test]
fn what_cannot_be_drained_is_a_clear_error() {
    let fleet = fleet(Kind::MySql, 0);
    let stage = stage(&fleet, 4, &[]);
    for (args, words) in [
        (
            &["drain", "server-9"][..],
            "there is no endpoint server-9; there are: server-0",
        ),
        (&["undrain", "server-9"], "there is no endpoint server-9"),
        (
            &["drain", "server-0", "--service", "other"],
            "there is no service other; there are: default/testkit/mysql",
        ),
        (&["drain", "a/../b"], "cannot be the name of an endpoint"),
    ] {
        let (code, text) = said(&dbmesh(&stage, args));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert_eq!(endpoint(&stage, "server-0")["admin_state"], "active");
    for name in ["mysql", "testkit/mysql", "default/testkit/mysql"] {
        let (code, text) = said(&dbmesh(&stage, &["drain", "server-0", "--service", name]));
        assert_eq!(code, Some(0), "{text}");
    }
}
