# dml: one statement a line, after the servers that accept its syntax (MySQL 9.7, MariaDB 10.11).
both| INSERT INTO t (a, b) VALUES (1, 2)
both| INSERT LOW_PRIORITY INTO t (a, b) VALUES (1, 2)
both| INSERT HIGH_PRIORITY INTO t (a, b) VALUES (1, 2)
both| INSERT IGNORE INTO t (a, b) VALUES (1, 2)
both| INSERT DELAYED INTO t (a, b) VALUES (1, 2)
both| INSERT LOW_PRIORITY IGNORE INTO t (a, b) VALUES (1, 2)
both| REPLACE INTO t (a, b) VALUES (1, 2)
both| REPLACE LOW_PRIORITY INTO t (a, b) VALUES (1, 2)
both| REPLACE DELAYED INTO t (a, b) VALUES (1, 2)
both| INSERT INTO t VALUES (1, 2, 3, 4)
both| INSERT t VALUES (1, 2)
both| INSERT INTO t VALUE (1, 2)
both| INSERT INTO t () VALUES ()
both| INSERT INTO t VALUES (), ()
both| INSERT INTO t (a) VALUES (1), (2), (3)
both| INSERT INTO t (a, b) VALUES (DEFAULT, NULL), (1 + 1, (SELECT MAX(b) FROM s))
both| INSERT INTO t (a, b) VALUES (?, ?), (?, ?)
both| INSERT INTO test.t (a) VALUES (NOW())
both| INSERT INTO t SET a = 1
both| INSERT INTO t SET a = 1, b = DEFAULT, c = a + 1
both| INSERT INTO t SET t.a = 1
both| INSERT INTO t SELECT * FROM s
both| INSERT INTO t (a, b) SELECT a, b FROM s WHERE a > 1
both| INSERT INTO t (a) (SELECT a FROM s)
both| INSERT INTO t (SELECT a FROM s)
both| INSERT INTO t (a) ((SELECT a FROM s))
both| INSERT INTO t (a) SELECT 1 UNION SELECT 2
both| INSERT INTO t (a) (SELECT 1) UNION (SELECT 2)
both| INSERT INTO t (a) WITH c AS (SELECT 1 AS x) SELECT x FROM c
both| INSERT INTO t PARTITION (p0) VALUES (1)
both| INSERT INTO t PARTITION (p0, p1) (a, b) SELECT a, b FROM s
both| INSERT INTO t (a) SELECT a FROM s ORDER BY a LIMIT 10
both| INSERT INTO t (a) SELECT a FROM s FOR UPDATE
both| INSERT INTO `t` (`a`, `b`) VALUES ('x', "y"), (x'41', b'1'), (-1, 1.5e3), (TRUE, @v)
mysql| INSERT INTO t TABLE s
mysql| INSERT INTO t (a) TABLE s
mysql| INSERT INTO t VALUES ROW(1, 2), ROW(3, 4)
mysql| INSERT INTO t (a) VALUES ROW(1)
mysql| INSERT INTO t (a, b) SELECT * FROM (VALUES ROW(1, 2)) AS x(m, n)
mariadb| INSERT INTO t (a) VALUES (1) RETURNING a
mariadb| INSERT INTO t (a) VALUES (1), (2) RETURNING a, b + 1 AS c
mariadb| INSERT INTO t SELECT * FROM s RETURNING *
mariadb| INSERT INTO t SET a = 1 RETURNING a
mariadb| INSERT INTO t (a) VALUES (IGNORE)
both| REPLACE INTO t VALUES (1, 2, 3, 4)
both| REPLACE t VALUES (1, 2)
both| REPLACE INTO t VALUE (1, 2)
both| REPLACE INTO t () VALUES ()
both| REPLACE INTO t VALUES (), ()
both| REPLACE INTO t (a) VALUES (1), (2), (3)
both| REPLACE INTO t (a, b) VALUES (DEFAULT, NULL), (1 + 1, (SELECT MAX(b) FROM s))
both| REPLACE INTO t (a, b) VALUES (?, ?), (?, ?)
both| REPLACE INTO test.t (a) VALUES (NOW())
both| REPLACE INTO t SET a = 1
both| REPLACE INTO t SET a = 1, b = DEFAULT, c = a + 1
both| REPLACE INTO t SET t.a = 1
both| REPLACE INTO t SELECT * FROM s
both| REPLACE INTO t (a, b) SELECT a, b FROM s WHERE a > 1
both| REPLACE INTO t (a) (SELECT a FROM s)
both| REPLACE INTO t (SELECT a FROM s)
both| REPLACE INTO t (a) ((SELECT a FROM s))
both| REPLACE INTO t (a) SELECT 1 UNION SELECT 2
both| REPLACE INTO t (a) (SELECT 1) UNION (SELECT 2)
both| REPLACE INTO t (a) WITH c AS (SELECT 1 AS x) SELECT x FROM c
both| REPLACE INTO t PARTITION (p0) VALUES (1)
both| REPLACE INTO t PARTITION (p0, p1) (a, b) SELECT a, b FROM s
both| REPLACE INTO t (a) SELECT a FROM s ORDER BY a LIMIT 10
both| REPLACE INTO t (a) SELECT a FROM s FOR UPDATE
both| REPLACE INTO `t` (`a`, `b`) VALUES ('x', "y"), (x'41', b'1'), (-1, 1.5e3), (TRUE, @v)
mysql| REPLACE INTO t TABLE s
mysql| REPLACE INTO t (a) TABLE s
mysql| REPLACE INTO t VALUES ROW(1, 2), ROW(3, 4)
mysql| REPLACE INTO t (a) VALUES ROW(1)
mysql| REPLACE INTO t (a, b) SELECT * FROM (VALUES ROW(1, 2)) AS x(m, n)
mariadb| REPLACE INTO t (a) VALUES (1) RETURNING a
mariadb| REPLACE INTO t (a) VALUES (1), (2) RETURNING a, b + 1 AS c
mariadb| REPLACE INTO t SELECT * FROM s RETURNING *
mariadb| REPLACE INTO t SET a = 1 RETURNING a
mariadb| REPLACE INTO t (a) VALUES (IGNORE)
both| INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2
both| INSERT INTO t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b) + b
both| INSERT INTO t (a) VALUES (1), (2) ON DUPLICATE KEY UPDATE a = a + 1, b = DEFAULT, c = IF(a > 1, VALUES(c), c)
both| INSERT INTO t SET a = 1 ON DUPLICATE KEY UPDATE b = 2
both| INSERT INTO t (a) SELECT a FROM s ON DUPLICATE KEY UPDATE b = s.b
both| INSERT INTO t (a, b) SELECT a, b FROM s AS x ON DUPLICATE KEY UPDATE t.b = x.b, t.c = t.c + 1
both| INSERT INTO t (a, b) SELECT s.a, t1.b FROM s JOIN t1 ON s.a = t1.a ON DUPLICATE KEY UPDATE b = 1
both| INSERT IGNORE INTO t (a) SELECT DISTINCT a FROM s GROUP BY a HAVING COUNT(*) > 1
both| INSERT INTO t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)
both| INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE b = (SELECT MAX(b) FROM s)
both| UPDATE t SET a = 1
both| UPDATE t SET a = 1, b = 2 WHERE c = 3
both| UPDATE t SET a = a + 1 ORDER BY b DESC LIMIT 1
both| UPDATE t SET a = DEFAULT WHERE b IS NULL
both| UPDATE t AS x SET x.a = 1 WHERE x.b = 2
both| UPDATE t x SET a = 1
both| UPDATE test.t SET test.t.a = 1
both| UPDATE LOW_PRIORITY t SET a = 1
both| UPDATE IGNORE t SET a = 1
both| UPDATE t PARTITION (p0) SET a = 1
both| UPDATE t USE INDEX (ia) SET a = 1 WHERE a = 2
both| UPDATE t SET a = (SELECT MAX(a) FROM s) WHERE b IN (SELECT b FROM s)
both| UPDATE t, s SET t.a = s.a WHERE t.b = s.b
both| UPDATE t JOIN s ON t.a = s.a SET t.b = s.b
both| UPDATE t LEFT JOIN s USING (a) SET t.b = 1 WHERE s.a IS NULL
both| UPDATE t JOIN (SELECT a, MAX(b) AS m FROM s GROUP BY a) AS x ON x.a = t.a SET t.b = x.m
both| UPDATE t AS x JOIN s AS y ON x.a = y.a SET x.b = y.b, y.c = 1
both| UPDATE t SET a = ?, b = ? WHERE id = ?
both| UPDATE t SET a = CASE b WHEN 1 THEN 2 ELSE a END WHERE b IN (1, 2) LIMIT 5
both| UPDATE (t, s) SET t.a = 1 WHERE t.b = s.b
both| UPDATE t SET a := 1
both| UPDATE t SET a = @x := 1
both| DELETE FROM t
both| DELETE FROM t WHERE a = 1
both| DELETE FROM t WHERE a = 1 ORDER BY b LIMIT 1
both| DELETE FROM t ORDER BY a DESC LIMIT 10
both| DELETE FROM test.t WHERE a IN (SELECT a FROM s)
both| DELETE LOW_PRIORITY FROM t
both| DELETE QUICK FROM t
both| DELETE IGNORE FROM t WHERE a = 1
both| DELETE LOW_PRIORITY QUICK IGNORE FROM t
both| DELETE FROM t PARTITION (p0, p1) WHERE a = 1
both| DELETE t FROM t
both| DELETE t FROM t JOIN s ON t.a = s.a
both| DELETE t, s FROM t JOIN s ON t.a = s.a WHERE t.b = 1
both| DELETE t.*, s.* FROM t, s WHERE t.a = s.a
both| DELETE x FROM t AS x JOIN s AS y ON x.a = y.a
both| DELETE FROM t USING t JOIN s ON t.a = s.a
both| DELETE FROM t, s USING t JOIN s ON t.a = s.a WHERE s.b = 1
both| DELETE FROM x USING t AS x, s WHERE x.a = s.a
both| DELETE FROM t.*, s.* USING t, s WHERE t.a = s.a
both| DELETE test.t FROM test.t WHERE a = 1
both| DELETE t FROM t LEFT JOIN s ON t.a = s.a WHERE s.a IS NULL
both| DELETE FROM t WHERE a = ? LIMIT 1
both| DELETE QUICK t FROM t, s WHERE t.a = s.a
both| DO 1
both| DO SLEEP(0)
both| DO 1, 2 + 3, (SELECT 1)
both| DO RELEASE_LOCK('x'), @x := 1
both| CALL p1()
both| CALL p1
both| CALL p1(1, 'x', @out)
both| CALL test.p1(?, NOW())
mysql| INSERT INTO t (a) VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a
mysql| INSERT INTO t (a, b) VALUES (1, 2), (3, 4) AS new(m, n) ON DUPLICATE KEY UPDATE b = m + n
mysql| INSERT INTO t SET a = 1 AS new ON DUPLICATE KEY UPDATE b = new.a
mysql| INSERT INTO t (a) VALUES (1) AS new
both| INSERT INTO t SELECT * FROM (SELECT 1 AS a, 2 AS b) AS dt ON DUPLICATE KEY UPDATE b = dt.b
mysql| WITH c AS (SELECT 1 AS x) UPDATE t SET a = (SELECT x FROM c)
mysql| WITH c AS (SELECT 1 AS x) UPDATE t JOIN c ON t.a = c.x SET t.b = 1
mysql| WITH c AS (SELECT 1 AS x), d AS (SELECT x FROM c) DELETE FROM t WHERE a IN (SELECT x FROM d)
mysql| WITH RECURSIVE c AS (SELECT 1 AS x UNION SELECT x + 1 FROM c WHERE x < 3) DELETE t FROM t JOIN c ON t.a = c.x
mysql| DELETE FROM t AS x WHERE x.a = 1
mysql| DELETE FROM t x WHERE x.a = 1 LIMIT 1
mysql| DELETE FROM t AS x PARTITION (p0) WHERE x.a = 1
mysql| UPDATE t JOIN LATERAL (SELECT t.a AS z) AS x SET t.b = x.z
mysql| REPLACE INTO t WITH c AS (SELECT 1 AS x) TABLE c
both| INSERT /*+ SET_VAR(sort_buffer_size = 16M) */ INTO t (a) VALUES (1)
both| UPDATE /*+ NO_MERGE(x) */ t JOIN (SELECT 1 AS a) AS x SET t.a = x.a
both| DELETE /*+ MAX_EXECUTION_TIME(10) */ FROM t
mariadb| DELETE FROM t WHERE a = 1 RETURNING a, b
mariadb| DELETE FROM t RETURNING *
mariadb| DELETE FROM t ORDER BY a LIMIT 1 RETURNING UPPER(a) AS x
mariadb| INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUE(a) RETURNING a
mariadb| DELETE FROM per FOR PORTION OF p FROM '2024-01-01' TO '2024-02-01'
mariadb| UPDATE per FOR PORTION OF p FROM '2024-01-01' TO '2024-02-01' SET a = 1
both| REPLACE DELAYED INTO t VALUES (1)
mariadb| INSERT INTO t (a) VALUES (NEXT VALUE FOR sq)
