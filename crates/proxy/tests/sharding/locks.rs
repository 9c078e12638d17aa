//! Definitions that wait for tables in use, beside changes over several nodes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dbmesh_testkit::server::{Kind, Server};

use crate::faultkit::client::{Credentials, RawClient};
use crate::faultkit::eventually;
use crate::ground::{Answer, Client, Ground, KINDS, Options};

/// How long anything may take that does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

fn ground(kind: Kind) -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        ..Options::default()
    };
    Ground::new(kind, &options)
}

/// A session whose answers come within the patience.
fn client(ground: &Ground) -> Client {
    let client = ground.mesh();
    client.raw.patience(PATIENCE);
    client
}

/// A statement whose answer is asked for later.
fn beside(port: u16, sql: &str) -> JoinHandle<(Answer, Option<String>)> {
    let sql = sql.to_owned();
    std::thread::spawn(move || {
        let credentials = Credentials::app().schema("shop");
        let mut client = Client::of(RawClient::logged_in(port, &credentials));
        client.raw.patience(PATIENCE);
        (client.ask(&sql), client.said)
    })
}

/// Waits until a definition waits for a table, or none does.
fn waits(server: &Server, any: bool) {
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%' AND state LIKE 'Waiting for table metadata%'";
    eventually("a definition waits", PATIENCE, || {
        (server.query_value(sql).unwrap().as_deref() != Some("0")) == any
    });
}

#[test]
fn a_circle_of_changes_and_a_definition_over_nodes_ends() {
    for kind in KINDS {
        let ground = ground(kind);
        let (mut one, mut other) = (client(&ground), client(&ground));
        for (client, sql) in [
            (&mut one, "INSERT INTO t_user (user_id) VALUES (8)"),
            (&mut other, "INSERT INTO t_user (user_id) VALUES (12)"),
        ] {
            client.ask("BEGIN");
            assert_eq!(client.ask(sql).done(), 1);
        }
        let altering = beside(ground.stage.port, "ALTER TABLE t_user ADD COLUMN more INT");
        for server in &ground.servers {
            waits(server, true);
        }
        // Each needs now what the other has, behind the definition.
        one.raw
            .begin_query("INSERT INTO t_user (user_id) VALUES (20)");
        other
            .raw
            .begin_query("INSERT INTO t_user (user_id) VALUES (16)");
        for client in [&mut one, &mut other] {
            assert_eq!(client.answer().done(), 1, "{kind:?}: {:?}", client.said);
        }
        for client in [&mut one, &mut other] {
            assert!(matches!(client.ask("COMMIT"), Answer::Done(..)), "{kind:?}");
        }
        let (answer, said) = altering.join().unwrap();
        assert!(matches!(answer, Answer::Done(..)), "{kind:?}: {said:?}");
        let sql = "SELECT COUNT(*), COUNT(more) FROM t_user";
        let rows = client(&ground).ask(sql).rows().to_vec();
        assert_eq!(
            rows,
            [[Some("4".to_owned()), Some("0".to_owned())]],
            "{kind:?}"
        );
        limits_are_as_they_were(&ground);
    }
}

#[test]
fn definitions_come_through_beside_changes_of_all_nodes() {
    for kind in KINDS {
        let ground = ground(kind);
        let stop = AtomicBool::new(false);
        let slowest = std::thread::scope(|scope| {
            let writers = (1..=4).map(|writer| {
                let (ground, stop) = (&ground, &stop);
                scope.spawn(move || write(ground, writer * 1_000_000, stop))
            });
            let writers: Vec<_> = writers.collect();
            let altered = std::panic::catch_unwind(|| {
                let mut mesh = client(&ground);
                for column in 0..6 {
                    let sql = format!("ALTER TABLE t_user ADD COLUMN c{column} INT");
                    let answer = mesh.ask(&sql);
                    assert!(
                        matches!(answer, Answer::Done(..)),
                        "{kind:?}: {answer:?} {:?}",
                        mesh.said
                    );
                }
            });
            stop.store(true, Ordering::Relaxed);
            let writers = writers.into_iter().map(|writer| writer.join().unwrap());
            let slowest = writers.max();
            altered.unwrap();
            slowest
        });
        assert!(slowest.is_some_and(|one| one < PATIENCE), "{kind:?}");
    }
}

/// Inserts rows of all nodes, each statement by itself, and gives the longest time of one.
fn write(ground: &Ground, first: u32, stop: &AtomicBool) -> Duration {
    let (mut mesh, mut key, mut slowest) = (client(ground), first, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let row = |place: u32| format!("({})", key + place);
        let rows: Vec<String> = (0..8).map(row).collect();
        let begun = Instant::now();
        let answer = mesh.ask(&format!(
            "INSERT INTO t_user (user_id) VALUES {}",
            rows.join(", ")
        ));
        assert_eq!(answer.done(), 8, "{:?}", mesh.said);
        slowest = slowest.max(begun.elapsed());
        key += 8;
    }
    slowest
}

/// Sessions on all connections have the limit of their server.
fn limits_are_as_they_were(ground: &Ground) {
    for (server, key) in ground.servers.iter().zip([8, 12]) {
        let global = server
            .query_value("SELECT @@global.lock_wait_timeout")
            .unwrap();
        let sql = format!("SELECT @@lock_wait_timeout, COUNT(*) FROM t_user WHERE user_id = {key}");
        for _ in 0..20 {
            let rows = client(ground).ask(&sql).rows().to_vec();
            assert_eq!(rows[0][0], global, "{:?}", ground.kind);
        }
    }
}

#[test]
fn who_waits_behind_a_definition_passes_it_whatever_tables_it_is_of() {
    for kind in KINDS {
        let ground = ground(kind);
        for (table, there, place) in [
            ("t_conf", "t_conf", 1),
            ("t_dict", "t_dict", 0),
            ("t_user", "t_user_4", 1),
        ] {
            let reader = ground.servers[place].session().unwrap();
            reader.execute("BEGIN").unwrap();
            reader
                .query(&format!("SELECT * FROM shop_{place}.{there}"))
                .unwrap();
            let alter = format!("ALTER TABLE {table} ADD COLUMN more INT");
            let altering = beside(ground.stage.port, &alter);
            waits(&ground.servers[place], true);
            let sql = match table {
                "t_user" => "SELECT COUNT(*) FROM t_user WHERE user_id = 4".to_owned(),
                // A change is at every node that has a copy.
                _ => format!("INSERT INTO {table} (id) VALUES (1)"),
            };
            let answer = client(&ground).ask(&sql);
            assert!(
                !matches!(answer, Answer::Error(_)),
                "{kind:?}: {table}: {answer:?}"
            );
            assert!(!altering.is_finished(), "{kind:?}: {table}");
            reader.execute("COMMIT").unwrap();
            let (answer, said) = altering.join().unwrap();
            assert!(matches!(answer, Answer::Done(..)), "{kind:?}: {said:?}");
        }
        limits_are_as_they_were(&ground);
    }
}

#[test]
fn a_definition_waits_for_no_longer_than_its_session_would() {
    for kind in KINDS {
        let ground = ground(kind);
        let reader = ground.servers[1].session().unwrap();
        reader.execute("BEGIN").unwrap();
        reader.query("SELECT * FROM shop_1.t_user_4").unwrap();
        let mut mesh = client(&ground);
        mesh.ask("SET lock_wait_timeout = 4");
        let alter = "ALTER TABLE t_user ADD COLUMN more INT";
        assert_eq!(mesh.ask(alter), Answer::Error(1205), "{kind:?}");
        let said = mesh.said.take().unwrap();
        assert!(said.contains("not at ds_1.t_user_4;"), "{kind:?}: {said}");
        let limit = mesh.ask("SELECT @@lock_wait_timeout").rows().to_vec();
        assert_eq!(limit, [[Some("4".to_owned())]], "{kind:?}");
        if kind == Kind::MariaDb {
            let at_once = "ALTER TABLE t_conf NOWAIT ADD COLUMN more INT";
            reader.query("SELECT * FROM shop_1.t_conf").unwrap();
            assert_eq!(client(&ground).ask(at_once), Answer::Error(1205));
        }

        // KILL QUERY ends it.
        let mut killed = client(&ground);
        let id = killed.ask("SELECT CONNECTION_ID()").rows()[0][0].clone();
        killed.raw.begin_query(alter);
        waits(&ground.servers[1], true);
        client(&ground).ask(&format!("KILL QUERY {}", id.unwrap()));
        assert_eq!(killed.answer(), Answer::Error(1317), "{kind:?}");
        waits(&ground.servers[1], false);
        reader.execute("COMMIT").unwrap();
        assert!(matches!(mesh.ask(alter), Answer::Done(..)), "{kind:?}");
    }
}

#[test]
fn a_query_that_is_its_own_transaction_locks_nothing_at_any_level() {
    for kind in KINDS {
        let ground = ground(kind);
        let mut mesh = client(&ground);
        let fill = "INSERT INTO t_user (user_id, score) VALUES (8, 1), (12, 1)";
        assert_eq!(mesh.ask(fill).done(), 2);
        let fill = "INSERT INTO t_order (id, user_id) VALUES (1, 8), (1, 12), (2, 1)";
        assert_eq!(mesh.ask(fill).done(), 3);
        // Somebody changes rows of both nodes.
        let writers: Vec<_> = [(0, 0), (1, 4)]
            .map(|(node, shard): (usize, usize)| {
                let writer = ground.servers[node].session().unwrap();
                writer.execute("BEGIN").unwrap();
                let sql = format!("UPDATE shop_{node}.t_user_{shard} SET score = 2");
                writer.execute(&sql).unwrap();
                writer
            })
            .into();
        mesh.ask("SET innodb_lock_wait_timeout = 2");
        let query = "SELECT u.user_id, o.user_id FROM t_user u JOIN t_order o ON u.score = o.id ORDER BY 1, 2";
        let expected = [[8, 8], [8, 12], [12, 8], [12, 12]]
            .map(|row| row.map(|id: u32| Some(id.to_string())).to_vec());
        let said = |mesh: &mut Client, before: &str, level: &str| {
            let set = format!("SET {before} TRANSACTION ISOLATION LEVEL {level}");
            assert!(matches!(mesh.ask(&set), Answer::Done(..)), "{kind:?}");
            let answer = mesh.ask(query);
            let Answer::Rows(_, rows, ..) = answer else {
                panic!("{kind:?}: {set}: {answer:?} {:?}", mesh.said);
            };
            rows
        };
        for before in ["SESSION", ""] {
            for level in ["READ COMMITTED", "SERIALIZABLE", "REPEATABLE READ"] {
                let rows = said(&mut mesh, before, level);
                assert_eq!(rows, expected, "{kind:?}: {before} {level}");
            }
        }
        // Who asks for it reads what is not committed.
        let rows = said(&mut mesh, "SESSION", "READ UNCOMMITTED");
        assert_eq!(rows.len(), 2, "{kind:?}");
        // The session has its level, and in its transactions SERIALIZABLE waits as on one server.
        mesh.ask("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE");
        mesh.ask("BEGIN");
        assert_eq!(mesh.ask(query), Answer::Error(1205), "{kind:?}");
        mesh.ask("ROLLBACK");
        drop(writers);
    }
}
