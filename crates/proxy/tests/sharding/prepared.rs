//! Prepared statements of a sharded service, answer by answer and byte by byte.

use dbmesh_testkit::Kind;
use dbmesh_wire::codec::{Reader, put_lenenc_bytes};

use crate::ground::{Answer, Client, Ground, KINDS, Options, column};
use crate::scatter::fill;

/// A value to bind.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// In pieces, before the execution.
    Long(&'a [&'a str]),
    /// Of this type of the protocol, as it is sent.
    Typed(u8, &'a [u8]),
}

use Value::{Bytes, Int, Long, Null, Text, Typed};

/// What PREPARE says: columns, number of parameters; or the error's number.
pub type Prepared = Result<(u32, Vec<String>, u16), u16>;

pub fn prepare(client: &mut Client, sql: &str) -> Prepared {
    client.raw.command(&[&[0x16], sql.as_bytes()].concat());
    let first = client.raw.packet().unwrap();
    if first[0] == 0xFF {
        return Err(u16::from_le_bytes([first[1], first[2]]));
    }
    let mut reader = Reader::new(&first[1..]);
    let (id, columns, params) = (
        reader.u32().unwrap(),
        reader.u16().unwrap(),
        reader.u16().unwrap(),
    );
    for _ in 0..params {
        client.raw.packet().unwrap();
    }
    let columns = (0..columns)
        .map(|_| column(&client.raw.packet().unwrap()))
        .collect();
    Ok((id, columns, params))
}

/// COM_STMT_SEND_LONG_DATA, for each piece.
fn send_pieces(client: &mut Client, id: u32, parameter: usize, pieces: &[&str]) {
    for piece in pieces {
        let parameter = u16::try_from(parameter).unwrap().to_le_bytes();
        let head = [&[0x18], &id.to_le_bytes()[..], &parameter[..]].concat();
        client.raw.command(&[&head, piece.as_bytes()].concat());
    }
}

pub fn execute(client: &mut Client, id: u32, values: &[Value<'_>], sql: &str) -> Answer {
    for (parameter, value) in values.iter().enumerate() {
        if let Long(pieces) = value {
            send_pieces(client, id, parameter, pieces);
        }
    }
    let mut payload = vec![0x17];
    payload.extend_from_slice(&id.to_le_bytes());
    payload.extend_from_slice(&[0, 1, 0, 0, 0]);
    if !values.is_empty() {
        let mut bitmap = vec![0u8; values.len().div_ceil(8)];
        for (index, value) in values.iter().enumerate() {
            if matches!(value, Null) {
                bitmap[index / 8] |= 1 << (index % 8);
            }
        }
        payload.extend_from_slice(&bitmap);
        payload.push(1);
        for value in values {
            payload.extend_from_slice(&match value {
                Null => [6, 0],
                Int(_) => [8, 0],
                Text(_) => [253, 0],
                Long(_) | Bytes(_) => [252, 0],
                Typed(kind, _) => [*kind, 0],
            });
        }
        for value in values {
            match value {
                Null | Long(_) => {}
                Int(n) => payload.extend_from_slice(&n.to_le_bytes()),
                Bytes(bytes) => put_lenenc_bytes(&mut payload, bytes),
                Typed(_, bytes) => payload.extend_from_slice(bytes),
                Text(text) => put_lenenc_bytes(&mut payload, text.as_bytes()),
            }
        }
    }
    client.raw.command(&payload);
    client.binary(sql.to_lowercase().contains("order by"))
}

/// Prepares on both sides and executes with each list of values.
#[track_caller]
pub fn both(ground: &Ground, cases: &[(&str, &[&[Value<'_>]])]) {
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let mut different = Vec::new();
    for (sql, lists) in cases {
        let (ours, theirs) = (prepare(&mut mesh, sql), prepare(&mut one, sql));
        let shown = |prepared: &Prepared| {
            prepared
                .clone()
                .map(|(_, columns, params)| (columns, params))
        };
        if shown(&ours) != shown(&theirs) {
            different.push(format!(
                "PREPARE {sql}\n  mesh: {ours:?} {:?}\n  one:  {theirs:?}",
                mesh.said
            ));
            continue;
        }
        let (Ok((ours, ..)), Ok((theirs, ..))) = (ours, theirs) else {
            continue;
        };
        for values in *lists {
            let (a, b) = (
                execute(&mut mesh, ours, values, sql),
                execute(&mut one, theirs, values, sql),
            );
            if a.unlabelled(&b) != b {
                let said = mesh.said.take();
                different.push(format!(
                    "{sql} {values:?}\n  mesh: {a:?} {said:?}\n  one:  {b:?}"
                ));
            }
        }
    }
    assert!(
        different.is_empty(),
        "{:?}:\n{}",
        ground.kind,
        different.join("\n")
    );
}

type Cases = &'static [(&'static str, &'static [&'static [Value<'static>]])];

const READS: Cases = &[
    (
        "SELECT * FROM t_user WHERE user_id = ?",
        &[&[Int(7)], &[Int(8)], &[Int(999)], &[Null]],
    ),
    (
        "SELECT * FROM t_order WHERE user_id = ? ORDER BY id",
        &[&[Int(7)], &[Text("9")]],
    ),
    (
        "SELECT id, at, total, ratio FROM t_order WHERE id > ? ORDER BY id",
        &[&[Int(100)], &[Int(0)]],
    ),
    (
        "SELECT user_id, name FROM t_user ORDER BY name, user_id LIMIT ?",
        &[&[Int(5)], &[Int(50)]],
    ),
    (
        "SELECT user_id, name FROM t_user ORDER BY name, user_id LIMIT ?, ?",
        &[&[Int(2), Int(5)]],
    ),
    (
        "SELECT user_id FROM t_user WHERE user_id IN (?, ?, ?) ORDER BY 1",
        &[&[Int(1), Int(2), Int(9)], &[Int(3), Int(3), Int(3)]],
    ),
    (
        "SELECT COUNT(*), SUM(score), AVG(score), MAX(name) FROM t_user WHERE score > ?",
        &[&[Int(3)], &[Int(1000)]],
    ),
    (
        "SELECT score, COUNT(*) FROM t_user GROUP BY score ORDER BY score",
        &[&[], &[]],
    ),
    (
        "SELECT a.id, b.id FROM t_order a JOIN t_order b ON a.total = b.total WHERE a.id > ? AND b.user_id = ? ORDER BY a.id, b.id",
        &[&[Int(0), Int(3)], &[Int(5), Int(5)], &[Int(5000), Null]],
    ),
    (
        "SELECT kind, COUNT(*), ? FROM t_order GROUP BY kind ORDER BY kind",
        &[&[Text("x")], &[Text("y")]],
    ),
    (
        "SELECT score, COUNT(*) FROM t_user GROUP BY score WITH ROLLUP",
        &[&[], &[]],
    ),
];

const CHANGES: Cases = &[
    (
        "INSERT INTO t_user VALUES (?, ?, ?)",
        &[
            &[Int(300), Text("ü"), Int(5)],
            &[Int(301), Null, Null],
            &[Int(301), Null, Null],
        ],
    ),
    (
        "INSERT INTO t_user VALUES (?, ?, 1), (?, ?, 2)",
        &[
            &[Int(310), Text("a"), Int(315), Text("b")],
            &[Int(320), Text("a"), Int(328), Text("b")],
        ],
    ),
    (
        "UPDATE t_user SET score = score + ? WHERE user_id > ?",
        &[&[Int(2), Int(200)], &[Int(3), Int(500)]],
    ),
    (
        "UPDATE t_user SET name = ? WHERE user_id = ?",
        &[&[Text("neu"), Int(7)]],
    ),
    ("DELETE FROM t_user WHERE name = ?", &[&[Text("neu")]]),
    ("SELECT * FROM t_user ORDER BY user_id", &[&[]]),
    ("INSERT INTO t_dict VALUES (?, ?)", &[&[Int(1), Text("x")]]),
    ("SELECT word FROM t_dict WHERE id = ?", &[&[Int(1)]]),
    (
        "INSERT INTO t_conf (v) VALUES (?)",
        &[&[Text("x")], &[Text("y")]],
    ),
    ("SELECT ? + 1, ?", &[&[Int(5), Text("x")]]),
    ("SELECT nothing FROM t_user WHERE user_id = ?", &[]),
    ("SELECT * FROM t_missing", &[]),
    ("SELECT FROM", &[]),
    ("BEGIN", &[&[]]),
    ("SELECT name FROM t_user WHERE user_id = ?", &[&[Int(5)]]),
    ("ROLLBACK", &[&[]]),
];

#[test]
fn prepared_statements_are_those_of_one_server() {
    for kind in KINDS {
        let options = Options {
            data_shard: &["transactions: {acrossNodes: bestEffort}"],
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        fill(&ground);
        both(&ground, READS);
        both(&ground, CHANGES);
    }
}

/// Statements whose tables no node has together: one is of the default node alone, the other of another.
const APART: &[(&str, &[&[Value<'_>]])] = &[
    (
        "SELECT l.msg, c.*, ? + 1 FROM t_log l JOIN t_conf c ON c.id = l.id WHERE c.id > ? ORDER BY l.id",
        &[&[Int(5), Int(0)], &[Int(6), Int(1)]],
    ),
    (
        "SELECT l.id FROM t_log l WHERE EXISTS (SELECT 1 FROM t_conf WHERE t_conf.id = l.id AND v <> ?) ORDER BY l.id",
        &[&[Text("b")]],
    ),
    (
        "SELECT id, msg FROM t_log UNION SELECT id, v FROM t_conf ORDER BY 1, 2",
        &[&[]],
    ),
    (
        "SELECT COUNT(*) AS n, MAX(c.v) FROM t_conf c JOIN t_user u ON u.user_id = c.id JOIN t_log USING (id)",
        &[&[]],
    ),
    (
        "WITH w AS (SELECT l.id, c.v FROM t_log l JOIN t_conf c USING (id) WHERE c.id < ?) SELECT a.v, b.id FROM w a JOIN w b ON \
         a.id = b.id + ? ORDER BY 2",
        &[&[Int(9), Int(1)]],
    ),
    (
        "INSERT INTO t_log (id, msg) SELECT id + ?, v FROM t_conf WHERE id > 1",
        &[&[Int(100)], &[Int(200)]],
    ),
    (
        "UPDATE t_log l JOIN t_conf c ON c.id = l.id SET l.msg = CONCAT(c.v, ?)",
        &[&[Text("!")]],
    ),
    (
        "DELETE x FROM t_log AS x LEFT JOIN t_conf ON x.id = t_conf.id WHERE t_conf.id IS NULL AND x.id > ?",
        &[&[Int(150)]],
    ),
    ("SELECT * FROM t_log ORDER BY id", &[&[]]),
    (
        "SELECT l.none FROM t_log l JOIN t_conf c ON c.id = l.id",
        &[],
    ),
];

#[test]
fn tables_of_several_nodes_are_described_together() {
    for kind in KINDS {
        let options = Options {
            data_shard: &[
                "transactions: {acrossNodes: bestEffort}",
                "defaults: {node: ds_0}",
            ],
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        fill(&ground);
        ground.both(
            "
            CREATE TABLE t_log (id INT NOT NULL PRIMARY KEY, msg VARCHAR(40), at TIMESTAMP NULL)
            INSERT INTO t_log (id, msg) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (6, 'd')
            ",
        );
        both(&ground, APART);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for client in [&mut mesh, &mut one] {
            client.ask("START TRANSACTION READ ONLY");
        }
        let (sql, ..) = APART[0];
        let shown = [&mut mesh, &mut one].map(|client| prepare(client, sql).unwrap().1);
        assert_eq!(shown[0], shown[1]);
    }
}

#[test]
fn preparing_does_not_choose_the_node_of_a_transaction() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        fill(&ground);
        let mut mesh = ground.mesh();
        mesh.ask("BEGIN");
        let (near, ..) = prepare(&mut mesh, "SELECT name FROM t_user WHERE user_id = ?").unwrap();
        let (write, ..) =
            prepare(&mut mesh, "UPDATE t_user SET score = ? WHERE user_id = ?").unwrap();
        let sql = "UPDATE t_user SET score = ? WHERE user_id = ?";
        assert!(matches!(
            execute(&mut mesh, write, &[Int(1234), Int(7)], sql),
            Answer::Done(1, ..)
        ));
        assert!(matches!(
            execute(&mut mesh, near, &[Int(6)], ""),
            Answer::Rows(..)
        ));
        mesh.ask("ROLLBACK");
        let found = mesh.ask("SELECT COUNT(*) FROM t_user WHERE score = 1234");
        assert_eq!(found.rows()[0][0].as_deref(), Some("0"), "{kind:?}");
    }
}

const IN_PIECES: Cases = &[
    (
        "INSERT INTO t_order (id, user_id, note, blob_) VALUES (?, ?, ?, ?)",
        &[
            &[Int(9001), Int(3), Text("n"), Long(&["ab", "", "c'd"])],
            &[Int(9002), Int(4), Long(&["in", " pieces"]), Long(&["x"])],
            &[Int(9003), Int(5), Null, Long(&[""])],
            &[Int(9004), Int(6), Text("without"), Null],
            &[Int(9005), Int(12), Text("key"), Null],
        ],
    ),
    (
        "UPDATE t_order SET blob_ = ? WHERE user_id = ? AND id > ?",
        &[&[Long(&["every", "where"]), Int(6), Int(9003)]],
    ),
    (
        "SELECT id, user_id, note, blob_ FROM t_order WHERE note = ? OR id > 9000 ORDER BY id",
        &[&[Long(&["with", "out"])], &[Text("x")]],
    ),
    (
        "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.id = b.id WHERE a.note = ?",
        &[&[Long(&["in ", "pieces"])]],
    ),
    (
        "SELECT blob_ FROM t_order WHERE user_id = ? AND id = 9005",
        &[&[Int(12)]],
    ),
];

/// MariaDB compares and stores integers of pieces as it likes.
const INTEGERS_IN_PIECES: Cases = &[
    (
        "INSERT INTO t_order (id, user_id, note) VALUES (?, ?, ?)",
        &[&[Int(9006), Long(&["1", "2"]), Text("key")]],
    ),
    (
        "SELECT id FROM t_order WHERE user_id = ? AND id = 9006",
        &[&[Long(&["12"])], &[Int(12)]],
    ),
];

#[test]
fn values_may_come_in_pieces() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        fill(&ground);
        both(&ground, IN_PIECES);
        if kind == dbmesh_testkit::Kind::MySql {
            both(&ground, INTEGERS_IN_PIECES);
        }
        let mut mesh = ground.mesh();
        let sql = "SELECT COUNT(*) FROM t_order WHERE blob_ = ?";
        let (id, ..) = prepare(&mut mesh, sql).unwrap();
        let piece = "x".repeat(8 << 20);
        for _ in 0..9 {
            send_pieces(&mut mesh, id, 0, &[&piece]);
        }
        // More than a command may have: it is told with the execution, and the session goes on.
        assert_eq!(
            execute(&mut mesh, id, &[Text("")], sql),
            Answer::Error(1105)
        );
        assert!(matches!(
            execute(&mut mesh, id, &[Text("")], sql),
            Answer::Rows(..)
        ));
    }
}

#[test]
fn types_of_one_client_are_not_anothers() {
    for kind in KINDS {
        let options = Options {
            data_shard: &["transactions: {acrossNodes: bestEffort}"],
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        ground.both("INSERT INTO t_user VALUES (3, 'x', 1), (4, 'y', 2)");
        for sql in [
            "SELECT CONCAT('<', ?, '>'), ? FROM t_user WHERE user_id = 3",
            "SELECT COALESCE(?, 'x'), ? FROM t_user ORDER BY user_id",
            "SELECT ?, COUNT(*) OVER (), COALESCE(?, 'x') FROM t_user",
            "UPDATE t_user SET name = COALESCE(?, ?, name) WHERE user_id = 3",
            "SELECT CONCAT('<', ?, '>'), ?",
        ] {
            // Sessions take turns on the connections.
            for values in [
                [Int(7), Int(8)],
                [Text("0042"), Text("abc")],
                [Int(7), Text("b")],
            ] {
                let answer = |mut client: Client| {
                    let (id, ..) = prepare(&mut client, sql).unwrap();
                    execute(&mut client, id, &values, sql)
                };
                let (ours, theirs) = (answer(ground.mesh()), answer(ground.one()));
                assert_eq!(ours, theirs, "{kind:?}: {sql} {values:?}");
            }
            ground.both("SELECT * FROM t_user ORDER BY user_id");
        }
    }
}

#[test]
fn what_variables_decide_while_preparing_is_not_anothers() {
    for kind in KINDS {
        let options = Options {
            data_shard: &["transactions: {acrossNodes: bestEffort}"],
            pool_size: 2,
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        ground.both("INSERT INTO t_user VALUES (3, 'x', 1), (4, 'y', 2)");
        for (sql, before) in [
            (
                "SELECT score / 7, AVG(score) FROM t_user WHERE user_id = 3 GROUP BY score",
                "SET div_precision_increment = 9",
            ),
            (
                "SELECT AVG(score) FROM t_user",
                "SET div_precision_increment = 9",
            ),
            (
                "UPDATE t_user SET name = CAST('2024-10-27 00:30:00+00:00' AS DATETIME) WHERE user_id = 3",
                "SET time_zone = '+05:30'",
            ),
            (
                "SELECT DAYNAME('2024-01-06'), name FROM t_user ORDER BY user_id",
                "SET lc_time_names = 'de_DE'",
            ),
            (
                "SELECT COALESCE(@x, user_id) FROM t_user WHERE user_id = 4",
                "SET @x = 'abc'",
            ),
            (
                "SELECT COALESCE(@x, user_id) FROM t_user ORDER BY user_id",
                "SET @x = 1.5",
            ),
        ] {
            for before in [before, "DO 1", before] {
                let answer = |mut client: Client| {
                    client.ask(before);
                    let (id, ..) = prepare(&mut client, sql).unwrap();
                    execute(&mut client, id, &[], sql)
                };
                let (ours, theirs) = (answer(ground.mesh()), answer(ground.one()));
                assert_eq!(
                    ours.unlabelled(&theirs),
                    theirs,
                    "{kind:?}: {before}; {sql}"
                );
            }
            ground.both("SELECT * FROM t_user ORDER BY user_id");
            // What was decided then stays so on MySQL: it is answered so, or not at all.
            let (mut mesh, mut one) = (ground.mesh(), ground.one());
            let [(ours, ..), (theirs, ..)] =
                [&mut mesh, &mut one].map(|client| prepare(client, sql).unwrap());
            for client in [&mut mesh, &mut one] {
                client.ask(before);
            }
            let ours = execute(&mut mesh, ours, &[], sql);
            let theirs = execute(&mut one, theirs, &[], sql);
            if kind == Kind::MySql {
                assert_eq!(ours, Answer::Error(1235), "{before}; {sql}");
            } else {
                assert_eq!(ours.unlabelled(&theirs), theirs, "{before}; {sql}");
            }
            ground.both("UPDATE t_user SET name = 'z' WHERE user_id = 3");
        }
    }
}
