//! Zones and consistent hashing, over real fleets.

use std::process::Command;
use std::time::Duration;

use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::Kind;

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];
const POOL: u32 = 4;

/// A proxy of zone `here` before a primary and two replicas, `server-1` in its zone and `server-2` elsewhere; both serve.
fn before(fleet: &Fleet, balance: &str, args: &[&str]) -> Stage {
    let port = Port::reserve().unwrap();
    let mut yaml = Config::of_fleet(fleet, port.number(), POOL)
        .service("proxyProtocol: {trustedNetworks: [127.0.0.0/8]}")
        .strategy(&format!(
            "loadBalance: {{{balance}, readWriteSplitting: {{static: {{}}, consistency: eventual, transactionalRead: replica}}}}"
        ))
        .strategy("hints: {users: [app]}")
        .to_yaml();
    for (number, zone) in [(1, "here"), (2, "there")] {
        let metadata = format!(
            "metadata: {{name: server-{number}, namespace: default, labels: {{source: testkit}}}}\nspec:\n"
        );
        assert!(yaml.contains(&metadata));
        yaml = yaml.replace(&metadata, &format!("{metadata}  zone: {zone}\n"));
    }
    let stage = Stage::of_yaml(&yaml, port, args);
    for name in ["server-1", "server-2"] {
        serves(&stage, name);
    }
    stage
}

/// Logged in from 192.0.2.`host`, as a load balancer says.
fn from(stage: &Stage, host: u32) -> RawClient {
    let mut client = RawClient::connect(stage.port);
    let header = format!("PROXY TCP4 192.0.2.{host} 192.0.2.200 4567 3306\r\n");
    client.raw(header.as_bytes()).unwrap();
    assert_eq!(client.login(&Credentials::app()), Reply::Ok);
    client
}

fn serves(stage: &Stage, name: &str) {
    let mut client = from(stage, 1);
    let read = format!("SELECT 1 /* mesh: endpoint={name} */");
    eventually("a replica serves", Duration::from_secs(20), || {
        matches!(client.query(&read), Reply::Rows(_))
    });
}

/// Which server answers: a proved read that says so.
fn whose(client: &mut RawClient, hint: &str) -> String {
    let sql = format!("SELECT id FROM app.who /* mesh: tag.a=b{hint} */");
    client.query(&sql).value()
}

/// An operator drains `server-1`, or lets it serve again.
fn order(stage: &Stage, verb: &str) {
    let admin = format!("127.0.0.1:{}", stage.proxy.admin_port());
    let done = Command::new(dbmesh_testkit::proxy::binary().unwrap())
        .args([verb, "server-1", "--admin", &admin])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

fn fleet(kind: Kind) -> Fleet {
    let fleet = Fleet::start(FleetOptions::new(kind, 2)).unwrap();
    let primary = fleet.primary();
    primary
        .execute("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.who (id INT)")
        .unwrap();
    fleet.wait_until_caught_up().unwrap();
    let (opens, closes) = match kind {
        Kind::MySql => (
            "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0",
            "SET GLOBAL super_read_only = 1",
        ),
        Kind::MariaDb => ("SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1"),
    };
    for (server, id) in fleet.servers().zip(1..) {
        let (opens, closes) = match id {
            1 => ("DO 0", "DO 0"),
            _ => (opens, closes),
        };
        let insert = format!("SET sql_log_bin = 0; INSERT INTO app.who VALUES ({id})");
        server
            .execute(&format!("{opens}; {insert}; {closes}"))
            .unwrap();
    }
    fleet
}

const ROUND_ROBIN: &str = "simpleLoadBalance: {kind: roundrobin}";

#[test]
fn a_proxy_prefers_its_own_zone_and_spills_over() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let stage = before(&fleet, ROUND_ROBIN, &["--zone", "here"]);
        let mut client = from(&stage, 1);
        for _ in 0..20 {
            assert_eq!(whose(&mut client, ""), "2", "{kind:?}: the near one");
        }
        // Transactions that only read take all connections to the near one: the next read goes elsewhere.
        let busy: Vec<RawClient> = (0..POOL)
            .map(|_| {
                let mut reader = from(&stage, 1);
                assert_eq!(reader.query("START TRANSACTION READ ONLY"), Reply::Ok);
                assert_eq!(whose(&mut reader, ""), "2", "{kind:?}");
                reader
            })
            .collect();
        for _ in 0..5 {
            assert_eq!(
                whose(&mut client, ""),
                "3",
                "{kind:?}: the near one is busy"
            );
        }
        drop(busy);
        eventually("back to the near one", Duration::from_secs(10), || {
            whose(&mut client, "") == "2"
        });
        let explained = client.query("EXPLAIN MESH SELECT id FROM app.who");
        assert!(
            format!("{explained:?}").contains("in the proxy's zone"),
            "{explained:?}"
        );
        // Nobody near may answer.
        order(&stage, "drain");
        for _ in 0..5 {
            assert_eq!(whose(&mut client, ""), "3", "{kind:?}: the near one drains");
        }
    }
}

#[test]
fn without_a_zone_of_its_own_a_proxy_prefers_nobody_and_says_so() {
    let fleet = fleet(Kind::MySql);
    let stage = before(&fleet, ROUND_ROBIN, &[]);
    let mut client = from(&stage, 1);
    let mut seen: Vec<String> = (0..10).map(|_| whose(&mut client, "")).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["2", "3"]);
    assert!(
        stage.proxy.log().contains("was given none (--zone)"),
        "{}",
        stage.proxy.log()
    );
}

#[test]
fn statements_of_one_key_go_to_one_endpoint() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let balance = "simpleLoadBalance: {kind: consistenthash}, consistentHash: {by: hint}";
        let stage = before(&fleet, balance, &[]);
        let mut first = from(&stage, 1);
        let mut second = from(&stage, 1);
        let mut seen = Vec::new();
        for key in 0..20 {
            let hint = format!(", hash=k{key}");
            let there = whose(&mut first, &hint);
            for _ in 0..3 {
                assert_eq!(whose(&mut first, &hint), there, "{kind:?} {key}");
                assert_eq!(whose(&mut second, &hint), there, "{kind:?} {key}");
            }
            seen.push(there);
        }
        assert!(
            seen.contains(&"2".into()) && seen.contains(&"3".into()),
            "{seen:?}"
        );
        // Its keys move to the other one, and those of the other one stay.
        order(&stage, "drain");
        for key in 0..20 {
            assert_eq!(whose(&mut first, &format!(", hash=k{key}")), "3");
        }
        order(&stage, "undrain");
        let again = |client: &mut RawClient| -> Vec<String> {
            (0..20)
                .map(|key| whose(client, &format!(", hash=k{key}")))
                .collect()
        };
        eventually("all as before", Duration::from_secs(10), || {
            again(&mut first) == seen
        });
    }
}

#[test]
fn clients_of_one_address_go_to_one_endpoint() {
    let fleet = fleet(Kind::MySql);
    let balance = "simpleLoadBalance: {kind: consistenthash}";
    let stage = before(&fleet, balance, &[]);
    let of = |host: u32| whose(&mut from(&stage, host), "");
    let first: Vec<String> = (1..20).map(of).collect();
    let second: Vec<String> = (1..20).map(of).collect();
    assert_eq!(first, second);
    assert!(first.contains(&"2".into()) && first.contains(&"3".into()));
    let mut client = from(&stage, 1);
    let refused = client.query("SELECT 1 /* mesh: hash=7 */");
    assert_eq!(refused.code(), Some(1064), "{refused:?}");
}
