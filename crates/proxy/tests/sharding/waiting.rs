//! Shards whose rows have to wait for those of others.

use crate::ground::{Ground, KINDS, Options};

/// Rows of 2,000 bytes that come first, some at a time, for about 30 seconds.
const SLOW: usize = 600;
/// Rows of 10,000 bytes that wait meanwhile, on two shards: more than sockets hold.
const WAITING: usize = 3_000;
const FIRST_WAITING: usize = 1_000_000;

#[test]
fn a_server_that_gives_up_soon_waits_for_the_rows_of_another_shard() {
    let numbers = format!(
        "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n",
        WAITING - 1
    );
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        let fill = |shard: usize, first: usize, rows: usize| {
            let node = shard / 4;
            let session = ground.servers[node].session().unwrap();
            for depth in ["cte_max_recursion_depth", "max_recursive_iterations"] {
                // One of them is the other kind's.
                drop(session.execute(&format!("SET {depth} = 100000")));
            }
            session
                .execute(&format!(
                    "INSERT INTO shop_{node}.t_user_{shard} (user_id, name) SELECT {first} + i * 8 + {shard}, 'x' FROM \
                     ({numbers}) numbers WHERE i < {rows}"
                ))
                .unwrap();
        };
        fill(0, 0, SLOW);
        fill(1, FIRST_WAITING, WAITING);
        fill(5, FIRST_WAITING, WAITING);
        let mut mesh = ground.mesh();
        mesh.ask("SET net_write_timeout = 12");
        let answer = mesh.ask(&format!(
            "SELECT user_id, IF(user_id < {FIRST_WAITING}, CONCAT(SLEEP(0.05), REPEAT('y', 2000)), REPEAT('x', 10000)) FROM t_user ORDER BY user_id"
        ));
        let ids: Vec<usize> = answer
            .rows()
            .iter()
            .map(|row| row[0].as_deref().unwrap().parse().unwrap())
            .collect();
        assert_eq!(ids.len(), SLOW + 2 * WAITING, "{kind:?}");
        assert!(ids.is_sorted(), "{kind:?}");
        let files = ground.stage.proxy.metric("dbmesh_merge_spill_bytes", "");
        assert_eq!(files.unwrap(), Some(0.0), "{kind:?}: files are left");
        let spilled = ground
            .stage
            .proxy
            .metric("dbmesh_merge_spilled_bytes_total", "");
        assert!(
            spilled.unwrap().is_some_and(|bytes| bytes > 1e6),
            "{kind:?}"
        );
    }
}
