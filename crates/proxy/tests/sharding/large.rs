//! Statements and rows of more than one packet, over shards.

use dbmesh_testkit::Session;

use crate::ground::{Ground, KINDS, Options};

/// More than one packet, in bytes.
const LENGTH: usize = 17 << 20;

/// With `BIG` in the place of a long text.
const STATEMENTS: [&str; 9] = [
    "ALTER TABLE t_user ADD COLUMN big LONGTEXT",
    "INSERT INTO t_user VALUES (1, 'a', 1, 'BIG'), (2, 'b', 2, NULL), (3, 'c', 3, 'y')",
    "SELECT user_id, LENGTH(big), CRC32(big) FROM t_user ORDER BY user_id",
    "UPDATE t_user SET big = 'BIG', score = 7 WHERE user_id > 1",
    "SELECT COUNT(*), SUM(score) FROM t_user WHERE big = 'BIG'",
    "INSERT INTO t_user SELECT user_id + 100, name, score, big FROM t_user WHERE user_id < 3",
    "SELECT a.user_id, b.user_id, LENGTH(b.big) FROM t_user a JOIN t_user b ON a.big = b.big WHERE a.user_id < 3 ORDER BY 1, 2",
    "DELETE FROM t_user WHERE big <> 'BIG' OR user_id = 102",
    "SELECT user_id, score, LENGTH(big), CRC32(big) FROM t_user ORDER BY user_id",
];

#[test]
fn statements_and_rows_of_several_packets() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        ..Options::default()
    };
    let big = "x".repeat(LENGTH);
    for kind in KINDS {
        let ground = Ground::new(kind, &options);
        let [mesh, one] = [ground.stage.port, ground.servers[0].port()]
            .map(|port| Session::over_tcp(port, "app", "app-password", Some("shop")).unwrap());
        for statement in STATEMENTS {
            let sql = statement.replace("BIG", &big);
            let [ours, theirs] = [&mesh, &one].map(|session| session.query(&sql));
            let theirs = theirs.unwrap();
            assert_eq!(ours.ok(), Some(theirs), "{kind:?}: {statement}");
        }
    }
}
