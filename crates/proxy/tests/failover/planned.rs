//! A planned switchover fails no statement of clients that commit by themselves.

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
