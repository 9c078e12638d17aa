//! Generated keys in place of AUTO_INCREMENT: which rows get one, and what the client hears of it.

use crate::ground::{Answer, Client, KINDS};
use crate::load::ground_of_keys;

/// Keys that rows give themselves.
const OWN: std::ops::Range<u64> = 7_000..7_010;

/// The answer's id and counts; an id that was made is one.
fn told(client: &mut Client, sql: &str) -> (String, bool) {
    let answer = client.ask(sql);
    let made = |id: u64| (1..1 << 62).contains(&id) && !OWN.contains(&id);
    match answer {
        Answer::Done(affected, id, ..) => {
            let id = if made(id) {
                "made".to_owned()
            } else {
                id.to_string()
            };
            (format!("{affected} rows, id {id}"), true)
        }
        other => (format!("{other:?} {:?}", client.said.take()), false),
    }
}

#[test]
fn rows_of_queries_whose_key_is_null_get_one() {
    for kind in KINDS {
        let (_ground, [mut mesh, mut one]) = ground_of_keys(kind);
        for client in [&mut mesh, &mut one] {
            client.ask(
                "INSERT INTO t_user (user_id, name) VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cid')",
            );
        }
        for sql in [
            "INSERT INTO t_made (id, name) SELECT NULL, name FROM t_user",
            "INSERT INTO t_made (id, name) SELECT NULL, 'x'",
            "INSERT INTO t_made (id, name) SELECT NULLIF(user_id, 2) * 0, name FROM t_user",
            "INSERT IGNORE INTO t_made (id, name) SELECT NULL, name FROM t_user",
            "INSERT INTO t_made (id, name) VALUES ((SELECT NULL), 'y')",
            "REPLACE INTO t_made SELECT NULL, name FROM t_user",
            "INSERT INTO t_owned (user_id, id, name) SELECT 3, NULL, 'z'",
            "INSERT INTO t_owned (user_id, id, name) SELECT user_id, NULL, name FROM t_user",
        ] {
            let ours = told(&mut mesh, sql);
            let theirs = told(&mut one, sql);
            assert!(theirs.1, "{kind:?}: {sql}: {theirs:?}");
            assert_eq!(ours, theirs, "{kind:?}: {sql}");
            let said = "SHOW WARNINGS";
            assert_eq!(
                mesh.ask(said).rows(),
                one.ask(said).rows(),
                "{kind:?}: {sql}"
            );
        }
        for then in [
            "SELECT name, COUNT(*), COUNT(DISTINCT id), MIN(id) > 0 FROM t_made GROUP BY name ORDER BY name",
            "SELECT name, COUNT(*), COUNT(DISTINCT id), MIN(id) > 0 FROM t_owned GROUP BY name ORDER BY name",
            "SELECT LAST_INSERT_ID() > 0",
        ] {
            assert_eq!(
                mesh.ask(then).rows(),
                one.ask(then).rows(),
                "{kind:?}: {then}"
            );
        }
        // A column that is no generator's takes no NULL.
        let sql = "INSERT INTO t_made (id, name) SELECT NULL, NULL UNION SELECT 7007, 'x'";
        mesh.ask(sql).done();
        let sql = "INSERT INTO t_owned (id, user_id) SELECT NULL, NULL";
        assert_eq!(mesh.ask(sql), Answer::Error(1048), "{kind:?}");
    }
}

#[test]
fn the_key_of_a_row_that_updates_is_told() {
    for kind in KINDS {
        let (_ground, [mut mesh, mut one]) = ground_of_keys(kind);
        for sql in [
            "INSERT INTO t_made (id, name) VALUES (7007, 'a') ON DUPLICATE KEY UPDATE name = 'b'",
            "INSERT INTO t_made (id, name) VALUES (7007, 'a') ON DUPLICATE KEY UPDATE name = 'c'",
            "INSERT INTO t_made (id, name) VALUES (7007, 'a') ON DUPLICATE KEY UPDATE name = 'c'",
            "INSERT INTO t_made (id, name) VALUES (7009, 'a'), (7007, 'b') ON DUPLICATE KEY UPDATE name = 'd'",
            "INSERT INTO t_made (id, name) VALUES (7007, 'a'), (7008, 'b') ON DUPLICATE KEY UPDATE name = name",
            "INSERT INTO t_made (id, name) VALUES (7007, 'a'), (7008, 'b') ON DUPLICATE KEY UPDATE name = name",
            "INSERT INTO t_made (id, name) VALUES (7007, 'a'), (NULL, 'b') ON DUPLICATE KEY UPDATE name = 'e'",
            "INSERT INTO t_made (id, name) VALUES (-7, 'a') ON DUPLICATE KEY UPDATE name = 'e'",
            "INSERT INTO t_made (id, name) VALUES ((SELECT 7007), 'a') ON DUPLICATE KEY UPDATE name = 'f'",
            "INSERT INTO t_made (id, name) SELECT 7007, 'a' ON DUPLICATE KEY UPDATE name = 'g'",
            "INSERT INTO t_made (id, name) SELECT user_id, name FROM t_user ON DUPLICATE KEY UPDATE name = 'h'",
            "INSERT INTO t_made (id, name) SELECT 70, 'a'",
        ] {
            let ours = told(&mut mesh, sql);
            let theirs = told(&mut one, sql);
            assert!(theirs.1, "{kind:?}: {sql}: {theirs:?}");
            assert_eq!(ours, theirs, "{kind:?}: {sql}");
        }
        let then =
            "SELECT id, name FROM t_made WHERE id < 0 OR id BETWEEN 7000 AND 7009 ORDER BY id";
        assert_eq!(mesh.ask(then), one.ask(then), "{kind:?}");
    }
}
