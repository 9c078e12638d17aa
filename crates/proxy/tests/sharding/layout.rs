//! What one server makes of several rows, of columns that are not named, and of names that it gives: beside one server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbmesh_testkit::Kind;
use dbmesh_testkit::port::Port;

use crate::faultkit::client::{Credentials, RawClient};
use crate::faultkit::stage::Stage;
use crate::ground::{Answer, Client, Ground, KINDS, Options, yaml};

const RULES: &[&str] = &[
    "- tableName: t_par",
    "  tableStrategy: {tableShardingAlgorithmName: eight, tableShardingColumn: k}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_par_{0..3}, ds_1.t_par_{4..7}\"}}",
];

fn ground(kind: Kind, check: &str) -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        rules: RULES,
        ..Options::default()
    };
    let ground = Ground::new(kind, &options);
    ground.both(&format!(
        "CREATE TABLE t_par (a INT NOT NULL, k INT NOT NULL PRIMARY KEY, n VARCHAR(9) NOT NULL{check})"
    ));
    ground
}

#[test]
fn a_row_that_is_alone_on_its_shard_is_one_of_several() {
    for kind in KINDS {
        let ground = ground(kind, ", CHECK (a < 100)");
        ground.both(
            "SET sql_mode = ''
             INSERT INTO t_par (k, n) VALUES (1, NULL), (2, NULL)
             SHOW WARNINGS
             INSERT INTO t_par (k) VALUES (9), (10), (11)
             SHOW WARNINGS
             REPLACE INTO t_par (k, n) VALUES (1, CONCAT(NULL, 'a')), (2, 'b')
             INSERT INTO t_par (k, n) VALUES (1, NULL), (3, NULL) ON DUPLICATE KEY UPDATE n = VALUES(n)
             INSERT INTO t_par (k, n) VALUES (7, NULL)
             SELECT * FROM t_par ORDER BY k
             SET sql_mode = 'STRICT_ALL_TABLES'
             INSERT INTO t_par (a, k, n) VALUES (1, 11, 'a'), (1, 12, NULL)
             INSERT INTO t_par (a, k, n) VALUES (200, 21, 'a'), (1, 22, 'b'), (300, 23, 'c')
             INSERT IGNORE INTO t_par (a, k, n) VALUES (200, 21, 'a'), (1, 22, 'b'), (300, 23, 'c')
             SELECT * FROM t_par ORDER BY k",
        );
    }
}

/// A second proxy of the same service.
fn another(ground: &Ground) -> Stage {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        rules: RULES,
        ..Options::default()
    };
    let port = Port::reserve().unwrap();
    Stage::of_yaml(&yaml(&ground.servers, port.number(), &options), port, &[])
}

#[test]
fn values_without_names_go_to_the_columns_that_the_table_has() {
    for kind in KINDS {
        let ground = ground(kind, "");
        let other = another(&ground);
        let credentials = Credentials::app().schema("shop");
        let mut other = Client::of(RawClient::logged_in(other.port, &credentials));
        let mut one = ground.one();
        let mut both = |sql: &str| {
            let (ours, theirs) = (other.ask(sql), one.ask(sql));
            assert_eq!(ours.unlabelled(&theirs), theirs, "{kind:?}: {sql}");
        };
        both("INSERT INTO t_par VALUES (1, 2, 'x')");
        // The other proxy is not told.
        let mut first = ground.mesh();
        for (definition, insert) in [
            (
                "MODIFY a INT AFTER n",
                "INSERT INTO t_par VALUES (11, 'y', 3), (12, 'z', 4)",
            ),
            (
                "MODIFY a INT FIRST",
                "REPLACE INTO t_par VALUES (5, 13, 'r')",
            ),
            (
                "ADD COLUMN b INT FIRST",
                "INSERT INTO t_par VALUES (6, 7, ABS(14), 'k')",
            ),
            (
                "MODIFY b INT AFTER n",
                "INSERT INTO t_par SELECT a, k + 20, n, 9 FROM t_par WHERE k = 2",
            ),
            ("DROP COLUMN b", "INSERT INTO t_par VALUES (1, 40, 'n')"),
            (
                "MODIFY a INT AFTER n",
                "INSERT INTO t_par VALUES (41, 'n', 1) ON DUPLICATE KEY UPDATE n = 'u'",
            ),
        ] {
            let alter = format!("ALTER TABLE t_par {definition}");
            let altered = first.ask(&alter);
            assert!(
                matches!(altered, Answer::Done(..)),
                "{kind:?}: {alter}: {:?}",
                first.said
            );
            ground.servers[0]
                .execute(&format!("ALTER TABLE shop.t_par {definition}"))
                .unwrap();
            both(insert);
        }
        both("SELECT * FROM t_par ORDER BY k");
        for key in [2, 11, 12, 13, 14, 22, 40, 41] {
            both(&format!("SELECT * FROM t_par WHERE k = {key}"));
        }
    }
}

#[test]
fn rows_stay_on_their_shards_while_columns_move() {
    let ground = ground(Kind::MySql, "");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (ground, stop) = (&ground, &stop);
                scope.spawn(move || {
                    let mut client = ground.mesh();
                    let mut key = 100_000 * (writer + 1);
                    while !stop.load(Ordering::Relaxed) {
                        key += 1;
                        // Either number may be the key.
                        let sql = format!("INSERT INTO t_par VALUES ({key}, {}, 7)", key + 1);
                        drop(client.ask(&sql));
                    }
                })
            })
            .collect();
        let (mut definer, mut answers) = (ground.mesh(), Vec::new());
        for round in 0..6 {
            let place = ["AFTER n", "FIRST"][round % 2];
            answers.push(definer.ask(&format!("ALTER TABLE t_par MODIFY a INT NOT NULL {place}")));
        }
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        for answer in answers {
            answer.done();
        }
    });
    for shard in 0..8 {
        let server = &ground.servers[shard / 4];
        let sql = format!(
            "SELECT COUNT(*) FROM shop_{}.t_par_{shard} WHERE k % 8 <> {shard}",
            shard / 4
        );
        let strays = server.query_value(&sql).unwrap().unwrap();
        assert_eq!(strays, "0", "rows of another shard in t_par_{shard}");
    }
}

#[test]
fn names_of_shards_and_their_constraints_are_not_seen() {
    for kind in KINDS {
        let ground = ground(kind, "");
        let said = |client: &mut Client, sql: &str| {
            client.ask(sql);
            let said = client.said.take().unwrap_or_default();
            // The place is the mesh's own word.
            said.split(" (at ").next().unwrap_or_default().to_owned()
        };
        ground.both(
            "ALTER TABLE t_user ADD CHECK (score < 100)
             ALTER TABLE t_item ADD FOREIGN KEY (user_id) REFERENCES t_user (user_id)
             INSERT INTO t_user VALUES (3, 'x', 1)
             INSERT INTO t_item (id, user_id) VALUES (3, 3)",
        );
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for sql in [
            "INSERT INTO t_user VALUES (5, 'x', 200)",
            "INSERT INTO t_item (id, user_id) VALUES (1, 4)",
            "UPDATE t_user SET score = 300",
            "DELETE FROM t_user WHERE user_id = 3",
            "INSERT INTO t_user VALUES (9, 'x', 300), (8, 'x', 500)",
            "TRUNCATE TABLE t_user",
        ] {
            let (ours, theirs) = (said(&mut mesh, sql), said(&mut one, sql));
            assert_eq!(ours, theirs, "{kind:?}: {sql}");
        }
        ground.both(
            "SET sql_mode = 'ANSI'
             SHOW CREATE TABLE t_item
             SHOW CREATE TABLE t_user
             SET sql_quote_show_create = 0
             SHOW CREATE TABLE t_item",
        );
    }
}

#[test]
fn a_connection_of_wide_texts_and_hints_of_the_statement_alone_bind_nothing() {
    for kind in KINDS {
        let ground = ground(kind, "");
        ground.both(
            "INSERT INTO t_par VALUES (1, 3, 'x'), (2, 4, 'y'), (3, 13, 'z')
             SELECT /*+ SET_VAR(sort_buffer_size=40000) */ a FROM t_par WHERE k = 3
             DO (SELECT k FROM t_par WHERE k = 3)
             SELECT COUNT(*) FROM t_par
             SET character_set_connection = utf16
             SELECT COUNT(*) FROM t_par x JOIN t_par y ON x.a = y.a - 1
             SELECT GROUP_CONCAT(n ORDER BY n) FROM t_par",
        );
        // Its connection is brought to another session's state.
        ground.both(
            "SET sql_mode = 'ANSI', time_zone = '+02:00'
             SELECT COUNT(*) FROM t_par x JOIN t_par y ON x.a = y.a - 1",
        );
    }
}

#[test]
fn a_kill_ends_a_change_in_steps_and_nothing_of_it_stays() {
    for kind in KINDS {
        let ground = ground(kind, "");
        ground.both("INSERT INTO t_par VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd'), (5, 5, 'e')");
        let mut victim = ground.mesh();
        let id = victim.ask("SELECT CONNECTION_ID()").rows()[0][0].clone();
        let kill = format!("KILL QUERY {}", id.unwrap());
        let sql = "INSERT INTO t_par SELECT a, k + 101 + 0 * SLEEP(0.4), n FROM t_par";
        let answer = std::thread::scope(|scope| {
            let running = scope.spawn(|| victim.ask(sql));
            let mut killer = ground.mesh();
            while !running.is_finished() {
                killer.ask(&kill);
                std::thread::sleep(Duration::from_millis(100));
            }
            running.join().unwrap()
        });
        assert_eq!(answer, Answer::Error(1317), "{kind:?}: {:?}", victim.said);
        assert_eq!(
            victim.ask("SELECT COUNT(*) FROM t_par").rows()[0][0].as_deref(),
            Some("5")
        );
    }
}
