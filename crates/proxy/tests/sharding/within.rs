//! Statements over several nodes within a transaction: as on one server, and all of it or nothing.

use std::time::Duration;

use dbmesh_testkit::Kind;

use crate::faultkit::eventually;
use crate::ground::{Answer, Client, Ground, KINDS, Options, alike};
use crate::prepared::{Value, execute, prepare};

/// Users 0 to 3 are on the first node, 4 to 7 on the second.
const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (5, 'Eve', 50)";

const STATEMENTS: &str = "
    BEGIN
    UPDATE t_user SET score = score + 1
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    SELECT COUNT(*), SUM(score) FROM t_user
    INSERT INTO t_user VALUES (2, 'Bob', 20), (6, 'Fay', 60)
    SELECT user_id, score FROM t_user ORDER BY score DESC, user_id LIMIT 2
    ROLLBACK
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    BEGIN
    SELECT user_id, score FROM t_user ORDER BY user_id FOR UPDATE
    SAVEPOINT a
    DELETE FROM t_user WHERE user_id IN (1, 5)
    SELECT COUNT(*) FROM t_user
    ROLLBACK TO a
    SELECT COUNT(*) FROM t_user
    INSERT INTO t_user VALUES (3, 'x', 1), (5, 'again', 1)
    SELECT user_id, name FROM t_user ORDER BY user_id
    INSERT INTO t_user VALUES (1, 'again', 1), (7, 'x', 1)
    SELECT user_id, name FROM t_user ORDER BY user_id
    INSERT INTO t_dict VALUES (1, 'one'), (2, 'two')
    SELECT id, word FROM t_dict ORDER BY id
    UPDATE t_user SET name = 'all' WHERE user_id IN (1, 5)
    COMMIT
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    SELECT id, word FROM t_dict ORDER BY id
    START TRANSACTION
    UPDATE t_user SET score = 1 WHERE user_id = 1
    SAVEPOINT s
    UPDATE t_user SET score = score + 5
    SELECT user_id, score FROM t_user ORDER BY user_id
    ROLLBACK TO s
    SELECT user_id, score FROM t_user ORDER BY user_id
    UPDATE t_user SET name = 'late' WHERE user_id = 5
    COMMIT
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    SET autocommit = 0
    UPDATE t_user SET name = 'off'
    SELECT user_id, name FROM t_user ORDER BY user_id
    ROLLBACK
    SELECT user_id, name FROM t_user ORDER BY user_id
    UPDATE t_user SET name = 'off'
    SET autocommit = 1
    SELECT user_id, name FROM t_user ORDER BY user_id
    START TRANSACTION READ ONLY
    SELECT user_id, name FROM t_user ORDER BY user_id
    UPDATE t_user SET score = 0
    SELECT SUM(score) FROM t_user
    COMMIT
    START TRANSACTION WITH CONSISTENT SNAPSHOT
    SELECT SUM(score) FROM t_user
    COMMIT AND CHAIN
    UPDATE t_user SET score = score * 2
    ROLLBACK
    BEGIN
    UPDATE t_user SET score = 77
    SET autocommit = 0
    SELECT user_id, score FROM t_user ORDER BY user_id
    ROLLBACK
    SELECT user_id, score FROM t_user ORDER BY user_id
    SET autocommit = 1
    BEGIN
    UPDATE t_user SET score = 78
    SELECT user_id, score FROM t_user WHERE score > 70 ORDER BY user_id LIMIT 1
    BEGIN
    ROLLBACK
    SELECT user_id, score FROM t_user ORDER BY user_id";

fn ground(kind: Kind, atomic: bool) -> Ground {
    let data_shard: &[&str] = match atomic {
        true => &["transactions: {acrossNodes: atomic}"],
        false => &["transactions: {acrossNodes: bestEffort}"],
    };
    let options = Options {
        data_shard,
        durable: atomic,
        ..Options::default()
    };
    Ground::new(kind, &options)
}

#[test]
fn a_statement_over_nodes_is_part_of_its_transaction() {
    let ground = ground(Kind::MySql, true);
    ground.both(ROWS);
    ground.both(STATEMENTS);
    let open = "SELECT COUNT(*) FROM information_schema.innodb_trx";
    for server in &ground.servers {
        assert!(server.query("XA RECOVER").unwrap().is_empty());
        eventually("nothing is open", Duration::from_secs(30), || {
            pause_for_innodb();
            server.query_value(open).unwrap().as_deref() == Some("0")
        });
    }
}

#[test]
fn without_the_promise_it_is_as_well() {
    for kind in KINDS {
        let ground = ground(kind, false);
        ground.both(ROWS);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let statements = STATEMENTS.lines().map(str::trim);
        for sql in statements.filter(|sql| !sql.is_empty()) {
            // What commits on two nodes says that it was not one.
            let commits = ["COMMIT", "BEGIN", "SET autocommit"];
            if commits.iter().any(|word| sql.starts_with(word)) {
                let (ours, theirs) = (mesh.ask(sql), one.ask(sql));
                assert_eq!(status(&ours), status(&theirs), "{kind:?}: {sql}");
                continue;
            }
            alike(kind, sql, &mut mesh, &mut one);
        }
    }
}

fn status(answer: &Answer) -> Option<u16> {
    match answer {
        Answer::Done(_, _, status, ..) => Some(*status),
        _ => None,
    }
}

#[test]
fn prepared_statements_take_part() {
    let ground = ground(Kind::MySql, true);
    ground.both(ROWS);
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let texts = [
        "UPDATE t_user SET score = score + ? WHERE user_id = ?",
        "UPDATE t_user SET score = score + ?",
        "SELECT user_id, score FROM t_user WHERE score > ? ORDER BY user_id",
        "COMMIT",
    ];
    let ids = texts.map(|sql| {
        let (ours, theirs) = (prepare(&mut mesh, sql), prepare(&mut one, sql));
        (ours.unwrap().0, theirs.unwrap().0)
    });
    let run = |mesh: &mut Client, one: &mut Client, which: usize, values: &[Value<'_>]| {
        let (sql, (ours, theirs)) = (texts[which], ids[which]);
        let ours = execute(mesh, ours, values, sql);
        let theirs = execute(one, theirs, values, sql);
        assert_eq!(ours, theirs, "{sql} {values:?}: {:?}", mesh.said);
    };
    let begin = |mesh: &mut Client, one: &mut Client| {
        assert_eq!(mesh.ask("BEGIN"), one.ask("BEGIN"));
    };
    for (first, second) in [(1, 5), (5, 1)] {
        begin(&mut mesh, &mut one);
        run(&mut mesh, &mut one, 0, &[Value::Int(1), Value::Int(first)]);
        run(&mut mesh, &mut one, 0, &[Value::Int(2), Value::Int(second)]);
        run(&mut mesh, &mut one, 2, &[Value::Int(0)]);
        run(&mut mesh, &mut one, 3, &[]);
        run(&mut mesh, &mut one, 2, &[Value::Int(0)]);
    }
    let decided = || {
        let count = |server: &dbmesh_testkit::Server| {
            let rows = server.query_value("SELECT COUNT(*) FROM _mesh.mesh_txn");
            rows.unwrap().unwrap().parse::<u32>().unwrap()
        };
        ground.servers.iter().map(count).sum::<u32>()
    };
    assert_eq!(decided(), 2, "each was committed on both nodes as one");
    begin(&mut mesh, &mut one);
    run(&mut mesh, &mut one, 1, &[Value::Int(7)]);
    run(&mut mesh, &mut one, 2, &[Value::Int(0)]);
    assert_eq!(mesh.ask("ROLLBACK"), one.ask("ROLLBACK"));
    run(&mut mesh, &mut one, 2, &[Value::Int(0)]);
    assert_eq!(decided(), 2);
}

#[test]
fn a_node_that_joins_has_the_isolation_of_the_transaction() {
    let ground = ground(Kind::MySql, true);
    ground.both(ROWS);
    let (mut mesh, mut other) = (ground.mesh(), ground.mesh());
    let seen = |mesh: &mut Client| {
        let rows = mesh.ask("SELECT name FROM t_user ORDER BY user_id");
        rows.rows().concat()
    };
    let names = |a: &str, b: &str| vec![Some(a.to_owned()), Some(b.to_owned())];
    mesh.ask("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
    mesh.ask("BEGIN");
    assert_eq!(seen(&mut mesh), names("Ann", "Eve"));
    other.ask("UPDATE t_user SET name = 'new'");
    assert_eq!(seen(&mut mesh), names("new", "new"));
    mesh.ask("COMMIT");
    // It was for one transaction.
    mesh.ask("BEGIN");
    assert_eq!(seen(&mut mesh), names("new", "new"));
    other.ask("UPDATE t_user SET name = 'newer'");
    assert_eq!(seen(&mut mesh), names("new", "new"));
    mesh.ask("COMMIT");
    assert_eq!(seen(&mut mesh), names("newer", "newer"));
}

/// InnoDB renews its list of transactions at most every 0.1 s, and not at all while somebody reads it more often.
fn pause_for_innodb() {
    std::thread::sleep(Duration::from_millis(250));
}

#[test]
fn a_deadlock_under_a_statement_over_nodes_ends_all_of_it() {
    let ground = ground(Kind::MySql, true);
    ground.both(ROWS);
    let (mut a, mut b) = (ground.mesh(), ground.mesh());
    b.ask("BEGIN");
    b.ask("INSERT INTO t_user VALUES (4, 'x', 0), (6, 'y', 0), (7, 'z', 0)");
    a.ask("BEGIN");
    a.ask("UPDATE t_user SET score = 1 WHERE user_id = 5");
    a.raw
        .begin_query("UPDATE t_user SET score = 3 WHERE user_id IN (1, 4)");
    let waits = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    eventually("it waits", Duration::from_secs(30), || {
        pause_for_innodb();
        ground.servers[1].query_value(waits).unwrap().as_deref() == Some("1")
    });
    // It has done more at that node: the other one is the victim.
    let second = b.ask("UPDATE t_user SET score = 2 WHERE user_id = 5");
    assert_eq!(a.answer(), Answer::Error(1213));
    assert!(matches!(second, Answer::Done(1, ..)), "{second:?}");
    assert_eq!(a.ask("COMMIT"), Answer::Done(0, 0, 2, 0, String::new()));
    assert_eq!(b.ask("ROLLBACK"), Answer::Done(0, 0, 2, 0, String::new()));
    let left = a.ask("SELECT user_id, score FROM t_user ORDER BY user_id");
    let row = |id: &str, score: &str| vec![Some(id.to_owned()), Some(score.to_owned())];
    assert_eq!(left.rows(), [row("1", "10"), row("5", "50")]);
}

#[test]
fn a_client_that_leaves_leaves_nothing_open() {
    for statement in [
        "UPDATE t_user SET score = 1 WHERE user_id = 1",
        "UPDATE t_user SET score = 1",
    ] {
        let options = Options {
            data_shard: &["transactions: {acrossNodes: atomic}"],
            durable: true,
            pool_size: 1,
            ..Options::default()
        };
        let ground = Ground::new(Kind::MySql, &options);
        ground.both(ROWS);
        let mut mesh = ground.mesh();
        mesh.ask("BEGIN");
        assert!(matches!(mesh.ask(statement), Answer::Done(1 | 2, ..)));
        drop(mesh);
        let open = "SELECT COUNT(*) FROM information_schema.innodb_trx";
        eventually("nothing is open", Duration::from_secs(30), || {
            pause_for_innodb();
            let none = |server: &dbmesh_testkit::Server| {
                server.query_value(open).unwrap().as_deref() == Some("0")
            };
            ground.servers.iter().all(none)
        });
        let mut next = ground.mesh();
        assert_eq!(
            next.ask("UPDATE t_user SET name = 'next' WHERE user_id = 1"),
            Answer::Done(
                1,
                0,
                2,
                0,
                "Rows matched: 1  Changed: 1  Warnings: 0".into()
            )
        );
        let score = ground.servers[0].query_value("SELECT score FROM shop_0.t_user_1");
        assert_eq!(score.unwrap().as_deref(), Some("10"), "{statement}");
    }
}
