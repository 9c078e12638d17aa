//! The primary dies under load, a replica is promoted, and the old primary comes back as if nothing had happened.

use std::time::Duration;

use dbmesh_testkit::operator;

use crate::cluster::{Cluster, KINDS, NOTICE};
use crate::faultkit::client::Reply;
use crate::faultkit::eventually;
use crate::load::{self, Load, Told};

const CLIENTS: u64 = 12;

#[test]
fn a_killed_primary_costs_what_was_under_way_and_nothing_else() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let (mut open, mut committed) = (cluster.client(), cluster.client());
        for client in [&mut open, &mut committed] {
            assert_eq!(client.query("BEGIN"), Reply::Ok);
            let written = client.query("INSERT INTO app.ledger (op) VALUES (5000000000000)");
            assert_eq!(written, Reply::Ok);
        }
        let load = Load::start(cluster.stage.port, CLIENTS);
        load.run_on(500);
        servers[0].kill_9();
        let (best, promoted) = operator::promote_after_loss(&servers[1..]).unwrap();
        let new = best + 1;
        load.run_on(100);
        // The pools are made anew while the old primary is still away: who took its place is not forgotten.
        cluster.reload_with_other_pools();
        load.run_on(100);
        let writes = load.stop();
        let tally = load::check(&writes, servers[new]);
        let first = load::first_done_after(&writes, promoted).unwrap();
        println!("{kind}: {tally:?}, first write {first:?} after the promotion");
        assert_eq!(
            tally.refused,
            0,
            "{kind}: what was not sent waits: {:?}",
            refused(&writes)
        );
        assert!(tally.unknown <= CLIENTS as usize, "{kind}: {tally:?}");
        assert!(first < Duration::from_secs(5), "{kind}: {first:?}");

        // Transactions are lost, and said to be; a new connection finds the new primary.
        assert_transaction_lost(&open.query("INSERT INTO app.ledger (op) VALUES (-1)"));
        assert_eq!(
            committed
                .query("COMMIT")
                .code()
                .map(|c| c == 1105 || c == 2013),
            Some(true)
        );
        assert!(open.is_closed() && committed.is_closed());
        cluster.wait_for_primary(new);

        comes_back_writable(&cluster, new);
    }
}

/// The old primary starts with its old option file, and would take writes.
fn comes_back_writable(cluster: &Cluster, new: usize) {
    let servers = cluster.servers();
    let load = Load::start(cluster.stage.port, 4);
    servers[0].restart().unwrap();
    eventually("the old primary is fenced", NOTICE, || cluster.is_fenced(0));
    let before = cluster.statements(0);
    load.run_on(100);
    // Not even when there is no other: it may miss what was written since.
    operator::refuse_writes(servers[new]).unwrap();
    eventually("there is no primary", NOTICE, || {
        cluster
            .stage
            .metric("dbmesh_statements_waiting_for_primary")
            > 0.0
    });
    assert!(cluster.is_fenced(0));
    operator::allow_writes(servers[new]).unwrap();
    load.run_on(100);
    let writes = load.stop();
    assert!(
        writes.iter().all(|w| matches!(w.told, Told::Done)),
        "{:?}",
        refused(&writes)
    );
    assert_eq!(
        cluster.statements(0),
        before,
        "a fenced server gets no statement"
    );
    // The operator makes it a replica: now it is one like any other.
    operator::refuse_writes(servers[0]).unwrap();
    eventually("it is no longer fenced", NOTICE, || !cluster.is_fenced(0));
}

fn assert_transaction_lost(reply: &Reply) {
    let Reply::Error(e) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(e.code, 2013);
    assert!(
        e.message
            .contains("the transaction or session state on it is gone"),
        "{}",
        e.message
    );
}

fn refused(writes: &[load::Write]) -> Vec<&load::Write> {
    let failed = |w: &&load::Write| match &w.told {
        Told::Failed(e) => !load::says_unknown(e),
        _ => false,
    };
    writes.iter().filter(failed).take(3).collect()
}

#[test]
fn a_commit_under_way_when_the_primary_dies_is_unknown() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let mut client = cluster.client();
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            client.query("INSERT INTO app.ledger (op) VALUES (7)"),
            Reply::Ok
        );
        // A frozen server has the COMMIT and does not answer; then it dies.
        servers[0].pause();
        client.begin_query("COMMIT");
        servers[0].kill_9();
        let Reply::Error(e) = client.reply() else {
            panic!("{kind}: a COMMIT without an answer")
        };
        assert_eq!(
            (e.code, e.state.as_str()),
            (1105, "08007"),
            "{kind}: {}",
            e.message
        );
        let (best, _) = operator::promote_after_loss(&servers[1..]).unwrap();
        cluster.wait_for_primary(best + 1);
        assert_eq!(
            cluster
                .client()
                .query("INSERT INTO app.ledger (op) VALUES (8)"),
            Reply::Ok
        );
    }
}

/// Without semi-synchronous replication an acknowledged write may be gone. Nobody waits for it for ever.
#[test]
fn reads_do_not_wait_for_what_was_lost_with_the_primary() {
    let cluster = Cluster::asynchronous(KINDS[0], ", consistency: session");
    let servers = cluster.servers();
    for replica in &servers[1..] {
        replica.execute("STOP REPLICA IO_THREAD").unwrap();
    }
    let mut client = cluster.client();
    let write = "INSERT INTO app.ledger (op) VALUES (1)";
    assert_eq!(client.query(write), Reply::Ok);
    servers[0].kill_9();
    let (best, _) = operator::promote_after_loss(&servers[1..]).unwrap();
    cluster.wait_for_primary(best + 1);
    let replica = 2 - best;
    let read = "SELECT COUNT(*) FROM app.ledger";
    eventually("the session reads from the replica again", NOTICE, || {
        let before = cluster.statements(replica);
        assert_eq!(client.query(read).value(), "0");
        cluster.statements(replica) > before
    });
    // What it writes now, it sees.
    assert_eq!(client.query(write), Reply::Ok);
    assert_eq!(client.query(read).value(), "1");
}
