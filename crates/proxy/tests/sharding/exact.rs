//! Values of changes by rows of several nodes that are lost easily: bytes, and moments that a clock shows twice.

use dbmesh_testkit::Kind;

use crate::ground::{Ground, KINDS, Options};
use crate::prepared::{Value, execute, prepare};

const WHEN: &[&str] = &[
    "- tableName: t_when",
    "  tableStrategy: {tableShardingAlgorithmName: eight, tableShardingColumn: user_id}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_when_{0..3}, ds_1.t_when_{4..7}\"}}",
];

fn ground(kind: Kind) -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        rules: WHEN,
        ..Options::default()
    };
    Ground::new(kind, &options)
}

#[test]
fn bytes_are_bytes() {
    for kind in KINDS {
        let ground = ground(kind);
        let run = |sql: &str, values: &[Value<'_>]| {
            let answers = |mut client: crate::ground::Client| {
                let (id, ..) = prepare(&mut client, sql).unwrap();
                let answer = execute(&mut client, id, values, sql);
                let after = "SELECT id, HEX(blob_), HEX(note) FROM t_order ORDER BY id";
                (answer, client.ask(after))
            };
            let (ours, theirs) = (answers(ground.mesh()), answers(ground.one()));
            assert_eq!(ours, theirs, "{kind:?}: {sql}");
        };
        ground.both(
            "INSERT INTO t_order (id, user_id, note) VALUES (1, 1, 'a'), (2, 6, 'b'), (3, 7, 'c')",
        );
        let odd: &[u8] = b"\xff\x00'\\\xe9";
        run(
            "UPDATE t_order SET blob_ = ? ORDER BY id LIMIT 2",
            &[Value::Bytes(odd)],
        );
        run(
            "UPDATE t_order SET blob_ = ? WHERE id > ? ORDER BY id LIMIT 2",
            &[Value::Bytes(b""), Value::Int(1)],
        );
        run(
            "INSERT INTO t_order (id, user_id, blob_) SELECT id + 10, user_id + 3, ? FROM t_order",
            &[Value::Bytes(odd)],
        );
        run(
            "DELETE FROM t_order WHERE blob_ = ? ORDER BY id LIMIT 1",
            &[Value::Bytes(odd)],
        );
        run(
            "UPDATE t_order SET note = ? ORDER BY id LIMIT 1",
            &[Value::Bytes(b"bytes")],
        );
    }
}

/// A zone whose clocks go back from 3 to 2 on 2024-10-27, as in Berlin.
const ZONE: [&str; 4] = [
    "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (77, 'N')",
    "INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('Twice', 77)",
    "INSERT INTO mysql.time_zone_transition_type VALUES (77, 0, 7200, 1, 'CEST'), (77, 1, 3600, 0, 'CET')",
    "INSERT INTO mysql.time_zone_transition VALUES (77, 1711846800, 0), (77, 1729990800, 1)",
];

/// 30 minutes past two, before and after.
const ROWS: &str = "
    CREATE TABLE t_when (user_id INT NOT NULL, ts TIMESTAMP(3) NOT NULL, note VARCHAR(20), PRIMARY KEY (user_id, ts))
    SET time_zone = '+00:00'
    INSERT INTO t_when VALUES (1, '2024-10-27 00:30:00.5', 'first'), (1, '2024-10-27 01:30:00.5', 'second')
    INSERT INTO t_when VALUES (6, '2024-10-27 01:30:00.5', 'second'), (6, '2024-05-01 12:00:00', 'may')
    INSERT INTO t_type (user_id, ts) VALUES (1, '2024-10-27 00:30:00.125'), (2, '2024-10-27 01:30:00.125'), (6, NULL)
";

/// Rows are known by moments that the clock shows as one, and those are read.
const CHANGES: &str = "
    SET time_zone = 'Twice'
    SELECT user_id, ts, UNIX_TIMESTAMP(ts), note FROM t_when ORDER BY user_id, UNIX_TIMESTAMP(ts)
    UPDATE t_when SET note = 'later' ORDER BY UNIX_TIMESTAMP(ts) DESC, user_id LIMIT 1
    UPDATE t_when SET note = CONCAT(note, '!') WHERE note = 'second' ORDER BY user_id LIMIT 1
    UPDATE t_when SET note = CONCAT(note, '?') WHERE UNIX_TIMESTAMP(ts) > 1729990800 ORDER BY user_id LIMIT 9
    SELECT user_id, UNIX_TIMESTAMP(ts), note FROM t_when ORDER BY user_id, UNIX_TIMESTAMP(ts)
    DELETE FROM t_when ORDER BY UNIX_TIMESTAMP(ts), user_id LIMIT 2
    SELECT user_id, UNIX_TIMESTAMP(ts), note FROM t_when ORDER BY user_id, UNIX_TIMESTAMP(ts)
";

/// Moments are stored elsewhere.
const STORED: &str = "
    SET time_zone = 'Twice'
    INSERT INTO t_type (user_id, ts) SELECT user_id + 53, ts FROM t_type
    INSERT INTO t_when (user_id, ts, note) SELECT user_id + 11, ts, 'from type' FROM t_type WHERE ts IS NOT NULL
    UPDATE t_type t JOIN t_when w ON w.user_id = t.user_id + 5 SET t.ts = w.ts
    SET time_zone = '+00:00'
    SELECT user_id, ts FROM t_type ORDER BY user_id
    SELECT user_id, ts, note FROM t_when ORDER BY user_id, ts
";

#[test]
fn moments_of_an_hour_that_comes_twice_stay_apart() {
    for kind in KINDS {
        let ground = ground(kind);
        for server in &ground.servers {
            ZONE.iter().for_each(|sql| server.execute(sql).unwrap());
        }
        ground.both(ROWS);
        ground.both(CHANGES);
        if kind == Kind::MySql {
            ground.both(STORED);
            continue;
        }
        // No literal of this server gives such a moment.
        let mut mesh = ground.mesh();
        mesh.ask("SET time_zone = 'Twice'");
        let said =
            mesh.refused("INSERT INTO t_type (user_id, ts) SELECT user_id + 53, ts FROM t_type");
        assert!(said.contains("twice"), "{said}");
        mesh.ask("SET time_zone = '+02:00'");
        mesh.ask("INSERT INTO t_type (user_id, ts) SELECT user_id + 53, ts FROM t_type");
        let moments = mesh.ask("SELECT COUNT(*), COUNT(DISTINCT UNIX_TIMESTAMP(ts)) FROM t_type");
        let cell = |text: &str| Some(text.to_owned());
        assert_eq!(moments.rows(), [[cell("6"), cell("2")]]);
    }
}

/// A document's text does not say that a string in it is a date.
#[test]
fn documents_whose_text_says_less_are_not_moved() {
    let ground = ground(Kind::MySql);
    ground.both(
        "INSERT INTO t_type (user_id, doc) VALUES (1, JSON_OBJECT('at', CAST('2024-01-02' AS DATE))), (2, '{\"n\": 1.5}'), (7, '[\"é\", null]'), (6, NULL), (5, 'null')
         SELECT a.user_id, b.user_id, JSON_TYPE(JSON_EXTRACT(a.doc, '$.at')), b.doc FROM t_type a JOIN t_type b ON a.user_id < b.user_id + 3 ORDER BY 1, 2
         INSERT INTO t_type (user_id, doc) VALUES (15, JSON_ARRAY(CAST('2024-01-02' AS DATE)))",
    );
    let mut mesh = ground.mesh();
    for sql in [
        "SELECT a.user_id, b.doc FROM t_type a JOIN t_type b ON a.user_id < b.user_id ORDER BY 1, 2",
        "INSERT INTO t_type (user_id, doc) SELECT user_id + 33, doc FROM t_type",
    ] {
        let said = mesh.refused(sql);
        assert!(said.contains("its text does not give back"), "{said}");
    }
    ground.both(
        "DELETE FROM t_type WHERE user_id = 15
        UPDATE t_type SET doc = JSON_ARRAY(1.50) WHERE user_id = 7",
    );
    let said = mesh.refused("SELECT a.user_id, b.doc FROM t_type a JOIN t_type b ON a.user_id < b.user_id ORDER BY 1, 2");
    assert!(said.contains("its text does not give back"), "{said}");
}
