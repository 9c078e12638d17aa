//! LOAD DATA LOCAL over shards: every record where its key leads, and the answer of one server.

use std::time::Duration;

use dbmesh_testkit::Kind;
use dbmesh_wire::Capabilities;

use crate::faultkit::client::{Credentials, RawClient, error_packet};
use crate::faultkit::eventually;
use crate::ground::{Answer, Client, Ground, KINDS, Options};

/// Nodes whose changes are one; MariaDB keeps no atomic commit over nodes.
fn ground(kind: Kind) -> Ground {
    let data_shard: &[&str] = match kind {
        Kind::MySql => &["transactions: {acrossNodes: atomic}"],
        Kind::MariaDb => &["transactions: {acrossNodes: bestEffort}"],
    };
    let options = Options {
        data_shard,
        durable: true,
        ..Options::default()
    };
    Ground::new(kind, &options)
}

/// Without the note of a change that several nodes committed by best effort.
fn noted(answer: Answer) -> Answer {
    match answer {
        Answer::Rows(columns, mut rows, status, warnings) => {
            let own = |row: &Vec<Option<String>>| {
                row.iter()
                    .flatten()
                    .any(|cell| cell.contains("without a promise"))
            };
            rows.retain(|row| !own(row));
            Answer::Rows(columns, rows, status, warnings)
        }
        other => other,
    }
}

/// What stands in the client's file, by pieces of so many bytes.
fn load(client: &mut Client, sql: &str, file: &[u8], piece: usize) -> Answer {
    client.raw.begin_query(sql);
    let first = client.raw.packet().unwrap();
    match first.first() {
        Some(0xFB) => {}
        Some(0xFF) => {
            let error = error_packet(&first);
            client.said = Some(error.message);
            return Answer::Error(error.code);
        }
        other => panic!("{sql}: {other:?}"),
    }
    for piece in file.chunks(piece) {
        client.raw.send_next(piece);
    }
    client.raw.send_next(&[]);
    client.answer()
}

fn clients(ground: &Ground) -> [Client; 2] {
    let files = Credentials::app()
        .schema("shop")
        .more(Capabilities::LOCAL_FILES);
    [ground.stage.port, ground.servers[0].port()]
        .map(|port| Client::of(RawClient::logged_in(port, &files)))
}

const USERS: &str = "LOAD DATA LOCAL INFILE 'users' INTO TABLE t_user";
const CSV: &str =
    "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' LINES TERMINATED BY '\\r\\n'";

/// Each sees what those before it left.
fn files() -> Vec<(String, Vec<u8>)> {
    let users = |options: &str, file: &str| {
        let sql = match options.strip_prefix("REPLACE") {
            Some(rest) => format!("{} {rest}", USERS.replace("'users'", "'users' REPLACE")),
            None => format!("{USERS} {options}"),
        };
        (sql, file.as_bytes().to_vec())
    };
    let orders = |options: &str, file: &[u8]| {
        let sql = format!("LOAD DATA LOCAL INFILE 'orders' INTO TABLE t_order {options}");
        (sql, file.to_vec())
    };
    let many: String = (0..60_000)
        .map(|n| format!("{}\tname {}\t{}\n", n % 20_000 + 1_000, n, n % 7))
        .collect();
    vec![
        users("", "1\tAnn\t10\n2\tBob\t\\N\n6\tCid\t18446744073709551615\n"),
        users("", "3\tDan\t1"),
        users("", ""),
        users("(name, user_id)", "Eve\t11\nFay\t12\nEve\t13\n"),
        // Kept as they are, and replaced.
        users("", "1\tnew\t1\n14\tnew\t1\n1\tagain\t2\n"),
        users("REPLACE", "1\tnew\t1\n15\tnew\t1\n1\tagain\t2\n"),
        // Too few, too many, too long, no number, out of range.
        users("", "16\n17\tx\n18\tx\t1\tmore\n"),
        users("", &format!("19\t{}\t1\n20\tx\tabc\n21\tx\t-1\n22\tx\t1.5\n", "y".repeat(50))),
        users(
            &format!("{CSV} IGNORE 1 LINES (user_id, name, score)"),
            "user_id,name,score\r\n\"30\",\"a, b\",1\r\n31,\"quo\"\"te\r\nline\",2\r\n32,NULL,\\N\r\n33,\"NULL\",3\r\n",
        ),
        users("CHARACTER SET latin1 (user_id, name)", "34\tcaf\u{e9}\n"),
        users(
            "(user_id, name) SET score = user_id * @factor, name = UPPER(name)",
            "40\tgrace\n41\thope\n47\tiris\n",
        ),
        users("FIELDS TERMINATED BY '||' LINES TERMINATED BY '##'", "50||a|b||1##51||c||2##"),
        users("FIELDS ESCAPED BY ''", "52\ta\\b\t1\n"),
        orders(
            "CHARACTER SET binary (id, user_id, total, note, at, kind, flags, blob_, ratio, bits)",
            b"1\t1\t9.50\tone\t2024-01-02 03:04:05.678\ta\tx,y\t\\0\xff'\\\\\t0.25\t7\n2\t7\t1\ttwo\tnot a time\tz\tx,z\tb\t1e300\t900\n3\t5\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n",
        ),
        users(
            "LINES STARTING BY '>>' (user_id, name)",
            "a comment\n>>60\tAnn\n> >60\n what > >>61\tBob\n\\>>62\tCid\tmore>>\n>>63\tDan>>\n>>64\tEve\n>",
        ),
        users(
            "LINES STARTING BY '-' TERMINATED BY ';' IGNORE 1 LINES (user_id, name)",
            "head-er;-65\tAnn;-66\tBob",
        ),
        // Of what goes to variables, the last record says what remains.
        users(
            "(user_id, @skip, name, @`Times`) SET score = @times * 2, name = CONCAT(@skip, name)",
            "70\ta\tAnn\t1\n71\tb\tBob\t\\N\n72\tc\n79\td\tDan\t4\tmore\n",
        ),
        users("(user_id, name, @times)", ""),
        users("(@key, name) SET user_id = @key", "73\tKey\n74\tKeys\n"),
        users("REPLACE (user_id, name, @times) SET score = @times", &many),
    ]
}

#[test]
fn a_file_is_loaded_as_by_one_server() {
    for kind in KINDS {
        let ground = ground(kind);
        let [mut mesh, mut one] = clients(&ground);
        for client in [&mut mesh, &mut one] {
            client.ask("SET @factor = 1 + 1");
        }
        for (sql, file) in files() {
            for piece in [7, 4096] {
                if piece == 7 && file.len() > 4096 {
                    continue;
                }
                let ours = load(&mut mesh, &sql, &file, piece);
                let theirs = load(&mut one, &sql, &file, piece);
                let said = mesh.said.take();
                assert_eq!(ours.unlabelled(&theirs), theirs, "{kind:?}: {sql} {said:?}");
                let shown = "SHOW WARNINGS";
                let (ours, theirs) = (mesh.ask(shown), one.ask(shown));
                assert_eq!(noted(ours), theirs, "{kind:?}: warnings of {sql}");
            }
            for then in [
                "SELECT user_id, name, score FROM t_user ORDER BY user_id",
                "SELECT id, user_id, total, note, at, kind, flags, HEX(blob_), ratio, bits + 0 FROM t_order ORDER BY id",
                "SELECT @skip, @times, @key, @factor, COLLATION(@skip)",
                "SELECT COUNT(*), @times FROM t_user WHERE user_id > @key",
            ] {
                assert_eq!(
                    mesh.ask(then),
                    one.ask(then),
                    "{kind:?}: {then} after {sql}"
                );
            }
        }
    }
}

#[test]
fn a_file_is_loaded_wholly_or_not_at_all() {
    for kind in KINDS {
        let ground = ground(kind);
        let [mut mesh, mut one] = clients(&ground);
        for client in [&mut mesh, &mut one] {
            client.ask("BEGIN");
            let done = load(client, USERS, b"1\tAnn\t1\n5\tEve\t2\n", 100);
            let said = client.said.take();
            assert!(
                matches!(done, Answer::Done(2, ..)),
                "{kind:?}: {done:?} {said:?}"
            );
            let count = client.ask("SELECT COUNT(*) FROM t_user");
            assert_eq!(count.rows(), [[Some("2".to_owned())]], "{kind:?}");
            client.ask("ROLLBACK");
            let count = client.ask("SELECT COUNT(*) FROM t_user");
            assert_eq!(count.rows(), [[Some("0".to_owned())]], "{kind:?}");
        }
        // What stands in the file beyond the first chunk of a shard is wrong.
        let mut file: String = (0..40_000)
            .map(|n| format!("{n}\tsomebody whose name takes some room\t1\n"))
            .collect();
        file.push_str("x7\tnobody\t1\n");
        for (file, said) in [
            (
                file.as_str(),
                "record 40001 of the file: its key user_id may be stored otherwise than 'x7' says",
            ),
            (
                "1\tAnn\t1\n\\N\tnobody\t1\n",
                "record 2 of the file: its key user_id is NULL",
            ),
            ("1\tAnn\t1\n99999999999\tx\t1\n", "record 2"),
            ("1\tAnn\t1\n\n", "record 2"),
        ] {
            let failed = load(&mut mesh, USERS, file.as_bytes(), 16_000);
            assert!(
                matches!(failed, Answer::Error(1235)),
                "{kind:?}: {failed:?}"
            );
            let message = mesh.said.take().unwrap();
            assert!(message.contains(said), "{kind:?}: {message}");
            let count = mesh.ask("SELECT COUNT(*) FROM t_user");
            assert_eq!(count.rows(), [[Some("0".to_owned())]], "{kind:?}");
        }
    }
}

/// Records that violate a CHECK are left out by servers, and not counted.
#[test]
fn records_that_violate_a_check_are_left_out_as_by_one_server() {
    for kind in KINDS {
        let ground = ground(kind);
        let [mut mesh, mut one] = clients(&ground);
        for client in [&mut mesh, &mut one] {
            client.ask("ALTER TABLE t_user ADD CONSTRAINT few CHECK (score < 100)");
        }
        let all_wrong: String = (0..3_000).map(|n| format!("{n}\tx\t500\n")).collect();
        for (options, file) in [
            ("", "1\tAnn\t1\n2\tBob\t200\n3\tCid\t3\n4\tDan\t400\n"),
            ("IGNORE", "5\tEve\t100\n6\tFay\t99\n"),
            ("", "7\tGil\t700\n"),
            ("", all_wrong.as_str()),
            ("REPLACE", "1\tAnn\t5\n2\tBob\t200\n"),
        ] {
            let sql = USERS.replace("'users'", &format!("'users' {options}"));
            let ours = load(&mut mesh, &sql, file.as_bytes(), 4096);
            let theirs = load(&mut one, &sql, file.as_bytes(), 4096);
            let said = mesh.said.take();
            assert_eq!(ours.unlabelled(&theirs), theirs, "{kind:?}: {sql} {said:?}");
            if file.len() < 1_000 && !options.starts_with("REPLACE") {
                let shown = "SHOW WARNINGS";
                let (ours, theirs) = (mesh.ask(shown), one.ask(shown));
                assert_eq!(noted(ours), theirs, "{kind:?}: warnings of {sql}");
            }
            let then = "SELECT user_id, name, score FROM t_user ORDER BY user_id";
            assert_eq!(mesh.ask(then), one.ask(then), "{kind:?}: after {file:.40}");
        }
        // What else servers say of their records names those of the file.
        let file =
            "11\tK\t100\n15\tL\tabc\n19\tM\t100\n12\tN\t1\tmore\n16\tO\t100\n20\tP\t1\tmore\n";
        load(&mut mesh, USERS, file.as_bytes(), 4096).done();
        let said = format!("{:?}", mesh.ask("SHOW WARNINGS"));
        for part in ["at row 2", "Row 4 was", "Row 6 was"] {
            assert!(said.contains(part), "{kind:?}: {part} in {said}");
        }
    }
}

#[test]
fn what_is_not_loaded_says_why() {
    let ground = ground(KINDS[0]);
    let [mut mesh, mut one] = clients(&ground);
    for (sql, why) in [
        (
            "LOAD DATA INFILE '/tmp/x' INTO TABLE t_user",
            "file at one server",
        ),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t_user LINES STARTING BY '§'",
            "not of ASCII",
        ),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t_user (user_id, @n) SET name = (@m := @n)",
            "user variables",
        ),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t_user (name) SET user_id = 5",
            "sharding key",
        ),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t_user (name)",
            "without the sharding key",
        ),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t_dict",
            "every node has a copy",
        ),
        (
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t_user (user_id) SET name = (SELECT word FROM t_dict LIMIT 1)",
            "reads other tables",
        ),
    ] {
        let said = mesh.refused(sql);
        assert!(said.contains(why), "{sql}: {said}");
    }
    // A table of one node is loaded there.
    let conf = "LOAD DATA LOCAL INFILE 'conf' INTO TABLE t_conf";
    for client in [&mut mesh, &mut one] {
        assert_eq!(load(client, conf, b"1\ta\n2\tb\n", 3).done(), 2);
    }
    let then = "SELECT * FROM t_conf ORDER BY id";
    assert_eq!(mesh.ask(then), one.ask(then));
    // A client that sends no files, and a client that goes away in the middle of one.
    let said = ground.mesh().refused(USERS);
    assert!(said.contains("LOCAL"), "{said}");
    let [mut gone, _] = clients(&ground);
    gone.raw.begin_query(USERS);
    assert_eq!(gone.raw.packet().unwrap().first(), Some(&0xFB));
    gone.raw.send_next(b"77\tx\t1\n");
    drop(gone);
    let count = mesh.ask("SELECT COUNT(*) FROM t_user");
    assert_eq!(count.rows(), [[Some("0".to_owned())]]);
}

#[test]
fn without_a_common_commit_a_file_for_several_nodes_is_refused() {
    let ground = Ground::new(KINDS[0], &Options::default());
    let [mut mesh, _] = clients(&ground);
    let said = mesh.refused(USERS);
    assert!(said.contains("transactions.acrossNodes"), "{said}");
}

#[test]
fn the_record_that_fails_first_in_the_file_is_named() {
    for kind in KINDS {
        let ground = ground(kind);
        let [mut mesh, mut one] = clients(&ground);
        let sql =
            "LOAD DATA LOCAL INFILE 'orders' REPLACE INTO TABLE t_order (id, user_id, kind, bits)";
        for file in [
            // Of two records on two shards, whichever shard is asked first.
            "1\t1\ta\t1\n2\t2\tzz\t1\n3\t1\tb\t9999\n",
            "1\t2\ta\t1\n2\t1\tzz\t1\n3\t2\tb\t9999\n",
            "1\t7\ta\t1\n2\t1\ta\t1\n3\t1\ta\t9999\n4\t7\tzz\t1\n",
        ] {
            let answers = [&mut mesh, &mut one].map(|client| {
                let answer = load(client, sql, file.as_bytes(), 7);
                (answer, client.said.take().unwrap_or_default())
            });
            let [(ours, said), (theirs, expected)] = &answers;
            assert_eq!(ours, theirs, "{kind:?}: {file}");
            assert!(expected.contains(" at row "), "{kind:?}: {expected}");
            assert!(
                said.starts_with(expected.as_str()),
                "{kind:?}: {said}, not {expected}"
            );
        }
        ground.both("SELECT COUNT(*) FROM t_order");
    }
}

/// Variables of a file whose statement ends early, as one server leaves them; in a transaction as well.
#[test]
fn variables_are_those_of_the_record_that_ended_the_statement() {
    for kind in KINDS {
        let ground = ground(kind);
        let [mut mesh, mut one] = clients(&ground);
        let orders = "LOAD DATA LOCAL INFILE 'orders' REPLACE INTO TABLE t_order (id, user_id, kind, @b) SET bits = @b";
        let asked = ["SELECT @b", "SELECT COUNT(*), @b FROM t_order"];
        for (begin, file) in [
            (
                "DO 0",
                "1\t1\ta\t1\n2\t6\ta\t9999\n3\t1\tb\t3\n4\t6\ta\t9999\n",
            ),
            ("DO 0", "1\t2\ta\t1\n2\t7\ta\t2\n3\t5\tb\t\\N\n"),
            ("BEGIN", "5\t1\ta\t1\n6\t6\ta\t2\n7\t1\tb\t3\n"),
            ("DO 0", "8\t1\ta\t1\n9\t6\ta\t2\n10\t1\tb\t9999\n"),
        ] {
            let answers = [&mut mesh, &mut one].map(|client| {
                client.ask(begin);
                let answer = load(client, orders, file.as_bytes(), 7);
                (answer, asked.map(|sql| client.ask(sql)))
            });
            let [(ours, our_values), (theirs, their_values)] = &answers;
            assert_eq!(&ours.unlabelled(theirs), theirs, "{kind:?}: {file}");
            assert_eq!(our_values, their_values, "{kind:?}: {file}");
        }
        for client in [&mut mesh, &mut one] {
            client.ask("COMMIT");
        }
        // What other nodes cannot be given ends the statement.
        let long = format!("1\tAnn\t{}\n", "x".repeat(5_000));
        let users = "LOAD DATA LOCAL INFILE 'users' INTO TABLE t_user (user_id, name, @long)";
        let answer = load(&mut mesh, users, long.as_bytes(), 1_000);
        assert_eq!(answer, Answer::Error(1235), "{kind:?}");
        let said = mesh.said.take().unwrap();
        assert!(said.contains("last record"), "{kind:?}: {said}");
        let count = mesh.ask("SELECT COUNT(*), @long FROM t_user");
        assert_eq!(count.rows(), [[Some("0".to_owned()), None]], "{kind:?}");
    }
}

const MADE: [&str; 8] = [
    "- tableName: t_made",
    "  tableStrategy: {tableShardingAlgorithmName: eight, tableShardingColumn: id}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_made_{0..3}, ds_1.t_made_{4..7}\"}}",
    "  keyGenerator: {column: id, generator: count}",
    "- tableName: t_owned",
    "  tableStrategy: {tableShardingAlgorithmName: eight, tableShardingColumn: user_id}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_owned_{0..3}, ds_1.t_owned_{4..7}\"}}",
    "  keyGenerator: {column: id, generator: snow}",
];
const GENERATORS: &str = "keyGenerators: {count: {type: SEGMENT, props: {node: ds_0}}, snow: {type: SNOWFLAKE, props: {worker-id: 5}}}";

/// With two tables whose ids a generator makes, or AUTO_INCREMENT.
pub fn ground_of_keys(kind: Kind) -> (Ground, [Client; 2]) {
    let options = Options {
        data_shard: match kind {
            Kind::MySql => &["transactions: {acrossNodes: atomic}", GENERATORS],
            Kind::MariaDb => &["transactions: {acrossNodes: bestEffort}", GENERATORS],
        },
        rules: &MADE,
        durable: true,
        ..Options::default()
    };
    let ground = Ground::new(kind, &options);
    let mut clients = clients(&ground);
    for (client, counts) in clients.iter_mut().zip(["", "AUTO_INCREMENT"]) {
        for rest in [
            "t_made (id BIGINT NOT NULL COUNTS PRIMARY KEY, name VARCHAR(20))",
            "t_owned (id BIGINT NOT NULL COUNTS, user_id INT NOT NULL, name VARCHAR(20), PRIMARY KEY (id, user_id))",
        ] {
            let done = client.ask(&format!("CREATE TABLE {}", rest.replace("COUNTS", counts)));
            assert!(
                matches!(done, Answer::Done(..)),
                "{kind:?}: {done:?} {:?}",
                client.said
            );
        }
    }
    (ground, clients)
}

/// The key is left out, is NULL or 0, or given; quotes around it are its own.
const WITHOUT_KEYS: [(&str, &str); 5] = [
    ("t_made (name)", "Ann\nBob\n\nCid\tmore\nDan"),
    (
        "t_made FIELDS TERMINATED BY ',' ENCLOSED BY '\"' LINES STARTING BY '>' (name)",
        "x>\"A,\"\ny\n>B\n",
    ),
    (
        "t_made FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' (name, id)",
        "Ann,\\N\nBob,\"0\"\nCid,NULL\nDan,0,x\n",
    ),
    ("t_owned (user_id, name)", "1\tAnn\n6\tBob\n1\tCid\n"),
    (
        "t_owned (@u, name, id) SET user_id = @u",
        "2\tAnn\t0\n7\tBob\t\\N\n",
    ),
];

/// Records without a key get one each.
#[test]
fn keys_of_a_file_are_generated() {
    for kind in KINDS {
        let (_ground, [mut mesh, mut one]) = ground_of_keys(kind);
        for (sql, file) in WITHOUT_KEYS {
            let table = sql.split(' ').next().unwrap();
            let sql = format!("LOAD DATA LOCAL INFILE 'made' INTO TABLE {sql}");
            let answers = [&mut mesh, &mut one].map(|client| {
                client.ask(&format!("DELETE FROM {table}"));
                let answer = load(client, &sql, file.as_bytes(), 3);
                let said = client.said.take();
                let rows = client.ask(&format!("SELECT name FROM {table} ORDER BY id"));
                let first = client.ask(&format!("SELECT LAST_INSERT_ID() = MIN(id) FROM {table}"));
                (answer, (rows, first), said)
            });
            let [(ours, our_rows, said), (theirs, their_rows, _)] = &answers;
            assert_eq!(&ours.unlabelled(theirs), theirs, "{kind:?}: {sql} {said:?}");
            assert_eq!(our_rows.0.rows(), their_rows.0.rows(), "{kind:?}: {sql}");
            assert_eq!(our_rows.1.rows(), their_rows.1.rows(), "{kind:?}: {sql}");
        }
        let sql = "LOAD DATA LOCAL INFILE 'made' INTO TABLE t_made (id, name)";
        let failed = load(&mut mesh, sql, b"00\tx\n", 9);
        assert_eq!(failed, Answer::Error(1235));
    }
}

/// Many records have a key each, and are where that leads.
#[test]
fn keys_of_a_long_file_differ() {
    let (_ground, [mut mesh, _]) = ground_of_keys(KINDS[0]);
    let many: String = (0..30_000).map(|n| format!("name {n}\n")).collect();
    let sql = "LOAD DATA LOCAL INFILE 'made' INTO TABLE t_made (name)";
    let answer = load(&mut mesh, sql, many.as_bytes(), 9_000);
    assert_eq!(answer.done(), 30_000, "{:?}", mesh.said);
    let found = mesh.ask("SELECT COUNT(*), COUNT(DISTINCT id) FROM t_made");
    let all = Some("30000".to_owned());
    assert_eq!(found.rows(), [[all.clone(), all]]);
    let id = mesh.ask("SELECT MAX(id) FROM t_made");
    let id = id.rows()[0][0].clone().unwrap();
    let found = mesh.ask(&format!("SELECT name FROM t_made WHERE id = {id}"));
    assert_eq!(found.rows(), [[Some("name 29999".to_owned())]]);
}

/// A server that takes its time ends when the statement does.
#[test]
fn files_are_ended_by_kill_query_and_by_deadlines_while_a_server_takes_them() {
    for kind in KINDS {
        let ground = ground(kind);
        let [mut mesh, _] = clients(&ground);
        // A row that the file has as well: the server waits for its lock.
        let held = ground.servers[1].session().unwrap();
        held.execute("BEGIN; INSERT INTO shop_1.t_user_5 VALUES (5, 'held', 1)")
            .unwrap();
        let waits = || {
            let sql =
                "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%'";
            ground.servers[1].query_value(sql).unwrap().unwrap() == "1"
        };
        let file: &[u8] = b"1\tAnn\t1\n5\tBob\t2\n6\tCid\t3\n";
        for (sql, code) in [
            (USERS, 1317),
            (
                "LOAD DATA /* mesh: timeout_ms=1500 */ LOCAL INFILE 'users' INTO TABLE t_user",
                3024,
            ),
        ] {
            mesh.raw.begin_query(sql);
            let first = mesh.raw.packet().unwrap();
            assert_eq!(first.first(), Some(&0xFB), "{sql}: {first:?}");
            mesh.raw.send_next(file);
            mesh.raw.send_next(&[]);
            if code == 1317 {
                eventually("a server waits", Duration::from_secs(30), waits);
                let kill = format!("KILL QUERY {}", mesh.raw.id);
                assert!(matches!(ground.mesh().ask(&kill), Answer::Done(..)));
            }
            match mesh.answer() {
                Answer::Error(told) => assert_eq!(told, code, "{kind:?} {sql}: {:?}", mesh.said),
                other => panic!("{kind:?} {sql}: {other:?}"),
            }
            eventually("it ends there", Duration::from_secs(30), || !waits());
            let rows = mesh.ask("SELECT COUNT(*) FROM t_user");
            assert_eq!(rows.rows(), [[Some("0".to_owned())]], "{kind:?} {sql}");
        }
        held.execute("ROLLBACK").unwrap();
        let answer = load(&mut mesh, USERS, file, 7);
        assert!(matches!(answer, Answer::Done(..)), "{answer:?}");
        assert_eq!(answer.done(), 3);
    }
}
