//! What a session bounds its statements by: its limit of rows, its read-only mode, how many warnings it keeps.

use crate::ground::{Answer, Client, Ground, KINDS, Options, alike};
use crate::prepared::{execute, prepare};
use dbmesh_testkit::server::Kind;

/// Changes of several nodes are one change, where servers can do that.
fn options(kind: Kind) -> Options {
    let data_shard: &[&str] = match kind {
        Kind::MySql => &["transactions: {acrossNodes: atomic}"],
        Kind::MariaDb => &["transactions: {acrossNodes: bestEffort}"],
    };
    Options {
        data_shard,
        durable: true,
        ..Options::default()
    }
}

fn filled(kind: Kind) -> Ground {
    let ground = Ground::new(kind, &options(kind));
    let rows = |n: i32, row: &dyn Fn(i32) -> String| {
        let rows: Vec<String> = (0..n).map(row).collect();
        rows.join(", ")
    };
    let orders = rows(40, &|i| {
        format!("({i}, {}, {}, 'n{}')", i % 11, i % 7, i % 5)
    });
    let items = rows(20, &|i| {
        format!("({i}, {}, {}, 'i{}')", i % 11, i * 2, i % 3)
    });
    let users = rows(11, &|i| format!("({i}, 'u{i}', {})", i * 10));
    ground.both(&format!(
        "INSERT INTO t_order (id, user_id, total, note) VALUES {orders}
         INSERT INTO t_item VALUES {items}
         INSERT INTO t_user VALUES {users}
         INSERT INTO t_dict VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')
         INSERT INTO t_conf (v) VALUES ('a'), ('b'), ('c'), ('d'), ('e')"
    ));
    ground
}

/// Reads of every kind of plan.
const READS: &str = "
    SELECT id FROM t_order ORDER BY id
    SELECT id FROM t_order ORDER BY id LIMIT 5
    SELECT id FROM t_order ORDER BY total DESC, id
    SELECT id FROM t_order WHERE user_id = 3 ORDER BY id
    SELECT note, COUNT(*) FROM t_order GROUP BY note ORDER BY note
    SELECT note, COUNT(*), AVG(total) FROM t_order GROUP BY note ORDER BY note LIMIT 1, 4
    SELECT user_id, COUNT(*) FROM t_order GROUP BY user_id ORDER BY user_id
    SELECT COUNT(*), MIN(note) FROM t_order
    SELECT COUNT(DISTINCT note) FROM t_order
    SELECT DISTINCT note FROM t_order ORDER BY note
    SELECT id FROM t_order UNION ALL SELECT id FROM t_item ORDER BY id
    (SELECT id FROM t_order) ORDER BY id
    (SELECT id FROM t_order ORDER BY id LIMIT 4)
    SELECT o.id, i.id FROM t_order o JOIN t_item i ON o.id = i.order_id ORDER BY o.id, i.id
    SELECT note, COUNT(*) c FROM t_order GROUP BY note HAVING c > 1 ORDER BY note
    SELECT id FROM t_order WHERE note IN (SELECT name FROM t_item) OR total IN (SELECT order_id FROM t_item) ORDER BY id
    SELECT COUNT(*) FROM (SELECT id FROM t_order) o
    SELECT id, RANK() OVER (ORDER BY total) FROM t_order ORDER BY id
    SELECT word FROM t_dict ORDER BY id
    SELECT v FROM t_conf ORDER BY id
    SELECT d.word, COUNT(*) FROM t_dict d JOIN t_order o ON o.total = d.id GROUP BY d.word ORDER BY d.word
    SHOW COLUMNS FROM t_order
    SHOW COLUMNS FROM t_conf
    SELECT @@sql_select_limit > 4
";

/// Changes of every kind of plan.
const CHANGES: &str = "
    UPDATE t_order SET note = CONCAT(note, 'x')
    UPDATE t_order SET total = (SELECT MAX(score) FROM t_user) WHERE id < 30
    UPDATE t_order o JOIN t_item i ON o.id = i.order_id SET o.note = i.name
    UPDATE t_order SET user_id = 3 WHERE user_id IN (1, 2)
    INSERT INTO t_item SELECT id + 100, user_id + 1, id, 'x' FROM t_order
    DELETE FROM t_item WHERE order_id IN (SELECT id FROM t_order WHERE id > 35)
    UPDATE t_dict SET word = CONCAT(word, '!')
    SELECT COUNT(*) FROM t_item
";

#[test]
fn a_limit_of_rows_is_of_the_answer() {
    for kind in KINDS {
        let ground = filled(kind);
        ground.both(&format!(
            "SET sql_select_limit = 3\n{READS}\nBEGIN\n{READS}\nCOMMIT\nSET autocommit = 0\n{READS}\nCOMMIT\nSET autocommit = 1
             {CHANGES}\n{READS}\nSET sql_select_limit = DEFAULT\n{READS}\n{CHANGES}\n{READS}
             SET sql_select_limit = 0
             SELECT id FROM t_order
             SELECT COUNT(*) FROM t_order
             SELECT o.id FROM t_order o JOIN t_item i ON o.id = i.order_id
             UPDATE t_order SET total = (SELECT MIN(score) FROM t_user)
             SET sql_select_limit = DEFAULT\n{READS}"
        ));
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let sql = "SELECT id FROM t_order ORDER BY id";
        let ask = |client: &mut Client| {
            let (id, ..) = prepare(client, sql).unwrap();
            let mut answers = Vec::new();
            for limit in ["2", "DEFAULT", "4"] {
                client.ask(&format!("SET sql_select_limit = {limit}"));
                answers.push(execute(client, id, &[], sql));
            }
            answers
        };
        assert_eq!(ask(&mut mesh), ask(&mut one), "{kind:?}");
        // What is remembered of one session's statement is not cut for another's.
        let single = "SELECT id FROM t_order WHERE user_id = 4 ORDER BY id";
        for limit in ["1", "DEFAULT", "2"] {
            let set = format!("SET sql_select_limit = {limit}");
            for sql in [set.as_str(), single, single] {
                alike(kind, sql, &mut mesh, &mut one);
            }
            assert!(ground.mesh().ask(single).rows().len() > 2, "{kind:?}");
        }
    }
}

#[test]
fn read_only_sessions_read_everything() {
    for kind in KINDS {
        let ground = filled(kind);
        ground.both(&format!(
            "SET SESSION TRANSACTION READ ONLY\n{READS}\n{CHANGES}\nSET autocommit = 0\n{READS}\nCOMMIT\nSET autocommit = 1
             INSERT INTO t_item SELECT id, user_id, id, 'x' FROM t_order WHERE id < 0
             START TRANSACTION READ ONLY\n{READS}\n{CHANGES}\nCOMMIT
             SET SESSION TRANSACTION READ WRITE
             START TRANSACTION READ ONLY\n{READS}\n{CHANGES}\nCOMMIT\n{CHANGES}\n{READS}"
        ));
        // The connections were given back, and are used again.
        let mut mesh = ground.mesh();
        mesh.ask("SET SESSION TRANSACTION READ ONLY");
        let connected = || {
            let connected = |server: &dbmesh_testkit::server::Server| {
                let asked = "SHOW GLOBAL STATUS LIKE 'Connections'";
                let row = server.query(asked).unwrap().remove(0);
                row[1].as_deref().unwrap().parse::<u64>().unwrap()
            };
            ground.servers.iter().map(connected).sum::<u64>()
        };
        let gathered = "SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.total = b.total";
        mesh.ask(gathered);
        let before = connected();
        for _ in 0..10 {
            mesh.ask(gathered);
        }
        // Each look is a connection.
        assert!(connected() - before <= 4, "{kind:?}");
    }
}

/// What clients say of their own tables and warnings, each of which some servers do not know.
const SAID: [&str; 12] = [
    "sql_require_primary_key = 1",
    "sql_generate_invisible_primary_key = 1",
    "default_tmp_storage_engine = MEMORY",
    "innodb_strict_mode = 0",
    "max_error_count = 0",
    "sql_notes = 0",
    "explicit_defaults_for_timestamp = 0",
    "show_create_table_verbosity = 1",
    "sql_quote_show_create = 0",
    "group_concat_max_len = 4",
    "max_sort_length = 4",
    "sql_big_selects = 1",
];

#[test]
fn what_is_said_of_a_clients_own_tables_is_not_of_those_of_the_mesh() {
    for kind in KINDS {
        let ground = filled(kind);
        for said in SAID {
            let name = said.split(' ').next().unwrap();
            ground.both(&format!(
                "SET {said}\n{CHANGES}
                 SELECT o.id, i.id FROM t_order o JOIN t_item i ON o.id = i.order_id ORDER BY o.id, i.id
                 SELECT note, COUNT(*) c FROM t_order GROUP BY note HAVING c > 1 ORDER BY note
                 SELECT GROUP_CONCAT(note ORDER BY id) FROM t_order
                 SET {name} = DEFAULT"
            ));
        }
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let all = "UPDATE t_order SET note = 'all'";
        for sql in [
            "SET sql_safe_updates = 1",
            all,
            "UPDATE t_order SET note = 'some' WHERE user_id = 3 AND id = 3",
            "INSERT INTO t_item SELECT id + 500, user_id + 1, id, 'x' FROM t_order",
        ] {
            alike(kind, sql, &mut mesh, &mut one);
        }
        let why = mesh.refused("UPDATE t_order SET total = (SELECT MAX(score) FROM t_user)");
        assert!(why.contains("sql_safe_updates"), "{why}");
        for sql in [
            "SET sql_safe_updates = 0",
            all,
            "SET completion_type = CHAIN",
        ] {
            alike(kind, sql, &mut mesh, &mut one);
        }
        // Nothing stays open behind a change of dbmesh's own.
        assert!(mesh.refused(all).contains("completion_type"));
        for sql in [
            "BEGIN",
            "UPDATE t_order SET note = 'some' WHERE user_id = 3",
            "COMMIT",
            "UPDATE t_order SET note = 'none' WHERE user_id = 3",
            "ROLLBACK",
            "SELECT note FROM t_order WHERE user_id = 3 ORDER BY id",
            "ROLLBACK",
            "SET completion_type = NO_CHAIN",
            "ROLLBACK",
            all,
        ] {
            alike(kind, sql, &mut mesh, &mut one);
        }
    }
}

#[test]
fn warnings_are_those_of_one_server() {
    for kind in KINDS {
        let ground = filled(kind);
        // Nodes that do not commit as one say so in a warning: all rows are of one there.
        let placed = |rows: &str| match kind {
            Kind::MySql => rows.to_owned(),
            Kind::MariaDb => rows.replace(", 4,", ", 8,").replace(", 12,", ", 10,"),
        };
        let rows =
            "(1, 1, 'zz'), (2, 2, 'b'), (3, 3, 'zz'), (4, 4, 'zz'), (9, 9, 'zz'), (12, 12, 'zz')";
        let rows = placed(rows);
        let clear = "DELETE FROM t_order WHERE user_id IN (1, 2, 3, 8, 9, 10)";
        ground.both(&format!(
            "DELETE FROM t_order WHERE user_id > -1
             {clear}
             INSERT IGNORE INTO t_order (id, user_id, kind) VALUES {rows}
             SHOW WARNINGS /* order by row */
             SHOW COUNT(*) WARNINGS
             {clear}
             DELETE FROM t_order WHERE user_id IN (4, 12)
             SET max_error_count = 1
             INSERT IGNORE INTO t_order (id, user_id, kind) VALUES {rows}
             SHOW WARNINGS
             SHOW COUNT(*) WARNINGS
             {clear}
             DELETE FROM t_order WHERE user_id IN (4, 12)
             SET max_error_count = 0
             INSERT IGNORE INTO t_order (id, user_id, kind) VALUES {rows}
             SHOW WARNINGS
             SET max_error_count = DEFAULT
             SELECT id FROM t_order WHERE user_id = n'3'
             SHOW WARNINGS
             SELECT id FROM t_order WHERE id = '3abc'
             SHOW WARNINGS
             SELECT id, 1 / 0 FROM t_order ORDER BY id
             SHOW WARNINGS
             SELECT id FROM t_order WHERE CONCAT('v', id) = 0 ORDER BY id
             SHOW WARNINGS
             SELECT id FROM t_order WHERE id = 1 && user_id = 1
             SHOW WARNINGS
             SELECT id FROM t_order WHERE JSON_ARRAY(id) BETWEEN '10' AND 'x' ORDER BY id
             SHOW WARNINGS
             SELECT id FROM t_order WHERE JSON_ARRAY(id) ORDER BY id
             SHOW WARNINGS
             SELECT MAX(id) AS user_id, COUNT(*) FROM t_order GROUP BY user_id ORDER BY 1, 2
             SHOW WARNINGS"
        ));
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        let failing = [
            "(21, 1, 'a'), (22, 2, 'zz'), (23, 3, 'a')",
            "(21, 4, 'a'), (22, 3, 'b'), (23, 2, 'zz'), (24, 1, 'zz'), (25, 12, 'zz')",
            "(21, 8, 'a'), (22, 16, 'b'), (23, 1, 'a'), (24, 24, 'zz'), (25, 2, 'zz')",
            "(21, 1, 'a'), (22, 2, 'b'), (12, 12, 'a'), (24, 3, 'b')",
        ];
        for begin in ["SET autocommit = 1", "BEGIN"] {
            alike(kind, begin, &mut mesh, &mut one);
            for rows in failing.map(placed) {
                let sql = format!("INSERT INTO t_order (id, user_id, kind) VALUES {rows}");
                let (ours, theirs) = (mesh.refused(&sql), one.refused(&sql));
                assert!(
                    ours.starts_with(&theirs),
                    "{kind:?}: {sql}: {ours}; {theirs}"
                );
                alike(kind, "SELECT COUNT(*) FROM t_order", &mut mesh, &mut one);
            }
        }
    }
}

#[test]
fn a_clock_that_is_the_servers_again_binds_to_no_node() {
    for kind in KINDS {
        let ground = filled(kind);
        ground.both(
            "SET timestamp = 1700000000
             SELECT NOW()
             SET timestamp = DEFAULT
             SELECT COUNT(*) FROM t_order
             UPDATE t_order SET note = 'x'
             SET SESSION timestamp = 1700000000
             SET @@timestamp = DEFAULT
             SELECT COUNT(*) FROM t_order",
        );
        let mut mesh = ground.mesh();
        mesh.ask("SET timestamp = 1700000000");
        let why = mesh.refused("SELECT COUNT(*) FROM t_order");
        assert!(why.contains("bound to node"), "{why}");
        mesh.ask("SET rand_seed1 = 5, timestamp = DEFAULT");
        // The other variable is still the session's alone.
        assert!(matches!(
            mesh.ask("SELECT COUNT(*) FROM t_order"),
            Answer::Error(1235)
        ));
    }
}

#[test]
fn what_servers_say_of_a_single_table_has_the_services_schema() {
    for kind in KINDS {
        let ground = filled(kind);
        ground.both(
            "CHECK TABLE t_conf
             ANALYZE TABLE t_conf
             CHECKSUM TABLE t_conf
             OPTIMIZE TABLE t_conf
             CHECK TABLE shop.t_conf FOR UPGRADE
             BEGIN
             UPDATE t_conf SET v = 'z' WHERE id = 1
             ANALYZE TABLE t_conf
             ROLLBACK
             SELECT v FROM t_conf ORDER BY id",
        );
    }
}
