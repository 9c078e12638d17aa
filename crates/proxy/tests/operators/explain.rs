//! EXPLAIN MESH of real sessions.

use std::collections::BTreeMap;

use dbmesh_testkit::server::Kind;

use crate::faultkit::client::{RawClient, Reply};
use crate::ground::{KINDS, SPLITTING, dbmesh, endpoint, fleet, said, stage};

type Rows = BTreeMap<String, String>;

fn explained(client: &mut RawClient, sql: &str) -> Rows {
    match client.query(&format!("EXPLAIN MESH {sql}")) {
        Reply::Rows(rows) => rows
            .into_iter()
            .map(|mut row| (row.remove(0).unwrap(), row.remove(0).unwrap()))
            .collect(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[track_caller]
fn holds(rows: &Rows, field: &str, words: &str) {
    let value = rows.get(field).map_or("(no row)", String::as_str);
    assert!(
        value.contains(words),
        "{field}: {value:?}, not {words:?}, in {rows:#?}"
    );
}

#[test]
fn it_says_where_a_statement_would_go_and_runs_nothing() {
    for kind in KINDS {
        let fleet = fleet(kind, 2);
        let stage = stage(&fleet, 4, &[SPLITTING]);
        let mut client = RawClient::app(stage.port);
        let sent = || -> u64 {
            let names = ["server-0", "server-1", "server-2"];
            let sent = names.map(|name| endpoint(&stage, name)["statements"].as_u64().unwrap());
            sent.iter().sum()
        };
        let before = sent();
        let read = explained(&mut client, "SELECT v FROM app.t WHERE id = 5");
        holds(&read, "digest_text", "WHERE id = ?");
        assert_eq!(read["digest"].len(), 16);
        holds(&read, "verb", "select");
        holds(&read, "class", "read");
        holds(&read, "reads_only", "proved");
        holds(&read, "pins", "none");
        holds(&read, "plan", "route: Replica");
        holds(&read, "consistency", "session");
        holds(&read, "session_position", "nothing written");
        holds(&read, "decided_by", "defaultTarget");
        holds(
            &read,
            "target",
            "replica, any: the session wrote nothing; chosen by round_robin",
        );
        holds(&read, "endpoint server-0", "if no replica may answer");
        holds(&read, "endpoint server-1", " s behind");
        holds(&read, "rules", "none matches");
        let write = explained(&mut client, "INSERT INTO app.t (v) VALUES (1)");
        holds(&write, "reads_only", "no: insert is no query of rows");
        holds(&write, "decided_by", "not proved to read only");
        holds(&write, "endpoint server-0", "yes");
        holds(&write, "endpoint server-1", "no: it is a replica");
        let locked = explained(&mut client, "SELECT v FROM app.t FOR UPDATE");
        holds(&locked, "reads_only", "no: LOCKING_READ");
        let pinning = explained(&mut client, "CREATE TEMPORARY TABLE app.x (a INT)");
        holds(&pinning, "pins", "temporary_table");
        let local = explained(&mut client, "COMMIT");
        holds(&local, "plan", "local: no transaction is open");
        assert!(!local.contains_key("target"), "{local:?}");
        assert_eq!(sent(), before, "{kind:?}: nothing was executed");
        let count = fleet.primary().query_value("SELECT COUNT(*) FROM app.t");
        assert_eq!(count.unwrap().as_deref(), Some("0"));
    }
}

#[test]
fn it_knows_the_session() {
    for kind in KINDS {
        let fleet = fleet(kind, 1);
        let stage = stage(&fleet, 4, &[SPLITTING]);
        let mut client = RawClient::app(stage.port);
        let read = "SELECT v FROM app.t";
        let insert = "INSERT INTO app.t (id, v) VALUES (DEFAULT, 1)";
        assert_eq!(client.query(insert), Reply::Ok);
        holds(&explained(&mut client, read), "session_position", "known");
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        let inside = explained(&mut client, read);
        holds(
            &inside,
            "target",
            "server-0: the session keeps its connection (transaction)",
        );
        holds(
            &inside,
            "endpoint server-1",
            "no: the session keeps its connection",
        );
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(client.query("SET autocommit = 0"), Reply::Ok);
        let began = explained(&mut client, read);
        holds(&began, "reads_only", "no: autocommit is off");
        holds(&began, "pins", "transaction");
        assert_eq!(client.query("SET autocommit = 1"), Reply::Ok);
        let (code, text) = said(&dbmesh(&stage, &["drain", "server-1"]));
        assert_eq!(code, Some(0), "{text}");
        let drained = explained(&mut client, read);
        holds(&drained, "endpoint server-1", "no: an operator drains it");
        assert_eq!(client.query("SELECT COUNT(*) FROM app.t").value(), "1");
    }
}

#[test]
fn it_is_a_statement_as_any_other() {
    let fleet = fleet(Kind::MySql, 0);
    let rules =
        "circuitBreaks: [{name: no-sleep, regex: [SLEEP]}, {name: no-delete, regex: ['^DELETE']}]";
    let slow =
        "concurrencyControls: [{name: few, regex: ['^SELECT v'], duration: 1, maxConcurrency: 5}]";
    let stage = stage(&fleet, 4, &[rules, slow]);
    let mut client = RawClient::app(stage.port);
    // Rules judge its own text.
    match client.query("EXPLAIN MESH SELECT SLEEP(1)") {
        Reply::Error(e) => assert!(e.message.contains("'no-sleep'"), "{}", e.message),
        other => panic!("{other:?}"),
    }
    let deleted = explained(&mut client, "DELETE FROM app.t");
    holds(
        &deleted,
        "rule no-delete",
        "it matches: the statement is refused",
    );
    assert!(client.query("DELETE FROM app.t").code().is_some());
    let few = explained(&mut client, "SELECT v FROM app.t");
    holds(&few, "rule few", "at most 5 begin within 1 s");
    holds(&few, "decided_by", "reads are not split off");
    // It leaves diagnostics as an answer of rows does.
    assert_eq!(client.query("SELECT FOUND_ROWS() > 8").value(), "1");
    explained(&mut client, "SELECT 1");
    assert_eq!(client.query("SELECT ROW_COUNT()").value(), "-1");
    explained(&mut client, "SELECT 1");
    assert_eq!(client.query("SHOW WARNINGS"), Reply::Rows(Vec::new()));
    // Only as text.
    client.command(&[&[0x16], &b"EXPLAIN MESH SELECT 1"[..]].concat());
    match client.reply() {
        Reply::Error(e) => {
            assert_eq!((e.code, e.state.as_str()), (1295, "HY000"));
            assert!(e.message.contains("send it as text"), "{}", e.message);
        }
        other => panic!("{other:?}"),
    }
    // A table of that name is described by its server.
    fleet
        .primary()
        .execute("CREATE TABLE app.mesh (id INT)")
        .unwrap();
    match client.query("EXPLAIN mesh") {
        Reply::Rows(rows) => assert_eq!(rows[0][0].as_deref(), Some("id")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.query("EXPLAIN mesh id"), Reply::Rows(rows) if rows.len() == 1));
    assert_eq!(client.query("EXPLAIN MESH SELECT").code(), None);
}
