//! Statements that run whole at one source, and transactions that stay there.

use crate::ground::{Answer, Ground, KINDS, Options, alike};

/// Some rows of every table, on both sides.
const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (2, 'Bob', NULL)
    INSERT INTO t_user (user_id, name) VALUES (7, 'Cid')
    INSERT INTO t_order VALUES (1, 1, 9.50, 'one', '2024-01-02 03:04:05.678', 'a', 'x,y', 'b', 0.25, b'101')
    INSERT INTO t_order (id, user_id, note) VALUES (2, 1, 'two'), (3, 1, 'three')
    INSERT INTO t_order SET id = 4, user_id = 7, note = 'four'
    INSERT INTO t_item VALUES (1, 1, 1, 'nut'), (2, 1, 1, 'bolt')
    INSERT INTO t_conf (v) VALUES ('a'), ('b')
";

#[test]
fn statements_of_one_shard_are_those_of_one_server() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both(ROWS);
        ground.both(
            "SELECT * FROM t_order WHERE user_id = 1 ORDER BY id
             SELECT o.id, name FROM t_order o JOIN t_item i ON o.user_id = i.user_id AND o.id = i.order_id WHERE o.user_id = 1 ORDER BY name
             SELECT t_order.id, shop.t_order.note FROM t_order WHERE user_id = 7
             SELECT COUNT(*), MAX(note), SUM(total) FROM t_order WHERE user_id = 1
             SELECT * FROM t_order WHERE user_id = 3
             SELECT * FROM shop.t_user WHERE user_id = 7
             SELECT * FROM t_conf ORDER BY id
             SELECT * FROM t_dict
             UPDATE t_order SET note = 'uno' WHERE user_id = 1 AND id = 1
             UPDATE t_order SET note = 'uno' WHERE user_id = 1 AND id = 1
             SELECT ROW_COUNT()
             INSERT INTO t_order (id, user_id) VALUES (1, 1)
             SHOW WARNINGS
             SELECT nothing FROM t_order WHERE user_id = 1
             INSERT IGNORE INTO t_user VALUES (1, 'again', 3)
             SHOW COUNT(*) WARNINGS
             SHOW WARNINGS
             INSERT INTO t_conf (v) VALUES ('c')
             SELECT LAST_INSERT_ID()
             SELECT id FROM t_order WHERE user_id = 1 ORDER BY id
             SELECT LAST_INSERT_ID()
             REPLACE INTO t_user VALUES (2, 'Bert', 5)
             INSERT INTO t_user VALUES (2, 'x', 1) ON DUPLICATE KEY UPDATE score = score + 1
             DELETE FROM t_order WHERE user_id = 1 AND id = 3
             SELECT 1 + 1, 'x'
             SET @a = 5, sql_mode = 'ANSI_QUOTES'
             SELECT @a, \"note\" FROM t_order WHERE user_id = 1 ORDER BY id
             SELECT @a, \"name\" FROM t_user WHERE user_id = 7",
        );
    }
}

#[test]
fn a_transaction_goes_where_its_first_statement_does() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both(ROWS);
        ground.both(
            "BEGIN
             COMMIT
             START TRANSACTION READ ONLY
             SELECT note FROM t_order WHERE user_id = 7
             UPDATE t_order SET note = 'x' WHERE user_id = 7
             ROLLBACK
             BEGIN
             SAVEPOINT a
             UPDATE t_order SET note = 'y' WHERE user_id = 7
             ROLLBACK TO SAVEPOINT a
             SELECT note FROM t_order WHERE user_id = 7
             UPDATE t_order SET note = 'z' WHERE user_id = 7
             COMMIT
             SELECT note FROM t_order WHERE user_id = 7
             SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
             BEGIN
             UPDATE t_order SET note = 'w' WHERE user_id = 1 AND id = 1
             BEGIN
             UPDATE t_order SET note = 'v' WHERE user_id = 7
             ROLLBACK
             SELECT note FROM t_order WHERE user_id = 1 AND id = 1
             SELECT note FROM t_order WHERE user_id = 7
             SET autocommit = 0
             UPDATE t_order SET note = 'u' WHERE user_id = 7
             ROLLBACK
             SELECT note FROM t_order WHERE user_id = 7
             COMMIT
             SET autocommit = 1
             BEGIN
             SELECT 1
             SELECT word FROM t_dict
             COMMIT AND CHAIN
             COMMIT",
        );
        let mut mesh = ground.mesh();
        mesh.ask("BEGIN");
        mesh.ask("UPDATE t_order SET note = 'q' WHERE user_id = 1 AND id = 1");
        let why = mesh.refused("UPDATE t_order SET note = 'q' WHERE user_id = 7");
        assert!(why.contains("ds_0") && why.contains("ds_1"), "{why}");
        // Another shard of the same server is in the same transaction, and the copies are read there.
        mesh.ask("UPDATE t_user SET name = 'q' WHERE user_id = 2");
        assert_eq!(mesh.ask("SELECT word FROM t_dict").rows().len(), 0);
        assert!(matches!(mesh.ask("ROLLBACK"), Answer::Done(..)));
        let mut one = ground.one();
        alike(
            kind,
            "SELECT note FROM t_order WHERE user_id = 1 AND id = 1",
            &mut mesh,
            &mut one,
        );
        alike(
            kind,
            "SELECT name FROM t_user WHERE user_id = 2",
            &mut mesh,
            &mut one,
        );
    }
}

#[test]
fn the_schema_is_the_services_own() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        let mut mesh = ground.mesh();
        for sql in [
            "USE shop",
            "SELECT * FROM t_user WHERE user_id = 7",
            "USE shop",
        ] {
            assert!(
                !matches!(mesh.ask(sql), Answer::Error(_)),
                "{kind:?}: {sql}"
            );
        }
        assert_eq!(
            mesh.ask("SELECT * FROM t_user WHERE user_id = 1")
                .rows()
                .len(),
            0
        );
        assert!(matches!(mesh.ask("USE mysql"), Answer::Done(..)));
        assert!(
            mesh.refused("SELECT * FROM t_user WHERE user_id = 1")
                .contains("schema")
        );
        assert!(matches!(
            mesh.ask("SELECT * FROM shop.t_user WHERE user_id = 1"),
            Answer::Rows(..)
        ));
        assert!(matches!(mesh.ask("USE shop"), Answer::Done(..)));
        assert_eq!(
            mesh.ask("SELECT * FROM t_user WHERE user_id = 4")
                .rows()
                .len(),
            0
        );
        for missing in ["SELECT * FROM t_order_3", "SELECT * FROM t_missing"] {
            assert_eq!(mesh.ask(missing), Answer::Error(1146));
        }
        for refused in [
            "UPDATE t_order SET user_id = 3 WHERE id = 1",
            "INSERT INTO t_order (id) VALUES (1)",
        ] {
            let why = mesh.refused(refused);
            assert!(
                why.starts_with("dbmesh: refused on sharded tables: "),
                "{why}"
            );
        }
    }
}

#[test]
fn several_statements_in_one_text_go_where_each_belongs() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both(ROWS);
        let texts = [
            "SELECT 1; SELECT name FROM t_user WHERE user_id = 7; UPDATE t_user SET score = 3 WHERE user_id = 1; SELECT COUNT(*) FROM t_order",
            "BEGIN; UPDATE t_user SET score = 4 WHERE user_id = 1; COMMIT; SELECT score FROM t_user WHERE user_id = 1",
            "SELECT score FROM t_user WHERE user_id = 1; SELECT nothing FROM t_user WHERE user_id = 1; SELECT 2",
            "SELECT 1; SELECT FROM; SELECT 2",
            "SELECT score FROM t_user WHERE user_id = 1; /* traceparent=1 */",
            "UPDATE t_user SET score = 5 WHERE user_id = 1; -- x",
            "SELECT COUNT(*) FROM t_user; SELECT 2;  # x",
            "SET sql_mode = 'ANSI'; SELECT \"name\" FROM t_user WHERE user_id = 7; SET sql_mode = ''; SELECT 1;",
        ];
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for tail in ["; /* traceparent=1 */", ";", " ; -- x", ";#x"] {
            let sql = format!("SELECT score FROM t_user WHERE user_id = 1{tail}");
            alike(kind, &sql, &mut mesh, &mut one);
            let sql = format!("UPDATE t_user SET score = score + 1 WHERE user_id = 1{tail}");
            alike(kind, &sql, &mut mesh, &mut one);
        }
        let (mut mesh, mut one) = (ground.several(true), ground.several(false));
        for text in texts {
            let (ours, theirs) = (mesh.ask_all(text), one.ask_all(text));
            // A text that cannot be parsed is refused here before a server says so.
            let same = match text.contains("FROM;") {
                true => ours[..ours.len() - 1] == theirs[..theirs.len() - 1],
                false => ours == theirs,
            };
            assert!(
                same,
                "{kind:?}: {text}\n mesh: {ours:?} {:?}\n one: {theirs:?}",
                mesh.said
            );
        }
    }
}

#[test]
fn definitions_of_split_tables_are_shown_with_their_own_names() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both(
            "
            SHOW CREATE TABLE t_order
            SHOW CREATE TABLE shop.t_item
            SHOW CREATE TABLE t_dict
            SHOW CREATE TABLE t_conf
            SHOW CREATE TABLE t_nothing
            SHOW COLUMNS FROM t_user
            SHOW FULL COLUMNS FROM t_type LIKE 'd%'
            SHOW FIELDS IN t_order WHERE `Key` = 'PRI'
            SHOW COLUMNS FROM shop.t_order
            DESCRIBE t_user
            DESC t_user name
            ",
        );
        let mut mesh = ground.mesh();
        mesh.ask("BEGIN");
        mesh.ask("INSERT INTO t_user (user_id) VALUES (1)");
        mesh.ask("SHOW CREATE TABLE t_user");
        mesh.ask("ROLLBACK");
        let rows = mesh.ask("SELECT COUNT(*) FROM t_user");
        assert_eq!(rows.rows(), [[Some("0".to_owned())]]);
    }
}
