//! Changes whose rows are found over several nodes, and then changed by their keys.

use std::time::{Duration, Instant};

use crate::faultkit::eventually;
use crate::ground::{Answer, Client, Ground, KINDS, Options, alike};
use crate::prepared::Value::{Int, Text};
use crate::prepared::{execute, prepare};

const ROWS: &str = "
    SET NAMES utf8mb4
    INSERT INTO t_user VALUES (1, 'Ann', 10), (2, 'Bob', NULL), (6, 'Ann', 18446744073709551615), (7, 'Cid', 3), (9, 'Ém', 6)
    INSERT INTO t_order (id, user_id, note, total) VALUES (1, 1, 'one', 9.50), (2, 1, 'two', 4), (3, 1, 'three', 9.50), (4, 7, 'four', 100)
    INSERT INTO t_order (id, user_id, note, total) VALUES (5, 6, 'it''s \\\\ five', -1), (6, 2, 'two', 4), (7, 9, 'ñandú 😀', 0)
    INSERT INTO t_item VALUES (1, 1, 4, 'nut'), (2, 1, 1, 'bolt'), (3, 6, 4, 'NUT'), (4, 6, NULL, 'gear'), (5, 2, 6, 'bolt')
    INSERT INTO t_conf (v) VALUES ('a'), ('b'), ('7')
    INSERT INTO t_dict VALUES (1, 'x'), (2, 'y'), (3, 'z')
";

/// One a line; what every table holds is compared at the end.
const CHANGES: &str = "
    SET NAMES utf8mb4
    UPDATE t_order SET note = CONCAT(note, '!'), total = total + 1 ORDER BY id DESC LIMIT 3
    UPDATE t_order SET note = 'cut' WHERE total > 3 ORDER BY total, id LIMIT 2
    UPDATE t_order AS O SET O.note = 'alias' WHERE O.id > 2 ORDER BY O.id LIMIT 1
    UPDATE t_order SET note = 'none' WHERE id > 1000 ORDER BY id LIMIT 2
    UPDATE t_order SET id = id + 1 ORDER BY id DESC LIMIT 4
    DELETE FROM t_item ORDER BY id DESC LIMIT 1
    DELETE FROM t_item WHERE id > 1000 LIMIT 1
    UPDATE t_user SET name = 'sub' WHERE score IN (SELECT order_id FROM t_item)
    UPDATE t_user SET score = 5 WHERE user_id IN (SELECT id FROM t_conf WHERE v <> 'b')
    UPDATE t_user SET name = (SELECT MAX(note) FROM t_order)
    UPDATE t_user SET name = (SELECT v FROM t_conf WHERE id = t_user.user_id), score = 1 WHERE user_id < 3
    UPDATE t_user u JOIN t_item i ON i.order_id = u.score SET u.name = i.name WHERE i.id > 0
    UPDATE t_order o JOIN t_conf c ON c.v = o.user_id SET o.note = c.v, o.total = o.total * 2
    UPDATE t_order o JOIN t_user u ON u.user_id = o.id SET o.note = u.name, o.total = u.score
    UPDATE t_user u JOIN t_conf c ON c.id = u.user_id SET name = c.v, score = id
    UPDATE t_order JOIN t_conf ON t_conf.id = t_order.id SET note = v, total = total + LENGTH(v)
    UPDATE t_item i JOIN (SELECT order_id, MAX(name) AS name, MAX(user_id) AS u FROM t_item GROUP BY order_id) x ON x.u = i.id SET i.name = x.name, i.order_id = x.u
    UPDATE t_user JOIN (SELECT order_id AS o, COUNT(*) AS n FROM t_item GROUP BY order_id) x ON x.n = user_id AND n = 2 SET score = n, name = o
    WITH x AS (SELECT order_id AS o, COUNT(*) AS n FROM t_item GROUP BY order_id) UPDATE t_user JOIN x ON x.n = user_id AND n = 2 SET score = n, name = o
    UPDATE t_user SET name = (SELECT MAX(name) FROM t_item), score = (SELECT MAX(LENGTH(name)) FROM t_item)
    UPDATE t_order o, t_dict d, t_conf c SET o.note = CONCAT(d.word, c.v) WHERE o.user_id = d.id AND c.id = d.id
    UPDATE t_user SET score = (SELECT -1 FROM t_conf LIMIT 1)
    UPDATE IGNORE t_user SET score = (SELECT -1 FROM t_conf LIMIT 1) WHERE user_id < 7
    SHOW WARNINGS
    UPDATE t_user SET name = (SELECT REPEAT('long', 20) FROM t_conf LIMIT 1)
    UPDATE t_order o JOIN t_item i ON i.order_id = o.id SET o.note = 'packed', i.name = CONCAT(i.name, '*') WHERE o.total > 5
    UPDATE t_user u JOIN t_conf c ON c.id = u.user_id SET u.name = CONCAT('id', c.id), c.v = 'user', u.score = u.score + 1
    UPDATE t_user u JOIN t_conf c ON c.id = u.user_id SET u.score = -1, c.v = 'gone'
    DELETE u, d FROM t_user u JOIN t_dict d ON d.id = u.score WHERE d.id = 10
    DELETE o FROM t_order o JOIN t_item i ON i.order_id = o.id WHERE i.name = 'bolt'
    DELETE FROM t_user WHERE user_id IN (SELECT id FROM t_conf WHERE v = 'b')
    INSERT INTO t_user (user_id, name) SELECT user_id + 100, note FROM t_order
    INSERT INTO t_user SELECT user_id + 200, name, score FROM t_user WHERE score IS NULL OR score < 100
    INSERT INTO t_user (user_id, name) SELECT id + 6, word FROM t_dict
    INSERT IGNORE INTO t_user (user_id, name) SELECT id + 6, word FROM t_dict
    SHOW WARNINGS
    INSERT INTO t_user (user_id, score) SELECT id + 300, -1 FROM t_dict
    INSERT INTO t_user (user_id, name) SELECT id + 6, word FROM t_dict ON DUPLICATE KEY UPDATE name = VALUES(name), score = 9
    INSERT INTO t_user (user_id, name, score) SELECT s.buyer, 'new', s.items FROM (SELECT order_id AS buyer, COUNT(*) AS items FROM t_item WHERE order_id > 0 GROUP BY order_id) AS s ON DUPLICATE KEY UPDATE score = t_user.score + s.items
    INSERT INTO t_user (user_id, name) SELECT o.id + 4, 'n' FROM t_order o ON DUPLICATE KEY UPDATE name = CONCAT(o.note, o.total, VALUES(name)), score = id
    INSERT INTO t_dict (id, word) SELECT o.user_id, 'n' FROM t_order o ORDER BY o.id ON DUPLICATE KEY UPDATE word = CONCAT(o.id, LEFT(t_dict.word, 5))
    INSERT INTO t_user (user_id, name) SELECT user_id + 1, 'n' FROM t_order o ON DUPLICATE KEY UPDATE name = o.nosuch
    INSERT INTO t_user (user_id, name) SELECT id, v FROM t_conf WHERE 1 = 0
    REPLACE INTO t_user (user_id, name) SELECT id + 5, v FROM t_conf
    INSERT INTO t_order (id, user_id, note) SELECT i.id + 50, u.user_id, i.name FROM t_item i JOIN t_user u ON u.user_id = i.id + 5
    INSERT INTO t_conf (id, v) SELECT user_id + 1000, LEFT(name, 20) FROM t_user
    INSERT INTO t_dict SELECT user_id + 500, LEFT(name, 20) FROM t_user WHERE user_id < 10
    UPDATE t_dict SET word = CONCAT(word, '+') ORDER BY id LIMIT 2
    UPDATE t_dict d JOIN t_order o ON o.user_id = d.id SET d.word = o.note WHERE o.id < 6
    DELETE FROM t_dict WHERE id IN (SELECT user_id + 500 FROM t_user WHERE score = 9)
    DELETE FROM t_conf WHERE id IN (SELECT user_id + 1000 FROM t_user WHERE score IS NULL)
    INSERT INTO t_user (user_id, name) VALUES (400 + 1, 'computed'), (2 * 201, UPPER('two'))
    INSERT INTO t_user SET user_id = 400 + 3, name = 'set'
    INSERT INTO t_user (user_id, name) VALUES (400 + 1, 'again')
    INSERT INTO t_conf (id, v) VALUES (7001, (SELECT COUNT(*) FROM t_user))
    INSERT INTO t_conf SET id = 7002, v = (SELECT CONCAT(MAX(user_id), '.50') FROM t_order)
    INSERT INTO t_conf VALUES (7001, (SELECT COUNT(*) FROM t_user)) ON DUPLICATE KEY UPDATE v = CONCAT(v, '+')
    INSERT INTO t_dict VALUES (900, (SELECT LEFT(MAX(name), 20) FROM t_user))
    REPLACE INTO t_dict VALUES (900, (SELECT COUNT(*) FROM t_order) + 1)
    INSERT INTO t_user (user_id, name) VALUES (500, (SELECT MAX(v) FROM t_conf))
    INSERT INTO t_user (user_id, name) VALUES ((SELECT MAX(user_id) + 1000 FROM t_order), 'asked')
    INSERT INTO t_conf (id, v) VALUES (7003, (SELECT note FROM t_order))
    INSERT INTO t_user (user_id, name, score) VALUES (510, 'a', (SELECT MAX(id) FROM t_order)), (511, (SELECT MIN(word) FROM t_dict), 5), ((SELECT MAX(id) + 600 FROM t_item), 'k', NULL)
    INSERT INTO t_user (user_id, name, score) VALUES (520, 'a', 1), (521, 'b', (SELECT -1 FROM t_item LIMIT 1))
    INSERT IGNORE INTO t_user (user_id, name, score) VALUES (520, 'a', (SELECT -1 FROM t_item LIMIT 1)), (521, 'b', (SELECT -2 FROM t_item LIMIT 1)), (510, 'dup', (SELECT 1 FROM t_item LIMIT 1))
    SHOW WARNINGS
    INSERT INTO t_conf (id, v) VALUES (7010, (SELECT COUNT(*) FROM t_user)), (7011, (SELECT '1.50' FROM t_order LIMIT 1)), (7012, 3)
    INSERT INTO t_conf (id, v) VALUES (7013, 'x'), (7014, (SELECT REPEAT('long', 20) FROM t_user LIMIT 1))
    INSERT INTO t_conf (id, v) VALUES (7004, (SELECT REPEAT('long', 20) FROM t_user WHERE user_id = 500))
    INSERT IGNORE INTO t_conf (id, v) VALUES (7005, (SELECT REPEAT(name, 20) FROM t_user WHERE name = 'asked'))
    INSERT INTO t_type (user_id, f, d, ts, day, l1, bin, doc, e, big) SELECT id, 0.1, 1e-300, '2024-05-31 02:30:00.125', '2024-02-29', 'café', x'0027ff', '{\"a\": [1, \"é\"]}', 'y,z', 18446744073709551615 FROM t_dict
    INSERT INTO t_type (user_id, f, d, ts, l1, bin, doc, e) SELECT user_id + 50, f, d, ts, l1, bin, doc, e FROM t_type
    INSERT INTO t_user (user_id, name) SELECT user_id + 1, l1 FROM t_type t ON DUPLICATE KEY UPDATE score = t.f, name = CONCAT_WS(',', t.d, t.ts, t.day, t.l1, HEX(t.bin), t.big)
    INSERT INTO t_type (user_id, f, d, ts, day, l1, bin, doc, e, big) SELECT t.user_id + 1, t.f, t.d, t.ts, t.day, t.l1, t.bin, t.doc, t.e, t.big FROM t_type t ON DUPLICATE KEY UPDATE l1 = t.l1, bin = CONCAT(t_type.bin, t.bin), day = t.day, ts = t.ts
    UPDATE t_type t JOIN t_conf c ON c.id = t.user_id SET t.l1 = c.v, t.doc = JSON_OBJECT('v', c.v), t.day = DATE('2020-01-01') + INTERVAL c.id DAY
";

const TABLES: [&str; 6] = [
    "SELECT * FROM t_order ORDER BY id, user_id",
    "SELECT * FROM t_item ORDER BY id, user_id",
    "SELECT * FROM t_user ORDER BY user_id",
    "SELECT * FROM t_type ORDER BY user_id",
    "SELECT * FROM t_conf ORDER BY id",
    "SELECT * FROM t_dict ORDER BY id",
];

const BEST_EFFORT: &[&str] = &["transactions: {acrossNodes: bestEffort}"];
const ATOMIC: &[&str] = &["transactions: {acrossNodes: atomic}"];

/// What can be promised on each.
const PROMISES: [(dbmesh_testkit::Kind, &[&str]); 2] = [
    (dbmesh_testkit::Kind::MySql, ATOMIC),
    (dbmesh_testkit::Kind::MariaDb, BEST_EFFORT),
];

fn ground(kind: dbmesh_testkit::Kind, data_shard: &'static [&'static str]) -> Ground {
    let options = Options {
        data_shard,
        durable: data_shard == ATOMIC,
        ..Options::default()
    };
    Ground::new(kind, &options)
}

/// What both say of every table, and that no row is on a shard of another.
#[track_caller]
fn same_tables(ground: &Ground, mesh: &mut Client, one: &mut Client) {
    for sql in TABLES {
        alike(ground.kind, sql, mesh, one);
    }
    for (place, server) in ground.servers.iter().enumerate() {
        for shard in place * 4..place * 4 + 4 {
            for table in ["t_order", "t_user", "t_type"] {
                let sql = format!(
                    "SELECT COUNT(*) FROM shop_{place}.{table}_{shard} WHERE MOD(user_id, 8) <> {shard}"
                );
                assert_eq!(
                    server.query_value(&sql).unwrap().as_deref(),
                    Some("0"),
                    "{table}"
                );
            }
        }
    }
}

#[test]
fn changes_by_rows_of_several_nodes_are_those_of_one_server() {
    for kind in KINDS {
        let ground = ground(kind, BEST_EFFORT);
        ground.both(ROWS);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let mut different = Vec::new();
        for sql in CHANGES.lines().map(str::trim).filter(|sql| !sql.is_empty()) {
            let (ours, theirs) = (mesh.ask(sql), one.ask(sql));
            if ours != theirs {
                let said = mesh.said.take().unwrap_or_default();
                different.push(format!(
                    "{sql}\n  mesh: {ours:?} {said}\n  one:  {theirs:?}"
                ));
            }
        }
        assert!(different.is_empty(), "{kind:?}:\n{}", different.join("\n"));
        same_tables(&ground, &mut mesh, &mut one);
    }
}

#[test]
fn tables_that_are_not_listed_take_rows_of_several_nodes() {
    const LISTED: &[&str] = &[
        "transactions: {acrossNodes: bestEffort}",
        "defaults: {node: ds_0}",
    ];
    for kind in KINDS {
        let ground = ground(kind, LISTED);
        ground.both(ROWS);
        ground.both(
            "
            CREATE TABLE t_log (id INT NOT NULL PRIMARY KEY, msg VARCHAR(40))
            INSERT INTO t_log VALUES (1, 'a'), (2, 'b'), (3, 'c'), (6, 'd'), (7, 'e'), (9, 'f')
            UPDATE t_log SET msg = 'x' WHERE id IN (SELECT user_id FROM t_user WHERE name <> 'Bob')
            UPDATE t_log l JOIN t_user u ON u.user_id = l.id SET l.msg = CONCAT(u.name, '?') WHERE u.score > 3
            DELETE l FROM t_log l JOIN t_order o ON o.user_id = l.id WHERE o.total > 50
            DELETE FROM t_log WHERE id IN (SELECT order_id + 2 FROM t_item)
            INSERT INTO t_log VALUES (20, (SELECT MAX(note) FROM t_order))
            SELECT * FROM t_log ORDER BY id
            ",
        );
        let mut mesh = ground.mesh();
        let said = mesh.refused("DELETE FROM t_none WHERE id IN (SELECT user_id FROM t_user)");
        assert!(
            said.contains("the columns of `t_none` are not known"),
            "{said}"
        );
        // What is of the session alone is not what the node's dictionary describes.
        mesh.ask("CREATE TEMPORARY TABLE t_log (id INT NOT NULL PRIMARY KEY, msg VARCHAR(40))")
            .done();
        let within = "UPDATE t_log SET msg = 'y' WHERE id IN (SELECT user_id FROM t_user)";
        let said = mesh.refused(within);
        assert!(said.contains("temporary table"), "{said}");
        mesh.ask("BEGIN").done();
        let said = mesh.refused(within);
        assert!(said.contains("temporary table"), "{said}");
        mesh.ask("ROLLBACK").done();
        mesh.ask("DROP TEMPORARY TABLE t_log").done();
        ground.both("SELECT * FROM t_log ORDER BY id");
    }
}

/// Values that do not fit the type of what they are compared with, of which a server that joins by hash makes an error where
/// it stores the rows; and columns whose defaults are computed.
const WIDE: &str = "
    CREATE TABLE t_wide (id INT NOT NULL PRIMARY KEY, d DECIMAL(8,2), i INT, s VARCHAR(40) DEFAULT (UPPER('x)')), l INT DEFAULT (1 + 1), da DATE, dt DATETIME(3))
    INSERT INTO t_user VALUES (1, 'a', 1000000000), (2, 'b', 5), (5, 'c', 18446744073709551615), (6, 'd', NULL)
    INSERT INTO t_wide VALUES (1, 999999.99, 5, 's', 1, '2024-01-01', '9999-12-31 23:59:59.999'), (2, 5, 1000000000, 't', 2, '2024-01-02', '2024-01-01'), (3, 6, 7, 'u', 3, '9999-12-31', NULL)
    INSERT INTO t_type (user_id, f, day) VALUES (1, 5, '2024-01-01'), (4, 1e30, '2024-01-02'), (5, 7, NULL)
    UPDATE t_wide w JOIN t_user u ON w.d = u.score SET w.s = 'joined'
    UPDATE t_wide w JOIN t_user u ON w.d = u.score SET w.s = u.name
    UPDATE t_user u JOIN t_wide w ON w.d = u.score SET u.name = w.s, u.score = w.i
    UPDATE IGNORE t_wide w JOIN t_user u ON w.d = u.score SET w.s = u.name, w.i = u.score * 3
    SHOW WARNINGS
    UPDATE t_wide w JOIN t_user u ON w.d = u.score SET w.l = 1e30
    UPDATE t_wide w JOIN t_user u ON w.d < u.score SET w.l = u.score * 1000000000
    UPDATE t_type t JOIN t_wide w ON t.day = w.dt SET t.l1 = 'x'
    UPDATE t_wide SET s = 'none' WHERE d NOT IN (SELECT score FROM t_user WHERE score IS NOT NULL)
    DELETE FROM t_wide WHERE i IN (SELECT f FROM t_type)
    DELETE FROM t_user WHERE score IN (SELECT d FROM t_wide)
    INSERT INTO t_wide (id, s) SELECT user_id + 10, name FROM t_user
    INSERT INTO t_wide (id, s) VALUES (200, (SELECT MAX(name) FROM t_user))
    INSERT INTO t_wide (id, l) VALUES (201, (SELECT MAX(user_id) FROM t_user))
    UPDATE t_wide SET s = (SELECT MIN(name) FROM t_user), l = (SELECT COUNT(*) FROM t_type) WHERE id IN (SELECT user_id + 10 FROM t_user)
    SET sql_mode = ''
    UPDATE t_wide w JOIN t_user u ON w.d = u.score SET w.s = u.name
    DELETE w FROM t_wide w JOIN t_user u ON w.d = u.score
    SHOW WARNINGS
    SELECT id, d, i, s IS NULL, l FROM t_wide ORDER BY id
    SELECT * FROM t_user ORDER BY user_id
    SELECT user_id, l1 FROM t_type ORDER BY user_id
";

#[test]
fn what_is_compared_need_not_fit_and_defaults_may_be_computed() {
    const LISTED: &[&str] = &[
        "transactions: {acrossNodes: bestEffort}",
        "defaults: {node: ds_0}",
    ];
    for kind in KINDS {
        let ground = ground(kind, LISTED);
        ground.both(WIDE);
        // The same of statements that are prepared.
        ground.both("UPDATE t_wide SET d = 999999.99 LIMIT 1");
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let sql = "UPDATE t_wide w JOIN t_user u ON w.d = u.score SET w.s = ? WHERE u.user_id > ?";
        let answers = [&mut mesh, &mut one].map(|client| {
            let (id, ..) = prepare(client, sql).unwrap_or_else(|code| panic!("{sql}: {code}"));
            execute(client, id, &[Text("bound"), Int(0)], sql)
        });
        assert_eq!(answers[0], answers[1], "{kind:?}: {sql}: {:?}", mesh.said);
    }
}

/// A key of every type that compares exactly: members of lists are numbers, and texts in a row of values.
fn table_of_keys(name: &str) -> String {
    let members: Vec<String> = (0..64).map(|n| format!("'m{n}'")).collect();
    format!(
        "CREATE TABLE {name} (user_id BIGINT NOT NULL, e ENUM('2', 'a', '', '1', 'it''s, b', 'é') CHARACTER SET utf8mb4 NOT NULL, \
         s SET('b', 'a', '1', 'é') CHARACTER SET latin1 NOT NULL, m SET({}) NOT NULL, v VARCHAR(9) CHARACTER SET utf8mb4 NOT NULL, \
         l CHAR(5) CHARACTER SET latin1 NOT NULL, d DECIMAL(12,4) NOT NULL, t DATETIME(6) NOT NULL, b BIT(64) NOT NULL, \
         i BINARY(3) NOT NULL, y YEAR NOT NULL, h TIME(3) NOT NULL, g DATE NOT NULL, u BIGINT UNSIGNED NOT NULL, a INT, \
         PRIMARY KEY (user_id, e, s, m, v, l, d, t, b, i, y, h, g, u))",
        members.join(", ")
    )
}

#[test]
fn a_row_is_found_again_by_a_key_of_any_type() {
    const UNLISTED: &[&str] = &[
        "transactions: {acrossNodes: bestEffort}",
        "defaults: {node: ds_0}",
    ];
    const ROWS: &str = "(3, 2, 0, 9007199254740993, 'O''é', 'ä ', 1.5, '2024-02-29 01:02:03.000001', 9007199254740993, x'00ff', 2024, '-01:02:03.5', '2024-01-01', 18446744073709551615, 0), \
        (3, 2, 0, 9007199254740992, 'O''é', 'ä ', 1.5, '2024-02-29 01:02:03.000001', 9007199254740993, x'00ff', 2024, '-01:02:03.5', '2024-01-01', 18446744073709551615, 0), \
        (11, 3, 15, 18446744073709551615, '', '', -2, '1000-01-01', 18446744073709551615, '', 1901, '838:59:59', '9999-12-31', 0, 0), \
        (12, 1, 3, 0, 'A,b', '\\\\', 0, '2024-01-01', 0, 'a', 0, '00:00:00', '2024-01-01', 1, 0), \
        (12, 5, 8, 9223372036854775808, '2', '2', 2, '2024-01-01', 2, '2', 2002, '00:00:02', '2024-01-02', 2, 0), \
        (14, 4, 4, 1, '1', '1', 1, '2024-01-01', 1, '1', 2001, '00:00:01', '2024-01-01', 1, 0), \
        (15, 6, 4, 1, '1', '1', 1, '2024-01-01', 1, '1', 2001, '00:00:01', '2024-01-01', 1, 0)";
    for kind in KINDS {
        let ground = ground(kind, UNLISTED);
        ground.both("SET NAMES utf8mb4\n INSERT INTO t_user VALUES (3, 'Ann', 0), (11, 'B', 0), (12, 'C', 0), (14, 'D', 0)");
        for table in ["t_item", "t_dict", "t_other"] {
            let create = table_of_keys(table);
            let changes = format!(
                "DROP TABLE IF EXISTS {table}
                {create}
                INSERT INTO {table} VALUES {ROWS}
                UPDATE {table} SET a = 100 ORDER BY user_id, m LIMIT 5
                UPDATE {table} SET a = a + 200 WHERE user_id IN (SELECT user_id FROM t_user WHERE score < 5)
                UPDATE {table} x JOIN t_user u ON u.user_id = x.user_id + 1 SET x.a = u.user_id
                UPDATE {table} SET a = (SELECT MAX(user_id) FROM t_user) WHERE e = 'é'
                SELECT user_id, e + 0, m | 0, a FROM {table} ORDER BY user_id, e, m
                DELETE FROM {table} ORDER BY user_id, m LIMIT 1
                DELETE FROM {table} WHERE user_id IN (SELECT user_id FROM t_user WHERE name > 'B')
                SELECT user_id, e + 0, m | 0, a FROM {table} ORDER BY user_id, e, m"
            );
            ground.both(&changes);
            let (mut mesh, mut one) = (ground.mesh(), ground.one());
            let sql = format!("UPDATE {table} SET a = a + ? ORDER BY user_id DESC LIMIT 3");
            let answers = [&mut mesh, &mut one].map(|client| {
                let (id, ..) = prepare(client, &sql).unwrap();
                execute(client, id, &[Int(7)], &sql)
            });
            assert_eq!(answers[0], answers[1], "{kind:?}: {:?}", mesh.said);
            ground.both(&format!(
                "SELECT user_id, e, s, m, a FROM {table} ORDER BY user_id, e, m"
            ));
        }
    }
}

#[test]
fn prepared_changes_read_other_nodes_and_their_own_table_through_a_derived_one() {
    for kind in KINDS {
        let ground = ground(kind, BEST_EFFORT);
        ground.both(ROWS);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let asks = "INSERT INTO t_conf (id, v) VALUES (?, (SELECT CONCAT(COUNT(*), ?) FROM t_user WHERE user_id > ?))";
        let answers = [&mut mesh, &mut one].map(|client| {
            let (id, ..) = prepare(client, asks).unwrap();
            [900, 901].map(|n| execute(client, id, &[Int(n), Text("!"), Int(n - 899)], asks))
        });
        assert_eq!(answers[0], answers[1], "{kind:?}: {:?}", mesh.said);
        for sql in [
            "DELETE FROM t_order WHERE user_id = 1 AND id IN (SELECT id FROM (SELECT id FROM t_order WHERE user_id = 1 AND total > 9) t) LIMIT 1",
            "UPDATE t_order SET note = 'last' WHERE user_id = 1 AND id = (SELECT m FROM (SELECT MAX(id) AS m FROM t_order WHERE user_id = 1) t)",
            "DELETE FROM t_item WHERE user_id IN (SELECT user_id FROM (SELECT user_id FROM t_item WHERE order_id = 4) t)",
            "DELETE FROM t_user WHERE user_id = (SELECT m FROM (SELECT MAX(user_id) AS m FROM t_user) t)",
            "UPDATE t_user SET score = 1 WHERE user_id = (SELECT m FROM (SELECT MAX(user_id) AS m FROM t_user) t)",
        ] {
            let answers = [&mut mesh, &mut one].map(|client| {
                let (id, ..) = prepare(client, sql).unwrap_or_else(|code| panic!("{sql}: {code}"));
                [(); 2].map(|()| execute(client, id, &[], sql))
            });
            assert_eq!(
                answers[0], answers[1],
                "{kind:?}: prepared {sql}: {:?}",
                mesh.said
            );
            alike(kind, sql, &mut mesh, &mut one);
        }
        same_tables(&ground, &mut mesh, &mut one);
        let code = prepare(
            &mut mesh,
            "DELETE FROM t_user WHERE user_id IN (SELECT user_id FROM t_user)",
        );
        assert_eq!(code.unwrap_err(), 1235);
    }
}

#[test]
fn they_are_part_of_the_session_s_transaction() {
    for (kind, policy) in PROMISES {
        let ground = ground(kind, policy);
        ground.both(ROWS);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for sql in [
            "BEGIN",
            "UPDATE t_user SET name = 'mine' WHERE user_id = 1",
            "INSERT INTO t_order (id, user_id, note, total) VALUES (50, 1, 'new', 1)",
            // Sees both, and what comes after sees it.
            "INSERT INTO t_user (user_id, name) SELECT user_id + 100, name FROM t_user WHERE name = 'mine'",
            "UPDATE t_order SET note = 'cut' ORDER BY id DESC LIMIT 2",
            "DELETE FROM t_item WHERE order_id IN (SELECT id FROM t_conf)",
            // Refused as a whole, and the transaction goes on.
            "INSERT INTO t_user (user_id, name) SELECT id + 4, word FROM t_dict",
            "SELECT id, note FROM t_order WHERE user_id = 1 ORDER BY id",
            "SELECT user_id, name FROM t_user WHERE user_id = 101",
            "ROLLBACK",
        ] {
            alike(kind, sql, &mut mesh, &mut one);
        }
        same_tables(&ground, &mut mesh, &mut one);
        for sql in [
            "BEGIN",
            "UPDATE t_order SET note = 'kept' ORDER BY id LIMIT 4",
            "COMMIT",
            "SET autocommit = 0",
            "UPDATE t_order SET note = 'gone' ORDER BY id LIMIT 4",
            "ROLLBACK",
            "SET autocommit = 1",
        ] {
            // Best effort is told with a note.
            if sql == "COMMIT" {
                assert!(matches!(mesh.ask(sql), Answer::Done(..)));
                one.ask(sql);
                continue;
            }
            alike(kind, sql, &mut mesh, &mut one);
        }
        same_tables(&ground, &mut mesh, &mut one);
    }
}

#[test]
fn one_that_fails_at_a_shard_changes_nothing() {
    for (kind, policy) in PROMISES {
        let ground = ground(kind, policy);
        ground.both(ROWS);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for sql in [
            "INSERT INTO t_user (user_id, name) SELECT id + 4, word FROM t_dict",
            "UPDATE t_order SET total = total * 10000000 ORDER BY id LIMIT 5",
            "UPDATE t_order SET note = 'after' ORDER BY id LIMIT 5",
        ] {
            alike(kind, sql, &mut mesh, &mut one);
            same_tables(&ground, &mut mesh, &mut one);
        }
    }
}

#[test]
fn sessions_at_once_change_no_row_twice() {
    for (kind, policy) in PROMISES {
        let ground = ground(kind, policy);
        let mut mesh = ground.mesh();
        for user in 0..24 {
            let insert = format!("INSERT INTO t_user VALUES ({user}, 'queued', 0)");
            assert!(matches!(mesh.ask(&insert), Answer::Done(1, ..)));
        }
        let taken: u64 = std::thread::scope(|threads| {
            let work = || {
                let mut mesh = ground.mesh();
                let mut taken = 0;
                loop {
                    let take = "UPDATE t_user SET name = 'taken', score = score + 1 WHERE name = 'queued' ORDER BY user_id LIMIT 3";
                    match mesh.ask(take) {
                        Answer::Done(0, ..) => return taken,
                        Answer::Done(rows, ..) => taken += rows,
                        // A deadlock, or waiting for a lock for too long: one server says the same.
                        Answer::Error(1213 | 1205) => {}
                        other => panic!("{other:?} {:?}", mesh.said),
                    }
                }
            };
            let all: Vec<_> = (0..3).map(|_| threads.spawn(work)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 24);
        let rows =
            mesh.ask("SELECT COUNT(*), SUM(score), MAX(score) FROM t_user WHERE name = 'taken'");
        let cell = |text: &str| Some(text.to_owned());
        assert_eq!(rows.rows(), [[cell("24"), cell("24"), cell("1")]]);
    }
}

#[test]
fn what_is_not_served_says_why() {
    for kind in KINDS {
        let ground = ground(kind, BEST_EFFORT);
        ground.both(ROWS);
        let mut mesh = ground.mesh();
        for (sql, why) in [
            (
                "UPDATE t_user u JOIN t_item i ON i.order_id = u.score SET u.name = i.name, i.name = 'b'",
                "a form that is not served",
            ),
            (
                "UPDATE t_user u JOIN (SELECT order_id AS score, name FROM t_item) x ON x.score = u.user_id SET score = 1",
                "a form that is not served",
            ),
            (
                "UPDATE t_user u JOIN t_item i ON i.order_id = u.score SET u.score = i.id, u.name = CONCAT(u.score, i.name)",
                "a form that is not served",
            ),
            (
                "UPDATE t_user SET user_id = user_id + 1 ORDER BY user_id LIMIT 2",
                "sharding key",
            ),
            (
                "UPDATE t_order SET note = @x := 'a' ORDER BY id LIMIT 2",
                "state of one connection",
            ),
        ] {
            let said = mesh.refused(sql);
            assert!(said.contains(why), "{kind:?}: {sql}: {said}");
        }
    }
}

/// Changes whose steps sleep: where the rows are changed, where they are found, and where values are computed.
const SLEEPING: [&str; 3] = [
    "UPDATE t_user u JOIN (SELECT MAX(user_id) AS m FROM t_user) x ON u.user_id < x.m SET u.score = u.user_id + SLEEP(60)",
    "DELETE FROM t_user WHERE SLEEP(60) = 0 ORDER BY user_id LIMIT 35",
    "INSERT INTO t_user (user_id, name) VALUES (600 + SLEEP(60), 'x'), (601, 'y')",
];

#[test]
fn a_kill_ends_the_step_at_work_and_undoes_the_others() {
    let (patience, all) = (
        Duration::from_secs(45),
        "SELECT * FROM t_user ORDER BY user_id",
    );
    for (kind, data_shard) in PROMISES {
        let ground = ground(kind, data_shard);
        ground.both(ROWS);
        let running = || -> usize {
            let asleep =
                "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'";
            let count = |sql| {
                let counts = ground
                    .servers
                    .iter()
                    .map(|server| server.query_value(sql).unwrap());
                counts
                    .map(|count| count.unwrap().parse::<usize>().unwrap())
                    .sum()
            };
            count(asleep)
        };
        for begins in [false, true] {
            let (mut victim, mut killer) = (ground.mesh(), ground.mesh());
            if begins {
                victim.ask("BEGIN").done();
                victim
                    .ask("UPDATE t_user SET score = 77 WHERE user_id IN (1, 6)")
                    .done();
            }
            let before = victim.ask(all);
            for sql in SLEEPING {
                victim.raw.begin_query(sql);
                eventually("a step is at work", patience, || running() > 0);
                let began = Instant::now();
                killer.ask(&format!("KILL QUERY {}", victim.raw.id)).done();
                assert_eq!(victim.raw.reply().code(), Some(1317), "{kind:?}: {sql}");
                assert!(began.elapsed() < patience, "{kind:?}: {sql}");
                eventually("it ends", patience, || running() == 0);
                assert_eq!(victim.ask(all), before, "{kind:?}: {sql}");
            }
            if begins {
                victim.ask("ROLLBACK").done();
            }
        }
        ground.both(all);
    }
}
