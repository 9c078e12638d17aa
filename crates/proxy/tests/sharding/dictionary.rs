//! What tools ask of a sharded service about its tables: SHOW, information_schema and COM_FIELD_LIST say what one server
//! says that has the tables under the client's names.

use dbmesh_testkit::server::Kind;
use dbmesh_wire::command::CommandCode;

use crate::ground::{Answer, Ground, KINDS, Options, column};

/// Of all servers.
const SHOWN: &str = "
    SHOW TABLES
    SHOW FULL TABLES
    SHOW TABLES LIKE 't\\_u%'
    SHOW TABLES FROM shop
    SHOW FULL TABLES IN shop LIKE '%o%'
    SHOW TABLES WHERE Tables_in_shop > 't_d'
    SHOW TABLES WHERE nothing = 1
    SHOW TABLES FROM nowhere
    SHOW TABLES FROM shop_1_
    SHOW DATABASES LIKE 'shop'
    SHOW DATABASES WHERE `Database` = 'shop'
    SHOW TRIGGERS
    SHOW TRIGGERS LIKE 't_order'
    SHOW EVENTS
    SHOW EVENTS FROM shop
    SHOW PROCEDURE STATUS WHERE Db = 'shop'
    SHOW FUNCTION STATUS LIKE 'none%'
    SHOW TABLE STATUS LIKE 'none%'
    SHOW INDEX FROM t_order
    SHOW INDEXES IN t_type FROM shop
    SHOW KEYS FROM shop.t_type WHERE Key_name <> 'PRIMARY'
    SHOW INDEX FROM t_conf FROM shop
    SHOW COLUMNS FROM t_item FROM shop
    SHOW COLUMNS FROM t_conf IN shop
    SHOW FULL COLUMNS FROM t_type FROM shop LIKE 'd%'
    DESCRIBE shop.t_item
    DESC t_item name
    EXPLAIN t_item
    SHOW CREATE DATABASE shop
    SHOW CREATE SCHEMA IF NOT EXISTS shop
    SHOW CREATE DATABASE nowhere
    SHOW COLUMNS FROM information_schema.tables LIKE 'TABLE\\_N%'
    USE nowhere
";

/// Of all servers, over their views.
const SELECTED: &str = "
    SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop'
    SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't_order'
    SELECT TABLE_NAME, ENGINE AS e FROM information_schema.TABLES WHERE DATABASE() = TABLE_SCHEMA ORDER BY TABLE_NAME DESC LIMIT 2
    SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop' AND table_name LIKE 't\\_order\\_%'
    SELECT COUNT(*) FROM information_schema.tables WHERE table_schema IN ('mysql', 'shop') AND TABLE_NAME IN ('t_user', 'user')
    SELECT column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, numeric_precision, column_type, column_key, extra, collation_name FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 't_type' ORDER BY ordinal_position
    SELECT c.* FROM information_schema.columns c WHERE c.table_schema = 'shop' AND c.table_name IN ('t_item', 't_dict') ORDER BY c.table_name, c.ordinal_position
    SELECT INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 't_type' ORDER BY 1, 3
    SELECT k.TABLE_NAME, k.COLUMN_NAME, t.CONSTRAINT_TYPE FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.TABLE_CONSTRAINTS t ON k.CONSTRAINT_NAME = t.CONSTRAINT_NAME AND k.TABLE_SCHEMA = t.TABLE_SCHEMA AND k.TABLE_NAME = t.TABLE_NAME WHERE k.TABLE_SCHEMA = 'shop' ORDER BY 1, 2, 3
    SELECT CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME, UNIQUE_CONSTRAINT_NAME, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop'
    SELECT CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'shop' AND REFERENCED_TABLE_NAME IS NOT NULL
    SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop' ORDER BY 1
    SELECT TABLE_NAME, PARTITION_NAME, PARTITION_ORDINAL_POSITION FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = 'shop'
    SELECT TABLE_SCHEMA, TABLE_NAME, IS_UPDATABLE FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'shop'
    SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop'
    SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'mysql'
    SELECT ENGINE, SUPPORT FROM information_schema.ENGINES WHERE ENGINE = 'InnoDB'
    SELECT CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE COLLATION_NAME = 'utf8mb4_bin'
    SELECT t.TABLE_NAME, (SELECT COUNT(*) FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME) AS n FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = 'shop' ORDER BY 1
    SELECT information_schema.tables.table_name FROM information_schema.tables WHERE information_schema.tables.table_schema = 'shop' ORDER BY 1
    WITH t AS (SELECT TABLE_NAME AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop') SELECT a.n FROM t a JOIN t b ON a.n = b.n ORDER BY 1
    SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' UNION SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 't_conf' ORDER BY 1
    SELECT nothing FROM information_schema.TABLES
    USE information_schema
    SELECT DATABASE(), table_name FROM tables WHERE table_schema = 'shop' ORDER BY 2
    SHOW TABLES LIKE 'TABLES'
    USE shop
    START TRANSACTION
    SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'shop'
    SHOW TABLES
    SELECT COUNT(*) FROM t_conf
    SHOW TABLES
    COMMIT
    SET NAMES latin1
    SHOW TABLES LIKE 't_c%'
";

/// A foreign key and a check, unnamed and named, on all shards and in the whole tables; a view of the one node.
fn with_constraints(ground: &Ground) {
    for (place, server) in ground.servers.iter().enumerate() {
        let schema = format!("shop_{place}");
        for shard in place * 4..place * 4 + 4 {
            for sql in of_constraints(&schema, &format!("_{shard}")) {
                server.execute(&sql).unwrap();
            }
        }
    }
    for sql in of_constraints("shop", "") {
        ground.servers[0].execute(&sql).unwrap();
    }
}

fn of_constraints(schema: &str, suffix: &str) -> [String; 3] {
    let item = format!("{schema}.t_item{suffix}");
    [
        format!("ALTER TABLE {item} ADD KEY owner (user_id)"),
        format!(
            "ALTER TABLE {item} ADD FOREIGN KEY (user_id) REFERENCES {schema}.t_user{suffix} (user_id) ON DELETE CASCADE"
        ),
        format!("ALTER TABLE {item} ADD CHECK (order_id > 0)"),
    ]
}

/// Without what hangs on how a server reads its own views, as their rows come or by way of a temporary table of its own: of
/// which inner table and column a column is, whether a text was computed and how long a TEXT may then be, whether an integer has four
/// bytes or eight, and the flags NOT NULL, BLOB and BINARY.
fn outer(answer: Answer) -> Answer {
    let Answer::Rows(columns, rows, status, warnings) = answer else {
        return answer;
    };
    let outer = |column: &String| {
        let own: Vec<&str> = column.splitn(4, '.').collect();
        let (name, numbers) = own[3].split_once(" [").unwrap();
        let mut numbers: Vec<&str> = numbers.split(", ").collect();
        if matches!(numbers[7], "252" | "253" | "254") {
            numbers[10] = "0";
        }
        // MariaDB's lists have room for `#mysql50#` before a table's name.
        if numbers[7] == "252" || name.starts_with("Tables_in_") {
            numbers[3..7].fill("0");
        }
        if numbers[7] == "3" {
            numbers[7] = "8";
        }
        let flags = (numbers[8].parse::<u8>().unwrap() & !0x91).to_string();
        numbers[8] = &flags;
        let (name, _) = name.split_once('.').unwrap();
        format!("{name} {numbers:?}")
    };
    Answer::Rows(columns.iter().map(outer).collect(), rows, status, warnings)
}

/// Runs statements on both sides, one a line, which must answer alike.
#[track_caller]
fn both(ground: &Ground, statements: &str) {
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let mut different = Vec::new();
    let lines = statements.lines().map(str::trim);
    for sql in lines.filter(|sql| !sql.is_empty()) {
        let (ours, theirs) = (outer(mesh.ask(sql)), outer(one.ask(sql)));
        if ours != theirs {
            let said = mesh.said.take().unwrap_or_default();
            different.push(format!(
                "{sql}\n  mesh: {ours:?} {said}\n  one:  {theirs:?}"
            ));
        }
    }
    let all = different.join("\n");
    assert!(different.is_empty(), "{:?}:\n{all}", ground.kind);
}

#[test]
fn tools_see_one_server() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        with_constraints(&ground);
        both(&ground, SHOWN);
        both(&ground, SELECTED);
        ground.both("SHOW CREATE TABLE t_item\nSHOW CREATE TABLE t_user");
        let mut mesh = ground.mesh();
        let listed = mesh.ask("SHOW DATABASES");
        let listed: Vec<_> = listed.rows().iter().flatten().flatten().collect();
        let own: Vec<_> = listed.iter().filter(|n| n.starts_with("shop")).collect();
        assert_eq!(own, [&&"shop".to_owned()], "{listed:?}");
        assert!(matches!(mesh.ask("USE shop_1"), Answer::Error(1049)));
        let why = mesh.refused("SELECT * FROM information_schema.innodb_trx");
        assert!(why.contains("describes one server"), "{why}");
        let why = mesh.refused("SELECT * FROM t_user u JOIN information_schema.tables t ON 1 = 1");
        assert!(why.contains("in one statement"), "{why}");
    }
}

#[test]
fn rows_of_all_shards_count() {
    let ground = Ground::new(Kind::MySql, &Options::default());
    let mut mesh = ground.mesh();
    for user in 1..=40 {
        mesh.ask(&format!("INSERT INTO t_user (user_id) VALUES ({user})"));
    }
    for (place, server) in ground.servers.iter().enumerate() {
        for shard in place * 4..place * 4 + 4 {
            let sql = format!("ANALYZE TABLE shop_{place}.t_user_{shard}");
            server.query(&sql).unwrap();
        }
    }
    let number = |answer: &Answer, column: usize| -> u64 {
        let [row] = answer.rows() else {
            panic!("{answer:?}")
        };
        row[column].as_deref().unwrap().parse().unwrap()
    };
    let status = mesh.ask("SHOW TABLE STATUS LIKE 't_user'");
    assert_eq!(number(&status, 4), 40);
    assert_eq!(number(&status, 5), 8 * 16384 / 40);
    assert_eq!(number(&status, 6), 8 * 16384);
    let sql = "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_NAME = 't_user'";
    assert_eq!(number(&mesh.ask(sql), 0), 40);
    let sql =
        "SELECT SUM(DATA_LENGTH) FROM information_schema.PARTITIONS WHERE TABLE_NAME = 't_user'";
    assert_eq!(number(&mesh.ask(sql), 0), 8 * 16384);
}

#[test]
fn fields_are_listed_by_the_command_for_it() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        let asked = |client: &mut crate::ground::Client, table: &str| -> Vec<String> {
            let mut packet = vec![CommandCode::FieldList as u8];
            packet.extend_from_slice(table.as_bytes());
            packet.extend_from_slice(b"\0%");
            client.raw.command(&packet);
            let mut said = Vec::new();
            loop {
                let payload = client.raw.packet().unwrap();
                match payload.first() {
                    Some(0xFE) => return said,
                    Some(0xFF) => return vec!["error".to_owned()],
                    _ => said.push(column(&payload)),
                }
            }
        };
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for table in ["t_order", "t_type", "t_dict", "t_conf", "t_nothing"] {
            assert_eq!(
                asked(&mut mesh, table),
                asked(&mut one, table),
                "{kind:?}: {table}"
            );
        }
        assert_eq!(mesh.ask("SELECT 1"), one.ask("SELECT 1"));
    }
}
