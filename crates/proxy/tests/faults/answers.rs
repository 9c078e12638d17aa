//! Connections that break in the middle of an answer.

use std::time::Duration;

use dbmesh_testkit::FaultRelay;
use dbmesh_testkit::relay::{Direction, Fault};
use dbmesh_testkit::server::{Kind, shared};
use dbmesh_wire::caps::Capabilities;

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::stage::Stage;

/// A proxy whose way to a shared server leads over a relay, in the clear, so that offsets are those of the protocol.
fn over_relay(kind: Kind) -> (FaultRelay, Stage) {
    let relay = FaultRelay::start(shared(kind).port()).unwrap();
    let stage = Stage::before(kind, relay.port(), |c| {
        c.endpoint("tls: {mode: disabled}").service(
            "pool: {connectTimeoutMs: 2000}\nlimits: {queueWaitMs: 4000, localInfile: false}",
        )
    });
    stage.assert_serves();
    (relay, stage)
}

fn table(kind: Kind, name: &str) {
    shared(kind)
        .execute(&format!("CREATE DATABASE IF NOT EXISTS f; DROP TABLE IF EXISTS f.{name}; CREATE TABLE f.{name} (id INT PRIMARY KEY)"))
        .unwrap();
}

fn count(kind: Kind, name: &str) -> String {
    shared(kind)
        .query_value(&format!("SELECT COUNT(*) FROM f.{name}"))
        .unwrap()
        .unwrap()
}

/// Cuts an answer at every offset: the client gets all of it, or is told.
fn at_every_offset(kind: Kind, faults: fn(u64) -> Fault) {
    let (relay, stage) = over_relay(kind);
    let mut whole = 0;
    for offset in 0..400 {
        if whole == 3 {
            break;
        }
        let mut client = RawClient::app(stage.port);
        // A user variable that is no literal pins: the answer must come over this connection or not at all.
        assert_eq!(client.query("SET @pin = CONNECTION_ID()"), Reply::Ok);
        relay.set(Direction::FromTarget, faults(offset));
        client.patience(Duration::from_secs(5));
        match client.query("SELECT 'first cell', 'second cell' UNION ALL SELECT 'a', 'b'") {
            Reply::Rows(rows) => {
                whole += 1;
                assert_eq!(rows.len(), 2, "offset {offset}");
                assert_eq!(rows[0][0].as_deref(), Some("first cell"), "offset {offset}");
                assert_eq!(rows[1][1].as_deref(), Some("b"), "offset {offset}");
            }
            Reply::Error(e) => assert!(matches!(e.code, 2013 | 2003), "offset {offset}: {e:?}"),
            Reply::Closed => {}
            other => panic!("offset {offset}: {other:?}"),
        }
        relay.heal();
        assert_eq!(
            RawClient::app(stage.port).query("SELECT 7").value(),
            "7",
            "offset {offset}"
        );
    }
    assert_eq!(whole, 3, "an offset behind the answer is reached");
    stage.assert_pool_calm();
}

#[test]
fn an_answer_cut_at_every_offset_mysql() {
    at_every_offset(Kind::MySql, Fault::CutAfter);
}

#[test]
fn an_answer_cut_at_every_offset_mariadb() {
    at_every_offset(Kind::MariaDb, Fault::CutAfter);
}

#[test]
fn an_answer_reset_at_every_offset() {
    at_every_offset(Kind::MySql, Fault::ResetAfter);
}

#[test]
fn a_read_is_repeated_on_a_fresh_connection_and_a_write_is_not() {
    table(Kind::MySql, "once");
    let (relay, stage) = over_relay(Kind::MySql);
    let mut client = RawClient::app(stage.port);
    assert_eq!(client.query("DO 1"), Reply::Ok);
    relay.reset_all();
    assert_eq!(client.query("SELECT 5").value(), "5");
    relay.cut_all();
    assert_eq!(
        client.query("INSERT INTO f.once VALUES (1)"),
        Reply::Ok,
        "dead before it was used"
    );
    // Now the answer is lost: the statement was done, and must not be done again.
    relay.set(Direction::FromTarget, Fault::CutAfter(0));
    let reply = client.query("INSERT INTO f.once VALUES (2)");
    relay.heal();
    let Reply::Error(error) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(error.code, 2013);
    assert!(
        error.message.contains("may or may not"),
        "{}",
        error.message
    );
    assert_eq!(
        client.query("SELECT 6").value(),
        "6",
        "nothing of the session was lost"
    );
    assert_eq!(count(Kind::MySql, "once"), "2", "once each");
}

#[test]
fn a_lost_answer_to_commit_is_said_to_be_unknown() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        table(kind, "committed");
        let (relay, stage) = over_relay(kind);
        for (id, commit) in ["COMMIT", "commit work", "/* x */ COMMIT AND CHAIN"]
            .into_iter()
            .enumerate()
        {
            let mut client = RawClient::app(stage.port);
            assert_eq!(client.query("BEGIN"), Reply::Ok);
            assert_eq!(
                client.query(&format!("INSERT INTO f.committed VALUES ({id})")),
                Reply::Ok
            );
            relay.set(Direction::FromTarget, Fault::CutAfter(0));
            let reply = client.query(commit);
            relay.heal();
            let Reply::Error(error) = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(
                (error.code, error.state.as_str()),
                (1105, "08007"),
                "{commit}: {}",
                error.message
            );
            assert!(client.is_closed(), "{commit}");
        }
        assert_eq!(
            count(kind, "committed"),
            "3",
            "they were done, which the proxy cannot know"
        );
    }
}

#[test]
fn a_lost_answer_to_a_commit_among_others_is_said_to_be_unknown() {
    table(Kind::MySql, "among");
    let (relay, stage) = over_relay(Kind::MySql);
    let more = Credentials::app().more(Capabilities::MULTI_STATEMENTS);
    for (id, statement) in ["DO 1; COMMIT", "COMMIT; DO 1", "\x16COMMIT"]
        .into_iter()
        .enumerate()
    {
        let mut client = RawClient::logged_in(stage.port, &more);
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            client.query(&format!("INSERT INTO f.among VALUES ({id})")),
            Reply::Ok
        );
        let prepared = statement.strip_prefix('\x16');
        let mut execute = vec![0x17];
        if let Some(sql) = prepared {
            client.command(&[&[0x16], sql.as_bytes()].concat());
            execute.extend_from_slice(&client.packet().unwrap()[1..5]);
            execute.extend_from_slice(&[0, 1, 0, 0, 0]);
        }
        relay.set(Direction::FromTarget, Fault::CutAfter(0));
        match prepared {
            Some(_) => client.command(&execute),
            None => client.begin_query(statement),
        }
        let reply = client.reply();
        relay.heal();
        let Reply::Error(error) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(
            (error.code, error.state.as_str()),
            (1105, "08007"),
            "{statement}: {}",
            error.message
        );
        assert!(client.is_closed(), "{statement}");
    }
    assert_eq!(count(Kind::MySql, "among"), "3");
}

#[test]
fn a_lost_answer_to_an_implicit_commit_is_not_said_to_be_a_rollback() {
    table(Kind::MySql, "implicit");
    let (relay, stage) = over_relay(Kind::MySql);
    for (id, statement) in [
        "CREATE TABLE IF NOT EXISTS f.implicit_2 (id INT)",
        "BEGIN",
        "SET autocommit = 1",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("SET autocommit = 0"), Reply::Ok);
        assert_eq!(
            client.query(&format!("INSERT INTO f.implicit VALUES ({id})")),
            Reply::Ok
        );
        relay.set(Direction::FromTarget, Fault::CutAfter(0));
        let reply = client.query(statement);
        relay.heal();
        let Reply::Error(error) = reply else {
            panic!("{reply:?}")
        };
        assert!(
            !error.message.contains("is gone"),
            "{statement}: {}",
            error.message
        );
        assert!(client.is_closed(), "{statement}");
    }
    assert_eq!(count(Kind::MySql, "implicit"), "3");
}

#[test]
fn a_long_answer_that_breaks_off_never_looks_whole() {
    let (relay, stage) = over_relay(Kind::MySql);
    for bytes in [40_000, 300_000, 1_000_000] {
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("SET @pin = CONNECTION_ID()"), Reply::Ok);
        relay.set(Direction::FromTarget, Fault::CutAfter(bytes));
        let reply = client.query(
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
             SELECT REPEAT('x', 5000) FROM n",
        );
        relay.heal();
        assert!(
            reply == Reply::Closed || reply.code() == Some(2013),
            "{bytes}: {:?}",
            reply.code()
        );
    }
    stage.assert_serves();
    stage.assert_pool_calm();
}

#[test]
fn a_corrupt_byte_never_passes_for_another_answer() {
    let (relay, stage) = over_relay(Kind::MySql);
    // Offset 3 is the number of the first packet, the next ones the column count and the second header.
    for offset in [0, 3, 4, 5, 8] {
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("SET @pin = CONNECTION_ID()"), Reply::Ok);
        relay.set(Direction::FromTarget, Fault::CorruptByte(offset));
        client.patience(Duration::from_secs(2));
        let reply = client.query("SELECT 'abc'");
        relay.heal();
        // A length that grew makes both sides wait for the rest, as with any client.
        assert!(
            !matches!(reply, Reply::Rows(_) | Reply::Ok),
            "offset {offset}: {reply:?}"
        );
    }
    stage.assert_serves();
}

#[test]
fn a_local_file_that_is_refused_costs_no_transaction() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        table(kind, "infile");
        let (_relay, stage) = over_relay(kind);
        let mut client = RawClient::logged_in(
            stage.port,
            &Credentials::app().more(Capabilities::LOCAL_FILES),
        );
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("INSERT INTO f.infile VALUES (1)"), Reply::Ok);
        let reply = client.query("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE f.infile");
        assert!(reply.code().is_some(), "{reply:?}");
        match client.query("COMMIT") {
            Reply::Ok => assert_eq!(
                count(kind, "infile"),
                "1",
                "a COMMIT that is acknowledged commits"
            ),
            other => assert_eq!(other, Reply::Closed),
        }
    }
}
