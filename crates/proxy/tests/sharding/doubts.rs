//! Branches that nobody finished, on real servers: what the resolver does, what operators see and order, and what is kept of
//! decisions.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dbmesh_commit::{Gtrid, Shard, Xid, mesh, sql};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::binary;
use dbmesh_testkit::{Kind, Proxy, Server};

use crate::bank::Random;
use crate::faultkit::eventually;
use crate::ground::{Ground, Options, yaml};

const WITHIN: Duration = Duration::from_secs(60);

fn options(data_shard: &'static [&'static str]) -> Options {
    Options {
        data_shard,
        durable: true,
        ..Options::default()
    }
}

fn atomic() -> Ground {
    let options = options(&["transactions: {acrossNodes: atomic}"]);
    let ground = Ground::new(Kind::MySql, &options);
    // It has made its tables.
    ready(&ground);
    ground
}

fn ready(ground: &Ground) {
    eventually("the nodes are ready", WITHIN, || {
        let short = ground
            .stage
            .proxy
            .metric("dbmesh_nodes_without_promise", "");
        short.unwrap() == Some(0.0)
    });
}

fn gtrid(sequence: u64, home: &str) -> Gtrid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Gtrid {
        mesh: mesh("default/shop"),
        home: Shard::named(home),
        coordinator: 77,
        epoch: 1,
        sequence,
        begun_ms: u64::try_from(now.as_millis()).unwrap(),
    }
}

/// Leaves a branch behind, as a proxy that died, which writes this user on the second node.
fn prepared(server: &Server, gtrid: Gtrid, user: u64) {
    let xid = Xid {
        gtrid,
        branch: Shard::named("ds_1"),
    };
    let table = user % 8;
    let session = server.session().unwrap();
    for text in [
        sql::start(&xid),
        format!("INSERT INTO shop_1.t_user_{table} VALUES ({user}, 'x', 1)"),
        sql::end(&xid),
        sql::prepare(&xid),
    ] {
        session.execute(&text).unwrap();
    }
}

fn count(server: &Server, sql: &str) -> u64 {
    server.query_value(sql).unwrap().unwrap().parse().unwrap()
}

fn operator(ground: &Ground, words: &[&str]) -> (bool, String) {
    let admin = format!("127.0.0.1:{}", ground.stage.proxy.admin_port());
    let output = Command::new(binary().unwrap())
        .args(["transactions", "--admin", &admin])
        .args(words)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn what_nobody_can_decide_is_seen_and_forced() {
    let ground = atomic();
    let metric = |name: &str| ground.stage.proxy.metric(name, "").unwrap().unwrap_or(0.0);
    let there = |user: u64| {
        let table = user % 8;
        let sql = format!("SELECT COUNT(*) FROM shop_1.t_user_{table} WHERE user_id = {user}");
        count(&ground.servers[1], &sql)
    };
    // Their home is no node of the configuration.
    let (kept, dropped) = (gtrid(1, "ds_gone"), gtrid(2, "ds_gone"));
    prepared(&ground.servers[1], kept, 4);
    prepared(&ground.servers[1], dropped, 5);
    eventually("both are in doubt, for their home", WITHIN, || {
        let (done, said) = operator(&ground, &[]);
        assert!(done, "{said}");
        said.matches("home_unknown").count() == 2
    });
    assert_eq!(metric("dbmesh_transactions_in_doubt"), 2.0);
    eventually("their age grows", WITHIN, || {
        metric("dbmesh_transactions_in_doubt_oldest_seconds") > 4.0
    });
    assert!(metric("dbmesh_transactions_in_doubt_locked_rows") >= 2.0);
    let (done, said) = operator(&ground, &["force", &kept.to_string(), "commit"]);
    assert!(done, "{said}");
    let (done, said) = operator(&ground, &["force", &dropped.to_string(), "rollback"]);
    assert!(done, "{said}");
    eventually("nothing is in doubt", WITHIN, || {
        metric("dbmesh_transactions_in_doubt") == 0.0
            && metric("dbmesh_transactions_in_doubt_locked_rows") == 0.0
    });
    assert_eq!((there(4), there(5)), (1, 0));
    let (done, said) = operator(&ground, &["force", &kept.to_string(), "rollback"]);
    assert!(!done && said.contains("not in doubt"), "{said}");
    // What its home has decided is done without anybody, and cannot be ordered otherwise.
    let decided = gtrid(3, "ds_0");
    prepared(&ground.servers[1], decided, 6);
    let branch = sql::Prepared {
        shard: Shard::named("ds_1"),
        gtid: None,
    };
    let row = sql::decision(&decided, &[branch]);
    ground.servers[0].execute(&row).unwrap();
    eventually("it is in doubt or done", WITHIN, || {
        let (_, said) = operator(&ground, &[]);
        said.contains(&decided.to_string()) || there(6) == 1
    });
    operator(&ground, &["force", &decided.to_string(), "rollback"]);
    eventually("it is committed", WITHIN, || there(6) == 1);
    // What nobody decided is rolled back.
    let left = gtrid(4, "ds_0");
    prepared(&ground.servers[1], left, 7);
    let fenced =
        format!("SELECT COUNT(*) FROM _mesh.mesh_txn WHERE gtrid = X'{left}' AND state = 2");
    eventually("it is fenced", WITHIN, || {
        count(&ground.servers[0], &fenced) == 1
    });
    eventually("it is gone", WITHIN, || {
        ground.servers[1].query("XA RECOVER").unwrap().is_empty()
    });
    assert_eq!(there(7), 0);
}

#[test]
fn a_promise_that_a_server_lost_is_an_alarm() {
    let ground = atomic();
    let torn = gtrid(5, "ds_0");
    let branch = sql::Prepared {
        shard: Shard::named("ds_1"),
        // Of a server that was the primary and is no more; this one never got it.
        gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:23".to_owned()),
    };
    let row = sql::decision(&torn, &[branch]);
    ground.servers[0].execute(&row).unwrap();
    eventually("it is counted", WITHIN, || {
        let torn = ground
            .stage
            .proxy
            .metric("dbmesh_transactions_torn_total", "");
        torn.unwrap() == Some(1.0)
    });
    let (_, said) = operator(&ground, &[]);
    let listed = format!("lost its part of committed transaction {torn}");
    assert!(said.contains(&listed), "{said}");
    assert!(ground.stage.proxy.log().contains("a server lost its part"));
    // It stays for whoever looks into it.
    let row = format!("SELECT COUNT(*) FROM _mesh.mesh_txn WHERE gtrid = X'{torn}' AND state = 1");
    assert_eq!(count(&ground.servers[0], &row), 1);
}

#[test]
fn decisions_are_kept_as_long_as_is_said_and_no_longer() {
    let ground = atomic();
    let server = &ground.servers[0];
    let row = |sequence: u64, state: u32, hours: u32| {
        let gtrid = gtrid(sequence, "ds_0");
        format!("(X'{gtrid}', {state}, 'x', '', NOW(6) - INTERVAL {hours} HOUR)")
    };
    // More than one removal takes.
    let old = (0..1_200).map(|n| row(1_000 + n, 3, 50));
    let kept = [row(1, 3, 47), row(2, 2, 30), row(3, 2, 1), row(4, 1, 50)];
    let rows: Vec<String> = old.chain([row(5, 2, 50)]).chain(kept).collect();
    let insert = format!(
        "INSERT INTO _mesh.mesh_txn (gtrid, state, coordinator, participants, changed_at) VALUES {}",
        rows.join(",")
    );
    server.execute(&insert).unwrap();
    let port = Port::reserve().unwrap();
    let longer = options(&["transactions: {acrossNodes: atomic, retentionHours: 48}"]);
    let config = yaml(&ground.servers, port.number(), &longer);
    // The first proxy keeps them for a day; it has looked, and looks again in minutes.
    let _second = Proxy::start(&config, &[]).unwrap();
    let all = "SELECT COUNT(*) FROM _mesh.mesh_txn";
    eventually("the old ones are gone", WITHIN, || count(server, all) == 4);
    // What was decided long ago and never finished is finished first, and kept from then.
    let done = "SELECT COUNT(*) FROM _mesh.mesh_txn WHERE state = 3 AND changed_at > NOW() - INTERVAL 1 HOUR";
    eventually("it is finished", WITHIN, || count(server, done) == 1);
    assert_eq!(count(server, all), 4);
}

/// How long branches stay in doubt whose proxy died at any moment: prints the figure.
#[test]
#[ignore = "long: a minute"]
fn what_is_in_doubt_is_resolved_soon() {
    let ground = atomic();
    let mut random = Random(7);
    let mut began = Vec::new();
    let mut took: Vec<Duration> = Vec::new();
    for user in 0..100_u64 {
        let (left, number) = (gtrid(10_000 + user, "ds_0"), 800 + user * 8 + 4);
        prepared(&ground.servers[1], left, number);
        began.push((left.to_string().to_uppercase(), Instant::now()));
        std::thread::sleep(Duration::from_millis(random.below(500)));
        look(&ground, &mut began, &mut took);
    }
    eventually("all are resolved", WITHIN, || {
        look(&ground, &mut began, &mut took);
        began.is_empty()
    });
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "in doubt for: p50 {p50:?}, p99 {p99:?}, most {:?}",
        took.last()
    );
    assert!(p99 < WITHIN, "{p99:?}");
}

/// Moves those that are no more in doubt from one list to the other.
fn look(ground: &Ground, began: &mut Vec<(String, Instant)>, took: &mut Vec<Duration>) {
    let listed = ground.servers[1].query(sql::RECOVER).unwrap();
    let data: Vec<String> = listed
        .into_iter()
        .filter_map(|row| row.into_iter().nth(3)?)
        .map(|data| data.to_uppercase())
        .collect();
    began.retain(|(gtrid, at)| {
        let there = data.iter().any(|data| data.contains(gtrid));
        if !there {
            took.push(at.elapsed());
        }
        there
    });
}
