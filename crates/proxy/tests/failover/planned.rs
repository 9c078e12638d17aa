//! A planned switchover fails no statement of clients that commit by themselves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbmesh_testkit::operator;

use crate::cluster::{Cluster, KINDS};
use crate::faultkit::client::Reply;
use crate::load::{self, Load, Tally};

const CLIENTS: u64 = 16;

#[test]
fn a_planned_switchover_fails_no_statement() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let load = Load::start(cluster.stage.port, CLIENTS);
        load.run_on(500);
        operator::switch_over(servers[0], servers[1], &[servers[2]]).unwrap();
        load.run_on(500);
        // And on, while the pools are made anew.
        cluster.reload_with_other_pools();
        operator::switch_over(servers[1], servers[2], &[servers[0]]).unwrap();
        load.run_on(500);
        let writes = load.stop();
        cluster.wait_for_primary(2);
        let tally = load::check(&writes, servers[2]);
        println!("{kind}: {tally:?}, longest {:?}", load::longest(&writes));
        let all_done = Tally {
            done: writes.len(),
            ..Tally::default()
        };
        assert_eq!(tally, all_done, "{kind}");
        assert!(load::longest(&writes) < Duration::from_secs(10), "{kind}");
        assert!(!(0..3).any(|place| cluster.is_fenced(place)), "{kind}");
    }
}

#[test]
fn a_transaction_open_over_a_switchover_is_told() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let mut client = cluster.client();
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            client.query("INSERT INTO app.ledger (op) VALUES (1)"),
            Reply::Ok
        );
        // The old primary waits for nobody's transaction: it is the COMMIT that is refused.
        operator::switch_over(servers[0], servers[1], &[servers[2]]).unwrap();
        cluster.wait_for_primary(1);
        assert_eq!(client.query("COMMIT").code(), Some(1290), "{kind}");
        assert_eq!(client.query("ROLLBACK"), Reply::Ok, "{kind}");
        assert_eq!(
            client.query("INSERT INTO app.ledger (op) VALUES (2)"),
            Reply::Ok
        );
        assert_eq!(
            client
                .query("SELECT GROUP_CONCAT(op) FROM app.ledger")
                .value(),
            "2",
            "{kind}"
        );
    }
}

#[test]
fn a_session_with_state_on_the_old_primary_is_told_and_ended() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let mut client = cluster.client();
        let created = client.query("CREATE TEMPORARY TABLE app.mine (v INT) ENGINE=InnoDB");
        assert_eq!(created, Reply::Ok);
        operator::switch_over(servers[0], servers[1], &[servers[2]]).unwrap();
        cluster.wait_for_primary(1);
        // What it has there can still be read.
        let count = client.query("SELECT COUNT(*) FROM app.mine");
        assert_eq!(count.value(), "0", "{kind}");
        let write = "INSERT INTO app.ledger (op) VALUES (1)";
        assert_eq!(client.query(write).code(), Some(1290), "{kind}");
        assert_eq!(client.query(write).code(), Some(2013), "{kind}");
        assert!(client.is_closed(), "{kind}");
        assert_eq!(cluster.client().query(write), Reply::Ok, "{kind}");
    }
}

/// A transaction in which nothing has run is nobody's loss: it goes on at the new primary, as it was announced.
#[test]
fn a_transaction_only_announced_goes_on_at_the_new_primary() {
    const LEVEL: &str = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let announced = |statements: &[&str]| {
            let mut client = cluster.client();
            for statement in statements {
                let reply = client.query(statement);
                assert!(reply.code().is_none(), "{kind}: {statement}: {reply:?}");
            }
            client
        };
        let mut level = announced(&[LEVEL]);
        let mut read_only = announced(&["SET TRANSACTION READ ONLY"]);
        let mut level_begun = announced(&[LEVEL, "BEGIN", "SET @own = 7"]);
        let mut begun = announced(&["START TRANSACTION READ WRITE"]);
        let mut implicit = announced(&["SET autocommit = 0"]);
        let mut has_read = announced(&["BEGIN", "SELECT COUNT(*) FROM app.t"]);
        let mut has_savepoint = announced(&["BEGIN", "SAVEPOINT here"]);
        let mut has_snapshot = announced(&["START TRANSACTION WITH CONSISTENT SNAPSHOT"]);
        operator::switch_over(servers[0], servers[1], &[servers[2]]).unwrap();
        cluster.wait_for_primary(1);

        let write = |op: u32| format!("INSERT INTO app.ledger (op) VALUES ({op})");
        assert_eq!(level.query(&write(1)), Reply::Ok, "{kind}");
        // The answer of one server: it is in a transaction that only reads.
        assert_eq!(read_only.query(&write(2)).code(), Some(1792), "{kind}");
        let own = "INSERT INTO app.ledger (op) VALUES (@own)";
        assert_eq!(level_begun.query(own), Reply::Ok, "{kind}");
        assert_eq!(level_begun.query("COMMIT"), Reply::Ok, "{kind}");
        for client in [&mut begun, &mut implicit] {
            // It is open there: what it wrote can be taken back.
            assert_eq!(client.query(&write(3)), Reply::Ok, "{kind}");
            assert_eq!(client.query("ROLLBACK"), Reply::Ok, "{kind}");
            assert_eq!(client.query(&write(4)), Reply::Ok, "{kind}");
            assert_eq!(client.query("COMMIT"), Reply::Ok, "{kind}");
        }
        for client in [&mut has_read, &mut has_savepoint, &mut has_snapshot] {
            assert_eq!(client.query(&write(5)).code(), Some(1290), "{kind}");
        }
        let kept = "SELECT GROUP_CONCAT(op ORDER BY op) FROM app.ledger";
        let kept = servers[1].query_value(kept).unwrap();
        assert_eq!(kept.as_deref(), Some("1,4,4,7"), "{kind}");
    }
}

/// The same while the primary moves: what is announced again waits as other statements do.
#[test]
fn announced_transactions_wait_for_the_new_primary() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let ended = AtomicBool::new(false);
        let announce = [
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET TRANSACTION READ WRITE",
        ];
        let written: usize = std::thread::scope(|scope| {
            let write = |place: usize| {
                let (mut client, mut written) = (cluster.client(), 0);
                while !ended.load(Ordering::Relaxed) {
                    assert_eq!(client.query(announce[place % 2]), Reply::Ok, "{kind}");
                    let insert = format!("INSERT INTO app.ledger (op) VALUES ({place})");
                    assert_eq!(client.query(&insert), Reply::Ok, "{kind}");
                    written += 1;
                }
                written
            };
            let writers: Vec<_> = (0..4).map(|n| scope.spawn(move || write(n))).collect();
            std::thread::sleep(Duration::from_millis(300));
            let moved = operator::switch_over(servers[0], servers[1], &[servers[2]]);
            std::thread::sleep(Duration::from_millis(500));
            ended.store(true, Ordering::Relaxed);
            moved.unwrap();
            writers.into_iter().map(|w| w.join().unwrap()).sum()
        });
        let there = servers[1]
            .query_value("SELECT COUNT(*) FROM app.ledger")
            .unwrap();
        assert_eq!(there, Some(written.to_string()), "{kind}");
    }
}
