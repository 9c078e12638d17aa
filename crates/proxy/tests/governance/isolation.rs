//! What services of one process, and users of one service, leave to each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, Server, ServerOptions};

use crate::ask::assert_error;
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::Ground;

const LONG: Duration = Duration::from_secs(60);

/// A process with the service of `ground` and a second one, `neighbour`, in front of another server; gives the port of the
/// second.
fn two_services(
    ground: &Ground,
    other: Backend,
    adapt: impl FnOnce(Config) -> Config,
) -> (Stage, Port) {
    let (port, second) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let one = ground.yaml(port.number(), |config| config);
    let two = adapt(Config::new(other, second.number(), 4)).to_yaml();
    let two = two
        .replace("testkit", "neighbour")
        .replace("server-", "neighbour-");
    (
        Stage::of_yaml(&format!("{one}---\n{two}"), port, &[]),
        second,
    )
}

fn sample(stage: &Stage, metric: &str, label: &str) -> f64 {
    stage.proxy.metric(metric, label).unwrap().unwrap_or(0.0)
}

#[test]
fn a_service_whose_server_stands_still_leaves_the_other_alone() {
    let ground = Ground::new(Kind::MySql, "iso_stalled");
    let stalled = Server::start(ServerOptions::new(Kind::MySql)).unwrap();
    let other = Backend {
        kind: Kind::MySql,
        port: stalled.port(),
    };
    let (stage, second) = two_services(&ground, other, |config| {
        config.service("limits: {queueWaitMs: 600000}")
    });
    let mut stuck: Vec<RawClient> = (0..40).map(|_| RawClient::app(second.number())).collect();
    // None is to be opened while the server stands still, in place of one with other flags either: that it cannot be would be
    // told to those who wait.
    for sql in ["BEGIN", "SELECT 1", "COMMIT"] {
        for client in &mut stuck[..4] {
            client.query(sql);
        }
    }
    eventually("its pool is full", LONG, || {
        sample(&stage, "dbmesh_pool_idle", "endpoint=\"neighbour-0\"") >= 4.0
    });
    stalled.pause();
    for client in &mut stuck {
        client.begin_query("SELECT 2");
    }
    let waiting = || sample(&stage, "dbmesh_pool_waiting", "endpoint=\"neighbour-0\"");
    eventually("its pool is exhausted", LONG, || waiting() >= 36.0);
    let mut client = ground.client(&stage);
    for _ in 0..200 {
        assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
    }
    let mut late = ground.client(&stage);
    assert_eq!(late.query("SELECT v FROM t WHERE id = 2").value(), "20");
    assert!(waiting() >= 36.0, "nobody there was answered meanwhile");
    stalled.resume();
    for client in &mut stuck {
        client.patience(LONG);
        assert_eq!(client.next_reply().value(), "2");
    }
}

#[test]
fn a_flood_of_commands_waits_for_its_turns_and_the_other_service_does_not() {
    const PINGS: usize = 4_000;
    let ground = Ground::new(Kind::MySql, "iso_flood");
    let other = Backend {
        kind: Kind::MySql,
        port: ground.server.port(),
    };
    let (stage, second) = two_services(&ground, other, |config| config);
    let mut client = ground.client(&stage);
    assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
    let ping = [1, 0, 0, 0, 14];
    let many = ping.repeat(PINGS);
    let mut flood: Vec<RawClient> = (0..10).map(|_| RawClient::app(second.number())).collect();
    for client in &mut flood {
        client.raw(&many).unwrap();
    }
    for _ in 0..50 {
        assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
    }
    for client in &mut flood {
        client.patience(LONG);
        for _ in 0..PINGS {
            assert_eq!(client.next_reply(), Reply::Ok);
        }
    }
    let waits = |service: &str| {
        let label = format!("service=\"default/{service}/mysql\"");
        sample(&stage, "dbmesh_turn_waits_total", &label)
    };
    let (flood, calm) = (waits("neighbour"), waits("testkit"));
    assert!(flood > 1_000.0, "whoever floods stands in line: {flood}");
    assert!(calm <= 60.0, "{calm}");
}

#[test]
fn a_flood_of_logins_waits_for_its_turns_and_the_other_service_does_not() {
    let ground = Ground::new(Kind::MySql, "iso_logins");
    let other = Backend {
        kind: Kind::MySql,
        port: ground.server.port(),
    };
    let (stage, second) = two_services(&ground, other, |config| config);
    let mut client = ground.client(&stage);
    let waits = |service: &str| {
        let label = format!("service=\"default/{service}/mysql\"");
        sample(&stage, "dbmesh_turn_waits_total", &label)
    };
    let (stop, port) = (AtomicBool::new(false), second.number());
    std::thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    RawClient::app(port);
                }
            });
        }
        eventually("whoever floods stands in line", LONG, || {
            assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
            let mut late = ground.client(&stage);
            assert_eq!(late.query("SELECT v FROM t WHERE id = 2").value(), "20");
            waits("neighbour") > 100.0
        });
        stop.store(true, Ordering::Relaxed);
    });
    let (flood, calm) = (waits("neighbour"), waits("testkit"));
    assert!(calm * 4.0 < flood, "{calm} and {flood}");
}

#[test]
fn users_take_turns_at_the_connections_of_a_service() {
    let ground = Ground::new(Kind::MySql, "iso_users");
    for (fair_by, fair) in [("user", true), ("nobody", false)] {
        let stage = ground.stage(|config| {
            config
                .service("users: [{name: other, password: other-password}]")
                .service("pool: {size: 8}")
                .service(&format!("isolation: {{fairBy: {fair_by}, weight: 200}}"))
                .service("limits: {queueWaitMs: 600000}")
        });
        let waiting = || sample(&stage, "dbmesh_pool_waiting", "");
        let mut many: Vec<RawClient> = (0..60).map(|_| ground.client(&stage)).collect();
        for client in &mut many {
            client.begin_query("SELECT SLEEP(0.3)");
        }
        eventually("they wait", LONG, || waiting() >= 40.0);
        let credentials = Credentials::of("other", "other-password").schema(&ground.schema);
        let mut other = RawClient::logged_in(stage.port, &credentials);
        other.patience(LONG);
        assert_eq!(other.query("SELECT v FROM t WHERE id = 1").value(), "10");
        let left = waiting();
        match fair {
            true => assert!(
                left >= 16.0,
                "its turn came before theirs were over: {left}"
            ),
            false => assert!(left < 16.0, "first come, first served: {left}"),
        }
        for client in &mut many {
            client.patience(LONG);
            assert_eq!(client.next_reply().value(), "0");
        }
    }
}

#[test]
fn limits_count_by_endpoint() {
    let ground = Ground::new(Kind::MySql, "iso_endpoint");
    let stage = ground.stage(|config| {
        let second = Backend {
            kind: Kind::MySql,
            port: ground.server.port(),
        };
        let config = config
            .replica(second)
            .strategy("hints: {users: [app]}")
            .strategy("loadBalance: {readWriteSplitting: {static: {}}}");
        config.strategy(
            "rules:\n\
             - {name: one-each, match: {regex: [SLEEP]}, concurrencyLimit: {count: 1, by: [endpoint]}}\n\
             - {name: two-each, mode: warn, match: {regex: ['^SELECT SLEEP']}, rateLimit: {count: 2, perMs: 600000, burst: 2, by: [endpoint]}}",
        )
    });
    let mut clients: Vec<RawClient> = (0..3).map(|_| ground.client(&stage)).collect();
    clients[0].begin_query("/* mesh: endpoint=server-0 */ SELECT SLEEP(3)");
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SELECT SLEEP(3)' AND command = 'Query'";
    eventually("it runs", LONG, || ground.ask(running) != "0");
    let refused = clients[1].query("/* mesh: endpoint=server-0 */ SELECT SLEEP(0)");
    assert_error(&refused, 1203, "'one-each'");
    let elsewhere = clients[2].query("/* mesh: endpoint=server-1 */ SELECT SLEEP(0)");
    assert_eq!(elsewhere.value(), "0");
    assert_eq!(clients[0].next_reply().value(), "0");
    // In a transaction too, where the connection is there already.
    let client = &mut clients[1];
    assert_eq!(client.query("BEGIN"), Reply::Ok);
    for _ in 0..2 {
        assert_eq!(client.query("SELECT SLEEP(0)").value(), "0");
    }
    let warnings = client.query("SHOW WARNINGS");
    let Reply::Rows(rows) = &warnings else {
        panic!("{warnings:?}")
    };
    let text = rows[0][2].clone().unwrap();
    assert!(text.contains("'two-each'"), "{text}");
    assert_eq!(client.query("COMMIT"), Reply::Ok);
}

#[test]
fn an_adaptive_pool_begins_small_and_grows_while_its_server_is_quick() {
    let ground = Ground::new(Kind::MySql, "iso_adaptive");
    let stage = ground.stage(|config| {
        config
            .service("pool: {size: 8, adaptive: {min: 2, tolerancePercent: 10000}}")
            .service("limits: {queueWaitMs: 600000}")
    });
    let limit = || sample(&stage, "dbmesh_pool_limit", "endpoint=\"server-0\"");
    assert_eq!(limit(), 2.0);
    let mut clients: Vec<RawClient> = (0..4).map(|_| ground.client(&stage)).collect();
    for client in &mut clients {
        client.begin_query("SELECT SLEEP(1)");
    }
    eventually("two run, two wait", LONG, || {
        sample(&stage, "dbmesh_pool_waiting", "") == 2.0
    });
    let idle = sample(&stage, "dbmesh_pool_idle", "");
    assert!(sample(&stage, "dbmesh_pool_open", "") - idle <= 2.0);
    for client in &mut clients {
        assert_eq!(client.next_reply().value(), "0");
    }
    eventually("it has measured, and grows", LONG, || {
        let one = clients[0].query("SELECT v FROM t WHERE id = 1");
        one.value() == "10" && limit() == 8.0
    });
    assert!(sample(&stage, "dbmesh_pool_unloaded_latency_seconds", "") > 0.0);
}
