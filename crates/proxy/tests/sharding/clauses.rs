//! Clauses that stand behind a table or a statement: RETURNING, FOR SYSTEM_TIME, FOR PORTION OF, ON DUPLICATE KEY UPDATE,
//! FOR UPDATE OF.

use dbmesh_testkit::Kind;

use crate::ground::{Ground, KINDS, Options};
use crate::prepared::{self, Value::Int};

fn ground(kind: Kind) -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        ..Options::default()
    };
    Ground::new(kind, &options)
}

/// Executes this with every shard of a table, and with the whole one, as `{table}`.
fn at_all(ground: &Ground, table: &str, sql: &str) {
    for (place, server) in ground.servers.iter().enumerate() {
        for shard in place * 4..place * 4 + 4 {
            let of_shard = sql.replace("{table}", &format!("shop_{place}.{table}_{shard}"));
            server.execute(&of_shard).unwrap();
        }
    }
    let whole = sql.replace("{table}", &format!("shop.{table}"));
    ground.servers[0].execute(&whole).unwrap();
}

#[test]
fn a_change_of_copies_returns_the_rows_once() {
    let ground = ground(Kind::MariaDb);
    ground.both(
        "
        INSERT INTO t_dict VALUES (1, 'a'), (2, 'b') RETURNING id, word
        INSERT INTO t_dict VALUES (3, 'c') RETURNING *, id + 1 AS next
        INSERT INTO t_dict SET id = 4, word = 'd' RETURNING word
        REPLACE INTO t_dict VALUES (3, 'x'), (5, 'e') RETURNING t_dict.word
        INSERT INTO t_dict SELECT id + 10, word FROM t_dict RETURNING id
        INSERT INTO t_dict VALUES (3, 'y') RETURNING id
        INSERT INTO t_dict VALUES (3, 'y') ON DUPLICATE KEY UPDATE word = 'z' RETURNING word
        DELETE FROM t_dict WHERE id > 12 RETURNING id, word
        DELETE FROM t_dict WHERE id = 99 RETURNING id
        BEGIN
        DELETE FROM t_dict WHERE id = 1 RETURNING word
        INSERT INTO t_dict VALUES (2, 'y') RETURNING id
        INSERT INTO t_dict VALUES (6, 'f') RETURNING id
        COMMIT
        SELECT * FROM t_dict ORDER BY id
        ",
    );
    prepared::both(
        &ground,
        &[
            (
                "INSERT INTO t_dict VALUES (?, 'p') RETURNING id, word",
                &[&[Int(30)], &[Int(31)], &[Int(30)]],
            ),
            (
                "DELETE FROM t_dict WHERE id = ? RETURNING word",
                &[&[Int(31)], &[Int(31)]],
            ),
        ],
    );
    let rows = |place: usize, schema: &str| {
        let session = ground.servers[place].session().unwrap();
        let sql = format!("SELECT id, word FROM {schema}.t_dict ORDER BY id");
        session.query(&sql).unwrap()
    };
    let whole = rows(0, "shop");
    assert!(whole.len() > 6);
    assert_eq!(rows(0, "shop_0"), whole);
    assert_eq!(rows(1, "shop_1"), whole);
}

#[test]
fn the_past_of_split_tables_is_read() {
    let ground = ground(Kind::MariaDb);
    at_all(
        &ground,
        "t_user",
        "ALTER TABLE {table} ADD SYSTEM VERSIONING",
    );
    ground.both(
        "
        INSERT INTO t_user VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)
        UPDATE t_user SET score = score + 10
        DELETE FROM t_user WHERE user_id = 3
        SELECT * FROM t_user FOR SYSTEM_TIME ALL ORDER BY user_id, score
        SELECT user_id, name FROM t_user FOR SYSTEM_TIME AS OF NOW() + INTERVAL 1 DAY ORDER BY user_id
        SELECT t_user.name, score FROM t_user FOR SYSTEM_TIME FROM '2000-01-01' TO '2037-01-01' WHERE user_id = 3 ORDER BY score
        SELECT u.score FROM t_user FOR SYSTEM_TIME BETWEEN '2000-01-01' AND '2037-01-01' AS u WHERE u.user_id = 1 ORDER BY 1
        SELECT COUNT(*), SUM(score) FROM t_user FOR SYSTEM_TIME ALL
        ",
    );
    let query = "SELECT score FROM t_user FOR SYSTEM_TIME ALL WHERE user_id = ? ORDER BY score";
    prepared::both(&ground, &[(query, &[&[Int(2)], &[Int(3)]])]);
}

#[test]
fn portions_of_periods_are_changed() {
    let ground = ground(Kind::MariaDb);
    let period = "ALTER TABLE {table} DROP PRIMARY KEY, ADD COLUMN d1 DATE NOT NULL, ADD COLUMN d2 DATE NOT NULL, ADD PERIOD FOR p \
                  (d1, d2)";
    at_all(&ground, "t_item", period);
    ground.both(
        "
        INSERT INTO t_item (id, user_id, d1, d2) VALUES (1, 1, '2024-01-01', '2025-01-01'), (2, 2, '2024-01-01', '2025-01-01')
        UPDATE t_item FOR PORTION OF p FROM '2024-03-01' TO '2024-04-01' SET order_id = 9 WHERE t_item.id > 0
        UPDATE t_item FOR PORTION OF p FROM '2024-05-01' TO '2024-06-01' AS i SET i.order_id = 7 WHERE i.user_id = 1
        DELETE FROM t_item FOR PORTION OF p FROM '2024-07-01' TO '2024-08-01' WHERE user_id = 2
        SELECT id, user_id, order_id, d1, d2 FROM t_item ORDER BY id, d1
        ",
    );
}

#[test]
fn a_sharding_key_is_assigned_to_itself() {
    for kind in KINDS {
        let ground = ground(kind);
        ground.both(
            "
            INSERT INTO t_user VALUES (1, 'a', 1), (2, 'b', 2)
            INSERT INTO t_user (user_id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE user_id = user_id
            INSERT INTO t_user (user_id, name) VALUES (1, 'y'), (2, 'z'), (3, 'n') ON DUPLICATE KEY UPDATE `user_id` = t_user.user_id, score = 7
            INSERT INTO t_user (user_id, name) SELECT user_id, name FROM t_user u ON DUPLICATE KEY UPDATE user_id = user_id
            INSERT INTO t_user (user_id, name) SELECT user_id, name FROM t_user u ON DUPLICATE KEY UPDATE user_id = t_user.user_id, score = 8
            SELECT * FROM t_user ORDER BY user_id
            ",
        );
        if kind == Kind::MySql {
            ground.both(
                "
                INSERT INTO t_user (user_id, name) VALUES (1, 'q') AS n ON DUPLICATE KEY UPDATE user_id = t_user.user_id, name = n.name
                SELECT * FROM t_user ORDER BY user_id
                ",
            );
        }
    }
}

#[test]
fn rows_of_one_table_are_locked_beside_copies() {
    let ground = ground(Kind::MySql);
    ground.both(
        "
        INSERT INTO t_user VALUES (1, 'a', 1), (2, 'b', 2)
        INSERT INTO t_dict VALUES (1, 'w')
        SELECT u.name, d.word FROM t_user u LEFT JOIN t_dict d ON d.id = u.user_id WHERE u.user_id = 1 FOR UPDATE OF u
        SELECT t_user.name, d.word FROM t_user LEFT JOIN t_dict d ON d.id = t_user.user_id ORDER BY 1 FOR UPDATE OF t_user NOWAIT
        ",
    );
}
