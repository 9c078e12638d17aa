//! Statements over several shards: rows that are put together, counts that are added, and what ends them early.

use std::time::{Duration, Instant};

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::ground::{Answer, Ground, KINDS, Options, alike};

const BEST_EFFORT: Options = Options {
    data_shard: &["transactions: {acrossNodes: bestEffort}"],
    algorithms: "",
    rules: &[],
    strategy: &[],
    service: &[],
    pool_size: 16,
    durable: false,
};

/// Rows on all shards, on both sides.
pub fn fill(ground: &Ground) {
    let mut text = String::new();
    for user in 0..40 {
        let score = match user % 5 {
            0 => "NULL".to_owned(),
            n => (user * 7919 % 13 * n).to_string(),
        };
        text += &format!(
            "INSERT INTO t_user VALUES ({user}, '{}', {score})\n",
            name(user)
        );
        for n in 0..user % 4 {
            let id = user * 10 + n;
            text += &format!(
                "INSERT INTO t_order VALUES ({id}, {user}, {}.{:02}, '{}', '2024-0{}-1{n} 03:04:05.678', '{}', 'x', 'b', 0.25, b'101')\n",
                id * 31 % 17,
                id * 7 % 100,
                name(id),
                user % 9 + 1,
                if n % 2 == 0 { 'a' } else { 'b' },
            );
            text += &format!(
                "INSERT INTO t_item VALUES ({id}, {user}, {id}, '{}')\n",
                name(id + 3)
            );
        }
    }
    ground.both(&text);
}

fn name(n: i32) -> String {
    let words = [
        "ann", "Bob", "élan", "Zoë", "zob", "ÀB", "ac", "b", "Straße", "x y",
    ];
    let index = usize::try_from(n * 7 % 10).unwrap();
    format!("{}{}", words[index], n % 3)
}

#[test]
fn rows_of_all_shards_are_those_of_one_server() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        fill(&ground);
        ground.both(
            "SELECT * FROM t_user
             SELECT user_id FROM t_user ORDER BY user_id
             SELECT user_id, name, score FROM t_user ORDER BY score, user_id
             SELECT user_id, name FROM t_user ORDER BY name DESC, user_id LIMIT 7
             SELECT user_id AS u FROM t_user ORDER BY score DESC, u LIMIT 3, 5
             SELECT name FROM t_user WHERE score > 10 ORDER BY user_id
             SELECT * FROM t_order WHERE user_id IN (1, 2, 9, 17) ORDER BY id
             SELECT id, total FROM t_order ORDER BY total DESC, id LIMIT 10
             SELECT id, at FROM t_order ORDER BY at, id LIMIT 10 OFFSET 3
             SELECT o.id, i.name FROM t_order o JOIN t_item i ON o.user_id = i.user_id AND o.id = i.order_id ORDER BY o.id
             SELECT u.user_id, o.id FROM t_user u LEFT JOIN t_order o ON o.user_id = u.user_id ORDER BY u.user_id, o.id
             SELECT COUNT(*) FROM t_order
             SELECT COUNT(*), COUNT(score), SUM(score), MIN(score), MAX(score), AVG(score) FROM t_user
             SELECT SUM(total), AVG(total), MIN(note), MAX(at) FROM t_order
             SELECT COUNT(*), SUM(score) FROM t_user WHERE user_id < 0
             SELECT score, COUNT(*) FROM t_user GROUP BY score ORDER BY score
             SELECT name, COUNT(*) AS n, SUM(score) FROM t_user GROUP BY name ORDER BY n DESC, name
             SELECT score, COUNT(*) FROM t_user GROUP BY score
             SELECT user_id, COUNT(*) FROM t_order GROUP BY user_id ORDER BY user_id
             SELECT COUNT(DISTINCT score) FROM t_user
             SELECT COUNT(DISTINCT name), SUM(DISTINCT score), AVG(DISTINCT score) FROM t_user
             SELECT DISTINCT score FROM t_user ORDER BY score
             SELECT DISTINCT name FROM t_user ORDER BY name
             SELECT BIT_OR(id), BIT_AND(id), BIT_XOR(id) FROM t_order
             SELECT user_id FROM t_user UNION ALL SELECT user_id FROM t_order ORDER BY user_id
             SELECT user_id FROM t_user LIMIT 0
             SELECT COUNT(*) FROM t_order WHERE note LIKE 'z%'
             SELECT nothing FROM t_user
             SELECT user_id FROM t_user WHERE score / 0 IS NULL ORDER BY user_id
             SELECT kind, COUNT(*) FROM t_order GROUP BY kind ORDER BY kind
             SELECT id FROM t_order ORDER BY LOWER(note), id LIMIT 5
             SELECT SUM(ratio) FROM t_order
             SELECT DISTINCT CONCAT(note, kind) AS c FROM t_order ORDER BY c LIMIT 4
             SELECT 1 FROM t_user, t_dict",
        );
    }
}

#[test]
fn changes_of_several_shards_are_one() {
    for kind in KINDS {
        let ground = Ground::new(kind, &BEST_EFFORT);
        fill(&ground);
        ground.both(
            "UPDATE t_user SET score = score + 1
             SELECT ROW_COUNT()
             UPDATE t_user SET score = 5 WHERE user_id IN (1, 2, 3, 4, 5)
             DELETE FROM t_item WHERE name = 'ann0'
             INSERT INTO t_user VALUES (100, 'a', 1), (101, 'b', 2), (102, 'c', 3), (109, 'd', 4)
             INSERT INTO t_user VALUES (103, 'a', 1), (101, 'b', 2), (110, 'c', 3)
             SELECT * FROM t_user ORDER BY user_id
             INSERT IGNORE INTO t_user VALUES (103, 'a', 1), (101, 'b', 2), (110, 'c', 3)
             SELECT * FROM t_user ORDER BY user_id
             INSERT INTO t_dict VALUES (1, 'one'), (2, 'two')
             SELECT word FROM t_dict ORDER BY id
             SELECT user_id, word FROM t_user JOIN t_dict ON id = score WHERE user_id > 90 ORDER BY user_id, word
             BEGIN
             UPDATE t_user SET score = 77 WHERE user_id IN (1, 2)
             SELECT SUM(score) FROM t_user WHERE user_id IN (0, 1, 2, 3)
             ROLLBACK
             SELECT SUM(score) FROM t_user WHERE user_id IN (0, 1, 2, 3)",
        );
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        mesh.ask("BEGIN");
        mesh.ask("UPDATE t_user SET score = 9 WHERE user_id = 1");
        // A statement that fails at its second shard leaves nothing, and the transaction goes on.
        assert_eq!(
            mesh.ask("INSERT INTO t_user VALUES (208, 'x', 1), (1, 'y', 1)"),
            Answer::Error(1062)
        );
        assert!(matches!(mesh.ask("COMMIT"), Answer::Done(..)));
        one.ask("UPDATE t_user SET score = 9 WHERE user_id = 1");
        alike(
            kind,
            "SELECT * FROM t_user ORDER BY user_id",
            &mut mesh,
            &mut one,
        );
    }
}

#[test]
fn without_best_effort_nothing_is_written_to_two_nodes() {
    let ground = Ground::new(KINDS[0], &Options::default());
    fill(&ground);
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    for refused in [
        "UPDATE t_user SET score = 1",
        "INSERT INTO t_dict VALUES (1, 'x')",
    ] {
        let why = mesh.refused(refused);
        assert!(why.contains("bestEffort"), "{why}");
    }
    // Shards of one node are one transaction.
    alike(
        ground.kind,
        "UPDATE t_user SET score = 3 WHERE user_id IN (0, 1, 2, 3)",
        &mut mesh,
        &mut one,
    );
    alike(
        ground.kind,
        "SELECT * FROM t_user ORDER BY user_id",
        &mut mesh,
        &mut one,
    );
}

#[test]
fn definitions_go_everywhere_and_say_where_they_failed() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        let mut mesh = ground.mesh();
        for sql in [
            "DROP TABLE t_item",
            "CREATE TABLE t_item (id INT NOT NULL, user_id INT NOT NULL, order_id INT, name VARCHAR(10), PRIMARY KEY (id, user_id))",
            "ALTER TABLE t_item ADD COLUMN more INT DEFAULT 3",
            "CREATE INDEX by_name ON t_item (name)",
        ] {
            assert!(
                matches!(mesh.ask(sql), Answer::Done(0, ..)),
                "{kind:?}: {sql}"
            );
        }
        mesh.ask("INSERT INTO t_item VALUES (1, 1, 1, 'a', 4)");
        assert_eq!(
            mesh.ask("SELECT more FROM t_item").rows()[0][0].as_deref(),
            Some("4")
        );
        let server = &ground.servers[1];
        server.execute("DROP TABLE shop_1.t_item_6").unwrap();
        let why = mesh.refused("ALTER TABLE t_item ADD COLUMN again INT");
        assert!(
            why.contains("not at ds_1.t_item_6") && why.contains("t_item_5"),
            "{why}"
        );
        assert_eq!(mesh.ask("SELECT * FROM t_item"), Answer::Error(1146));
        let why = mesh.refused("SELECT * FROM t_item");
        assert!(
            why.contains("'shop.t_item' doesn't exist (at ds_1.t_item_6)"),
            "{why}"
        );
    }
}

#[test]
fn what_nobody_waits_for_is_ended_on_its_servers() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        fill(&ground);
        let running = || {
            let busy = ground.servers.iter().map(|server| {
                let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
                server.query_value(sql).unwrap().unwrap()
            });
            busy.map(|n| n.parse::<u32>().unwrap()).sum::<u32>()
        };
        let slow = "SELECT SLEEP(20), user_id FROM t_user";
        let login = || RawClient::logged_in(ground.stage.port, &Credentials::app().schema("shop"));
        // The client leaves.
        let mut gone = login();
        gone.begin_query(slow);
        eventually("it runs on all shards", Duration::from_secs(10), || {
            running() == 8
        });
        drop(gone);
        eventually("it ends", Duration::from_secs(10), || running() == 0);
        // KILL QUERY.
        let mut victim = login();
        victim.begin_query(slow);
        eventually("it runs on all shards", Duration::from_secs(10), || {
            running() == 8
        });
        let began = Instant::now();
        assert_eq!(
            login().query(&format!("KILL QUERY {}", victim.id)),
            Reply::Ok
        );
        assert_eq!(victim.reply().code(), Some(1317));
        assert!(began.elapsed() < Duration::from_secs(15));
        eventually("it ends", Duration::from_secs(10), || running() == 0);
        assert_eq!(victim.query("SELECT COUNT(*) FROM t_user").value(), "40");
        // A deadline.
        let limited = "SELECT /* mesh: timeout_ms=300 */ SLEEP(20), user_id FROM t_user";
        assert_eq!(victim.query(limited).code(), Some(3024), "{kind:?}");
        eventually("it ends", Duration::from_secs(10), || running() == 0);
        assert_eq!(victim.query("SELECT COUNT(*) FROM t_user").value(), "40");
    }
}

#[test]
fn more_shards_than_connections_take_turns() {
    for kind in KINDS {
        let options = Options {
            data_shard: &["execution: {maxConnectionsPerNode: 1}"],
            pool_size: 2,
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        fill(&ground);
        ground.both(
            "SELECT user_id, name FROM t_user ORDER BY name, user_id
             SELECT score, COUNT(*) FROM t_user GROUP BY score ORDER BY 1
             SELECT * FROM t_order ORDER BY id DESC LIMIT 3
             SELECT COUNT(*) FROM t_item",
        );
    }
}

#[test]
fn memory_is_bounded_by_files() {
    let options = Options {
        data_shard: &["execution: {memoryBytes: 4194304, maxConnectionsPerNode: 1}"],
        ..Options::default()
    };
    let ground = Ground::new(KINDS[0], &options);
    fill_users(&ground);
    ground.both(
        "SELECT user_id, name, score FROM t_user ORDER BY name, user_id
         SELECT score, COUNT(*), MAX(name) FROM t_user GROUP BY score ORDER BY score",
    );
    let groups = "SELECT score, COUNT(*), MAX(CAST(RPAD(name, 4000, 'y') AS BINARY)) FROM t_user WHERE score < 3000 GROUP BY score";
    for order in [
        "score DESC LIMIT 3",
        "COUNT(*), score DESC LIMIT 3",
        "3 DESC, score LIMIT 4",
    ] {
        // Whichever shard comes first, there is room.
        for _ in 0..4 {
            ground.both(&format!("{groups} ORDER BY {order}"));
        }
    }
}

/// Many rows on all shards, on both sides.
pub fn fill_users(ground: &Ground) {
    let numbers = "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 239999) SELECT /*+ SET_VAR(cte_max_recursion_depth = 1000000) */ i FROM n";
    for shard in 0..8 {
        let (server, place) = (&ground.servers[shard / 4], shard / 4);
        let sql = format!(
            "INSERT INTO shop_{place}.t_user_{shard} SELECT i, CONCAT(CRC32(i), REPEAT('x', 27)), i * 7919 % 60013 FROM ({numbers}) m WHERE i % 8 = {shard}"
        );
        server.execute(&format!("USE shop_{place}; {sql}")).unwrap();
    }
    let whole = format!(
        "INSERT INTO shop.t_user SELECT i, CONCAT(CRC32(i), REPEAT('x', 27)), i * 7919 % 60013 FROM ({numbers}) m"
    );
    ground.servers[0]
        .execute(&format!("USE shop; {whole}"))
        .unwrap();
}
