"""What every driver is made to do.

Owns the list of scenarios, as data: each language has a small program that plays them with its driver (see
`protocol` in run.py's documentation, docs/drivers.md). It must never ask for something whose answer depends on the
time, the machine or a connection id. `{s}` becomes `a` or `b`, the session that plays.

A step is a dict with `do` (the operation) and what it needs. `rows_only=True` compares the rows without what is said of them. `hold=True` says that after this step the session
rightly keeps its server connection: a pool of one connection then serves nobody else until a step without it.
"""

import json



def q(sql, *args, hold=False, **more):
    """A statement by the driver's usual means: text, with placeholders filled in by the driver."""
    return {"do": "query", "sql": sql, "args": list(args), "hold": hold, **more}


def p(sql, *args, hold=False):
    """A statement prepared on the server, run once, closed."""
    return {"do": "prepared", "sql": sql, "args": list(args), "hold": hold}


def op(do, /, hold=False, **more):
    """Another operation of the driver."""
    return {"do": do, "hold": hold, **more}


def hexed(text):
    """Bytes as an argument."""
    return {"hex": text}


def scenario(name, steps, kinds=("mysql", "mariadb"), connect=None, pools=(1, 2)):
    """`pools`: the sizes of pool that can serve it."""
    return {"name": name, "steps": steps, "kinds": list(kinds), "connect": connect or {}, "pools": list(pools)}


VARIABLES = (
    "SELECT @@session.autocommit, @@session.sql_mode, @@session.time_zone, @@session.sql_select_limit, "
    "@@session.lock_wait_timeout, @@session.sql_safe_updates, @@session.group_concat_max_len, "
    "@@session.foreign_key_checks, @@session.unique_checks"
)
CHARSETS = (
    "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection"
)
MYSQL, MARIADB = ("mysql",), ("mariadb",)
TYPE_NAMES = (
    "id, i8, i16, i24, i32, u32, i64, u64, dec_, f, d, da, ti, dt, ts, y, c, v, tx, bl, bi, vb, bt, j, e, se, n"
)
TYPE_ROWS = [
    "(1, -128, -32768, -8388608, -2147483648, 0, -9223372036854775808, 0, '-12345678901234567890.0123456789', 1.5, "
    "-1e300, '1000-01-01', '-838:59:59.000', '1000-01-01 00:00:00.000001', '1970-01-02 00:00:01.000001', 1901, 'abc  ', '', "
    "'', '', X'00ff0027', X'', b'0', '{{}}', 'red', '', NULL)",
    "(2, 127, 32767, 8388607, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, "
    "'12345678901234567890.0123456789', 3.25, 1e300, '9999-12-31', '838:59:59.000', '9999-12-31 23:59:59.999999', "
    "'2038-01-01 03:14:07.999999', 2155, 'straße', 'snow ☃ man', 'emoji 😀 𝄞', X'000102fffe5c27220a', 'ab', X'5c', "
    "b'10000000000000001', '{{\"k\": [1, 2.5, null, \"ü😀\"]}}', 'grün', 'x,z', 0)",
    "(3" + ", NULL" * 26 + ")",
]
ROW_ARGS = [
    7, -5, -300, -70000, -70001, 4000000000, -9000000000000000, "18446744073709551615", "-1.5000000000", 0.5, 2.25, "2024-02-29",
    "12:34:56.789", "2024-02-29 12:34:56.123456", "2024-02-29 12:34:56.123456", 2024, "chars", "größe '\"\\ %s ? :x",
    "long 😀 text", hexed("00ff5c27220d0a1a"), hexed("01020304"), hexed("ff"), 5, '{"a": [1, "é"]}', "blue", "y,z", None,
]
INSERT_TYPES = f"INSERT INTO types_{{s}} ({TYPE_NAMES}) VALUES ("
MARKS = ", ".join(["?"] * 27)


def sessions():
    yield scenario("connect", [
        q("SELECT DATABASE(), USER(), CURRENT_USER(), VERSION()"),
        q(VARIABLES), q(CHARSETS), q("SELECT @@character_set_database"), op("ping"), q("SELECT DATABASE()"),
        q("SELECT CONNECTION_ID() = CONNECTION_ID()"), op("same_id"), q("SHOW VARIABLES LIKE 'character_set_c%'"),
    ])
    yield scenario("connect without a schema", [
        q("SELECT DATABASE()"), q("SELECT COUNT(*) FROM items_{s}"), q("USE drivers"), q("SELECT DATABASE()"),
        q("SELECT COUNT(*) FROM items_{s}"), q("USE missing_schema"), q("SELECT DATABASE()"),
    ], connect={"schema": None})
    yield scenario("wrong password", [op("reconnect"), q("SELECT 1")], connect={"password": "wrong"})
    yield scenario("wrong user", [q("SELECT 1")], connect={"user": "nobody"})
    yield scenario("unknown schema", [q("SELECT 1")], connect={"schema": "missing_schema"})
    for option in ("tls", "compress"):
        yield scenario(f"{option} on", [
            q("SELECT name FROM numbers_{s} WHERE n <= 300 ORDER BY n"), q("SELECT REPEAT('x', 100000)"),
            p("SELECT ?, name FROM items_{s} ORDER BY id", "ü" * 400), q("SELECT"), op("ping"), q("SELECT 2"),
            q("SELECT {s!r}, REPEAT(X'00ff', 5)"),
        ], connect={option: True})
    yield scenario("compressed rows of 300 kB", [q("SELECT REPEAT('x', 300000)"), q("SELECT SHA2(n, 512), n FROM numbers_{s} ORDER BY n")], connect={"compress": True})
    yield scenario("tls and compress", [q("SELECT REPEAT('y', 100000), 1"), q("SELECT 1")], connect={"tls": True, "compress": True})
    for charset in ("latin1", "utf8mb3"):
        yield scenario(f"charset {charset} at connect", [
            q(CHARSETS), q("SELECT 'é', HEX('é'), LENGTH('é')"), q("SELECT name FROM items_{s} ORDER BY id"),
            p("SELECT ?, HEX(?)", "é", "ü"),
        ], connect={"charset_of": {"a": charset, "b": "utf8mb4"}})
    yield scenario("affected rows as found rows", [
        q("UPDATE items_{s} SET price = price"), q("SELECT ROW_COUNT()"), p("UPDATE items_{s} SET price = price WHERE id < ?", 3),
    ], connect={"found_rows_of": {"a": True, "b": False}})
    yield scenario("reconnects", [
        q("SET SESSION sql_select_limit = 2"), q("SELECT n FROM numbers_{s} ORDER BY n LIMIT 5"), op("reconnect"),
        q(VARIABLES), q("SELECT n FROM numbers_{s} ORDER BY n LIMIT 5"), op("reconnect"), op("reconnect"), q("SELECT 1"),
    ])


def values():
    yield scenario("types in text", [
        *[q(f"INSERT INTO types_{{s}} ({TYPE_NAMES}) VALUES {row}") for row in TYPE_ROWS],
        q("UPDATE types_{s} SET g = ST_GeomFromText('POINT(1.5 -2)') WHERE id = 2"),
        q("SELECT * FROM types_{s} ORDER BY id"), q("SELECT bt + 0, u64 + 0, HEX(tx), HEX(j), g IS NULL FROM types_{s} ORDER BY id"),
    ])
    yield scenario("types prepared", [
        p(INSERT_TYPES + MARKS + ")", *ROW_ARGS), q(f"INSERT INTO types_{{s}} ({TYPE_NAMES}) VALUES {TYPE_ROWS[1]}"),
        p("SELECT * FROM types_{s} WHERE id > ? ORDER BY id", 0),
        p("SELECT HEX(v), HEX(bl), u64, dec_ FROM types_{s} WHERE id = ?", 7), p("SELECT ?, ?, ?", None, 1, "x"),
    ])
    yield scenario("types by the driver's placeholders", [
        q(INSERT_TYPES + MARKS + ")", *ROW_ARGS), q("SELECT * FROM types_{s} ORDER BY id"),
        q("SELECT ?, ?, ?", "quote ' \" \\ \n \x1a", None, -1.5),
    ])
    yield scenario("names of columns", [
        q("SELECT 1 AS `größe 😀`, 2 AS '', 3 AS `a.b`, n AS n, name `n 2` FROM numbers_{s} AS t WHERE n = 1"),
        q("SELECT " + ", ".join(f"{n} AS c{n}" for n in range(600))), q("SELECT * FROM numbers_{s} WHERE 1 = 0"),
    ])
    yield scenario("text with emoji", [
        q("INSERT INTO items_{s} (name) VALUES ('😀 é 漢 {s}')"), q("SELECT name, HEX(name), CHAR_LENGTH(name) FROM items_{s} WHERE id = 4"),
        p("INSERT INTO items_{s} (name) VALUES (?)", "👩‍🚀 {s}"), p("SELECT id FROM items_{s} WHERE name = ?", "👩‍🚀 {s}"),
    ])
    big = {"repeat": "0123456789abcde\u00e9", "times": 1_250_000}
    yield scenario("20 MB", [
        q("INSERT INTO big_{s} VALUES (1, ?)", big), q("SELECT LENGTH(body), MD5(body) FROM big_{s}"), q("SELECT body FROM big_{s}"),
        p("INSERT INTO big_{s} VALUES (2, ?)", big), p("SELECT id, body FROM big_{s} WHERE id > ? ORDER BY id", 0), q("SELECT 1"),
    ])
    for size in (16_777_214, 16_777_215, 16_777_216):
        yield scenario(f"a row of {size} bytes", [q(f"SELECT REPEAT('z', {size - 4})"), q(f"SELECT REPEAT('z', {size}), 1"), q("SELECT 'after'")])
    yield scenario("many rows", [q("SELECT a.n, b.name, a.n * b.n FROM numbers_{s} a JOIN numbers_{s} b ON b.n <= 30 ORDER BY a.n, b.n"), q("SELECT 1")])
    yield scenario("batch", [
        op("batch", sql="INSERT INTO items_{s} (name, price) VALUES (?, ?)", rows=[[f"batch {n} {{s}}", n + 0.5] for n in range(50)]),
        q("SELECT LAST_INSERT_ID()"), q("SELECT COUNT(*), SUM(price), MAX(id) FROM items_{s}"),
        op("batch", sql="UPDATE items_{s} SET price = ? WHERE name = ?", rows=[[n, f"batch {n} {{s}}"] for n in range(20)]),
        op("batch", sql="INSERT INTO items_{s} (name, price) VALUES (?, ?)", rows=[["fine {s}", 1], ["one {s}", 2], ["never {s}", 3]]),
        q("SELECT id, name, price FROM items_{s} ORDER BY id"),
    ])


def statements():
    yield scenario("prepared statements kept", [
        op("prepare", name="x", sql="SELECT id, name FROM items_{s} WHERE id > ? ORDER BY id"),
        op("prepare", name="y", sql="SELECT ? + 1 AS same"), op("run", name="x", args=[1]), op("run", name="y", args=[41]),
        op("run", name="x", args=[0]), q("SELECT 1"), op("run", name="y", args=["7"]), op("run", name="y", args=[None]), op("release", name="x"),
        op("run", name="y", args=[1.25]), op("release", name="y"), q("SELECT 2"),
    ])
    yield scenario("prepared statements, errors and changed tables", [
        q("CREATE TABLE shape_{s} (a INT)"), q("INSERT INTO shape_{s} VALUES (1)"), op("prepare", name="x", sql="SELECT * FROM shape_{s} WHERE a >= ?"),
        op("run", name="x", args=[0]), q("ALTER TABLE shape_{s} ADD b VARCHAR(9) DEFAULT 'new'"), op("run", name="x", args=[0]),
        q("DROP TABLE shape_{s}"), op("run", name="x", args=[0]), op("release", name="x"), p("SELEC ?", 1), p("SELECT * FROM missing_{s} WHERE a = ?", 1), p("INSERT INTO items_{s} (name) VALUES (?)", "one {s}"),
        p("SELECT ?", 2),
    ])
    yield scenario("many prepared statements", [
        *[op("prepare", name=f"s{n}", sql=f"SELECT {n} + ?") for n in range(40)],
        *[op("run", name=f"s{n}", args=[n]) for n in range(40)], *[op("release", name=f"s{n}") for n in range(40)], q("SELECT 1"),
    ])
    yield scenario("prepared statements follow the schema", [
        op("prepare", name="x", sql="SELECT COUNT(*) FROM items_{s} WHERE id > ?"), op("run", name="x", args=[1]), op("use", schema="drivers_other"),
        op("run", name="x", args=[1]), p("SELECT DATABASE(), ?", 1), q("SELECT DATABASE()"), p("SELECT name FROM only_other WHERE id = ?", 1), op("use", schema="drivers"), p("SELECT name FROM only_other WHERE id = ?", 1),
    ])
    yield scenario("statements prepared by SQL", [
        q("PREPARE st FROM 'SELECT ? + ?, \"{s}\"'", hold=True), q("SET @one = 1, @two = 2", hold=True), q("EXECUTE st USING @one, @two", hold=True),
        q("DEALLOCATE PREPARE st", hold=True), q("EXECUTE st", hold=True),
    ])
    yield scenario("several statements at once", [
        q("SELECT 1; SELECT name FROM items_{s} ORDER BY id; UPDATE items_{s} SET price = 5 WHERE id = 1; SELECT ROW_COUNT()", multi=True),
        q("SELECT 'after'"), q("SELECT 1; SELEC 2; SELECT 3", multi=True, hold=True), q("SELECT 'after error'", hold=True), op("reconnect"),
        q("SET SESSION sql_select_limit = 1; SELECT n FROM numbers_{s} ORDER BY n LIMIT 3; SET SESSION sql_select_limit = DEFAULT", multi=True), q(VARIABLES),
        q("BEGIN; INSERT INTO items_{s} (name) VALUES ('multi {s}'); COMMIT; SELECT LAST_INSERT_ID()", multi=True), q("SELECT LAST_INSERT_ID()"),
        q("USE drivers_other; SELECT DATABASE()", multi=True), q("SELECT DATABASE()"),
    ], connect={"multi": True})
    yield scenario("several statements refused", [q("SELECT 1; SELECT 2"), q("SELECT 3")], connect={"multi": False})
    yield scenario("procedures", [
        q("CALL results_{s}(5)", hold=True), q("SELECT 'after'", hold=True), op("call", name="results_{s}", args=[990], hold=True),
        op("call", name="out_{s}", args=[21, None, "in"], out=[1, 2], hold=True), q("SELECT 1", hold=True),
        p("CALL results_{s}(?)", 3, hold=True), q("CALL fails_{s}()", hold=True), q("SELECT 'after'", hold=True), q("CALL missing_{s}()", hold=True),
        q("CALL state_{s}()", hold=True), q("SELECT @from_routine, @@session.sql_select_limit", hold=True), q("SELECT twice_{s}(21)", hold=True), q("SELECT 2", hold=True),
    ])
    yield scenario("cursor on the server", [
        op("cursor", sql="SELECT n, name FROM numbers_{s} WHERE n <= 25 ORDER BY n", size=10, args=[]), q("SELECT 'after'"),
        op("cursor", sql="SELECT n FROM numbers_{s} WHERE n > ? ORDER BY n", size=7, args=[990]),
        op("cursor", sql="SELECT n FROM missing_{s} WHERE n > ?", size=7, args=[990]), q("SELECT 'after'"),
    ])
    yield scenario("rows as a stream", [
        op("stream", sql="SELECT n, name FROM numbers_{s} ORDER BY n"), q("SELECT 'after'"), op("stream", sql="SELECT REPEAT('s', 50000) FROM numbers_{s} WHERE n <= 200"),
        op("stream", sql="SELEC"), q("SELECT 'after'"),
    ])
    yield scenario("load data local", [
        q("LOAD DATA LOCAL INFILE '{file}' INTO TABLE moves_{s} (item, note)"), q("SHOW WARNINGS"), q("SELECT COUNT(*), SUM(item), MAX(note) FROM moves_{s}"),
        q("LOAD DATA LOCAL INFILE '{file}' INTO TABLE missing_{s}"), q("SELECT COUNT(*) FROM moves_{s}"),
    ], connect={"local": True})
    yield scenario("load data local of a missing file", [
        q("LOAD DATA LOCAL INFILE '{file}.missing' INTO TABLE moves_{s} (item, note)"), q("SELECT COUNT(*) FROM moves_{s}"),
    ], connect={"local": True})
    yield scenario("comments and blanks", [
        q("/* c */ SELECT 1 -- x"), q("  \n\t SELECT /*! 2 */ + 1;"), q("-- only\nSELECT 3"), q("# hash\nSELECT 4"), q("(SELECT 5)"), q("((SELECT 6)) UNION (SELECT 7)"),
        q("/*!40101 SET NAMES utf8mb4 */"), q("/*!99999 nothing */ SELECT 8"), q("SELECT 'a;b', \"c;d\", 'it''s', 'x\\'y'"), q("WITH c AS (SELECT 9 AS x) SELECT x FROM c"), q("VALUES ROW(1, 2), ROW(3, 4)"), q("TABLE numbers_{s} ORDER BY n LIMIT 2"),
        q("DO 1"), q("SELECT SLEEP(0)"), q("SELECT N'n', _utf8mb4'u', X'41', 0x42, b'1000011', DATE'2020-01-01'"), q(""), q(";"), q("-- nothing"), q("SELECT 10"),
    ])
    yield scenario("SHOW and metadata", [
        q("SHOW TABLES LIKE '%\\_{s}'"), q("SHOW COLUMNS FROM items_{s}"), q("SHOW CREATE TABLE moves_{s}"), q("SHOW INDEX FROM moves_{s}"), q("DESCRIBE types_{s}"),
        q("SELECT table_name, column_name, column_type FROM information_schema.columns WHERE table_schema = 'drivers' AND table_name LIKE '%\\_{s}' ORDER BY 1, ordinal_position"),
        q("SHOW DATABASES LIKE 'drivers%'"), q("SHOW CREATE PROCEDURE out_{s}"), q("SHOW GRANTS"), q("SHOW ENGINES"), q("SHOW CHARACTER SET LIKE 'utf8%'"), q("SHOW COLLATION LIKE 'latin1%'"), q("SELECT trigger_name, event_object_table, action_statement FROM information_schema.triggers WHERE trigger_name = 'log_{s}'"),
        q("EXPLAIN SELECT * FROM numbers_{s} WHERE n = 3"), q("SHOW SESSION VARIABLES LIKE 'sql_mode'"), q("CHECK TABLE items_{s}"), q("ANALYZE TABLE items_{s}"), q("CHECKSUM TABLE items_{s}"),
    ])


def states():
    yield scenario("autocommit", [
        op("autocommit", on=False), q("SELECT @@autocommit"), q("INSERT INTO items_{s} (name) VALUES ('kept {s}')", hold=True), op("commit"), q("SELECT LAST_INSERT_ID()"),
        q("INSERT INTO items_{s} (name) VALUES ('lost {s}')", hold=True), op("rollback"), q("SELECT name FROM items_{s} ORDER BY id", hold=True), op("commit"),
        op("autocommit", on=True), q("SELECT @@autocommit"), q("INSERT INTO items_{s} (name) VALUES ('at once {s}')"), op("rollback"), q("SELECT id, name FROM items_{s} ORDER BY id"),
    ])
    yield scenario("autocommit by SQL", [
        q("SET autocommit = 0"), q("SELECT @@autocommit"), q("UPDATE items_{s} SET price = 9 WHERE id = 1", hold=True), q("ROLLBACK"), q("SELECT price FROM items_{s} ORDER BY id", hold=True),
        q("SET autocommit = 1"), q("SELECT @@autocommit"), p("SET autocommit = 0"), q("SELECT @@autocommit"), q("SET @@session.autocommit = ON"), q("SELECT @@autocommit"),
    ], connect={"autocommit": True})
    yield scenario("autocommit off at connect", [
        q("SELECT @@autocommit"), q("INSERT INTO items_{s} (name) VALUES ('x {s}')", hold=True), op("rollback"), q("SELECT COUNT(*) FROM items_{s}", hold=True), op("commit"),
    ], connect={"autocommit_of": {"a": False, "b": True}})
    yield scenario("transactions", [
        op("begin", hold=True), q("INSERT INTO items_{s} (name) VALUES ('t {s}')", hold=True), q("SELECT COUNT(*) FROM items_{s}", hold=True), op("commit"), q("SELECT COUNT(*) FROM items_{s}"),
        op("begin", hold=True), q("INSERT INTO items_{s} (name) VALUES ('u {s}')", hold=True), q("SAVEPOINT s1", hold=True), q("DELETE FROM items_{s}", hold=True), q("ROLLBACK TO s1", hold=True),
        q("SELECT COUNT(*) FROM items_{s}", hold=True), q("RELEASE SAVEPOINT s1", hold=True), q("ROLLBACK TO s1", hold=True), p("SELECT COUNT(*) FROM items_{s} WHERE id > ?", 0, hold=True), op("rollback"), q("SELECT COUNT(*) FROM items_{s}"),
        q("START TRANSACTION WITH CONSISTENT SNAPSHOT", hold=True), q("SELECT COUNT(*) FROM items_{s}", hold=True), q("COMMIT AND CHAIN", hold=True), q("INSERT INTO items_{s} (name) VALUES ('v {s}')", hold=True), q("ROLLBACK"), q("SELECT COUNT(*) FROM items_{s}"),
        q("BEGIN", hold=True), q("INSERT INTO items_{s} (name) VALUES ('one {s}')", hold=True), q("INSERT INTO items_{s} (name) VALUES ('w {s}')", hold=True), q("CREATE TABLE implicit_{s} (a INT)"), q("ROLLBACK"), q("SELECT COUNT(*) FROM items_{s}"),
    ])
    yield scenario("isolation and read only", [
        q("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"), q("SELECT @@{isolation}"), q("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", hold=True), q("SELECT @@{isolation}", hold=True), q("BEGIN", hold=True), q("SELECT COUNT(*) FROM items_{s}", hold=True), q("COMMIT"),
        q("START TRANSACTION READ ONLY", hold=True), q("INSERT INTO items_{s} (name) VALUES ('no {s}')", hold=True), q("COMMIT"), q("SET SESSION TRANSACTION READ ONLY"), q("INSERT INTO items_{s} (name) VALUES ('no {s}')"), q("SELECT @@{read_only}"),
        q("SET SESSION TRANSACTION READ WRITE"), q("INSERT INTO items_{s} (name) VALUES ('yes {s}')"), q("SELECT @@{isolation}, @@{read_only}"),
    ])
    yield scenario("user variables", [
        q("SET @v = '{s}', @w = 42"), q("SELECT @v, @w, @missing"), p("SELECT @v, ?", 1), q("SET @v = 'again {s}'"), q("SELECT @v"), q("SET @`odd name` = 1.50"), q("SELECT @`odd name`"),
        q("SET @v = NULL", hold=True), q("SELECT @v, @w", hold=True), q("SET @e = @w + 1", hold=True), q("SELECT @e", hold=True), q("SELECT @f := 5", hold=True), q("SELECT MAX(n) INTO @g FROM numbers_{s}", hold=True), q("SELECT @f, @g", hold=True),
    ])
    yield scenario("session variables", [
        q("SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'"), q("SELECT \"name\" || '!' FROM items_{s} ORDER BY id"), q(VARIABLES), q("SET time_zone = '+03:00', group_concat_max_len = 2000"), q(VARIABLES), q("SELECT FROM_UNIXTIME(0)"),
        q("SET sql_mode = ''"), q("SELECT 1/0, CAST('x' AS SIGNED)"), q("SHOW WARNINGS"), q("SET SESSION sql_select_limit = 2, @@session.foreign_key_checks = 0, unique_checks = OFF"), q("SELECT n FROM numbers_{s} ORDER BY n"), q(VARIABLES),
        q("SET sql_select_limit = DEFAULT, foreign_key_checks = DEFAULT, sql_mode = DEFAULT, time_zone = DEFAULT"), q(VARIABLES), q("SET sql_safe_updates = 1"), q("DELETE FROM items_{s} WHERE price > 0"), q("SET no_such_variable = 1"), q(VARIABLES), q("SET sql_mode = 'NO_SUCH_MODE'"), q(VARIABLES),
        q("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI')"), q(VARIABLES), q("SET timestamp = 1000000000", hold=True), q("SELECT NOW() = FROM_UNIXTIME(1000000000)", hold=True), q("SET timestamp = DEFAULT", hold=True),
    ])
    yield scenario("backslashes", [
        q("SET sql_mode = 'NO_BACKSLASH_ESCAPES'"), q("SELECT 'a\\b', LENGTH('\\n')"), q("SELECT ?", "c\\d ' e"), q("SET sql_mode = DEFAULT"), q("SELECT LENGTH('\\n'), ?", "f\\g"),
    ])
    yield scenario("SET NAMES", [
        q("SET NAMES latin1"), q(CHARSETS), q("SELECT 'plain', LENGTH(CONVERT(X'e9' USING latin1))"), q("SET NAMES utf8mb4 COLLATE utf8mb4_bin"), q(CHARSETS), q("SELECT 'a' = 'A'"), q("SET character_set_results = NULL"), q(CHARSETS), q("SELECT name FROM items_{s} ORDER BY id"),
        q("SET NAMES utf8mb4"), q("SELECT 'a' = 'A', 'é'"), q("SET collation_connection = utf8mb4_unicode_ci"), q(CHARSETS), q("SET NAMES nonsense"), q(CHARSETS), q("SET NAMES DEFAULT"), q(CHARSETS),
        q("SET CHARACTER SET utf8mb4", hold=True), q(CHARSETS, hold=True),
    ])
    yield scenario("schemas", [
        op("use", schema="drivers_other"), q("SELECT DATABASE()"), q("SELECT name FROM only_other"), q("USE `drivers`"), q("SELECT DATABASE()"), q("SELECT name FROM only_other"), op("use", schema="missing_schema"), q("SELECT DATABASE()"),
        q("CREATE DATABASE drivers_new_{s}"), q("USE drivers_new_{s}"), q("CREATE TABLE t (a INT)"), q("SHOW TABLES"), q("DROP DATABASE drivers_new_{s}"), q("SELECT DATABASE()"), q("SELECT * FROM t"), q("USE drivers"), q("SELECT DATABASE()"),
    ])
    yield scenario("temporary tables", [
        q("CREATE TEMPORARY TABLE tmp (a INT, b VARCHAR(9))", hold=True), q("INSERT INTO tmp VALUES (1, '{s}'), (2, '{s}')", hold=True), p("SELECT * FROM tmp WHERE a > ?", 0, hold=True), q("DROP TEMPORARY TABLE tmp"), q("SELECT * FROM tmp"),
        q("CREATE TEMPORARY TABLE tmp AS SELECT n FROM numbers_{s} WHERE n < 4", hold=True), q("SELECT COUNT(*) FROM tmp", hold=True), q("DROP TABLE tmp"), q("SELECT 1"),
        q("CREATE TEMPORARY TABLE items_{s} (a INT)", hold=True), q("SELECT * FROM items_{s}", hold=True), op("reset_or_close", hold=True), q("SELECT COUNT(*) FROM items_{s}"),
        q("CREATE TEMPORARY TABLE tmp (a INT)", hold=True), q("CREATE TEMPORARY TABLE tmp (a INT)", hold=True), q("DROP TABLE tmp", hold=True), q("SELECT 1", hold=True),
    ])
    yield scenario("user locks", [
        q("SELECT GET_LOCK('lock {s}', 0)", hold=True), q("SELECT IS_FREE_LOCK('lock {s}'), IS_USED_LOCK('lock {s}') IS NULL", hold=True), q("SELECT RELEASE_LOCK('lock {s}')"), q("SELECT IS_FREE_LOCK('lock {s}')"),
        q("DO GET_LOCK('lock {s}', 0)", hold=True), q("SELECT RELEASE_ALL_LOCKS()"), q("SELECT IS_FREE_LOCK('lock {s}')"),
    ])
    yield scenario("table locks", [
        q("LOCK TABLES items_{s} WRITE, numbers_{s} READ", hold=True), q("INSERT INTO items_{s} (name) VALUES ('l {s}')", hold=True), q("INSERT INTO numbers_{s} VALUES (5000, 'x')", hold=True), q("SELECT COUNT(*) FROM moves_{s}", hold=True), q("UNLOCK TABLES"), q("SELECT COUNT(*) FROM moves_{s}"),
        q("HANDLER numbers_{s} OPEN AS h", hold=True), q("HANDLER h READ FIRST", hold=True), q("HANDLER h READ NEXT LIMIT 2", hold=True), q("HANDLER h CLOSE"), q("HANDLER h READ FIRST"),
    ])
    yield scenario("distributed transactions", [
        q("XA START 'g-{s}'", hold=True), q("INSERT INTO items_{s} (name) VALUES ('xa {s}')", hold=True), q("XA END 'g-{s}'", hold=True), q("XA PREPARE 'g-{s}'", hold=True), q("XA COMMIT 'g-{s}'"), q("SELECT COUNT(*) FROM items_{s}"),
        q("XA START 'h-{s}'", hold=True), q("DELETE FROM items_{s}", hold=True), q("XA END 'h-{s}'", hold=True), q("XA ROLLBACK 'h-{s}'"), q("SELECT COUNT(*) FROM items_{s}"),
        q("XA COMMIT 'unknown-{s}'", hold=True), q("SELECT 1", hold=True), q("XA START 'i-{s}'", hold=True), q("COMMIT", hold=True), q("XA END 'i-{s}'", hold=True), q("XA ROLLBACK 'i-{s}'", hold=True),
    ])
    yield scenario("reset", [
        q("SET @v = 1, SESSION sql_select_limit = 1"), q("SET NAMES latin1"), q("INSERT INTO items_{s} (name) VALUES ('r {s}')"), op("reset"), q("SELECT @v, LAST_INSERT_ID(), DATABASE()"), q(VARIABLES), q(CHARSETS), q("SELECT name FROM items_{s} ORDER BY id"),
        op("begin", hold=True), q("DELETE FROM items_{s}", hold=True), op("reset"), q("SELECT COUNT(*) FROM items_{s}"), q("CREATE TEMPORARY TABLE tmp (a INT)", hold=True), op("reset"), q("SELECT * FROM tmp"), op("ping"),
    ])
    yield scenario("change user", [
        q("SET @v = 1, SESSION sql_select_limit = 1"), op("change_user", schema="drivers_other"), q("SELECT DATABASE(), USER(), @v"), q(VARIABLES), q(CHARSETS), q("SELECT name FROM only_other"), op("change_user", schema="drivers"), q("SELECT COUNT(*) FROM items_{s}"), op("same_id"),
    ])


def answers():
    yield scenario("last insert id", [
        q("SELECT LAST_INSERT_ID()"), q("INSERT INTO items_{s} (name) VALUES ('i {s}')"), q("SELECT LAST_INSERT_ID(), @@identity, @@last_insert_id"), q("INSERT INTO items_{s} (name) VALUES ('j {s}'), ('k {s}'), ('l {s}')"), q("SELECT LAST_INSERT_ID() AS `alias`"), q("SELECT last_insert_id() FROM DUAL LIMIT 1"),
        q("INSERT INTO items_{s} (id, name) VALUES (100, 'explicit {s}')"), q("SELECT LAST_INSERT_ID()"), p("INSERT INTO items_{s} (name) VALUES (?)", "m {s}"), p("SELECT LAST_INSERT_ID(), ?", 1), q("INSERT INTO moves_{s} (item, note) VALUES (LAST_INSERT_ID(), 'n')"), q("SELECT item FROM moves_{s}"),
        q("UPDATE items_{s} SET price = LAST_INSERT_ID(price + 77) WHERE id = 1"), q("SELECT LAST_INSERT_ID()"), q("SELECT LAST_INSERT_ID(5)", hold=True), q("SELECT LAST_INSERT_ID()", hold=True), q("INSERT INTO items_{s} (name) VALUES ('one {s}')", hold=True), q("SELECT LAST_INSERT_ID()", hold=True),
        q("INSERT INTO items_{s} (name) VALUES ('one {s}') ON DUPLICATE KEY UPDATE price = 4", hold=True), q("SELECT LAST_INSERT_ID()", hold=True), q("REPLACE INTO items_{s} (name) VALUES ('one {s}')", hold=True), q("SELECT LAST_INSERT_ID()", hold=True), q("INSERT IGNORE INTO items_{s} (name) VALUES ('one {s}')", hold=True), q("SELECT LAST_INSERT_ID()", hold=True),
    ])
    yield scenario("last insert id of each session", [
        q("INSERT INTO items_{s} (name) VALUES ('x {s}')"), q("SELECT 1"), q("SELECT LAST_INSERT_ID()"), q("INSERT INTO moves_{s} (note) VALUES ('1'), ('2')"), q("SELECT 2"), p("SELECT LAST_INSERT_ID()"), q("SELECT 3"), q("UPDATE items_{s} SET name = CONCAT(name, '!')"), q("SELECT LAST_INSERT_ID()"), q("SELECT COUNT(*) FROM moves_{s}"),
    ])
    # On MariaDB the row is not found on a connection that another session with the same id used in between.
    yield scenario("the row that was just inserted", [
        q("SET sql_auto_is_null = 1"), q("INSERT INTO moves_{s} (note) VALUES ('auto')"), q("SELECT note FROM moves_{s} WHERE id IS NULL"), q("SET sql_auto_is_null = 0"),
    ], kinds=MYSQL)
    yield scenario("row count", [
        q("UPDATE items_{s} SET price = price + 1"), q("SELECT ROW_COUNT()"), q("SELECT ROW_COUNT()"), q("DELETE FROM items_{s} WHERE id = 2"), q("SELECT ROW_COUNT(), 'x'"), q("SELECT 1"), q("SELECT ROW_COUNT()"), q("SET @x = 1"), q("SELECT ROW_COUNT()"), p("UPDATE items_{s} SET price = ?", 3), p("SELECT ROW_COUNT()"),
        q("SELEC"), q("SELECT ROW_COUNT()"), q("DO 1"), q("SELECT ROW_COUNT()"), op("begin", hold=True), q("SELECT ROW_COUNT()", hold=True), q("INSERT INTO moves_{s} (note) VALUES ('a'), ('b')", hold=True), q("SELECT ROW_COUNT()", hold=True), op("commit"), q("SELECT ROW_COUNT()"),
    ])
    yield scenario("found rows", [
        q("SELECT n FROM numbers_{s} WHERE n <= 17"), q("SELECT FOUND_ROWS()", rows_only=True), q("SELECT FOUND_ROWS()", rows_only=True), q("SELECT SQL_CALC_FOUND_ROWS n FROM numbers_{s} ORDER BY n LIMIT 2"), q("SELECT FOUND_ROWS() AS total", rows_only=True), q("SELECT n FROM numbers_{s} ORDER BY n LIMIT 3"), q("SELECT FOUND_ROWS()", rows_only=True),
        p("SELECT n FROM numbers_{s} WHERE n <= ?", 6), p("SELECT FOUND_ROWS()"), q("SELECT n FROM numbers_{s} WHERE n <= 4"), q("SET @x = 2"), q("SELECT FOUND_ROWS()", rows_only=True), q("SHOW TABLES LIKE 'items\\_{s}'"), q("SELECT FOUND_ROWS()", rows_only=True),
        q("SELECT n FROM numbers_{s} WHERE n <= 9 UNION SELECT 0"), q("SELECT FOUND_ROWS()", rows_only=True), q("SELECT SQL_CALC_FOUND_ROWS n FROM numbers_{s} WHERE n < 0"), q("SELECT FOUND_ROWS(), ROW_COUNT()", rows_only=True),
    ])
    yield scenario("warnings", [
        q("SELECT CAST('x{s}' AS SIGNED)"), q("SHOW WARNINGS"), q("SHOW WARNINGS"), q("SELECT @@warning_count, @@error_count", rows_only=True), q("DROP TABLE IF EXISTS missing_{s}"), q("SHOW WARNINGS LIMIT 1"), q("SHOW COUNT(*) WARNINGS"), q("SELECT * FROM missing_{s}"), q("SHOW ERRORS"), q("SHOW WARNINGS"), q("SHOW COUNT(*) ERRORS"), q("SELECT 1"), q("SHOW WARNINGS"),
        q("INSERT IGNORE INTO items_{s} (name) VALUES ('one {s}'), ('new {s}')"), q("SHOW WARNINGS"), p("SELECT CAST(? AS SIGNED)", "y{s}"), q("SHOW WARNINGS"), q("SELEC 1"), q("SHOW WARNINGS"),
    ])
    yield scenario("diagnostics", [
        q("SELECT CAST('x' AS SIGNED)", hold=True), q("GET DIAGNOSTICS @n = NUMBER", hold=True), q("SELECT @n", hold=True), q("GET DIAGNOSTICS CONDITION 1 @t = MESSAGE_TEXT", hold=True), q("SELECT @t", hold=True),
    ], pools=[2])
    yield scenario("warnings of each session", [
        q("SELECT CAST('first {s}' AS SIGNED)"), q("SHOW WARNINGS"), q("INSERT IGNORE INTO items_{s} (name) VALUES ('two {s}')"), q("SHOW COUNT(*) WARNINGS"), q("SHOW WARNINGS"), q("SELECT * FROM nowhere_{s}"), q("SHOW ERRORS"), q("SELECT @@error_count", rows_only=True), q("SHOW WARNINGS"),
    ])
    yield scenario("errors", [
        q("INSERT INTO items_{s} (id, name) VALUES (1, 'dup')"), q("INSERT INTO items_{s} (name) VALUES ('two {s}')"), q("SELEC 1"), q("SELECT * FROM missing_{s}"), q("SELECT missing FROM items_{s}"), q("SELECT * FROM nowhere.items"), q("INSERT INTO numbers_{s} VALUES ('x', 'y')"), q("INSERT INTO items_{s} VALUES (1)"),
        q("SELECT (SELECT n FROM numbers_{s})"), q("INSERT INTO types_{s} (id, i8) VALUES (9, 1000)"), q("INSERT INTO types_{s} (id, da) VALUES (9, '2024-02-30')"), q("SELECT 1 +"), q("KILL 4294967290"), q("SELECT 'still here'"), p("SELECT 1 FROM nowhere_{s} WHERE a = ?", 1), p("SELECT ?", "still here"),
        q("SELECT 'é'"), q("COMMIT"), q("ROLLBACK"),
        # What may have done part of its work holds the connection, on MariaDB, which does not report state after an error.
        q("SELECT missing_function(1)", hold=True), q("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'größe 😀'", hold=True), q("DROP TABLE missing_{s}", hold=True), q("RELEASE SAVEPOINT nothing", hold=True), q("SELECT 'still here'", hold=True),
    ])
    yield scenario("kill of a running statement", [op("kill", sql="SELECT SLEEP(8)"), q("SELECT 'after'"), op("kill", sql="SELECT COUNT(*) FROM numbers_{s} a, numbers_{s} b, numbers_{s} c WHERE MD5(a.n * b.n * c.n) = 1"), q("SELECT 'after'")], pools=[2])
    yield scenario("kill of a connection", [op("kill_connection"), op("reconnect"), q("SELECT 'after'")], pools=[2])


def mariadb_only():
    # Types that have no code of their own on the wire: clients that ask for it are told their names beside it.
    yield scenario("types by name", [
        q("CREATE TABLE named_{s} (id INT PRIMARY KEY, j JSON, u UUID, i4 INET4, i6 INET6, p POINT, c LONGTEXT)"),
        q("INSERT INTO named_{s} VALUES (1, '{{\"a\": [1, \"ü\"]}}', '123e4567-e89b-12d3-a456-426655440000', '10.0.0.1', '2001:db8::ff00:42:8329', NULL, 'c'), (2, NULL, NULL, NULL, NULL, NULL, NULL)"),
        q("SELECT * FROM named_{s} ORDER BY id"), p("SELECT * FROM named_{s} WHERE id >= ? ORDER BY id", 1), p("SELECT u, i6, j FROM named_{s} WHERE i4 = ?", "10.0.0.1"),
        q("SELECT CAST('10.0.0.2' AS INET4), CAST('00000000-0000-0000-0000-000000000001' AS UUID), JSON_OBJECT('k', 1), JSON_VALUE('{{\"k\": 2}}', '$.k')"),
        q("SELECT CAST('x' AS SIGNED)"), q("SHOW WARNINGS"), q("SELECT @@warning_count", rows_only=True), q("SELECT j FROM named_{s} WHERE id = 2"), q("DROP TABLE named_{s}", hold=True),
    ], kinds=MARIADB)
    yield scenario("returning and sequences", [
        q("INSERT INTO items_{s} (name) VALUES ('r1 {s}'), ('r2 {s}') RETURNING id, name"), q("SELECT LAST_INSERT_ID()"), q("DELETE FROM items_{s} WHERE id = 1 RETURNING name"), q("SELECT ROW_COUNT()"), q("CREATE SEQUENCE seq_{s} START WITH 5", hold=True), q("SELECT NEXTVAL(seq_{s})", hold=True), q("SELECT LASTVAL(seq_{s})", hold=True), q("DROP SEQUENCE seq_{s}", hold=True),
    ], kinds=MARIADB)
    yield scenario("MariaDB's own statements", [
        q("SET STATEMENT sql_select_limit = 2 FOR SELECT n FROM numbers_{s} ORDER BY n", hold=True), q(VARIABLES, hold=True), q("BEGIN NOT ATOMIC SELECT 1; SELECT 2; END", hold=True), q("SELECT 3", hold=True), q("EXECUTE IMMEDIATE 'SELECT 4'", hold=True), q("SELECT 5 FROM DUAL", hold=True),
    ], kinds=MARIADB)


def mysql_only():
    yield scenario("MySQL's own statements", [
        q("SELECT /*+ MAX_EXECUTION_TIME(10000) */ 1"), q("SELECT /*+ SET_VAR(sql_select_limit=2) */ n FROM numbers_{s} ORDER BY n LIMIT 5", hold=True), q(VARIABLES, hold=True), op("reconnect"), q("TABLE items_{s} ORDER BY id LIMIT 1"), q("SELECT * FROM JSON_TABLE('[1,2]', '$[*]' COLUMNS (x INT PATH '$')) AS j"), q("SET @@session.transaction_isolation = 'READ-COMMITTED'"), q("SELECT @@session.transaction_isolation"),
        q("EXPLAIN FORMAT=TREE SELECT 1"), q("SELECT BIN_TO_UUID(UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db'))"), q("SHOW CREATE TABLE types_{s}"),
    ], kinds=MYSQL)


def all_of(kind, file):
    """The scenarios for a kind of server, with the names that differ between kinds filled in."""
    groups = (sessions, values, statements, states, answers, mariadb_only, mysql_only)
    chosen = [one for group in groups for one in group() if kind in one["kinds"]]
    for one, filled_one in zip(chosen, filled_in(chosen, kind, file)):
        yield filled_one | {"reset": reset(one)}


def filled_in(chosen, kind, file):
    """Scenarios with the names that differ between kinds and sessions filled in."""
    names = {"isolation": "transaction_isolation", "read_only": "transaction_read_only"}
    if kind == "mariadb":
        names = {"isolation": "tx_isolation", "read_only": "tx_read_only"}
    for one in chosen:
        yield {
            "name": one["name"], "connect": one["connect"], "pools": one["pools"],
            "steps": {s: [filled(step, {**names, "s": s, "file": file}) for step in one["steps"]] for s in ("a", "b")},
        }


def reset(one):
    """Statements that bring back the tables that a scenario may have changed; they are run on the server itself."""
    text = json.dumps(one["steps"])
    statements = ["SET lock_wait_timeout = 8"]
    for s in ("a", "b"):
        statements += [f"DROP TABLE IF EXISTS {name}_{s}" for name in ("shape", "implicit", "named") if name + "_" in text]
        if "drivers_new" in text:
            statements.append(f"DROP DATABASE IF EXISTS drivers_new_{s}")
        statements += [f"TRUNCATE TABLE {name}_{s}" for name in ("items", "moves", "types", "big") if name + "_" in text]
        if "items_" in text:
            rows = f"('one {s}', 1.10), ('two {s}', 22.20), ('three {s}', 333.30)"
            statements.append(f"INSERT INTO items_{s} (name, price) VALUES {rows}")
    return statements


def filled(value, names):
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
        return value.replace("{s!r}", repr(names["s"])).replace("{{}}", "{}").replace("{{", "{").replace("}}", "}")
    if isinstance(value, list):
        return [filled(one, names) for one in value]
    if isinstance(value, dict):
        return {key: filled(one, names) for key, one in value.items()}
    return value
