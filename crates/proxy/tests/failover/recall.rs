//! A proxy that starts again while a deposed primary takes writes.

use std::path::Path;

use dbmesh_testkit::operator;

use crate::cluster::{Cluster, KINDS, NOTICE};
use crate::faultkit::eventually;

fn mentions(path: &Path, what: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(what))
}

#[test]
fn a_restarted_proxy_remembers_who_was_deposed() {
    let folder = dbmesh_testkit::folder::Folder::create("recall").unwrap();
    for kind in KINDS {
        let path = folder.path().join(format!("{kind}.json"));
        let mut cluster = Cluster::asynchronous(kind, "");
        cluster.restart_proxy(&["--state", path.to_str().unwrap()]);
        cluster.wait_for_primary(0);
        eventually("the primary is written down", NOTICE, || {
            mentions(&path, "\"primary\": \"server-0@")
        });
        let old = cluster.fleet.primary();
        old.kill_9();
        let servers = cluster.servers();
        let (best, _) = operator::promote_after_loss(&servers[1..]).unwrap();
        let new = best + 1;
        cluster.wait_for_primary(new);
        eventually("so is who lost its place", NOTICE, || {
            mentions(&path, &format!("\"primary\": \"server-{new}@"))
                && mentions(&path, "\"server-0@")
        });
        // The old one comes back and takes writes; so does the new one. Without its memory, the proxy would take the first.
        old.restart().unwrap();
        cluster.restart_proxy(&["--state", path.to_str().unwrap()]);
        cluster.wait_for_primary(new);
        eventually("the old one is fenced", NOTICE, || cluster.is_fenced(0));
        // Once it has given up its place, it is a candidate as any other.
        operator::refuse_writes(old_of(&cluster)).unwrap();
        eventually("it is forgiven", NOTICE, || {
            !cluster.is_fenced(0) && !mentions(&path, "\"server-0@")
        });
    }
}

fn old_of(cluster: &Cluster) -> &dbmesh_testkit::Server {
    cluster.fleet.primary()
}

#[test]
fn who_was_deposed_is_on_the_disk_before_the_next_primary_has_a_write() {
    let folder = dbmesh_testkit::folder::Folder::create("recall-first").unwrap();
    for kind in KINDS {
        let path = folder.path().join(format!("{kind}.json"));
        let mut cluster = Cluster::asynchronous(kind, "");
        cluster.restart_proxy(&["--state", path.to_str().unwrap()]);
        cluster.wait_for_primary(0);
        let mut client = cluster.client();
        cluster.fleet.primary().kill_9();
        let servers = cluster.servers();
        let writing = std::thread::spawn(move || {
            // It waits for the new primary; what was under way at the old one may be lost.
            loop {
                let reply = client.query("INSERT INTO app.ledger (op) VALUES (1)");
                if reply.code().is_none() {
                    return std::fs::read_to_string(&path).unwrap();
                }
            }
        });
        let (best, _) = operator::promote_after_loss(&servers[1..]).unwrap();
        let text = writing.join().unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let service = file["services"]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap();
        let names = |value: &serde_json::Value| {
            value
                .as_str()
                .unwrap()
                .split('@')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            names(&service["primary"]),
            format!("server-{}", best + 1),
            "{kind}"
        );
        assert_eq!(names(&service["deposed"][0]), "server-0", "{kind}: {text}");
    }
}

/// Two servers take writes, and nothing is remembered: whoever has all that the other has is the primary, else nobody.
#[test]
fn of_two_primaries_at_the_start_the_one_with_all_transactions_serves() {
    for kind in KINDS {
        let mut cluster = Cluster::asynchronous(kind, "");
        let write = |cluster: &Cluster, place: usize, op: u64| {
            let sql = format!("INSERT INTO app.ledger (op) VALUES ({op})");
            cluster.servers()[place].execute(&sql).unwrap();
        };
        write(&cluster, 0, 1);
        cluster.fleet.wait_until_caught_up().unwrap();
        let ahead = cluster.servers()[1];
        ahead.execute("STOP REPLICA; RESET REPLICA ALL").unwrap();
        operator::allow_writes(ahead).unwrap();
        write(&cluster, 1, 2);
        cluster.restart_proxy(&[]);
        cluster.wait_for_primary(1);
        eventually("the other one is fenced", NOTICE, || cluster.is_fenced(0));

        // Now each has something that the other lacks.
        write(&cluster, 0, 3);
        cluster.restart_proxy(&[]);
        eventually("both are fenced", NOTICE, || {
            cluster.is_fenced(0) && cluster.is_fenced(1)
        });
        let mut client = cluster.client();
        let reply =
            client.query("/* mesh: timeout_ms=500 */ INSERT INTO app.ledger (op) VALUES (4)");
        assert!(reply.code().is_some(), "{kind}: {reply:?}");
        operator::refuse_writes(cluster.servers()[0]).unwrap();
        cluster.wait_for_primary(1);
    }
}
