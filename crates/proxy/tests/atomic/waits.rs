//! How often each step of a commit waits for the disk, as a durable server counts it: what a COMMIT over nodes costs beside one
//! of one node.

use dbmesh_commit::{Gtrid, Shard, Verdict, Xid, sql};
use dbmesh_testkit::{Kind, Server, ServerOptions};

use crate::steps::{MESH, prepare};

/// Files that a commit waits for: the binary log and the redo log.
const SYNCED: &str = "SELECT SUM(COUNT_MISC) FROM performance_schema.file_summary_by_event_name WHERE EVENT_NAME IN \
                      ('wait/io/file/sql/binlog', 'wait/io/file/innodb/innodb_log_file')";

fn synced(server: &Server) -> u64 {
    server
        .query_value(SYNCED)
        .unwrap()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn every_step_waits_for_both_logs_as_a_commit_does() {
    let server = Server::start(ServerOptions::new(Kind::MySql).durable()).unwrap();
    prepare(&server);
    let session = server.session().unwrap();
    let mut least = [u64::MAX; 3];
    for sequence in 0..40 {
        let xid = Xid {
            gtrid: Gtrid {
                mesh: MESH,
                home: Shard(0),
                coordinator: 1,
                epoch: 1,
                sequence,
                begun_ms: 0,
            },
            branch: Shard(1),
        };
        let change = "UPDATE bank.account SET balance = balance + 1";
        let mut count = |at: usize, texts: &[&str]| {
            let before = synced(&server);
            for text in texts {
                session.execute(text).unwrap();
            }
            let waits = synced(&server) - before;
            least[at] = least[at].min(waits);
        };
        session.execute("BEGIN").unwrap();
        session.execute(change).unwrap();
        count(0, &["COMMIT"]);
        session.execute(&sql::start(&xid)).unwrap();
        session.execute(change).unwrap();
        count(1, &[&sql::end(&xid), &sql::prepare(&xid)]);
        count(2, &[&sql::finish(&xid, Verdict::Commit)]);
    }
    println!("COMMIT, XA PREPARE, XA COMMIT: {least:?}");
    // The redo log, then the binary log. XA COMMIT writes its end to the redo log behind its answer once more.
    assert_eq!(least[..2], [2, 2]);
    assert!((2..=3).contains(&least[2]), "{least:?}");
}
