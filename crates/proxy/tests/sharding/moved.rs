//! Changes of the sharding key: rows move to their shard, and every answer is what one server gives.

use std::time::Duration;

use dbmesh_testkit::Kind;

use crate::faultkit::eventually;
use crate::ground::{Answer, Ground, Options};
use crate::prepared::Value::Int;
use crate::prepared::{execute, prepare};

/// Users 0 to 3 are on the first node, 4 to 7 on the second.
const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10), (2, 'Bob', 20), (5, 'Eve', 50), (6, 'Fay', 60)
    INSERT INTO t_item VALUES (1, 1, 7, 'a'), (2, 1, 7, 'b'), (1, 2, 7, 'c'), (3, 6, 7, 'd'), (4, 6, 8, 'e')
    SET sql_mode = 'ALLOW_INVALID_DATES'
    INSERT INTO t_type (user_id, f, d, ts, day, yr, tm, l1, bin, doc, e, big) VALUES \
    (1, 0.1, -0.0, '2024-10-27 00:30:00.123', '0000-00-00', 1970, '-838:59:59', 'né\\\\\\'', x'00ff27', \
    '{\"a\": [1, 2.5, null, \"é\"]}', '', 18446744073709551615), (2, 16777216, 1e-300, NULL, '2024-02-31', NULL, NULL, NULL, \
    NULL, NULL, 'y,z', 0)
    SET sql_mode = DEFAULT";

const MOVES: &str = "
    UPDATE t_user SET user_id = 13 WHERE user_id = 1
    UPDATE t_user SET score = score + 1, user_id = 1, name = CONCAT(name, user_id) WHERE user_id = 13
    UPDATE t_user SET user_id = 10 WHERE user_id = 2
    UPDATE t_user SET user_id = 11, score = 11 WHERE user_id = 10
    UPDATE t_user SET user_id = 6 WHERE user_id = 1
    UPDATE t_user SET user_id = 7 WHERE user_id IN (1, 5)
    UPDATE t_user SET user_id = 7
    UPDATE t_user SET user_id = 7 WHERE user_id = 999
    UPDATE t_user SET user_id = 15 WHERE user_id BETWEEN 6 AND 9
    UPDATE t_user AS u SET u.user_id = '3' WHERE u.user_id = 15 AND u.score > 0
    UPDATE t_user SET user_id = 4 WHERE name = 'Eve' ORDER BY score
    UPDATE t_user SET user_id = 12 WHERE user_id = 4 LIMIT 1
    SELECT * FROM t_user ORDER BY user_id
    SELECT * FROM t_user WHERE user_id = 1
    SELECT * FROM t_user WHERE user_id = 12
    SELECT * FROM t_user WHERE user_id = 3
    SELECT * FROM t_user WHERE user_id = 11
    UPDATE t_item SET user_id = 3 WHERE order_id = 7 AND id > 1
    UPDATE t_item SET user_id = 3 WHERE order_id = 7
    SELECT * FROM t_item ORDER BY id, user_id
    UPDATE t_item SET user_id = 9 WHERE user_id IN (1, 3, 6) AND NOT (id = 1 AND user_id = 1)
    SELECT * FROM t_item WHERE user_id = 9 ORDER BY id
    UPDATE t_type SET user_id = 4
    UPDATE t_type SET user_id = 4 WHERE user_id = 1
    UPDATE t_type SET user_id = 8 WHERE user_id = 2
    SELECT * FROM t_type ORDER BY user_id
    SELECT *, HEX(l1), HEX(bin), d + 0, f + 0e0, JSON_TYPE(doc) FROM t_type WHERE user_id = 4
    SELECT * FROM t_type WHERE user_id = 8
    BEGIN
    SAVEPOINT s
    UPDATE t_user SET user_id = 16 WHERE user_id = 12
    SELECT ROW_COUNT()
    UPDATE t_user SET user_id = 1 WHERE user_id = 16
    UPDATE t_user SET score = 77 WHERE user_id = 16
    SELECT * FROM t_user ORDER BY user_id
    ROLLBACK TO s
    SELECT * FROM t_user ORDER BY user_id
    UPDATE t_user SET user_id = 17 WHERE user_id = 12
    COMMIT
    SELECT * FROM t_user WHERE user_id = 17
    BEGIN
    UPDATE t_user SET user_id = 20 WHERE user_id = 17
    ROLLBACK
    SELECT * FROM t_user ORDER BY user_id
    SET autocommit = 0
    UPDATE t_user SET user_id = 21 WHERE user_id = 17
    COMMIT
    SET autocommit = 1
    SELECT * FROM t_user ORDER BY user_id";

/// Keys that follow from the rows.
const COMPUTED: &str = "
    DELETE FROM t_user
    DELETE FROM t_item
    DELETE FROM t_type
    INSERT INTO t_user VALUES (1, 'Ann', 10), (2, 'Bob', 20), (5, 'Eve', 50), (6, 'Fay', 60), (20, 'Gil', 2)
    INSERT INTO t_item VALUES (1, 1, 7, 'a'), (2, 1, 7, 'b'), (1, 2, 7, 'c'), (3, 6, 7, 'd'), (4, 6, 8, 'e')
    INSERT INTO t_type (user_id, f, d, day, l1, doc) VALUES (1, 5, 6, '2024-01-01', '7', '[1]'), (2, 0.5, 2, NULL, 'x', NULL)
    UPDATE t_user SET user_id = user_id + 100 WHERE user_id = 1
    SELECT ROW_COUNT()
    UPDATE t_user SET user_id = user_id - 100, name = CONCAT(name, user_id), score = score + 1 WHERE score >= 10
    UPDATE t_user SET user_id = user_id - 100 WHERE user_id > 100
    SELECT * FROM t_user ORDER BY user_id
    SELECT * FROM t_user WHERE user_id = 1
    UPDATE t_user SET user_id = user_id + 30
    SELECT * FROM t_user ORDER BY user_id
    SELECT user_id FROM t_user WHERE user_id = 36
    UPDATE t_user AS u SET u.user_id = u.user_id - u.score, u.score = u.user_id WHERE u.user_id = 50
    UPDATE shop.t_user SET shop.t_user.user_id = t_user.user_id * 2 + LENGTH(name) WHERE name LIKE 'E%'
    UPDATE t_user SET user_id = CASE name WHEN 'Fay' THEN 1 ELSE user_id END, score = score
    UPDATE t_user SET user_id = user_id WHERE user_id < 40
    UPDATE t_user SET user_id = user_id + 1 WHERE user_id = 999
    UPDATE t_user SET user_id = user_id + 0 WHERE user_id > 0
    UPDATE t_user SET user_id = user_id + 2147483647 WHERE user_id = 48
    UPDATE t_user SET user_id = nothing + 1
    UPDATE t_user SET user_id = user_id + 1 WHERE nothing = 1
    UPDATE t_user SET user_id = ABS(-32) WHERE user_id IN (31, 48)
    UPDATE t_user SET user_id = 16 + 16 WHERE user_id = 48
    SELECT * FROM t_user ORDER BY user_id
    INSERT INTO t_user VALUES (71, 'a', 1), (72, 'b', 1), (73, 'c', 1), (74, 'd', 1)
    UPDATE t_user SET user_id = user_id + 1 WHERE user_id > 70 ORDER BY user_id DESC
    UPDATE t_user SET user_id = user_id - 2 WHERE user_id > 70 ORDER BY user_id
    UPDATE t_user SET user_id = user_id + 8 WHERE user_id > 69 ORDER BY user_id DESC
    UPDATE t_user SET user_id = user_id DIV 2 WHERE user_id IN (78, 80)
    SELECT * FROM t_user ORDER BY user_id
    UPDATE t_item SET user_id = user_id + 1 WHERE order_id = 8
    UPDATE t_item SET user_id = user_id + id WHERE id > 1
    UPDATE t_item SET user_id = 3, id = id + 10 WHERE order_id = 7
    UPDATE t_item SET id = id + 1, user_id = user_id + 1 WHERE id > 12
    UPDATE t_item SET user_id = user_id + 30, name = 'z' WHERE id < 12 ORDER BY id DESC, name
    SET sql_select_limit = 1
    UPDATE t_item SET user_id = user_id + 1 WHERE id > 10
    SET sql_select_limit = DEFAULT
    SELECT * FROM t_item ORDER BY id, user_id
    SELECT * FROM t_item WHERE user_id = 3 ORDER BY id
    UPDATE t_type SET user_id = user_id + CAST(d AS SIGNED)
    UPDATE t_type SET user_id = l1 WHERE l1 = '7'
    SELECT * FROM t_type ORDER BY user_id
    BEGIN
    UPDATE t_user SET user_id = user_id + 1000 WHERE user_id < 40
    UPDATE t_user SET user_id = user_id + 1000 WHERE user_id > 1000
    SELECT * FROM t_user ORDER BY user_id
    ROLLBACK
    SELECT * FROM t_user ORDER BY user_id
    BEGIN
    UPDATE t_user SET user_id = user_id + 1000 WHERE user_id < 40
    UPDATE t_user SET user_id = user_id - 1000, score = -1 WHERE user_id > 1000
    COMMIT
    SELECT * FROM t_user ORDER BY user_id
    SELECT * FROM t_user WHERE user_id = 1001";

fn atomic() -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        durable: true,
        ..Options::default()
    };
    Ground::new(Kind::MySql, &options)
}

#[test]
fn rows_move_as_if_they_had_stayed() {
    let ground = atomic();
    ground.both(ROWS);
    ground.both(MOVES);
    prepared_too(&ground);
    what_cannot_move_is_refused(&ground);
    for server in &ground.servers {
        assert_eq!(server.query("XA RECOVER").unwrap(), Vec::<Vec<_>>::new());
    }
}

#[test]
fn rows_move_by_keys_that_their_servers_compute() {
    let ground = atomic();
    ground.both(COMPUTED);
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let sql = "UPDATE t_user SET user_id = user_id + ?, score = ? WHERE user_id < ?";
    let ids = [&mut mesh, &mut one].map(|client| prepare(client, sql).unwrap().0);
    for values in [[500, 1, 40], [-500, 2, 1], [7, 3, 1000]].map(|values| values.map(Int)) {
        let ours = execute(&mut mesh, ids[0], &values, sql);
        let theirs = execute(&mut one, ids[1], &values, sql);
        assert_eq!(ours, theirs, "{values:?} {:?}", mesh.said);
    }
    ground.both("SELECT * FROM t_user ORDER BY user_id");
    // One server says a duplicate, or not, by the order in which it comes to the rows.
    mesh.ask("DELETE FROM t_user");
    mesh.ask("INSERT INTO t_user VALUES (1, 'a', 1), (2, 'b', 2), (9, 'c', 3)");
    for order in ["", " ORDER BY user_id", " ORDER BY score DESC"] {
        let said = mesh.refused(&format!("UPDATE t_user SET user_id = user_id + 1{order}"));
        assert!(said.contains("their order"), "{said}");
    }
    let there = mesh.ask("SELECT GROUP_CONCAT(user_id ORDER BY user_id) FROM t_user");
    assert_eq!(there.rows(), [[Some("1,2,9".to_owned())]]);
    // A trigger could give a row another key, also where none moves.
    ground.servers[0]
        .execute("CREATE TRIGGER shop_0.tr BEFORE UPDATE ON shop_0.t_user_1 FOR EACH ROW SET NEW.score = 1")
        .unwrap();
    let said = mesh.refused("UPDATE t_user SET user_id = user_id + 8 WHERE user_id = 1");
    assert!(said.contains("a trigger is on its table"), "{said}");
    for server in &ground.servers {
        assert_eq!(server.query("XA RECOVER").unwrap(), Vec::<Vec<_>>::new());
    }
}

/// What is locked is what is changed: nobody comes between.
#[test]
fn a_row_that_comes_between_is_waited_for() {
    let ground = atomic();
    let mut mesh = ground.mesh();
    mesh.ask("INSERT INTO t_user VALUES (1, 'a', 1), (5, 'b', 2)");
    let mut other = ground.mesh();
    other.ask("BEGIN");
    other.ask("UPDATE t_user SET user_id = user_id + 1 WHERE user_id = 5");
    std::thread::scope(|scope| {
        let moved = scope.spawn(|| mesh.ask("UPDATE t_user SET user_id = user_id + 10"));
        let waits = "SELECT COUNT(*) FROM performance_schema.data_lock_waits";
        eventually("it waits", Duration::from_secs(60), || {
            let waiting = ground.servers[1].query_value(waits).unwrap();
            waiting.as_deref() != Some("0")
        });
        other.ask("COMMIT");
        assert!(matches!(moved.join().unwrap(), Answer::Done(2, ..)));
    });
    let there = mesh.ask("SELECT GROUP_CONCAT(user_id ORDER BY user_id) FROM t_user");
    assert_eq!(there.rows(), [[Some("11,16".to_owned())]]);
}

fn prepared_too(ground: &Ground) {
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let sql = "UPDATE t_user SET user_id = ?, score = ? WHERE user_id = ?";
    let ids = [&mut mesh, &mut one].map(|client| prepare(client, sql).unwrap().0);
    for values in [
        [30, 1, 21],
        [21, 2, 30],
        [21, 3, 21],
        [3, 1, 21],
        [31, 1, 500],
    ] {
        let values = values.map(Int);
        let ours = execute(&mut mesh, ids[0], &values, sql);
        let theirs = execute(&mut one, ids[1], &values, sql);
        assert_eq!(ours, theirs, "{values:?} {:?}", mesh.said);
    }
    ground.both("SELECT * FROM t_user ORDER BY user_id");
}

fn what_cannot_move_is_refused(ground: &Ground) {
    let mut mesh = ground.mesh();
    for (sql, why) in [
        (
            "UPDATE t_user SET user_id = FLOOR(RAND() * 100) WHERE user_id = 3",
            "is another each time",
        ),
        (
            "UPDATE t_user SET user_id = DEFAULT WHERE user_id = 3",
            "DEFAULT",
        ),
        (
            "UPDATE t_user SET score = 9, user_id = score + 1 WHERE user_id = 3",
            "assigned before",
        ),
        (
            "UPDATE t_user SET user_id = user_id / 1 WHERE user_id = 3",
            "otherwise than its column stores it",
        ),
        (
            "UPDATE t_user SET user_id = user_id * 1e0 WHERE user_id = 3",
            "otherwise than its column stores it",
        ),
        (
            "UPDATE t_user SET user_id = user_id + 1 WHERE user_id = 3 LIMIT 1",
            "LIMIT",
        ),
        (
            "UPDATE t_user SET user_id = NULL WHERE user_id = 3",
            "the sharding key is NULL",
        ),
        (
            "UPDATE IGNORE t_user SET user_id = 4 WHERE user_id = 3",
            "IGNORE",
        ),
        ("UPDATE t_user SET user_id = 4 LIMIT 1", "LIMIT"),
    ] {
        let said = mesh.refused(sql);
        assert!(
            said.contains("cannot move") && said.contains(why),
            "{sql}: {said}"
        );
    }
    // JSON of which the text says less.
    let odd = "UPDATE t_type SET doc = JSON_OBJECT('t', TIMESTAMP'2024-01-01 00:00:00') WHERE user_id = 4";
    assert!(matches!(mesh.ask(odd), Answer::Done(1, ..)));
    let said = mesh.refused("UPDATE t_type SET user_id = 5 WHERE user_id = 4");
    assert!(said.contains("JSON document"), "{said}");
    ground.servers[1]
        .execute("CREATE TRIGGER shop_1.tr BEFORE INSERT ON shop_1.t_user_6 FOR EACH ROW SET NEW.score = 1")
        .unwrap();
    let said = mesh.refused("UPDATE t_user SET user_id = 14 WHERE user_id = 3");
    assert!(said.contains("a trigger is on its table"), "{said}");
    ground.servers[0]
        .execute(
            "CREATE TABLE shop_0.child (id INT, FOREIGN KEY (id) REFERENCES shop_0.t_user_3 (user_id))",
        )
        .unwrap();
    let said = mesh.refused("UPDATE t_user SET user_id = 8 WHERE user_id = 3");
    assert!(said.contains("a foreign key is on its table"), "{said}");
    // Nothing of what was refused was done, and the session goes on.
    ground.both("SELECT * FROM t_user ORDER BY user_id");
    // A value that its column does not store as it is written.
    mesh.ask("SET sql_mode = ''");
    let said = mesh.refused("UPDATE t_user SET user_id = 4294967296000 WHERE user_id = 11");
    assert!(said.contains("cannot move"), "{said}");
    mesh.ask("SET sql_mode = DEFAULT");
    let there = mesh.ask("SELECT COUNT(*) FROM t_user WHERE user_id = 11");
    assert_eq!(there.rows(), [[Some("1".to_owned())]]);
}

#[test]
fn rows_stay_where_nodes_do_not_commit_as_one() {
    let ground = Ground::new(Kind::MySql, &Options::default());
    ground.both(
        "INSERT INTO t_user VALUES (1, 'Ann', 10)
         INSERT INTO t_user VALUES (5, 'Eve', 50)",
    );
    let mut mesh = ground.mesh();
    let said = mesh.refused("UPDATE t_user SET user_id = 13 WHERE user_id = 1");
    assert!(said.contains("transactions.acrossNodes: atomic"), "{said}");
    let said = mesh.refused("UPDATE t_user SET user_id = user_id + 3 WHERE user_id = 1");
    assert!(said.contains("transactions.acrossNodes: atomic"), "{said}");
    // Within a node, nothing else has to commit.
    ground.both(
        "UPDATE t_user SET user_id = 3 WHERE user_id = 1
         UPDATE t_user SET user_id = user_id - 1 WHERE user_id = 3
         UPDATE t_user SET user_id = user_id + 1 WHERE user_id = 2
         SELECT * FROM t_user WHERE user_id = 3
         SELECT * FROM t_user ORDER BY user_id",
    );
}
