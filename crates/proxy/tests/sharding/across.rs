//! Transactions that touch several nodes: the same as on one server, all of it or nothing.

use dbmesh_testkit::Kind;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::relay::{Direction, Fault, FaultRelay};

use crate::faultkit::client::{Credentials, RawClient};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{Answer, Client, Ground, Options, alike, yaml};

const ATOMIC: &[&str] = &["transactions: {acrossNodes: atomic}"];
const BEST_EFFORT: &[&str] = &["transactions: {acrossNodes: bestEffort}"];

fn atomic() -> Ground {
    let options = Options {
        data_shard: ATOMIC,
        durable: true,
        ..Options::default()
    };
    Ground::new(Kind::MySql, &options)
}

/// Users 0 to 3 are on the first node, 4 to 7 on the second.
const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (5, 'Eve', 50)";

const TRANSACTIONS: &str = "
    BEGIN
    UPDATE t_user SET score = score - 1 WHERE user_id = 1
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    SELECT * FROM t_user WHERE user_id = 1
    SELECT * FROM t_user WHERE user_id = 5
    COMMIT
    SELECT * FROM t_user WHERE user_id = 1
    SELECT * FROM t_user WHERE user_id = 5
    START TRANSACTION
    DELETE FROM t_user WHERE user_id = 5
    DELETE FROM t_user WHERE user_id = 1
    ROLLBACK
    SELECT * FROM t_user WHERE user_id = 1
    SELECT * FROM t_user WHERE user_id = 5
    BEGIN
    SAVEPOINT a
    UPDATE t_user SET name = 'first' WHERE user_id = 1
    SAVEPOINT b
    UPDATE t_user SET name = 'second' WHERE user_id = 5
    UPDATE t_user SET name = 'more' WHERE user_id = 1
    ROLLBACK TO B
    SELECT name FROM t_user WHERE user_id = 5
    SELECT name FROM t_user WHERE user_id = 1
    ROLLBACK TO SAVEPOINT c
    UPDATE t_user SET score = 7 WHERE user_id = 5
    SAVEPOINT `c`
    RELEASE SAVEPOINT a
    ROLLBACK TO b
    COMMIT AND CHAIN
    UPDATE t_user SET score = 8 WHERE user_id = 1
    UPDATE t_user SET score = 9 WHERE user_id = 5
    ROLLBACK
    SELECT * FROM t_user WHERE user_id = 1
    SELECT * FROM t_user WHERE user_id = 5
    SET autocommit = 0
    UPDATE t_user SET score = 11 WHERE user_id = 1
    UPDATE t_user SET score = 12 WHERE user_id = 5
    INSERT INTO t_user VALUES (5, 'again', 1)
    COMMIT
    UPDATE t_user SET score = 13 WHERE user_id = 5
    SELECT score FROM t_user WHERE user_id = 1
    ROLLBACK
    SET autocommit = 1
    SELECT * FROM t_user WHERE user_id = 1
    SELECT * FROM t_user WHERE user_id = 5
    BEGIN
    UPDATE t_user SET score = 21 WHERE user_id = 1
    UPDATE t_user SET score = 22 WHERE user_id = 5
    BEGIN
    SELECT score FROM t_user WHERE user_id = 5
    SELECT score FROM t_user WHERE user_id = 1
    ROLLBACK
    SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
    START TRANSACTION READ ONLY
    SELECT score FROM t_user WHERE user_id = 5
    SELECT score FROM t_user WHERE user_id = 1
    UPDATE t_user SET score = 0 WHERE user_id = 5
    COMMIT
    SELECT score FROM t_user WHERE user_id = 5";

#[test]
fn transactions_over_nodes_are_those_of_one_server() {
    let ground = atomic();
    ground.both(ROWS);
    ground.both(TRANSACTIONS);
    for server in &ground.servers {
        assert_eq!(server.query("XA RECOVER").unwrap(), Vec::<Vec<_>>::new());
        let rows = server
            .query_value("SELECT COUNT(*) FROM _mesh.mesh_txn WHERE state = 2")
            .unwrap();
        assert_eq!(rows.as_deref(), Some("0"), "nobody had to fence anything");
    }
    let decided = "SELECT COUNT(*) FROM _mesh.mesh_txn";
    let decided = ground
        .servers
        .iter()
        .map(|s| s.query_value(decided).unwrap().unwrap());
    let decided: u32 = decided.map(|count| count.parse::<u32>().unwrap()).sum();
    assert_eq!(
        decided, 4,
        "those with two writers at their COMMIT, and no other"
    );
}

#[test]
fn without_the_promise_a_commit_says_so() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let options = Options {
            data_shard: BEST_EFFORT,
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        ground.both(ROWS);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let mut warned = 0;
        for sql in TRANSACTIONS
            .lines()
            .map(str::trim)
            .filter(|sql| !sql.is_empty())
        {
            if sql.starts_with("COMMIT") {
                let (ours, theirs) = (mesh.ask(sql), one.ask(sql));
                let (Answer::Done(_, _, ours, ..), Answer::Done(_, _, theirs, ..)) =
                    (&ours, &theirs)
                else {
                    panic!("{kind:?}: {sql}: {ours:?} {theirs:?}");
                };
                assert_eq!(ours, theirs, "{kind:?}: {sql}");
                let listed = mesh.ask("SHOW WARNINGS");
                let note = |row: &Vec<Option<String>>| {
                    row[2]
                        .as_ref()
                        .is_some_and(|m| m.contains("without a promise of all or none"))
                };
                warned += listed.rows().iter().filter(|row| note(row)).count();
                one.ask("SHOW WARNINGS");
            } else {
                alike(kind, sql, &mut mesh, &mut one);
            }
        }
        assert_eq!(
            warned, 3,
            "{kind:?}: each COMMIT that ended two writers has a note"
        );
        let outcome = r#"outcome="best_effort""#;
        let name = "dbmesh_transactions_across_nodes_total";
        let count = |ground: &Ground| ground.stage.proxy.metric(name, outcome).unwrap();
        assert_eq!(count(&ground), Some(4.0), "{kind:?}: and the one of BEGIN");
        let changed = mesh.ask("UPDATE t_user SET score = score + 1");
        assert!(
            matches!(changed, Answer::Done(2, _, _, 1, _)),
            "{kind:?}: {changed:?}"
        );
        let listed = mesh.ask("SHOW WARNINGS");
        assert!(
            listed.rows()[0][2]
                .as_ref()
                .unwrap()
                .contains("2 nodes one after the other"),
            "{listed:?}"
        );
        assert_eq!(count(&ground), Some(5.0));
        locks_are_no_commit(&mut mesh);
        one_node_says_nothing(&mut mesh);
        assert_eq!(count(&ground), Some(5.0));
        without_notes(&mut mesh);
        assert_eq!(count(&ground), Some(7.0), "what is not told is counted");
        assert_eq!(
            ground.servers[0].query("XA RECOVER").unwrap(),
            Vec::<Vec<_>>::new()
        );
    }
}

fn one_node_says_nothing(mesh: &mut Client) {
    let changed = mesh.ask("UPDATE t_user SET score = 2 WHERE user_id IN (0, 1, 2, 3)");
    assert!(
        matches!(changed, Answer::Done(1, _, _, 0, _)),
        "one node: {changed:?}"
    );
}

/// A session that wants no notes gets none of dbmesh's either: of a statement, and of a COMMIT.
fn without_notes(mesh: &mut Client) {
    for sql in [
        "SET sql_notes = 0",
        "UPDATE t_user SET score = score + 1",
        "BEGIN",
        "UPDATE t_user SET score = score + 1",
        "COMMIT",
        "SET sql_notes = DEFAULT",
    ] {
        let done = mesh.ask(sql);
        assert!(
            matches!(done, Answer::Done(_, _, _, 0, _)),
            "{sql}: {done:?}"
        );
    }
}

/// A read that locks rows of two nodes says nothing.
fn locks_are_no_commit(mesh: &mut Client) {
    let locked = mesh.ask("SELECT user_id FROM t_user FOR UPDATE");
    assert!(!locked.rows().is_empty());
    let listed = mesh.ask("SHOW WARNINGS");
    assert!(listed.rows().is_empty(), "{listed:?}");
}

#[test]
fn a_second_node_is_refused_where_nothing_is_said_or_kept() {
    let ground = Ground::new(Kind::MySql, &Options::default());
    ground.both(ROWS);
    let mut mesh = ground.mesh();
    let said = crossing(&mut mesh);
    assert!(said.contains("transactions.acrossNodes"), "{said}");
    drop(ground);
    let options = Options {
        data_shard: ATOMIC,
        ..Options::default()
    };
    let ground = Ground::new(Kind::MySql, &options);
    ground.both(ROWS);
    let mut mesh = ground.mesh();
    let said = crossing(&mut mesh);
    assert!(said.contains("sync_binlog is not 1"), "{said}");
    // What was done before is still there, and its own transaction goes on.
    assert!(matches!(
        mesh.ask("SELECT * FROM t_user WHERE user_id = 1"),
        Answer::Rows(..)
    ));
    assert_eq!(mesh.ask("COMMIT"), Answer::Done(0, 0, 2, 0, String::new()));
    let score = mesh.ask("SELECT score FROM t_user WHERE user_id = 1");
    assert_eq!(score.rows(), [[Some("0".to_owned())]]);
}

fn crossing(mesh: &mut Client) -> String {
    mesh.ask("BEGIN");
    mesh.ask("UPDATE t_user SET score = 0 WHERE user_id = 1");
    mesh.refused("UPDATE t_user SET score = 0 WHERE user_id = 5")
}

#[test]
fn a_deadlock_at_one_node_ends_it_at_all() {
    let ground = atomic();
    ground.both(ROWS);
    let (mut a, mut b) = (ground.mesh(), ground.mesh());
    a.ask("BEGIN");
    a.ask("UPDATE t_user SET score = 1 WHERE user_id = 1");
    a.ask("UPDATE t_user SET score = 1 WHERE user_id = 5");
    b.ask("BEGIN");
    b.ask("INSERT INTO t_user VALUES (4, 'x', 0)");
    b.ask("UPDATE t_user SET score = 2 WHERE user_id = 4");
    // Both are on the second node: each waits for what the other has.
    a.raw
        .begin_query("UPDATE t_user SET score = 3 WHERE user_id = 4");
    let second = b.ask("UPDATE t_user SET score = 3 WHERE user_id = 5");
    let first = a.answer();
    let victims = [&first, &second].map(|answer| *answer == Answer::Error(1213));
    assert_eq!(
        victims.iter().filter(|v| **v).count(),
        1,
        "{first:?} {second:?}"
    );
    if victims[0] {
        // Its work at the first node went with it.
        assert_eq!(a.ask("COMMIT"), Answer::Done(0, 0, 2, 0, String::new()));
        let score = a.ask("SELECT score FROM t_user WHERE user_id = 1");
        assert_eq!(score.rows(), [[Some("10".to_owned())]]);
    }
}

#[test]
fn a_statement_that_writes_on_several_nodes_is_one_transaction() {
    let ground = atomic();
    ground.both(ROWS);
    ground.both(
        "INSERT INTO t_user VALUES (2, 'Bob', 20), (6, 'Fay', 60)
         UPDATE t_user SET score = score + 1
         SELECT * FROM t_user ORDER BY user_id
         UPDATE t_user SET name = 'both' WHERE user_id IN (1, 5)
         DELETE FROM t_user WHERE user_id IN (2, 6)
         SELECT user_id, name, score FROM t_user ORDER BY user_id",
    );
    let decided = "SELECT COUNT(*) FROM _mesh.mesh_txn WHERE state <> 2";
    let rows = ground.servers[0].query_value(decided).unwrap();
    assert_eq!(rows.as_deref(), Some("4"), "one for each");
    let mut mesh = ground.mesh();
    // The second node refuses: the first one's part is undone.
    ground.servers[1]
        .execute("INSERT INTO shop_1.t_user_7 VALUES (7, 'seven', 7)")
        .unwrap();
    let refused = mesh.ask("INSERT INTO t_user VALUES (3, 'x', 1), (7, 'x', 1)");
    assert_eq!(refused, Answer::Error(1062));
    let there = mesh.ask("SELECT * FROM t_user WHERE user_id = 3");
    assert!(there.rows().is_empty());
    for server in &ground.servers {
        assert!(server.query("XA RECOVER").unwrap().is_empty());
    }
}

#[test]
fn a_commit_may_be_answered_once_it_is_decided() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic, answers: afterDecision}"],
        durable: true,
        ..Options::default()
    };
    let ground = Ground::new(Kind::MySql, &options);
    ground.both(ROWS);
    let mut mesh = ground.mesh();
    for score in 1..=20 {
        mesh.ask("BEGIN");
        for user in [5, 1] {
            let update = format!("UPDATE t_user SET score = {score} WHERE user_id = {user}");
            assert!(matches!(mesh.ask(&update), Answer::Done(1, ..)), "{update}");
        }
        assert_eq!(mesh.ask("COMMIT"), Answer::Done(0, 0, 2, 0, String::new()));
        // Its own session sees it on every node, whoever has heard of it yet; here, the second one joined later.
        for user in [1, 5] {
            let read = mesh.ask(&format!("SELECT score FROM t_user WHERE user_id = {user}"));
            assert_eq!(read.rows(), [[Some(score.to_string())]], "user {user}");
        }
    }
    let within = std::time::Duration::from_secs(60);
    eventually("all of it is everywhere", within, || {
        let score = |server: usize, user: u32| {
            let sql = format!("SELECT score FROM shop_{server}.t_user_{user}");
            ground.servers[server].query_value(&sql).unwrap()
        };
        let done = "SELECT COUNT(*) FROM _mesh.mesh_txn WHERE state = 3";
        let done = ground.servers[1].query_value(done).unwrap();
        let twenty = Some("20".to_owned());
        score(0, 1) == twenty && score(1, 5) == twenty && done == twenty
    });
    for server in &ground.servers {
        assert!(server.query("XA RECOVER").unwrap().is_empty());
    }
}

#[test]
fn a_proxy_that_is_told_to_stop_sees_its_commits_through() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic, answers: afterDecision}"],
        durable: true,
        ..Options::default()
    };
    let ground = Ground::new(Kind::MySql, &options);
    ground.both(ROWS);
    // Behind a relay, by which the branch hears of its commit well after the client.
    let relay = FaultRelay::start(ground.servers[0].port()).unwrap();
    let port = Port::reserve().unwrap();
    let direct = format!("port: {},", ground.servers[0].port());
    let config = yaml(&ground.servers, port.number(), &options);
    let config = config.replace(&direct, &format!("port: {},", relay.port()));
    let stage = Stage::of_yaml(&config, port, &[]);
    let credentials = Credentials::app().schema("shop");
    let mut mesh = Client::of(RawClient::logged_in(stage.port, &credentials));
    mesh.ask("BEGIN");
    for user in [5, 1] {
        let update = format!("UPDATE t_user SET score = 77 WHERE user_id = {user}");
        assert!(matches!(mesh.ask(&update), Answer::Done(1, ..)), "{update}");
    }
    relay.set(
        Direction::ToTarget,
        Fault::Delay(std::time::Duration::from_millis(1_000)),
    );
    assert_eq!(mesh.ask("COMMIT"), Answer::Done(0, 0, 2, 0, String::new()));
    stage.proxy.sigterm();
    stage
        .proxy
        .wait(std::time::Duration::from_secs(60))
        .unwrap();
    let score = "SELECT score FROM shop_0.t_user_1";
    let score = ground.servers[0].query_value(score).unwrap();
    assert_eq!(score.as_deref(), Some("77"), "left to a resolver");
}
