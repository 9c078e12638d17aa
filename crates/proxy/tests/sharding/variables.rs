//! User variables over shards: known to the session, so that every node has them.

use crate::ground::{Answer, Ground, KINDS, Options, alike};
use crate::prepared::{Value, execute, prepare};

const ACROSS: Options = Options {
    data_shard: &["transactions: {acrossNodes: bestEffort}"],
    algorithms: "",
    rules: &[],
    strategy: &[],
    service: &[],
    pool_size: 16,
    durable: false,
};

const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (2, 'Bob', NULL)
    INSERT INTO t_user VALUES (6, 'Cid', 18446744073709551615)
    INSERT INTO t_user VALUES (7, 'ann', 3)
    INSERT INTO t_order VALUES (1, 1, 9.50, 'one', '2024-01-02 03:04:05.678', 'a', 'x,y', x'00ff27', 0.1, b'101')
    INSERT INTO t_order (id, user_id, note, total) VALUES (2, 7, 'two', 4)
";

/// Each line sees what the lines before it left.
const STATEMENTS: &str = "
    SET @a = 6
    SELECT name, @a FROM t_user WHERE user_id = @a
    SELECT user_id, @a + 1, @none FROM t_user WHERE user_id <= @a ORDER BY user_id
    SELECT COUNT(*) FROM t_user WHERE user_id = @none
    SET @a = @a + 1
    SELECT name FROM t_user WHERE user_id = @a
    SELECT user_id FROM t_user WHERE user_id IN (@a, 1) ORDER BY user_id
    SET @s = CONCAT('a', 'nn'), @t = _latin1 x'616e6e' COLLATE latin1_german1_ci
    SELECT user_id FROM t_user WHERE name = @s COLLATE utf8mb4_bin ORDER BY user_id
    SELECT COLLATION(@s) = COLLATION(CONCAT('a', 'nn')), COLLATION(@t), COERCIBILITY(@t), CHARSET(@t), @s, @t
    SELECT user_id, COLLATION(@t), @t FROM t_user ORDER BY user_id
    SELECT name, score INTO @name, @score FROM t_user WHERE user_id = 6
    SELECT @name, @score, COLLATION(@name), @score + 0
    SELECT user_id, @score, @name FROM t_user WHERE score = @score
    SELECT COUNT(*), MAX(user_id), AVG(score) INTO @n, @m, @v FROM t_user
    SELECT @n, @m, @v
    SELECT user_id, @v FROM t_user WHERE score > @v ORDER BY user_id
    SELECT name INTO @name FROM t_user WHERE user_id = 1000
    SHOW WARNINGS
    SELECT @name
    SELECT name INTO @name FROM t_user
    SELECT @none, name INTO @unset, @name FROM t_user WHERE user_id = 1000
    SELECT @unset, COLLATION(@unset)
    SET @m = (SELECT MAX(user_id) FROM t_user)
    SELECT name FROM t_user WHERE user_id = @m
    SET @x = (SELECT u.name FROM t_user u JOIN t_order o ON o.id = u.user_id ORDER BY 1 LIMIT 1), @y = 1.50 + 0, @z = 0.1e0 + 0.2e0
    SELECT user_id, @x, @y, @z, @y * 2, @z = 0.3e0, @z * 3 FROM t_user ORDER BY user_id
    SELECT total, ratio, at, bits, blob_, kind INTO @d, @r, @at, @bits, @blob, @kind FROM t_order WHERE user_id = 1
    SELECT user_id, @d, @r, @at, @bits, HEX(@blob), @kind, @bits + 0 FROM t_user ORDER BY user_id
    SELECT id FROM t_order WHERE at = @at AND blob_ = @blob
    SET @b = CAST(18446744073709551615 AS UNSIGNED), @c = CAST(-9223372036854775808 AS SIGNED), @e = '', @i = CAST(5 AS UNSIGNED)
    SELECT user_id, @b, @c, @e, @i, @c + 0 FROM t_user ORDER BY user_id
    SET @nn = 5 + 1
    SET @nn = IF(@nn = 6, NULL, 1)
    SELECT user_id, @nn FROM t_user ORDER BY user_id
    SELECT @q := name FROM t_user WHERE user_id = 1
    SELECT user_id, @q FROM t_user WHERE name = @q ORDER BY user_id
    SELECT ROW_COUNT()
    SELECT @q := 'x', 1 / 0
    SHOW WARNINGS
    SET @k = 9 + 1, @name = 'Dan'
    INSERT INTO t_user (user_id, name) VALUES (@k, @name)
    INSERT INTO t_user (user_id, name) VALUES (@k + 1, @name)
    SELECT user_id, name FROM t_user ORDER BY user_id
    UPDATE t_user SET score = @k WHERE user_id IN (@k, @k + 1, 1)
    UPDATE t_user SET name = CONCAT(name, @k) WHERE score = @k
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    UPDATE t_user SET name = CONCAT(@name, user_id) ORDER BY user_id DESC LIMIT 2
    INSERT INTO t_user (user_id, name) SELECT user_id + 100 + @k, @name FROM t_user WHERE user_id < @k
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    DELETE FROM t_user WHERE user_id > @k + 1
    DELETE FROM t_user WHERE name = CONCAT('Dan', @k)
    SELECT COUNT(*) FROM t_user
    BEGIN
    SET @in = 1 + 0
    UPDATE t_user SET score = score + @in WHERE user_id = 1
    SET @in = @in + 1
    UPDATE t_user SET score = score + @in WHERE user_id = 7
    SET @in = 1
    UPDATE t_user SET score = score + @in WHERE user_id = 1
    SELECT score INTO @after FROM t_user WHERE user_id = 1
    UPDATE t_user SET score = @after WHERE user_id = 7
    SELECT user_id, score, @after FROM t_user ORDER BY user_id
    ROLLBACK
    SELECT user_id, score, @after FROM t_user ORDER BY user_id
    SET @A = 'upper'
    SELECT @a
    SELECT u.user_id, v.user_id, @a FROM t_user u JOIN t_user v ON u.score = v.score ORDER BY 1, 2
    SELECT @nobody, @nobody + 0
    UPDATE t_user SET score = @nobody WHERE user_id = 1
    SELECT @nobody, @nobody + 0, COLLATION(@nobody)
    UPDATE t_user SET score = COALESCE(@nobody, @never, 4)
    INSERT INTO t_user (user_id, name) VALUES (21, @unheard), (22, 'v')
    DELETE FROM t_user WHERE user_id = 22 AND name = @ever
    INSERT INTO t_user (user_id, name) SELECT user_id + 200, COALESCE(@alas, name) FROM t_user WHERE user_id < 10
    SELECT user_id, name, score, @alas, @alas + 0, @ever, @unheard, @never FROM t_user ORDER BY user_id
    SET @alas = 5
    SET @alas = NULL, @never = NULL
    UPDATE t_user SET score = COALESCE(@alas, @never, 5) WHERE user_id > 1
    SELECT user_id, name, score, @alas, @never FROM t_user ORDER BY user_id
";

#[test]
fn every_node_has_the_variables_of_the_session() {
    for kind in KINDS {
        let ground = Ground::new(kind, &ACROSS);
        ground.both(ROWS);
        ground.both(STATEMENTS);
    }
}

/// Texts stay what they were when others would be read otherwise.
const TEXTS: &str = r#"
    SET @s = 'a"n', @u = _utf8mb4'é', @e = '', @n = 5, @d = "it's"
    SET NAMES utf8mb4
    SELECT user_id, @s, @u, @e, @n, @d, COLLATION(@s), COLLATION(@u), COLLATION(@e) FROM t_user ORDER BY user_id
    SET @s = 'again'
    SET sql_mode = 'ANSI_QUOTES'
    SELECT user_id, @s, @u, @e, @n, @d, COLLATION(@s), COLLATION(@u), COLLATION(@e) FROM t_user ORDER BY user_id
    SET @later = 'b\\n'
    SET sql_mode = 'NO_BACKSLASH_ESCAPES'
    SELECT user_id, @later, @d FROM t_user WHERE name <> @later ORDER BY user_id
    SET collation_connection = utf8mb4_bin
    SET @c = 'c'
    SET NAMES latin1
    SELECT user_id, @s, HEX(@u), @later, @c, COLLATION(@c), COLLATION(@s) FROM t_user ORDER BY user_id
    SELECT name FROM t_user WHERE user_id = @n + 1
    SET sql_mode = DEFAULT
    SET NAMES utf8mb4
    SELECT user_id, @s, @u, @later, @c FROM t_user ORDER BY user_id
"#;

#[test]
fn texts_are_kept_when_the_character_set_or_sql_mode_changes() {
    for kind in KINDS {
        let ground = Ground::new(kind, &ACROSS);
        ground.both(ROWS);
        ground.both(TEXTS);
    }
}

#[test]
fn prepared_statements_read_and_assign_them() {
    for kind in KINDS {
        let ground = Ground::new(kind, &ACROSS);
        ground.both(ROWS);
        let run = |sql: &str, values: &[Value<'_>], ordered: bool| {
            let answers = |mut client: crate::ground::Client| {
                client.ask("SET @first = 'set'");
                let (id, ..) = prepare(&mut client, sql).unwrap();
                let answer = execute(&mut client, id, values, sql);
                let then = "SELECT user_id, @a, @b, @first FROM t_user ORDER BY user_id";
                let (before, again) = (client.ask(then), execute(&mut client, id, values, sql));
                (answer, before, again, ordered)
            };
            assert_eq!(
                answers(ground.mesh()),
                answers(ground.one()),
                "{kind:?}: {sql}"
            );
        };
        run(
            "SET @a = ?, @b = ?",
            &[Value::Int(7), Value::Text("it's")],
            true,
        );
        run("SET @a = ?, @b = ?", &[Value::Null, Value::Int(-1)], true);
        run(
            "SELECT name, score INTO @a, @b FROM t_user WHERE user_id = ?",
            &[Value::Int(6)],
            true,
        );
        run(
            "SELECT COUNT(*), MAX(name) INTO @a, @b FROM t_user WHERE user_id < ?",
            &[Value::Int(7)],
            true,
        );
        run(
            "UPDATE t_user SET score = COALESCE(@a, @b, 1) WHERE user_id = ?",
            &[Value::Int(7)],
            true,
        );
        run(
            "INSERT INTO t_user (user_id, name) VALUES (?, @a) ON DUPLICATE KEY UPDATE name = @b",
            &[Value::Int(70)],
            true,
        );
        run(
            "SELECT user_id, @first FROM t_user WHERE user_id < ? ORDER BY user_id",
            &[Value::Int(7)],
            true,
        );
    }
}

#[test]
fn what_depends_on_the_order_of_rows_is_refused() {
    let ground = Ground::new(KINDS[0], &Options::default());
    ground.both(ROWS);
    let mut mesh = ground.mesh();
    let refused = mesh.refused("SELECT @n := @n + 1, name FROM t_user");
    assert!(
        refused.contains("assigns user variables row by row"),
        "{refused}"
    );
    // What no literal gives back stays on its connection, which the session keeps.
    mesh.ask("SET @long = REPEAT('x', 5000)");
    let refused = mesh.refused("SELECT name FROM t_user WHERE name <> @long");
    assert!(refused.contains("state of one connection"), "{refused}");
    let long = mesh.ask("SELECT LENGTH(@long)");
    assert_eq!(long.rows(), [[Some("5000".to_owned())]]);
    assert!(matches!(
        mesh.ask("SELECT COUNT(*) FROM t_conf"),
        Answer::Error(1235)
    ));
}

/// The id of the last INSERT: compared, stored, as a key, in one place, and as a column.
const INSERT_ID: &str = "
    INSERT INTO t_conf (v) VALUES ('a'), ('b')
    INSERT INTO t_conf (v) VALUES ('c')
    INSERT INTO t_user VALUES (1, 'Ann', 1), (3, 'Cid', 3), (6, 'Fay', 6)
    SELECT name FROM t_user WHERE user_id = LAST_INSERT_ID()
    SELECT LAST_INSERT_ID(), name FROM t_user ORDER BY user_id
    SELECT name, LAST_INSERT_ID() + score AS s, LAST_INSERT_ID() = user_id FROM t_user WHERE score <= LAST_INSERT_ID() ORDER BY 1
    SELECT name FROM t_user WHERE CAST(score AS SIGNED) > LAST_INSERT_ID() - 2 ORDER BY user_id
    SELECT COUNT(*) FROM t_user WHERE user_id IN (1, last_insert_id ( ))
    SELECT name FROM t_user WHERE user_id BETWEEN 1 AND (LAST_INSERT_ID()) ORDER BY user_id
    SELECT a.name FROM t_user a JOIN t_user b ON a.score = b.user_id WHERE b.user_id >= LAST_INSERT_ID() ORDER BY 1
    SELECT (SELECT COUNT(*) FROM t_user WHERE score > LAST_INSERT_ID()), name FROM t_user ORDER BY 2
    INSERT INTO t_item (id, user_id, order_id, name) VALUES (1, LAST_INSERT_ID(), 1, 'x')
    INSERT INTO t_item (id, user_id, order_id, name) VALUES (2, 1, LAST_INSERT_ID(), 'y'), (3, 6, LAST_INSERT_ID() * 2, 'z')
    INSERT INTO t_item SET id = 4, user_id = LAST_INSERT_ID(), order_id = 4
    UPDATE t_user SET score = LAST_INSERT_ID() WHERE score > LAST_INSERT_ID()
    UPDATE t_user SET score = 100 - LAST_INSERT_ID() WHERE user_id < LAST_INSERT_ID()
    SELECT LAST_INSERT_ID()
    SELECT * FROM t_user ORDER BY user_id
    SELECT * FROM t_item ORDER BY id
    DELETE FROM t_user WHERE score = LAST_INSERT_ID()
    SELECT LAST_INSERT_ID(), COUNT(*) FROM t_user
    SELECT @@last_insert_id, @@identity, name FROM t_user ORDER BY user_id
    SELECT name FROM t_user WHERE user_id = @@identity OR score < @@session.last_insert_id ORDER BY 1
    INSERT INTO t_item (id, user_id, order_id, name) VALUES (5, @@identity, 1, 'v')
    SELECT * FROM t_item ORDER BY id
";

/// The same with parameters.
const PREPARED: [(&str, &[Value<'_>]); 10] = [
    (
        "SELECT name FROM t_user WHERE user_id = LAST_INSERT_ID() AND score < ?",
        &[Value::Int(9)],
    ),
    (
        "SELECT LAST_INSERT_ID(), name FROM t_user WHERE score > ? ORDER BY user_id",
        &[Value::Int(0)],
    ),
    (
        "SELECT @@identity, @@last_insert_id, name FROM t_user ORDER BY user_id",
        &[],
    ),
    (
        "SELECT a.name FROM t_user a JOIN t_user b ON a.score = b.user_id WHERE b.user_id >= LAST_INSERT_ID() AND a.score < ? ORDER BY 1",
        &[Value::Int(100)],
    ),
    (
        "INSERT INTO t_item (id, user_id, order_id, name) VALUES (?, LAST_INSERT_ID(), 1, ?)",
        &[Value::Int(11), Value::Text("x")],
    ),
    (
        "INSERT INTO t_item (id, user_id, order_id, name) VALUES (?, @@identity, ?, 'y'), (?, 6, LAST_INSERT_ID() * ?, 'z')",
        &[Value::Int(12), Value::Int(2), Value::Int(13), Value::Int(3)],
    ),
    (
        "UPDATE t_user SET score = LAST_INSERT_ID() + ? WHERE score >= LAST_INSERT_ID()",
        &[Value::Int(1)],
    ),
    (
        "UPDATE t_user SET name = ? WHERE user_id <= LAST_INSERT_ID() ORDER BY user_id LIMIT 1",
        &[Value::Text("by id")],
    ),
    ("SELECT * FROM t_item ORDER BY id", &[]),
    (
        "SELECT * FROM t_user WHERE score <> LAST_INSERT_ID() - ? ORDER BY user_id",
        &[Value::Int(1)],
    ),
];

#[test]
fn the_last_insert_id_is_the_sessions_on_every_node() {
    for kind in KINDS {
        let ground = Ground::new(kind, &ACROSS);
        ground.both(INSERT_ID);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for sql in ["INSERT INTO t_conf (v) VALUES ('d')", "DO 0"] {
            alike(kind, sql, &mut mesh, &mut one);
        }
        for (sql, values) in PREPARED {
            let (ours, ..) = prepare(&mut mesh, sql).unwrap();
            let (theirs, ..) = prepare(&mut one, sql).unwrap();
            let answer = execute(&mut mesh, ours, values, sql);
            let expected = execute(&mut one, theirs, values, sql);
            assert_eq!(answer, expected, "{kind:?}: {sql} {:?}", mesh.said);
        }
    }
}
