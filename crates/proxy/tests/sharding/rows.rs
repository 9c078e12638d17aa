//! Rows of several shards that end in an error: behind what was sent, and nothing else.

use crate::ground::{Ground, KINDS, Options, alike};
use crate::prepared::{execute, prepare};
use crate::scatter::{fill, fill_users};

/// Servers say the columns of these, and then compute a value that does not exist.
const FAILING: [&str; 6] = [
    "SELECT user_id, score - 18446744073709551615 FROM t_user",
    "SELECT user_id, score - 18446744073709551615 FROM t_user ORDER BY user_id",
    "SELECT name, user_id FROM t_user WHERE score - 18446744073709551615 > 0 OR user_id < 9 ORDER BY name, user_id",
    "SELECT score, MAX(name), COUNT(*) FROM t_user WHERE score - 18446744073709551615 > 0 GROUP BY score",
    "SELECT DISTINCT score - 18446744073709551615 FROM t_user",
    "SELECT TABLE_NAME, CAST(0 AS UNSIGNED) - (TABLE_NAME > 't_order') FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' ORDER BY TABLE_NAME",
];

#[test]
fn an_error_has_the_number_behind_what_was_sent() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        fill(&ground);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        for sql in FAILING {
            // The client takes no packet with another number than the next.
            alike(kind, sql, &mut mesh, &mut one);
            alike(kind, "SELECT 1", &mut mesh, &mut one);
            let ids = [&mut mesh, &mut one].map(|client| (prepare(client, sql).unwrap().0, client));
            let [ours, theirs] = ids.map(|(id, client)| execute(client, id, &[], sql));
            assert_eq!(ours, theirs, "{kind:?}: {sql}, prepared");
            alike(kind, "SELECT COUNT(*) FROM t_user", &mut mesh, &mut one);
        }
    }
}

#[test]
fn what_has_no_room_is_refused_before_anything_is_said() {
    let options = Options {
        data_shard: &["execution: {memoryBytes: 4194304, spillBytes: 0}"],
        ..Options::default()
    };
    let ground = Ground::new(KINDS[0], &options);
    fill_users(&ground);
    let mut mesh = ground.mesh();
    let refused = [
        "SELECT score, COUNT(*), SUM(user_id) FROM t_user GROUP BY score ORDER BY COUNT(*), score",
        "SELECT score, COUNT(*), MAX(CAST(RPAD(name, 4000, 'y') AS BINARY)) FROM t_user WHERE score < 3000 GROUP BY score ORDER BY COUNT(*), score",
    ];
    for sql in refused {
        // The columns were known then. The client takes no packet with another number than the next.
        let why = mesh.refused(sql);
        assert!(why.contains("`execution.memoryBytes`"), "{why}");
        let counted = mesh.ask("SELECT COUNT(*) FROM t_user");
        assert_eq!(counted.rows()[0][0].as_deref(), Some("240000"));
    }
}
