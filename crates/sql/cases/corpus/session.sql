# session: one statement a line, after the servers that accept its syntax (MySQL 9.7, MariaDB 10.11).
both| SET a = 1
both| SET @x = 1
both| SET @x := 1, @y = 'z'
both| SET @x = (SELECT MAX(a) FROM t)
both| SET @x = @y := 2
both| SET autocommit = ON
both| SET autocommit = 1, sql_mode = ''
both| SET SESSION sql_mode = 'ANSI'
both| SET LOCAL sql_mode = DEFAULT
both| SET GLOBAL max_connections = 100
both| SET @@sql_mode = 'ANSI'
both| SET @@session.sql_mode = CONCAT(@@sql_mode, ',ANSI'), @@global.max_connections = 5
both| SET @@local.autocommit = 0
both| SET GLOBAL hot.key_buffer_size = 1024
both| SET NAMES utf8mb4
both| SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'
both| SET NAMES DEFAULT
both| SET CHARSET 'utf8mb4'
both| SET CHARACTER SET DEFAULT
both| SET character_set_results = NULL
both| SET character_set_client = binary
both| SET TRANSACTION READ ONLY
both| SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
both| SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE
both| SET GLOBAL TRANSACTION READ WRITE
both| SET PASSWORD = 'x'
both| SET PASSWORD FOR 'u'@'%' = 'x'
both| SET time_zone = '+00:00', @x = 1, NAMES utf8mb4
both| SET sql_log_bin = 0
both| SET timestamp = DEFAULT
both| SET GLOBAL general_log = OFF
both| BEGIN WORK
both| START TRANSACTION
both| START TRANSACTION READ ONLY
both| START TRANSACTION WITH CONSISTENT SNAPSHOT
both| COMMIT
both| COMMIT WORK
both| COMMIT AND CHAIN
both| COMMIT AND NO CHAIN
both| COMMIT NO RELEASE
both| ROLLBACK
both| ROLLBACK WORK AND CHAIN NO RELEASE
both| ROLLBACK TO sp
both| ROLLBACK TO SAVEPOINT sp
both| ROLLBACK WORK TO SAVEPOINT `sp`
both| SAVEPOINT sp
both| RELEASE SAVEPOINT sp
both| XA START 'x'
both| XA BEGIN 'x', 'y', 3
both| XA START 'x' JOIN
both| XA END 'x'
both| XA END 'x' SUSPEND FOR MIGRATE
both| XA PREPARE 'x'
both| XA COMMIT 'x'
both| XA COMMIT 'x' ONE PHASE
both| XA ROLLBACK 'x'
both| XA RECOVER
both| LOCK TABLES t READ
both| LOCK TABLE t WRITE
both| LOCK TABLES t AS x READ LOCAL, s WRITE
mariadb| LOCK TABLES test.t x LOW_PRIORITY WRITE
both| UNLOCK TABLE
both| PREPARE p FROM 'SELECT 1'
both| PREPARE p FROM @x
both| EXECUTE p
both| EXECUTE p USING @x, @y
both| DEALLOCATE PREPARE p
both| DROP PREPARE p
both| USE test
both| USE `test`
both| HANDLER t OPEN
both| HANDLER test.t OPEN AS h
both| HANDLER h READ FIRST
both| HANDLER h READ ia = (1) LIMIT 5
both| HANDLER h READ ia NEXT WHERE b = 1
both| HANDLER h CLOSE
both| KILL 5
both| KILL CONNECTION 5
both| KILL QUERY 5
both| KILL @x
both| GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT
both| GET CURRENT DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT
both| SIGNAL SQLSTATE '45000'
both| SIGNAL SQLSTATE VALUE '45000' SET MESSAGE_TEXT = 'x', MYSQL_ERRNO = 1000
both| RESIGNAL
both| RESIGNAL SET MESSAGE_TEXT = 'y'
both| HELP 'contents'
mysql| SET PERSIST_ONLY port = 3306
both| SET @@PERSIST.max_connections = 100, @@PERSIST_ONLY.port = 3306
mysql| SET PASSWORD = 'x' REPLACE 'y' RETAIN CURRENT PASSWORD
mysql| SET PASSWORD TO RANDOM
mysql| SET ROLE DEFAULT
mysql| SET ROLE ALL EXCEPT 'r'
mysql| SET DEFAULT ROLE NONE TO 'u'@'%'
mysql| SET RESOURCE GROUP n
mysql| SET RESOURCE GROUP n FOR 1, 2
mysql| UNLOCK INSTANCE
mysql| RESTART
mariadb| SET STATEMENT max_statement_time = 1 FOR SELECT * FROM t
mariadb| SET DEFAULT ROLE r FOR 'u'@'%'
both| SET ROLE r
mariadb| EXECUTE IMMEDIATE 'SELECT 1'
mariadb| EXECUTE IMMEDIATE CONCAT('SELECT ', '1') USING 1
mariadb| PREPARE p FROM CONCAT('SELECT ', '1')
mariadb| KILL HARD CONNECTION 5
mariadb| KILL QUERY ID 5
mariadb| KILL USER 'u'@'%'
mariadb| LOCK TABLES t READ WAIT 5
mariadb| BEGIN NOT ATOMIC SELECT 1; SELECT 2; END
mariadb| IF 1 THEN SELECT 1; END IF
mariadb| BACKUP STAGE START
mariadb| BACKUP STAGE END
mariadb| BACKUP LOCK t
mariadb| SET STATEMENT max_statement_time = 1, sort_buffer_size = 1000 FOR UPDATE t SET a = 1
mariadb| SET STATEMENT max_statement_time = 1 FOR SHOW TABLES
