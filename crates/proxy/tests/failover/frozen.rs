//! The primary freezes, another takes its place, and it wakes up with statements that it had received before.

use dbmesh_testkit::operator;

use crate::cluster::{Cluster, KINDS, NOTICE};
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::load;

#[test]
fn what_a_frozen_primary_answers_late_reaches_nobody() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, "");
        let servers = cluster.servers();
        let (mut writer, mut owner) = (cluster.client(), cluster.client());
        assert_eq!(owner.query("BEGIN"), Reply::Ok);
        assert_eq!(
            owner.query("INSERT INTO app.ledger (op) VALUES (1)"),
            Reply::Ok
        );
        assert_eq!(
            writer.query("INSERT INTO app.ledger (op) VALUES (2)"),
            Reply::Ok
        );
        servers[0].pause();
        writer.begin_query("INSERT INTO app.ledger (op) VALUES (3)");
        // A client that comes later waits, and is answered by the new primary.
        let mut later = cluster.client();
        later.begin_query("INSERT INTO app.ledger (op) VALUES (4)");
        let frozen = std::time::Instant::now();
        eventually("the frozen primary is missed", NOTICE, || {
            cluster
                .stage
                .proxy
                .metric("dbmesh_endpoint_up", "server-0")
                .unwrap()
                == Some(0.0)
        });
        println!("{kind}: found frozen after {:?}", frozen.elapsed());
        let (best, _) = operator::promote_after_loss(&servers[1..]).unwrap();
        let new = best + 1;
        cluster.wait_for_primary(new);

        // What it had received is given up as soon as another one is the primary, not when it wakes up.
        assert_unknown(&mut writer);
        assert_unknown_or_done(&mut later);
        let before = cluster.statements(0);
        servers[0].resume();
        eventually("it is fenced", NOTICE, || cluster.is_fenced(0));
        // Nor does a transaction that was open there go on.
        let reply = owner.query("COMMIT");
        assert!(
            matches!(reply.code(), Some(2013 | 1105)),
            "{kind}: {reply:?}"
        );
        assert!(owner.is_closed());
        everybody_gets_their_own(&cluster, new, writer);
        assert_eq!(
            cluster.statements(0),
            before,
            "{kind}: a fenced server gets no statement"
        );
    }
}

/// Later statements are answered by the new primary, each with its own answer, and are there.
fn everybody_gets_their_own(cluster: &Cluster, new: usize, mut writer: RawClient) {
    for op in 10..60 {
        let mut fresh = cluster.client();
        let client = if op % 2 == 0 { &mut fresh } else { &mut writer };
        let own = client.query(&format!("SELECT {op}")).value();
        assert_eq!(own, op.to_string(), "its own answer");
        let written = client.query(&format!("INSERT INTO app.ledger (op) VALUES ({op})"));
        assert_eq!(written, Reply::Ok);
    }
    let there = |place: usize| {
        let count = "SELECT COUNT(*) FROM app.ledger WHERE op >= 10";
        cluster.servers()[place].query_value(count).unwrap()
    };
    assert_eq!(there(new).as_deref(), Some("50"));
    assert_eq!(there(0).as_deref(), Some("0"));
}

fn assert_unknown(client: &mut RawClient) {
    let reply = client.reply();
    let Reply::Error(e) = &reply else {
        panic!("{reply:?}")
    };
    assert!(load::says_unknown(e), "{e:?}");
}

/// It may have been sent to the frozen server over a connection of the pool, or have waited.
fn assert_unknown_or_done(client: &mut RawClient) {
    match client.reply() {
        Reply::Ok => {}
        Reply::Error(e) => assert!(load::says_unknown(&e), "{e:?}"),
        other => panic!("{other:?}"),
    }
}
