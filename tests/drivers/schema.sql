-- What every scenario finds: made anew, on the server itself, before each run of a driver's program.
-- `{s}` stands for the session: the tables of session a and of session b are apart, so that answers do
-- not depend on who was first.
CREATE TABLE items_{s} (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60), price DECIMAL(12,2), seen TIMESTAMP NULL, UNIQUE KEY name (name));
INSERT INTO items_{s} (name, price) VALUES ('one {s}', 1.10), ('two {s}', 22.20), ('three {s}', 333.30);
CREATE TABLE moves_{s} (id BIGINT AUTO_INCREMENT PRIMARY KEY, item INT UNSIGNED, note TEXT, KEY item (item));
CREATE TABLE types_{s} (id INT PRIMARY KEY, i8 TINYINT, i16 SMALLINT, i24 MEDIUMINT, i32 INT, u32 INT UNSIGNED, i64 BIGINT, u64 BIGINT UNSIGNED, dec_ DECIMAL(30,10), f FLOAT, d DOUBLE, da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP(6) NULL, y YEAR, c CHAR(10), v VARCHAR(100), tx LONGTEXT, bl LONGBLOB, bi BINARY(4), vb VARBINARY(20), bt BIT(17), j JSON, e ENUM('red','grün','blue'), se SET('x','y','z'), g POINT, n INT);
CREATE TABLE big_{s} (id INT PRIMARY KEY, body LONGBLOB);
CREATE TABLE numbers_{s} (n INT PRIMARY KEY, name VARCHAR(20));
INSERT INTO numbers_{s} WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 1000) SELECT n, CONCAT('number ', n) FROM c;
CREATE PROCEDURE results_{s}(IN low INT) BEGIN SELECT n, name FROM numbers_{s} WHERE n >= low ORDER BY n LIMIT 3; SELECT 'second' AS what, low AS low; END;
CREATE PROCEDURE out_{s}(IN a INT, OUT b INT, INOUT c VARCHAR(40)) BEGIN SET b = a * 2; SET c = CONCAT(c, '-', a); END;
CREATE PROCEDURE state_{s}() BEGIN SET @from_routine = '{s}'; SET SESSION sql_select_limit = 7; SELECT @from_routine; END;
CREATE PROCEDURE fails_{s}() BEGIN SELECT 'before' AS a; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'said {s}', MYSQL_ERRNO = 31000; END;
CREATE FUNCTION twice_{s}(a INT) RETURNS INT DETERMINISTIC RETURN a * 2;
CREATE TRIGGER log_{s} AFTER UPDATE ON items_{s} FOR EACH ROW INSERT INTO moves_{s} (item, note) VALUES (NEW.id, CONCAT('was ', OLD.name));
