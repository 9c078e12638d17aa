"""The same drivers before a sharded service: what is split, and what they are made to do with it.

Owns the resources of that service, the tables, and the scenarios that are about shards; those of scenarios.py are played as
well but for `NOT_HERE`. It must never show drivers other tables than the one server has: both sides are made by the same
definitions, and both are reset by the same statements, through themselves.
"""

import re

import scenarios
from scenarios import op, p, q, scenario

# Two nodes, the first on the judge's own server: schemas have other names there, so that names must be right both ways.
NODES = ("drivers_0", "drivers_1")

CONFIG = """\
apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {{name: drivers}}
spec:
  services:
  - name: mysql
    databaseMySQL: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}, db: drivers, poolSize: {pool}}}
    trafficStrategy: drivers
    dataShard: drivers
    compression: [zlib, zstd]
    limits: {{localInfile: true, queueWaitMs: 5000}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {{name: drivers}}
spec: {{selector: {{matchLabels: {{source: drivers}}}}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: ds_0, labels: {{source: drivers}}}}
spec: {{database: {{{kind}: {{host: 127.0.0.1, port: {direct}, user: {user}, password: {password}, db: drivers_0}}}}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: ds_1, labels: {{source: drivers}}}}
spec: {{database: {{{kind}: {{host: 127.0.0.1, port: {node}, user: {user}, password: {password}, db: drivers_1}}}}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DataShard
metadata: {{name: drivers}}
spec:
  transactions: {{acrossNodes: {across}}}
  # Rows of 21 MB are among those that wait for others.
  execution: {{memoryBytes: 268435456}}
  defaults: {{node: ds_0}}
  broadcastTables: [regions_a, regions_b, store_region]
  bindingTables: [[store_customer, store_profile, store_purchase, store_label]]
  singleTables: [{singles}]
  algorithms: {{four: {{type: MOD, props: {{sharding-count: 4}}}}}}
  keyGenerators: {{ids: {{type: SEGMENT}}}}
  rules:
{rules}"""

RULE = """\
  - tableName: {table}
    tableStrategy: {{tableShardingAlgorithmName: four, tableShardingColumn: {key}}}
    actualDatanodes: {{valueSource: {{expression: "ds_0.{table}_{{0..1}}, ds_1.{table}_{{2..3}}"}}}}
"""

# Those of Django's store, which its migrations make: customers, and beside them what is a customer's.
STORE = {"store_customer": "id", "store_profile": "customer_id", "store_purchase": "customer_id", "store_label": "customer_id"}

# Tables that are split, with their keys; of `GENERATED`, ids come from the service.
KEYS = {"numbers": "n", "types": "id", "big": "id", "sales": "id", "parts": "sale", "made": "id"}
GENERATED = ("sales", "store_customer")

# Beside those of schema.sql: ids that the server gives on one side, and the mesh on the other.
TABLES = (
    "CREATE TABLE sales_{s} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, region INT, total DECIMAL(10,2) NOT NULL DEFAULT 0, placed DATETIME(3), note VARCHAR(40) COLLATE utf8mb4_general_ci, kind ENUM('small','big') DEFAULT 'small', KEY customer (customer, placed)) COMMENT 'what was sold'",
    "CREATE TABLE parts_{s} (sale BIGINT UNSIGNED NOT NULL, line SMALLINT NOT NULL, name VARCHAR(30), pieces INT, PRIMARY KEY (sale, line), KEY name (name))",
    "CREATE TABLE regions_{s} (id INT NOT NULL PRIMARY KEY, name VARCHAR(20) NOT NULL)",
    "INSERT INTO regions_{s} VALUES (1, 'north {s}'), (2, 'south {s}'), (3, 'größe')",
)

# Of schema.sql, what is made in both worlds; routines are not served over shards.
ROUTINES = ("CREATE PROCEDURE", "CREATE FUNCTION", "CREATE TRIGGER")

# Programs that are about shards alone, and programs that bring schemas of their own, which are not served.
ONLY_HERE = ("sqlalchemy shards", "django store")
DRIVERS_NOT_HERE = {
    "django": "it makes a schema for its tests; `django store` is played in its place",
    "go's own tests": "they are in another schema",
    "mysql CLI": "dumps lock tables, and restore schemas; docs/sharding.md says what `mysqldump` needs",
    "mariadb CLI": "the same",
}
# What runs for every change, and of that only the scenarios of this module.
QUICK = {
    "mysql": ("pymysql", "mysql2", "go", "php pdo", "sqlalchemy shards", "django store"),
    "mariadb": ("mysqlclient", "mysql2", "sqlalchemy shards"),
}
# What single programs cannot do here, by the first word of their names.
LACKS = {"sqlalchemy": {"two phase": "a branch of the client's own is at one node", "reflect": "it lists all schemas of the server; `reflected` is played in its place"}}

# Scenarios of scenarios.py that are about what a sharded service does not serve; docs/sharding.md lists it.
NOT_HERE = {
    "connect without a schema": "a service that names a schema gives it to clients that name none",
    "schemas": "only the service's own schema is served",
    "prepared statements follow the schema": "the same",
    "change user": "the same",
    "procedures": "CALL is refused",
    "statements prepared by SQL": "PREPARE hides its text: refused",
    "several statements at once": "refused: one by one",
    "table locks": "LOCK TABLES and HANDLER are refused",
    "temporary tables": "a session with one is bound to a node",
    "SHOW and metadata": "routines and triggers are not made; `shards: what tools ask` is played in its place",
    "MariaDB's own statements": "compound statements are refused",
    "returning and sequences": "sequences are refused",
    "distributed transactions": "a branch of the client's own is at one node",
    "diagnostics": "a statement over shards leaves nothing on a connection: docs/sessions.md",
    "errors": "routines and other schemas are refused before a server looks; `shards: errors and warnings` is played in its place",
    "several statements refused": "what is said of the text is dbmesh's own",
    "user variables": "a name with a blank keeps its connection; `shards: state of the session` is played in its place",
    "types in text": "a server puts a blank behind `g IS NULL` when no column follows",
    # What is split has no order of its own.
    "found rows": "rows without ORDER BY come as shards give them",
    "comments and blanks": "the same, of TABLE … LIMIT",
}


def config(port, user, password, pool, kind, direct, node):
    """The resources of the service."""
    rules = ""
    names = [(table, key, f"{table}_{s}") for table, key in KEYS.items() for s in "ab"]
    for table, key, name in names + [(table, key, table) for table, key in STORE.items()]:
        rules += RULE.format(table=name, key=key)
        if table in GENERATED:
            rules += "    keyGenerator: {column: id, generator: ids}\n"
    singles = ", ".join(f"{{tableName: {table}_{s}, node: ds_1}}" for table in ("items", "moves") for s in "ab")
    # MariaDB promises no commit of all or none over several servers.
    across = {"mysql": "atomic", "mariadb": "bestEffort"}[kind]
    name = {"mysql": "MySQL", "mariadb": "MariaDB"}[kind]
    return CONFIG.format(port=port, user=user, password=password, pool=pool, kind=name, direct=direct, node=node, singles=singles, rules=rules, across=across)


def without_place(answer):
    """An answer whose errors do not name their shards, nor what dbmesh adds to a server's words."""
    if isinstance(answer, str):
        return re.sub(r" \((at ds_\d\.\w+|dbmesh: [^)]*)\)", "", answer)
    if isinstance(answer, dict):
        return {key: without_place(part) for key, part in answer.items()}
    return [without_place(part) for part in answer] if isinstance(answer, list) else answer


NOTE = "dbmesh: committed on 2 nodes one after the other, without a promise of all or none"


def without_note(one, other):
    """What the mesh said without the note of a commit by best effort, and without its being counted; `one` is the server's."""
    if isinstance(one, dict) and isinstance(other, dict):
        rows = other.get("rows")
        if isinstance(rows, list) and NOTE in repr(rows) and [row for row in rows if NOTE not in repr(row)] == (one.get("rows") or []):
            return one
        return type(other)((key, one[key] if is_note(key, one, part) else without_note(one.get(key), part)) for key, part in other.items())
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [without_note(*pair) for pair in zip(one, other)]
    return other


def is_note(key, one, count):
    """Whether a number of warnings has the note in it."""
    return key == "warnings" and isinstance(count, int) and count - 1 == one.get(key)


SALES = "INSERT INTO sales_{s} (customer, region, total, placed, note) VALUES (1, 1, 10.50, '2024-02-29 12:00:00.250', 'first'), (2, 2, 99.99, '2024-03-01', 'Second'), (1, NULL, 0, NULL, 'größe 😀'), (3, 3, 1234567.89, '2024-03-02 23:59:59.999', NULL), (2, 1, 5, '2024-03-03', 'second')"
PARTS = "INSERT INTO parts_{s} (sale, line, name, pieces) VALUES (1, 1, 'bolt', 5), (1, 2, 'nut', 6), (2, 1, 'bolt', 1), (3, 1, 'washer', NULL), (4, 1, 'nut', 40), (5, 1, 'bolt', 2), (6, 1, 'Nut', 3), (7, 1, NULL, 8)"


def keyed():
    yield scenario("shards: by key", [
        q(PARTS), q("SELECT * FROM parts_{s} WHERE sale = 1 ORDER BY line"), p("SELECT name, pieces FROM parts_{s} WHERE sale = ? AND line = ?", 2, 1),
        q("SELECT name FROM parts_{s} WHERE sale = ? ORDER BY line", 1), q("SELECT sale, line FROM parts_{s} WHERE sale IN (2, 5, 99) ORDER BY sale, line"), p("SELECT sale, line FROM parts_{s} WHERE sale IN (?, ?, ?) ORDER BY sale DESC, line", 1, 4, 7),
        p("SELECT COUNT(*), SUM(pieces) FROM parts_{s} WHERE sale BETWEEN ? AND ?", 2, 6), q("UPDATE parts_{s} SET pieces = pieces + 1 WHERE sale = 1"), p("UPDATE parts_{s} SET name = ? WHERE sale = ?", "screw", 2), p("UPDATE parts_{s} SET pieces = ?", 9),
        p("DELETE FROM parts_{s} WHERE sale = ?", 3), q("DELETE FROM parts_{s} WHERE sale IN (4, 5)"), q("REPLACE INTO parts_{s} VALUES (1, 1, 'new', 1), (9, 1, 'nine', 9)"), p("INSERT INTO parts_{s} VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE pieces = pieces + 1", 9, 1, "x", 1),
        q("INSERT INTO parts_{s} (sale, line, name) SELECT sale + 1, line + 10, name FROM parts_{s} WHERE sale = 1"), q("SELECT * FROM parts_{s} ORDER BY sale, line"), q("SELECT ROW_COUNT()"), q("TRUNCATE TABLE parts_{s}"), q("SELECT COUNT(*) FROM parts_{s}"),
    ])
    yield scenario("shards: statements kept", [
        q(PARTS), op("prepare", name="one", sql="SELECT name, pieces FROM parts_{s} WHERE sale = ? ORDER BY line"), op("prepare", name="all", sql="SELECT sale, name FROM parts_{s} WHERE pieces > ? ORDER BY sale, line LIMIT 4"), op("prepare", name="put", sql="INSERT INTO parts_{s} VALUES (?, ?, ?, ?)"), op("prepare", name="sum", sql="SELECT name, SUM(pieces), COUNT(*) FROM parts_{s} WHERE sale < ? GROUP BY name ORDER BY name"),
        *[op("run", name="one", args=[n]) for n in (1, 2, 3, 99, 4)], op("run", name="all", args=[1]), op("run", name="put", args=[20, 1, "twenty", 2]), op("run", name="put", args=[21, 1, None, None]), op("run", name="put", args=[20, 1, "again", 2]), op("run", name="sum", args=[30]), op("run", name="all", args=[5]), op("run", name="sum", args=[3]),
        q("SELECT 'between'"), op("run", name="one", args=["20"]), op("run", name="one", args=[None]), op("release", name="one"), op("run", name="all", args=[0]), op("release", name="all"), op("release", name="put"), op("release", name="sum"), q("SELECT 1"),
    ])
    yield scenario("shards: ids are generated", [
        q("INSERT INTO sales_{s} (customer) VALUES (1)"), q("SELECT LAST_INSERT_ID()"), q(SALES), q("SELECT LAST_INSERT_ID(), ROW_COUNT()", rows_only=True), p("INSERT INTO sales_{s} (customer, total) VALUES (?, ?)", 4, "1.5"), p("SELECT LAST_INSERT_ID(), ?", 1), q("INSERT INTO sales_{s} (id, customer) VALUES (NULL, ?), (0, ?)", 5, 6), q("SELECT LAST_INSERT_ID()"),
        op("batch", sql="INSERT INTO sales_{s} (customer, note) VALUES (?, ?)", rows=[[n, f"batch {n} {{s}}"] for n in range(12)]), q("SELECT id, customer, total, note FROM sales_{s} ORDER BY id"), op("begin"), q("INSERT INTO sales_{s} (customer) VALUES (77)"), q("SELECT LAST_INSERT_ID()"), op("commit"), q("SELECT customer FROM sales_{s} WHERE customer = 77"),
    ])
    yield scenario("shards: batches", [
        op("batch", sql="INSERT INTO parts_{s} (sale, line, name, pieces) VALUES (?, ?, ?, ?)", rows=[[n, n % 3, f"part {n} {{s}}", n] for n in range(60)]), q("SELECT COUNT(*), SUM(pieces), MAX(name) FROM parts_{s}"),
        op("batch", sql="UPDATE parts_{s} SET pieces = ? WHERE sale = ?", rows=[[n, n] for n in range(20)]), op("batch", sql="DELETE FROM parts_{s} WHERE sale = ?", rows=[[n] for n in range(10)]), q("SELECT COUNT(*), SUM(pieces) FROM parts_{s}"),
        op("batch", sql="INSERT INTO parts_{s} (sale, line, name, pieces) VALUES (?, ?, ?, ?)", rows=[[100, 1, "new", 1], [30, 0, "dup", 2]]), q("SELECT * FROM parts_{s} WHERE sale >= 30 AND pieces < 35 ORDER BY sale"),
    ])


def scattered():
    yield scenario("shards: rows of all", [
        q(PARTS), q("SELECT * FROM parts_{s} ORDER BY sale, line"), p("SELECT * FROM parts_{s} WHERE pieces >= ? ORDER BY pieces DESC, sale LIMIT 3", 2), p("SELECT sale FROM parts_{s} ORDER BY sale LIMIT ? OFFSET ?", 3, 2), q("SELECT n, name FROM numbers_{s} ORDER BY name DESC LIMIT 7"), q("SELECT n FROM numbers_{s} WHERE n % 100 = 0 ORDER BY -n"),
        q("SELECT name, COUNT(*), SUM(pieces), AVG(pieces), MIN(sale), MAX(line) FROM parts_{s} GROUP BY name ORDER BY name"), p("SELECT name, COUNT(*) AS many FROM parts_{s} GROUP BY name HAVING many > ? ORDER BY many DESC, name", 1), q("SELECT COUNT(DISTINCT name), COUNT(*), SUM(DISTINCT pieces) FROM parts_{s}"), q("SELECT DISTINCT name FROM parts_{s} ORDER BY name"),
        q("SELECT GROUP_CONCAT(name ORDER BY sale, line SEPARATOR '|') FROM parts_{s}"), p("SELECT AVG(n), STDDEV(n), BIT_XOR(n), ? AS x FROM numbers_{s}", "x"), q("SELECT COUNT(*) FROM numbers_{s}"), q("SELECT MAX(n) + 1 AS next, 'é' AS e FROM numbers_{s} WHERE n < 0"), q("SELECT sale FROM parts_{s} WHERE 1 = 0"),
        op("stream", sql="SELECT n, name FROM numbers_{s} ORDER BY n"), op("stream", sql="SELECT n FROM numbers_{s} WHERE n < 20 ORDER BY name"), q("SELECT 'after'"),
        op("cursor", sql="SELECT n, name FROM numbers_{s} WHERE n <= 25 ORDER BY n", size=10, args=[]), op("cursor", sql="SELECT n FROM numbers_{s} WHERE n > ? ORDER BY n", size=7, args=[990]), q("SELECT 'after'"),
    ])
    yield scenario("shards: rows of several tables", [
        q(PARTS), q("DELETE FROM sales_{s}"), q("INSERT INTO sales_{s} (id, customer, region, total, note) VALUES (1, 1, 1, 5, 'a'), (2, 1, 2, 6.5, 'B'), (3, 2, NULL, 7, 'b'), (6, 9, 3, 8, NULL)"),
        q("SELECT s.id, p.name, p.pieces FROM sales_{s} s JOIN parts_{s} p ON p.sale = s.id WHERE s.id = 1 ORDER BY p.line"), q("SELECT s.customer, COUNT(*), SUM(p.pieces) FROM sales_{s} s JOIN parts_{s} p ON p.sale = s.id GROUP BY s.customer ORDER BY 1", rows_only=True), p("SELECT s.id, r.name FROM sales_{s} s LEFT JOIN regions_{s} r ON r.id = s.region WHERE s.total > ? ORDER BY s.id", 5),
        q("SELECT a.id, b.id FROM sales_{s} a JOIN sales_{s} b ON a.customer = b.customer AND a.id < b.id"), p("SELECT id FROM sales_{s} WHERE id IN (SELECT sale FROM parts_{s} WHERE name = ?) ORDER BY id", "bolt"), q("SELECT id, total, SUM(total) OVER (ORDER BY id) AS running FROM sales_{s} ORDER BY id"), q("SELECT id FROM sales_{s} UNION SELECT sale FROM parts_{s} ORDER BY 1"),
        p("SELECT note, LENGTH(note), ? FROM sales_{s} ORDER BY note, id", 2.5), q("WITH c AS (SELECT customer, SUM(total) AS t FROM sales_{s} GROUP BY customer) SELECT * FROM c ORDER BY t"), q("SELECT customer, SUM(total) FROM sales_{s} GROUP BY customer WITH ROLLUP", rows_only=True), q("SELECT name FROM regions_{s} ORDER BY id"), p("SELECT COUNT(*) FROM regions_{s} WHERE id > ?", 1),
        q("SELECT i.id, n.name FROM items_{s} i JOIN numbers_{s} n ON n.n = i.id ORDER BY i.id"), p("SELECT EXISTS (SELECT 1 FROM parts_{s} WHERE pieces > ?) AS some", 39),
    ])
    yield scenario("shards: types", [
        *[q(f"INSERT INTO types_{{s}} ({scenarios.TYPE_NAMES}) VALUES {row}") for row in scenarios.TYPE_ROWS], p(scenarios.INSERT_TYPES + scenarios.MARKS + ")", *scenarios.ROW_ARGS),
        *[make(f"SELECT {one} FROM types_{{s}} {rest}") for one, rest in (("*", "ORDER BY id"), ("e, se, y, bt, n", "ORDER BY id DESC"), ("COUNT(*), MIN(da), MAX(dt), MIN(ti), MAX(ts), MIN(y), MAX(e), MAX(c), MIN(v)", ""), ("SUM(dec_), AVG(dec_), SUM(u64), AVG(i8), SUM(d), MAX(f)", ""), ("DISTINCT e", "ORDER BY e"), ("j, JSON_EXTRACT(j, '$.k')", "ORDER BY id"), ("id, HEX(bl), HEX(bi)", "ORDER BY bl, id")) for make in (q, p)],
        p("UPDATE types_{s} SET v = ?, dt = ?, dec_ = ? WHERE id > ?", "new 😀", "2020-02-02 02:02:02.5", "1.25", 1), p("SELECT v, dt, dec_ FROM types_{s} ORDER BY id LIMIT ?", 3),
    ])


def changed():
    yield scenario("shards: transactions", [
        op("begin"), q(PARTS), q("SELECT COUNT(*) FROM parts_{s}"), op("commit"), q("SELECT COUNT(*) FROM parts_{s}"), op("begin"), q("UPDATE parts_{s} SET pieces = 100"), p("SELECT SUM(pieces) FROM parts_{s} WHERE sale > ?", 0), q("SAVEPOINT one"), q("DELETE FROM parts_{s}"), q("SELECT COUNT(*) FROM parts_{s}"), q("ROLLBACK TO one"), q("SELECT COUNT(*) FROM parts_{s}"), op("rollback"), q("SELECT SUM(pieces) FROM parts_{s}"),
        op("autocommit", on=False), p("INSERT INTO parts_{s} VALUES (?, 1, 'x', 1)", 50), p("INSERT INTO parts_{s} VALUES (?, 1, 'y', 1)", 52), op("rollback"), q("SELECT COUNT(*) FROM parts_{s}"), q("INSERT INTO parts_{s} VALUES (50, 1, 'x', 1), (51, 1, 'y', 2)"), op("commit"), op("autocommit", on=True), q("SELECT COUNT(*) FROM parts_{s}"),
        q("START TRANSACTION READ ONLY"), q("SELECT MAX(sale) FROM parts_{s}"), q("DELETE FROM parts_{s} WHERE sale = 1"), q("COMMIT"), q("BEGIN"), q("SELECT name FROM parts_{s} WHERE sale = 2 FOR UPDATE"), q("INSERT INTO parts_{s} VALUES (2, 1, 'dup', 0)"), q("UPDATE parts_{s} SET name = 'locked' WHERE sale = 2"), q("UPDATE regions_{s} SET name = 'changed' WHERE id = 1"), q("COMMIT"), q("SELECT name FROM parts_{s} WHERE sale = 2"), q("SELECT name FROM regions_{s} WHERE id = 1"),
    ])
    yield scenario("shards: errors and warnings", [
        q(PARTS), q("INSERT INTO parts_{s} VALUES (1, 1, 'dup', 0)"), p("INSERT INTO parts_{s} VALUES (?, ?, ?, ?)", 5, 1, "dup", 0), q("INSERT INTO parts_{s} VALUES (30, 1, 'a', 0), (1, 2, 'dup', 0)"), q("SELECT COUNT(*) FROM parts_{s} WHERE sale = 30"), q("SELECT missing FROM parts_{s} WHERE sale = 1"), q("SELECT missing FROM parts_{s} ORDER BY sale"), p("SELECT name FROM parts_{s} WHERE missing = ?", 1), q("SELEC 1 FROM parts_{s}"),
        q("INSERT INTO parts_{s} VALUES (1)"), q("INSERT INTO parts_{s} VALUES (40, 99999, 'x', 0)"), q("UPDATE parts_{s} SET line = 99999 WHERE sale = 1"), q("INSERT INTO parts_{s} VALUES (41, 1, REPEAT('x', 31), 0)"), q("SELECT COUNT(*) FROM parts_missing_{s}"), q("INSERT IGNORE INTO parts_{s} VALUES (1, 1, 'dup', 0), (42, 1, 'new', 0)"), q("SHOW WARNINGS"), q("SELECT COUNT(*), CAST('x{s}' AS SIGNED) FROM parts_{s} WHERE sale = 1"), q("SHOW WARNINGS"), q("SHOW COUNT(*) WARNINGS"),
        q("SELECT (SELECT sale FROM parts_{s}) AS several"), q("SELECT 'still here'"),
    ])
    yield scenario("shards: found rows", [
        q(PARTS), q("UPDATE parts_{s} SET pieces = pieces"), q("SELECT ROW_COUNT()"), p("UPDATE parts_{s} SET pieces = 1 WHERE sale < ?", 4), p("UPDATE parts_{s} SET pieces = 1 WHERE sale < ?", 5), q("DELETE FROM parts_{s} WHERE sale > 5"), q("SELECT ROW_COUNT()"), q("SELECT n FROM numbers_{s} WHERE n <= 17 ORDER BY n"), q("SELECT FOUND_ROWS()", rows_only=True),
    ], connect={"found_rows_of": {"a": True, "b": False}})
    yield scenario("shards: files", [
        q("LOAD DATA LOCAL INFILE '{file}' INTO TABLE made_{s} (id, note)"), q("SHOW WARNINGS"), q("SELECT COUNT(*), SUM(id), MAX(note) FROM made_{s}"), q("LOAD DATA LOCAL INFILE '{file}' INTO TABLE made_{s} (id, note)"), q("SHOW COUNT(*) WARNINGS"), q("LOAD DATA LOCAL INFILE '{file}' INTO TABLE missing_{s} (id, note)"), q("SELECT COUNT(*) FROM made_{s}"),
    ], connect={"local": True})
    yield scenario("shards: definitions", [
        q("DROP TABLE IF EXISTS made_{s}"), q("CREATE TABLE made_{s} (id INT NOT NULL PRIMARY KEY, note VARCHAR(40))"), q("CREATE TABLE made_{s} (id INT NOT NULL PRIMARY KEY, note VARCHAR(40))"), q("INSERT INTO made_{s} VALUES (1, 'a'), (2, 'b'), (3, 'c')"), op("prepare", name="x", sql="SELECT * FROM made_{s} WHERE id = ?"), op("run", name="x", args=[1]), q("ALTER TABLE made_{s} ADD COLUMN more INT DEFAULT 7, ADD KEY note (note)"), op("run", name="x", args=[2]), q("SELECT * FROM made_{s} ORDER BY id"),
        q("SHOW COLUMNS FROM made_{s}"), q("CREATE INDEX twice ON made_{s} (more)"), q("ALTER TABLE made_{s} DROP COLUMN missing"), q("DROP INDEX twice ON made_{s}"), q("TRUNCATE TABLE made_{s}"), op("run", name="x", args=[2]), op("release", name="x"), q("SHOW CREATE TABLE made_{s}"), q("DROP TABLE made_{s}"), q("SELECT * FROM made_{s}"), q("CREATE TABLE made_{s} (id INT NOT NULL PRIMARY KEY, note VARCHAR(40))"),
    ])


def told():
    # What is said of the rows of SHOW and information_schema differs: they come from temporary tables.
    yield scenario("shards: what tools ask", [
        *[make(sql, *args, rows_only=True) for make, sql, *args in (
            (q, "SHOW TABLES LIKE '%s\\_{s}'"), (q, "SHOW FULL TABLES LIKE 'parts\\_{s}'"), (q, "SHOW COLUMNS FROM sales_{s}"), (q, "SHOW FULL COLUMNS FROM types_{s}"), (q, "SHOW CREATE TABLE parts_{s}"), (q, "DESCRIBE parts_{s} name"), (q, "EXPLAIN sales_{s}"), (q, "SHOW TABLES FROM drivers LIKE 'numbers%'"), (q, "SHOW DATABASES LIKE 'drivers'"),
            (q, "SELECT table_name AS t, column_name AS c, column_type AS y, is_nullable AS n, column_key AS k, extra AS e FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN ('sales_{s}', 'types_{s}') ORDER BY 1, ordinal_position"),
            (q, "SELECT constraint_name AS c, column_name AS n FROM information_schema.key_column_usage WHERE table_schema = ? AND table_name = ? ORDER BY 1, 2", "drivers", "parts_{s}"), (q, "SELECT table_type AS t, table_comment AS c FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", "sales_{s}"),
            (q, "SELECT index_name AS i, column_name AS c, seq_in_index AS s, non_unique AS n FROM information_schema.statistics WHERE table_schema = 'drivers' AND table_name = 'sales_{s}' ORDER BY 1, 3"), (q, "SELECT schema_name AS s FROM information_schema.schemata WHERE schema_name = 'drivers'"),
        )],
        q("SELECT DATABASE(), USER(), VERSION()"), q("SELECT DATABASE(), @@autocommit, COUNT(*) FROM parts_{s}"), q("SET @here = DATABASE()"), q("SELECT @here"), op("metadata", table="sales_{s}"), op("metadata", table="parts_{s}"), op("metadata", table="types_{s}"), q("CHECKSUM TABLE items_{s}"), q("CHECK TABLE items_{s}"),
    ])
    yield scenario("shards: state of the session", [
        q("SET @from = 10, SESSION group_concat_max_len = 2000"), q("SELECT COUNT(*) FROM numbers_{s} WHERE n > @from"), q("SELECT MAX(n) INTO @most FROM numbers_{s}"), q("SELECT @most, @from"), q("SET time_zone = '+03:00'"), q("SELECT FROM_UNIXTIME(n) FROM numbers_{s} ORDER BY n LIMIT 2"), q("SET SESSION sql_select_limit = 3"), q("SELECT n FROM numbers_{s} ORDER BY n"), q("SET SESSION sql_select_limit = DEFAULT, time_zone = DEFAULT"),
        q("SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'"), q("SELECT \"name\" || '!' FROM numbers_{s} WHERE n < 9 ORDER BY n"), q("SET sql_mode = DEFAULT"), op("ping"), op("same_id"), op("reset"), q("SELECT @from, @@session.group_concat_max_len"), q("SELECT n FROM numbers_{s} WHERE n IN (1, 2, 3, 4) ORDER BY n"), op("change_user", schema="drivers"), q("SELECT COUNT(*) FROM numbers_{s}"), op("reconnect"), q("SELECT MAX(name) FROM numbers_{s}"),
    ])
    for option in ("tls", "compress"):
        yield scenario(f"shards: {option} on", [q("SELECT name FROM numbers_{s} ORDER BY n"), p("SELECT name FROM numbers_{s} WHERE n = ?", 7), q("SELECT n, REPEAT('x', 300) FROM numbers_{s} WHERE n <= 300 ORDER BY n")], connect={option: True})
    yield scenario("shards: latin1 at connect", [q("SELECT 'é', name FROM regions_{s} ORDER BY id"), q("SELECT MAX(name), 'ü' FROM numbers_{s}"), p("INSERT INTO parts_{s} VALUES (1, 1, ?, 1)", "é"), p("SELECT name, HEX(name) FROM parts_{s} WHERE name = ? ORDER BY sale", "é")], connect={"charset": "latin1"})


def all_of(kind, file):
    """The scenarios of both modules, as sharded ones."""
    own = [one for group in (keyed, scattered, changed, told) for one in group() if kind in one["kinds"]]
    for one in scenarios.filled_in(own, kind, file):
        yield one | {"reset": reset(one["steps"])}
    for one in scenarios.all_of(kind, file):
        if one["name"] not in NOT_HERE:
            yield one


def reset(steps):
    """What brings the tables back; numbers of generated ids go on on both sides, as nothing is truncated there."""
    statements = ["SET lock_wait_timeout = 8"]
    text = repr(steps)
    for s in ("a", "b"):
        if "made_" in text:
            statements += [f"DROP TABLE IF EXISTS made_{s}", f"CREATE TABLE made_{s} (id INT NOT NULL PRIMARY KEY, note VARCHAR(40))"]
        statements += [f"DELETE FROM {table}_{s}" for table in ("sales", "parts", "types") if table + "_" in text]
        if "regions_" in text:
            statements.append(f"REPLACE INTO regions_{s} VALUES (1, 'north {s}'), (2, 'south {s}'), (3, 'größe')")
    return statements
