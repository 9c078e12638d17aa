//! A reload while statements run: none of them runs elsewhere than where its rows are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbmesh_testkit::Kind;

use crate::ground::{Answer, Client, Ground, Options, SHARDED, yaml};

const RELOADS: usize = 40;
const CLIENTS: u32 = 10;
/// Rows of one INSERT: they are of several nodes.
const ROWS: u32 = 3;

/// Changes and reads until told to stop; gives the rows that were acknowledged.
fn work(mesh: &mut Client, first: u32, stop: &AtomicBool) -> u32 {
    let mut rows = 0;
    while !stop.load(Ordering::Relaxed) {
        let values: Vec<String> = (rows..rows + ROWS)
            .map(|row| format!("({}, 'n', {first})", first + row))
            .collect();
        let sql = format!("INSERT INTO t_user VALUES {}", values.join(", "));
        assert_eq!(mesh.ask(&sql).done(), u64::from(ROWS));
        let sql = format!(
            "UPDATE t_user SET score = {first} WHERE user_id = {}",
            first + rows
        );
        assert!(matches!(mesh.ask(&sql), Answer::Done(0, ..)));
        rows += ROWS;
        // One by its node, one of all nodes, and one whose rows are brought to one place.
        for sql in [
            format!("SELECT 1 FROM t_user WHERE user_id = {first}"),
            format!(
                "SELECT COUNT(*) - {} FROM t_user WHERE score = {first}",
                rows - 1
            ),
            format!(
                "SELECT MIN(a.score) - {} FROM t_user a JOIN t_user b ON a.score = b.score AND a.user_id < {first} + 9 AND b.user_id = {first}",
                first - 1
            ),
        ] {
            assert_eq!(mesh.ask(&sql).rows(), [[Some("1".to_owned())]], "{sql}");
        }
    }
    rows
}

#[test]
fn statements_stay_where_their_rows_are() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        durable: true,
        ..Options::default()
    };
    let small = Options {
        pool_size: 2,
        ..options
    };
    let ground = Ground::new(Kind::MySql, &options);
    // The service's schema is one of the servers' as well, with tables of the shards' names: not its own.
    let second = &ground.servers[1];
    second.execute("CREATE DATABASE shop").unwrap();
    for table in SHARDED {
        for shard in 0..8 {
            let (node, shards) = (shard / 4, &ground.servers[shard / 4]);
            shards
                .execute(&format!(
                    "CREATE TABLE shop.{table}_{shard} LIKE shop_{node}.{table}_{shard}"
                ))
                .unwrap();
        }
    }
    let stop = AtomicBool::new(false);
    let acknowledged: u32 = std::thread::scope(|scope| {
        let clients = (1..=CLIENTS).map(|client| {
            let mut mesh = ground.mesh();
            let stop = &stop;
            scope.spawn(move || work(&mut mesh, client * 100_000, stop))
        });
        let clients: Vec<_> = clients.collect();
        for reload in 0..RELOADS {
            let next = [&small, &options][reload % 2];
            let text = yaml(&ground.servers, ground.stage.port, next);
            ground.stage.proxy.rewrite_config(&text).unwrap();
            ground.stage.proxy.sighup();
            std::thread::sleep(Duration::from_millis(150));
        }
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert!(acknowledged > 0);
    let stored = ground.mesh().ask("SELECT COUNT(*) FROM t_user");
    assert_eq!(stored.rows(), [[Some(acknowledged.to_string())]]);
}
