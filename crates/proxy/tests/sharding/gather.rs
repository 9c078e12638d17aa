//! Statements that one server finishes over rows of several.

use crate::faultkit::client::{Credentials, RawClient};
use crate::ground::{Answer, Client, Ground, KINDS, Options, alike};
use crate::prepared::{Value, execute, prepare};

const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (2, 'Bob', NULL)
    INSERT INTO t_user VALUES (6, 'Ann', 18446744073709551615)
    INSERT INTO t_user (user_id, name) VALUES (7, 'Cid')
    INSERT INTO t_order VALUES (1, 1, 9.50, 'one', '2024-01-02 03:04:05.678', 'a', 'x,y', x'00ff27', 0.25, b'101')
    INSERT INTO t_order (id, user_id, note, total) VALUES (2, 1, 'two', 4), (3, 1, 'three', 9.50)
    INSERT INTO t_order SET id = 4, user_id = 7, note = 'four', total = 100, kind = 'b', ratio = -0.0
    INSERT INTO t_order SET id = 5, user_id = 6, note = 'it''s \\\\ five', total = -1, bits = 511
    INSERT INTO t_order SET id = 6, user_id = 2, note = 'two', total = 4
    INSERT INTO t_item VALUES (1, 1, 4, 'nut'), (2, 1, 1, 'bolt')
    INSERT INTO t_item VALUES (3, 6, 4, 'NUT'), (4, 6, NULL, 'gear')
    INSERT INTO t_item VALUES (5, 2, 6, 'bolt')
    INSERT INTO t_conf (v) VALUES ('a'), ('b')
";

/// Shapes that no merge answers.
const SHAPES: &str = "
    SELECT o.id, i.id, i.name FROM t_order o JOIN t_item i ON o.id = i.order_id ORDER BY o.id, i.id
    SELECT o.*, i.* FROM t_order o LEFT JOIN t_item i ON o.id = i.order_id AND i.name = 'bolt' ORDER BY o.id, i.id
    SELECT * FROM t_order JOIN t_item USING (id) ORDER BY id
    SELECT t_order.note FROM t_order WHERE id IN (SELECT order_id FROM t_item WHERE name LIKE 'n%') ORDER BY 1
    SELECT id, (SELECT COUNT(*) FROM t_item i WHERE i.order_id = o.id) AS items FROM t_order o WHERE total > 0 ORDER BY id
    SELECT id, total, RANK() OVER (ORDER BY total DESC), SUM(total) OVER (PARTITION BY note) FROM t_order ORDER BY id
    SELECT note, SUM(total), COUNT(*) FROM t_order GROUP BY note WITH ROLLUP
    SELECT note, COUNT(*) FROM t_order GROUP BY note HAVING COUNT(*) > 1 ORDER BY note
    SELECT SUM(total) / COUNT(*), 1 + COUNT(*) FROM t_order
    SELECT STD(total), VARIANCE(total) FROM t_order
    SELECT GROUP_CONCAT(note ORDER BY total, id SEPARATOR '-') FROM t_order
    SELECT * FROM (SELECT note, COUNT(*) AS n FROM t_order GROUP BY note) d WHERE n > 1 ORDER BY note
    SELECT user_id, name FROM t_user u WHERE EXISTS (SELECT 1 FROM t_item WHERE t_item.order_id = u.user_id + 3) ORDER BY 1
    SELECT a.id, b.id FROM t_order a JOIN t_order b ON a.total = b.total AND a.id < b.id ORDER BY 1, 2
    WITH big AS (SELECT id, total FROM t_order WHERE total >= 4) SELECT a.id FROM big a JOIN big b ON a.total = b.total ORDER BY a.id, b.id
    SELECT * FROM (WITH spent AS (SELECT user_id, SUM(total) AS s FROM t_order GROUP BY user_id) SELECT a.user_id FROM spent a JOIN spent b ON a.s = b.s AND a.user_id <> b.user_id) AS equal_spent ORDER BY user_id
    WITH RECURSIVE n AS (SELECT MIN(id) AS id FROM t_order UNION ALL SELECT id + 1 FROM n WHERE id < 4) SELECT n.id, note FROM n JOIN t_order ON n.id = t_order.id ORDER BY n.id
    (SELECT id FROM t_order WHERE total = 4 LIMIT 5) UNION ALL (SELECT id FROM t_item ORDER BY id DESC LIMIT 2) ORDER BY 1
    SELECT u.name, c.v, o.id FROM t_user u JOIN t_conf c ON c.id = u.user_id JOIN t_order o ON o.user_id = u.user_id ORDER BY o.id
    SELECT id, name FROM t_item i WHERE name = (SELECT name FROM t_item WHERE id = 3) ORDER BY id
    SELECT DISTINCT note, (SELECT MAX(score) FROM t_user) FROM t_order ORDER BY note
    SELECT id, note FROM t_order o WHERE total > (SELECT AVG(total) FROM t_order x WHERE x.id <> o.id) ORDER BY id
    SELECT shop.o.id FROM shop.t_order o JOIN shop.t_item ON o.id = t_item.order_id ORDER BY 1
    USE information_schema
    SELECT o.id FROM shop.t_order o JOIN shop.t_item i ON o.id = i.order_id WHERE i.name = 'bolt' ORDER BY o.id
    USE shop
    SELECT nothing FROM t_order o JOIN t_item i ON o.id = i.order_id
    SELECT o.id FROM t_order o JOIN t_item i ON o.id = i.order_id GROUP BY i.id
    SELECT o.id, o.user_id, o.note FROM t_order o JOIN t_item i ON o.id = i.order_id GROUP BY o.id, o.user_id ORDER BY 1
    SELECT COUNT(*) FROM t_order o JOIN t_item i ON o.id = i.order_id WHERE o.user_id = 100
    SELECT (SELECT MIN(user_id) FROM t_user WHERE name <> 'é')
    SELECT CONCAT('é`😀', (SELECT MAX(name) FROM t_user)), 1 FROM t_dict WHERE id = 1
    SELECT 1 FROM t_dict WHERE id = (SELECT (SELECT MIN(id) FROM t_order WHERE note <> 'é' /* why */))
";

#[test]
fn any_query_is_answered_as_by_one_server() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both(ROWS);
        ground.both(SHAPES);
        // Nothing of it stays on the connections.
        for server in &ground.servers {
            let left = server.query_value(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%mesh_gather%' AND id <> CONNECTION_ID()",
            );
            assert_eq!(left.unwrap().as_deref(), Some("0"), "{kind:?}");
        }
        let mut mesh = ground.mesh();
        for _ in 0..20 {
            let rows =
                mesh.ask("SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.total = b.total");
            assert_eq!(rows.rows(), [[Some("10".to_owned())]], "{kind:?}");
        }
    }
}

/// Within a transaction that has changed rows itself.
const CHANGED: &str = "
    UPDATE t_order SET total = total + 1 WHERE user_id IN (1, 7)
    INSERT INTO t_item VALUES (9, 7, 4, 'bolt')
    DELETE FROM t_order WHERE user_id = 6
    INSERT INTO t_dict VALUES (1, 'one')
    UPDATE t_conf SET v = 'z' WHERE id = 1
";

/// What only a transaction shows.
const WITHIN: &str = "
    SELECT d.word, o.id, c.v FROM t_order o JOIN t_dict d ON d.id = o.id JOIN t_conf c ON c.id = o.id ORDER BY 2
    SELECT COUNT(*), MAX(o.total) INTO @n, @m FROM t_order o JOIN t_item i ON i.order_id = o.id
    SELECT @n, @m
    SET @x = (SELECT SUM(total) FROM t_order)
    SELECT @x, id FROM t_order WHERE total < @x ORDER BY id
    SELECT o.id, 1 / 0 FROM t_order o JOIN t_item i ON i.order_id = o.id ORDER BY 1
    SHOW WARNINGS
    SELECT SUM(total) FROM t_order WHERE nothing = 1
    SELECT DISTINCT a.note FROM t_order a, t_order b WHERE a.total > b.total ORDER BY a.note
    SET sql_select_limit = 2
    SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.total >= b.total
    SELECT a.id FROM t_order a JOIN t_order b ON a.total >= b.total ORDER BY a.id, b.id
    SET sql_select_limit = DEFAULT
";

#[test]
fn a_transaction_sees_its_own_changes() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        ..Options::default()
    };
    for kind in KINDS {
        let ground = Ground::new(kind, &options);
        ground.both(ROWS);
        let begins = [
            "BEGIN",
            "SET autocommit = 0",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        ];
        for begin in begins {
            let after =
                "SELECT a.id, b.id FROM t_order a JOIN t_item b ON a.id = b.order_id ORDER BY 1, 2";
            ground.both(&format!(
                "{begin}\n{WITHIN}\n{SHAPES}\n{CHANGED}\n{WITHIN}\n{SHAPES}\nROLLBACK\n{after}\nSET autocommit = 1\n{after}"
            ));
        }
        ground.both(&format!(
            "START TRANSACTION READ ONLY\n{WITHIN}\nUPDATE t_user SET name = 'x'\nCOMMIT\nBEGIN\n{CHANGED}\n{WITHIN}\nCOMMIT\n{WITHIN}"
        ));
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let sql = "SELECT a.id, b.note FROM t_order a JOIN t_order b ON a.total > b.total WHERE b.id > ? ORDER BY 1, 2";
        for begin in [
            "BEGIN",
            "UPDATE t_order SET total = 50 WHERE id = 1",
            "COMMIT",
        ] {
            alike(kind, begin, &mut mesh, &mut one);
            let ran = |client: &mut Client| {
                let (id, ..) = prepare(client, sql).unwrap();
                execute(client, id, &[Value::Int(1)], sql)
            };
            assert_eq!(ran(&mut mesh), ran(&mut one), "{kind:?}: {begin}");
        }
    }
}

#[test]
fn a_refused_gather_leaves_the_transaction() {
    let options = Options {
        data_shard: &[
            "transactions: {acrossNodes: bestEffort}",
            "execution: {gatherBytes: 2000}",
        ],
        ..Options::default()
    };
    for kind in KINDS {
        let ground = Ground::new(kind, &options);
        let mut mesh = ground.mesh();
        mesh.ask("BEGIN");
        for id in 0..40 {
            let user = id % 8;
            let insert = format!(
                "INSERT INTO t_order (id, user_id, note, total) VALUES ({id}, {user}, REPEAT('x', 40), {id})"
            );
            assert!(matches!(mesh.ask(&insert), Answer::Done(1, ..)));
        }
        let wide = "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.note = b.note";
        let why = mesh.refused(wide);
        assert!(why.contains("2000 bytes"), "{kind:?}: {why}");
        let count = mesh.ask("SELECT COUNT(*) FROM t_order");
        assert_eq!(count.rows(), [[Some("40".to_owned())]], "{kind:?}");
        assert!(matches!(mesh.ask("COMMIT"), Answer::Done(..)), "{kind:?}");
        let count = ground.mesh().ask("SELECT COUNT(*) FROM t_order");
        assert_eq!(count.rows(), [[Some("40".to_owned())]], "{kind:?}");
    }
}

#[test]
fn values_of_every_type_arrive_as_they_are() {
    let mut statements = vec![
        "SET NAMES utf8mb4".to_owned(),
        "SET sql_mode = '', time_zone = '+02:00'".to_owned(),
        "INSERT INTO t_type (user_id, f, d, ts, day, yr, tm, l1, bin, doc, e, big) VALUES (1, 0.1, 1e-300, \
         '2024-03-31 02:30:00.125', '2024-02-29', 2024, '-838:59:59', 'caf\u{e9}', 'a', '{\"a\": [1, 2.5, \"\\\\\"x\"]}', 'y,z', \
         18446744073709551615)"
            .to_owned(),
        "INSERT INTO t_type (user_id, f, d, ts, day, yr, tm, l1, bin, doc, e, big) VALUES (2, 3.4e38, -0.0, \
         '0000-00-00', '0000-00-00', 0, '12:00:00.55', '\\\\ '' \\n', x'0027ff', 'null', '', 0)"
            .to_owned(),
        "INSERT INTO t_type (user_id, f, d, ts, day, l1, bin, doc, e) VALUES (3, 16777217, 0.1, '1970-01-01 02:00:01', \
         '2024-00-00', 'A ', '', '[]', 'nothing')"
            .to_owned(),
        "INSERT INTO t_type (user_id, f, d, ts, big) VALUES (7, 0.1, 123456789.12345678, '2038-01-19 05:14:07.999', 7)"
            .to_owned(),
        "INSERT INTO t_type (user_id) VALUES (8)".to_owned(),
    ];
    let asked = [
        "SELECT a.* FROM t_type a JOIN t_type b ON a.user_id = b.user_id + 0 ORDER BY a.user_id",
        "SELECT a.user_id, HEX(a.l1), HEX(a.bin), a.e + 0, a.f * 1e0, a.twice, LENGTH(a.doc) FROM t_type a JOIN t_type b ON \
         a.user_id = b.user_id + 0 ORDER BY 1",
        "SELECT a.user_id, b.user_id FROM t_type a JOIN t_type b ON a.f = b.f WHERE b.ts > '2020-01-01' AND a.l1 IS NOT NULL",
        "SELECT a.user_id FROM t_type a JOIN t_type b ON a.user_id = b.user_id + 0 WHERE a.ts = '2024-03-31 02:30:00.125'",
        "SET time_zone = '-05:00', sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES'",
        "SELECT a.\"ts\", a.l1 FROM t_type a JOIN t_type b ON a.user_id = b.user_id + 0 WHERE a.ts < '2030-01-01' ORDER BY a.user_id",
        "SET sql_select_limit = 2",
        "SELECT a.user_id FROM t_type a JOIN t_type b ON a.user_id = b.user_id + 0 ORDER BY a.user_id DESC",
        "SELECT @@sql_mode, @@time_zone, @@sql_select_limit",
        "SET NAMES latin1",
        "SELECT a.l1, a.user_id FROM t_type a JOIN t_type b ON a.user_id = b.user_id + 0 ORDER BY a.user_id",
    ];
    statements.extend(asked.map(str::to_owned));
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for sql in &statements {
            alike(kind, sql, &mut mesh, &mut one);
        }
    }
}

#[test]
fn what_cannot_be_gathered_says_why() {
    let options = Options {
        data_shard: &["execution: {gatherBytes: 2000}"],
        ..Options::default()
    };
    for kind in KINDS {
        let ground = Ground::new(kind, &options);
        let mut mesh = ground.mesh();
        let join = "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.total = b.total";
        for id in 0..40 {
            let user = id % 8;
            let insert = format!(
                "INSERT INTO t_order (id, user_id, note, total) VALUES ({id}, {user}, REPEAT('x', 40), {id})"
            );
            assert!(matches!(mesh.ask(&insert), Answer::Done(1, ..)));
        }
        let wide =
            "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.note = b.note WHERE a.id < 100";
        let why = mesh.refused(wide);
        assert!(
            why.contains("2000 bytes") && why.contains("gatherBytes"),
            "{why}"
        );
        // Less is enough for fewer rows, and for fewer columns.
        let few = "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.note = b.note WHERE a.id < 3 AND b.id < 3";
        assert_eq!(mesh.ask(few).rows(), [[Some("9".to_owned())]]);
        assert!(matches!(mesh.ask("BEGIN"), Answer::Done(..)));
        let why = mesh.refused(join);
        // Nothing binds the transaction yet but its first node.
        assert!(why.contains("transactions.acrossNodes"), "{why}");
        assert_eq!(
            mesh.ask("SELECT COUNT(*) FROM t_order WHERE user_id = 1")
                .rows()
                .len(),
            1
        );
        assert!(matches!(mesh.ask("COMMIT"), Answer::Done(..)));
        let why = mesh.refused(
            "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.total = b.total FOR UPDATE",
        );
        assert!(why.contains("sharded tables"), "{why}");
    }
}

/// As shards are while a definition is under way, or after one that stopped.
#[test]
fn shards_that_are_not_defined_alike_are_no_matter_while_rows_fit() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both(ROWS);
        let node = &ground.servers[1];
        let alter = |what: &str| {
            node.execute(&format!("ALTER TABLE shop_1.t_user_7 MODIFY {what}"))
                .unwrap();
        };
        alter("score INT");
        ground.both(
            "SELECT user_id, name, score FROM t_user ORDER BY user_id
             SELECT user_id, score FROM t_user WHERE user_id IN (7, 2) ORDER BY user_id
             SELECT MAX(score), COUNT(score) FROM t_user",
        );
        let mut mesh = ground.mesh();
        let sql = "SELECT user_id, score FROM t_user WHERE user_id > ? ORDER BY user_id";
        let (id, ..) = prepare(&mut mesh, sql).unwrap();
        let answer = execute(&mut mesh, id, &[Value::Int(1)], sql);
        assert_eq!(answer.rows().len(), 3, "{kind:?}: {answer:?}");
        alter("name VARCHAR(200)");
        let long = "x".repeat(120);
        node.execute(&format!("UPDATE shop_1.t_user_7 SET name = '{long}'"))
            .unwrap();
        let refused = mesh.refused(
            "SELECT user_id, MAX(name) OVER (ORDER BY user_id) FROM t_user ORDER BY user_id",
        );
        assert!(refused.contains("not defined alike"), "{refused}");
    }
}

#[test]
fn who_asks_for_a_character_set_that_the_server_does_not_know_has_the_servers_own() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        ground.both("INSERT INTO t_user (user_id, score) VALUES (8, 1), (9, 1)");
        let query = "SELECT a.user_id, b.user_id FROM t_user a JOIN t_user b ON a.score = b.score \
                     WHERE a.user_id < b.user_id";
        let client = |collation: u16| {
            let credentials = Credentials::app().schema("shop").collation(collation);
            Client::of(RawClient::logged_in(ground.stage.port, &credentials))
        };
        // MySQL's utf8mb4_0900_ai_ci, and what a reset leaves.
        let mut mesh = client(255);
        for _ in 0..2 {
            let answer = mesh.ask(query);
            let Answer::Rows(_, rows, ..) = &answer else {
                panic!("{kind:?}: {answer:?} {:?}", mesh.said);
            };
            assert_eq!(*rows, [[Some("8".to_owned()), Some("9".to_owned())]]);
            mesh.raw.command(&[0x1F]);
            assert!(matches!(mesh.answer(), Answer::Done(..)), "{kind:?}");
            mesh.ask("USE shop");
        }
        let said = client(28).refused(query);
        assert!(
            said.contains("clients with the character set 'gbk'"),
            "{kind:?}: {said}"
        );
    }
}
