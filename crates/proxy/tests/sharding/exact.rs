//! Values of changes by rows of several nodes that are lost easily: bytes, and moments that a clock shows twice.

use dbmesh_testkit::Kind;

use crate::ground::{Answer, Ground, KINDS, Options};
use crate::prepared::{Value, execute, prepare};

const RULES: &[&str] = &[
    "- tableName: t_every",
    "  tableStrategy: {tableShardingAlgorithmName: eight, tableShardingColumn: user_id}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_every_{0..3}, ds_1.t_every_{4..7}\"}}",
    "- tableName: t_when",
    "  tableStrategy: {tableShardingAlgorithmName: eight, tableShardingColumn: user_id}",
    "  actualDatanodes: {valueSource: {expression: \"ds_0.t_when_{0..3}, ds_1.t_when_{4..7}\"}}",
];

fn ground(kind: Kind) -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        rules: RULES,
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

/// Those of each shard come in another order than those of all, and the first of a shard shows a later time.
const MORE: &str = "
    SET time_zone = '+00:00'
    INSERT INTO t_type (user_id, ts) VALUES (7, '2024-10-27 00:45:00'), (8, '2024-10-27 01:15:00'), (9, '2024-10-27 01:05:00')
    INSERT INTO t_type (user_id, ts) VALUES (12, '2024-10-27 00:50:00'), (13, '2024-10-27 01:45:00'), (14, '2024-05-01 12:00:00')
    INSERT INTO t_type (user_id, ts) VALUES (15, '2024-10-27 01:20:00'), (23, '2024-10-27 00:10:00'), (31, '2024-10-27 01:20:00')
";

/// They are read in one place and in the order of moments.
const READ: &str = "
    SET time_zone = 'Twice'
    SELECT user_id, ts FROM t_type ORDER BY ts, user_id
    SELECT user_id FROM t_type ORDER BY t_type.ts DESC, user_id LIMIT 4
    SELECT ts AS w, user_id FROM t_type ORDER BY w, user_id LIMIT 2, 9
    SELECT user_id, ts FROM t_type ORDER BY 2 DESC, 1
    SELECT * FROM t_when ORDER BY ts, user_id
    SELECT DISTINCT user_id, ts FROM t_type ORDER BY ts, user_id DESC LIMIT 8
    SELECT COALESCE(ts, ts) AS w, user_id FROM t_type WHERE user_id IN (1, 2, 6) ORDER BY w, user_id
    SELECT user_id, ts FROM (SELECT user_id, ts FROM t_type) t ORDER BY ts, user_id
    SELECT ts, COUNT(*), MIN(user_id) FROM t_when GROUP BY ts, user_id ORDER BY ts, user_id
    SELECT w.user_id, UNIX_TIMESTAMP(w.ts), t.user_id FROM t_when w JOIN t_type t ON t.user_id <> w.user_id ORDER BY 1, 2, 3
    SELECT user_id, UNIX_TIMESTAMP(ts), ROW_NUMBER() OVER (ORDER BY ts DESC, user_id) AS n FROM t_type ORDER BY n
    SELECT user_id FROM t_when WHERE UNIX_TIMESTAMP(ts) IN (SELECT UNIX_TIMESTAMP(ts) + 0.375 FROM t_type) ORDER BY 1
    SELECT user_id, UNIX_TIMESTAMP(ts) FROM t_when UNION ALL SELECT user_id, UNIX_TIMESTAMP(ts) FROM t_type ORDER BY 1, 2
    BEGIN
    SELECT w.user_id, UNIX_TIMESTAMP(w.ts), t.user_id FROM t_when w JOIN t_type t ON t.user_id <> w.user_id ORDER BY 1, 2, 3
    COMMIT
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
        ground.both(MORE);
        ground.both(READ);
        ground.both("DELETE FROM t_type WHERE user_id > 6");
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

/// A column of every type; each row has values that other types' literals may mean.
const EVERY: &str = "
    SET sql_mode = ''
    CREATE TABLE t_every (user_id INT NOT NULL PRIMARY KEY, hits INT NOT NULL DEFAULT 0, yr YEAR, day DATE, dt DATETIME, ts TIMESTAMP NULL, tm TIME, de DECIMAL(10,2), fl FLOAT, db DOUBLE, bi BIT(8), bu BIGINT UNSIGNED, ch VARCHAR(20), vb VARBINARY(20), en ENUM('a','29','2029'), st SET('a','b','29'), js JSON)
    INSERT INTO t_every VALUES (1, 0, 2029, '2029-01-02', '2029-01-02', '2029-01-02', '00:00:29', 29, 29, 29, 29, 29, '29', '29', '29', '29', '29')
    INSERT INTO t_every VALUES (6, 0, 1999, '2024-01-02', '2024-01-02 10:00:00', '2024-01-02 10:00:00', '10:00:00', 1.5, 1.5, 1.5, 1, 0, '2029', '2029', '2029', 'a,b', '\"2029\"')
    INSERT INTO t_every VALUES (7, 0, 0, '1999-01-02', '1999-01-02 10:00:01', '1999-01-02 10:00:01', '-10:00:00', 0.1, 0.1, 0.1, 0, 18446744073709551615, 'a', 'a', 'a', 'a', '{\"a\": 1}')
    INSERT INTO t_every VALUES (10, 0, 2001, '2001-05-29', '2001-05-29 00:00:29', '2001-05-29 00:00:29', '29:00:00', -1, -1, -1, 50, 1, '05', '29 ', NULL, 'b', '1.5')
    INSERT INTO t_every (user_id) VALUES (13)
";

const COLUMNS: [&str; 10] = ["yr", "day", "dt", "tm", "de", "db", "bi", "ch", "en", "js"];

/// Numbers, texts, bytes, and what only the protocol has.
const VALUES: [Value<'_>; 9] = [
    Value::Int(29),
    Value::Int(2029),
    Value::Text("29"),
    Value::Text("a"),
    Value::Text("2024-01-02"),
    Value::Bytes(b"\x1d"),
    // DOUBLE 1.5, NEWDECIMAL 29, DATE 2029-01-02.
    Value::Typed(5, &[0, 0, 0, 0, 0, 0, 0xF8, 0x3F]),
    Value::Typed(246, b"\x0229"),
    Value::Typed(10, &[4, 0xED, 7, 1, 2]),
];

/// `{}` is the column.
const COMPARED: [&str; 3] = [
    "UPDATE t_every SET hits = hits + 1 WHERE {} = ? ORDER BY user_id LIMIT 3",
    "UPDATE t_every SET hits = hits + 1 WHERE {} IN (?, 7) OR hits < 0 ORDER BY user_id LIMIT 3",
    "UPDATE t_every SET hits = hits + IF({} >= ?, 2, 1) ORDER BY user_id LIMIT 4",
];

/// An ENUM that holds no value of its list, of which servers warn when it is written; '' is a value of this one's.
const OUTSIDE: &str = "
    SET sql_mode = ''
    INSERT INTO t_type (user_id, e) VALUES (1, 'no'), (2, 'x'), (6, 'none'), (7, NULL), (12, '')
    SELECT a.user_id, a.e, a.e + 0, b.e + 0 FROM t_type a JOIN t_type b ON a.user_id = b.user_id - 5 ORDER BY 1
    SELECT user_id, e, e + 0, ROW_NUMBER() OVER (ORDER BY user_id) FROM t_type ORDER BY user_id
    SELECT e, e + 0, COUNT(*) FROM t_type WHERE user_id IN (SELECT user_id FROM t_type WHERE e = '') GROUP BY e ORDER BY 2
    SELECT COUNT(DISTINCT b.e), MAX(a.e) FROM t_type a JOIN t_type b ON a.user_id < b.user_id WHERE a.e = 0
    UPDATE t_type a JOIN t_type b ON a.user_id = b.user_id - 5 SET a.l1 = 'joined' WHERE b.e = 0
    SELECT user_id, l1, e + 0 FROM t_type ORDER BY user_id
";

#[test]
fn an_enum_without_a_value_comes_along() {
    for kind in KINDS {
        let ground = ground(kind);
        ground.both(OUTSIDE);
        let mut mesh = ground.mesh();
        let said = mesh
            .refused("UPDATE t_type a JOIN t_type b ON a.user_id = b.user_id - 5 SET a.e = b.e");
        assert!(said.contains("an ENUM holds no value"), "{kind:?}: {said}");
    }
}

/// The least and the greatest of BIT, which MariaDB gives as a number without a group, and with one by its plan.
#[test]
fn the_greatest_bits_have_one_form() {
    for kind in KINDS {
        let ground = ground(kind);
        ground.both(EVERY);
        ground.both(
            "SELECT MAX(bi), MIN(bi) FROM t_every
             SELECT MAX(bi) + 0, MIN(bi) FROM t_every WHERE user_id > 100
             SELECT MAX(bi) FROM t_every HAVING MAX(bi) > 3",
        );
        let sql = "SELECT WORD de > 5 AS k, MAX(bi), MIN(bi) FROM t_every GROUP BY k ORDER BY k";
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let answer = mesh.ask(&sql.replace("WORD ", ""));
        let forms = ["SQL_BIG_RESULT ", "SQL_SMALL_RESULT "]
            .map(|word| one.ask(&sql.replace("WORD ", word)));
        assert!(
            forms.iter().any(|form| form.rows() == answer.rows()),
            "{kind:?}: {answer:?} is none of {forms:?}"
        );
    }
}

/// Whether MariaDB may say one where it says the other: whether it looks at rows before it changes them, and so warns of what
/// it cannot convert or ends with an error, and how often it converts, is a question of its plan.
fn by_plan(ours: &Answer, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Answer::Error(1292), Answer::Done(_, _, _, warnings, _)) => *warnings > 0,
        (Answer::Done(ours, ..), Answer::Done(theirs, ..)) => ours == theirs,
        (ours, theirs) => ours == theirs,
    }
}

#[test]
fn parameters_are_compared_as_parameters() {
    for kind in KINDS {
        let ground = ground(kind);
        ground.both(EVERY);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let mut different = Vec::new();
        for sql in COMPARED {
            for column in COLUMNS {
                let sql = sql.replace("{}", column);
                for value in VALUES {
                    // A server remembers the types of the first execution: each value has a statement of its own.
                    let (ours, ..) = prepare(&mut mesh, &sql).unwrap();
                    let (theirs, ..) = prepare(&mut one, &sql).unwrap();
                    let a = execute(&mut mesh, ours, &[value], &sql);
                    let said = mesh.said.take();
                    let b = execute(&mut one, theirs, &[value], &sql);
                    let after = "SELECT user_id, hits FROM t_every ORDER BY user_id";
                    let (rows, expected) = (mesh.ask(after), one.ask(after));
                    let same = match kind {
                        Kind::MariaDb => by_plan(&a, &b),
                        _ => a.unlabelled(&b) == b,
                    };
                    let refused = matches!(a, Answer::Error(1292));
                    if !same || (rows != expected && !refused) {
                        different.push(format!(
                            "{sql} {value:?}\n  mesh: {a:?} {said:?} {rows:?}\n  one:  {b:?} {expected:?}"
                        ));
                    }
                    if rows != expected {
                        for client in [&mut mesh, &mut one] {
                            client.ask("UPDATE t_every SET hits = 0");
                        }
                    }
                }
            }
        }
        let count = different.len();
        different.truncate(40);
        assert!(count == 0, "{kind:?}: {count}\n{}", different.join("\n"));
    }
}

/// Rows that are computed first, with bytes for texts of two bytes a character, and with values that do not fit.
const COMPUTED: &str = "
    CREATE TABLE t_when (user_id INT NOT NULL, u VARCHAR(10) CHARACTER SET utf16, c VARCHAR(10) CHARACTER SET ucs2, l VARCHAR(10) CHARACTER SET utf16le, w VARCHAR(10) CHARACTER SET utf32, s VARCHAR(10) CHARACTER SET sjis, d DATE, e ENUM('a','b'))
    INSERT INTO t_when (user_id, u, c, l) VALUES (ABS(4), x'4445', x'4445', x'4445')
    SHOW WARNINGS
    INSERT INTO t_when (user_id, u, c, l, s) SELECT 5, x'4445', _binary'DE', UNHEX('4445'), x'5C7E'
    SHOW WARNINGS
    INSERT INTO t_when (user_id, u, c, w) VALUES (FLOOR(7.9) + 10, _binary'DE', 'é', x'00000044'), (ABS(3), 'é', x'4142', 'z')
    SHOW WARNINGS
    INSERT INTO t_when (user_id, u, c, l) SELECT user_id + 20, CAST(u AS BINARY), x'4445', l FROM t_when
    INSERT INTO t_when (user_id, u, c, l) SELECT user_id + 21, x'4445', c, CAST(l AS BINARY) FROM t_when WHERE user_id = 4
    INSERT IGNORE INTO t_when (user_id, d) VALUES (ABS(30), 'nodate')
    SHOW WARNINGS
    INSERT IGNORE INTO t_when (user_id, e) VALUES (ABS(31), 'z')
    SHOW WARNINGS
    INSERT IGNORE INTO t_when (user_id, d, e) VALUES (ABS(40), 'x', 'q'), (ABS(41), '2024-01-01', 'b'), (ABS(42), 'y', '')
    SHOW WARNINGS
    SET sql_mode = ''
    INSERT INTO t_when (user_id, d, e, u) VALUES (ABS(34), 'x', 'q', 'more than there is room for')
    SHOW WARNINGS
    INSERT INTO t_when (user_id, d, e) SELECT 35, '2024-02-30', 'c'
    SHOW WARNINGS
    SET sql_mode = DEFAULT
    INSERT INTO t_when (user_id, e) VALUES (ABS(36), 'z')
    SHOW WARNINGS
    SELECT user_id, HEX(u), HEX(c), HEX(l), HEX(w), HEX(s), d, e + 0 FROM t_when ORDER BY user_id, HEX(u)
    SELECT user_id FROM t_when WHERE u = _utf16 x'4445' ORDER BY user_id
";

#[test]
fn values_are_stored_as_they_were_computed_and_warned_of_once() {
    for kind in KINDS {
        ground(kind).both(COMPUTED);
    }
}
