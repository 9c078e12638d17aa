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
