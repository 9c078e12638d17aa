//! Reads to replicas, over real fleets: what goes where, and that nothing is stale that must not be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "splitting/beginning.rs"]
mod beginning;
#[path = "faultkit/faultkit.rs"]
mod faultkit;
#[path = "splitting/reading.rs"]
mod reading;

use std::time::{Duration, Instant};

use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, Server};

use faultkit::client::{RawClient, Reply};
use faultkit::eventually;
use faultkit::stage::Stage;

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// A proxy in front of a fleet, once its replicas serve.
fn before(fleet: &Fleet, splitting: &str) -> Stage {
    with(fleet, splitting, |config| config)
}

/// The same, with more in its configuration.
fn with(fleet: &Fleet, splitting: &str, more: impl Fn(Config) -> Config) -> Stage {
    let port = Port::reserve().unwrap();
    let config = Config::of_fleet(fleet, port.number(), 4)
        .schema("app")
        .strategy(&format!("loadBalance: {{simpleLoadBalance: {{kind: roundrobin}}, readWriteSplitting: {splitting}}}"));
    let yaml = more(config).to_yaml();
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let ids = replica_ids(fleet);
    eventually("replicas serve", Duration::from_secs(40), || {
        ids.contains(&server_id(&mut RawClient::app(stage.port)))
    });
    stage
}

fn ask(server: &Server, sql: &str) -> String {
    server.query_value(sql).unwrap().unwrap()
}

fn replica_ids(fleet: &Fleet) -> Vec<String> {
    fleet
        .replicas()
        .iter()
        .map(|r| ask(r, "SELECT @@server_id"))
        .collect()
}

/// Which server answers a plain read: the one row of `app.who` is another one on each.
fn server_id(client: &mut RawClient) -> String {
    client.query("SELECT id FROM app.who").value()
}

/// Writes on one server alone, as nobody should.
fn alone(server: &Server, sql: &str) {
    let kind = server.kind();
    let option = if kind == Kind::MySql {
        "super_read_only"
    } else {
        "read_only"
    };
    let was = ask(server, &format!("SELECT @@global.{option}"));
    let session = server.session().unwrap();
    session
        .execute(&format!(
            "SET GLOBAL {option} = 0; SET GLOBAL read_only = 0; SET sql_log_bin = 0"
        ))
        .unwrap();
    session.execute(sql).unwrap();
    session
        .execute(&format!(
            "SET GLOBAL read_only = {was}; SET GLOBAL {option} = {was}"
        ))
        .unwrap();
}

fn fleet(kind: Kind) -> Fleet {
    let fleet = Fleet::start(FleetOptions::new(kind, 2)).unwrap();
    let primary = fleet.primary();
    primary
        .execute("CREATE DATABASE IF NOT EXISTS app")
        .unwrap();
    primary
        .execute("CREATE TABLE app.t (id INT PRIMARY KEY, v INT NOT NULL)")
        .unwrap();
    primary.execute("INSERT INTO app.t VALUES (1, 0)").unwrap();
    primary.execute("CREATE TABLE app.who (id INT)").unwrap();
    fleet.wait_until_caught_up().unwrap();
    for server in fleet.servers() {
        alone(
            server,
            &format!(
                "INSERT INTO app.who VALUES ({})",
                ask(server, "SELECT @@server_id")
            ),
        );
    }
    fleet
}

#[test]
fn reads_go_to_replicas_and_all_else_to_the_primary() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let stage = before(&fleet, "{static: {}, consistency: eventual}");
        let (replicas, primary) = (
            replica_ids(&fleet),
            ask(fleet.primary(), "SELECT @@server_id"),
        );
        let mut client = RawClient::app(stage.port);
        let mut seen: Vec<String> = (0..40).map(|_| server_id(&mut client)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, replicas, "{kind:?}: both replicas, and no other");
        for read in [
            "SELECT id FROM app.who FOR UPDATE",
            "SELECT id FROM app.who LOCK IN SHARE MODE",
            "SELECT id + 0 * IFNULL(GET_LOCK('l', 0), 0) FROM app.who",
        ] {
            assert_eq!(client.query(read).value(), primary, "{kind:?}: {read}");
        }
        assert_eq!(client.query("SELECT RELEASE_LOCK('l')").value(), "1");
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            server_id(&mut client),
            primary,
            "{kind:?}: in a transaction"
        );
        assert_eq!(
            client.query("UPDATE app.t SET v = v + 1 WHERE id = 1"),
            Reply::Ok
        );
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(client.query("SET autocommit = 0"), Reply::Ok);
        assert_eq!(
            server_id(&mut client),
            primary,
            "{kind:?}: a read that begins a transaction"
        );
    }
}

#[test]
fn what_the_primary_remembers_of_a_session_does_not_keep_its_reads_there() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let stage = before(&fleet, "{static: {}}");
        let primary = ask(fleet.primary(), "SELECT @@server_id");
        let mut client = RawClient::app(stage.port);
        assert_eq!(
            client.query("SELECT @@server_id").value(),
            primary,
            "{kind:?}: about the server"
        );
        // As the mysql client asks when it connects: an error, which SHOW WARNINGS would list.
        assert_eq!(client.query("SELECT nothing").code(), Some(1054));
        assert_ne!(server_id(&mut client), primary, "{kind:?}");
    }
}

#[test]
fn a_session_reads_what_it_wrote_while_replicas_stand_still() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let stage = before(
            &fleet,
            "{static: {monitor: {replicationLagProbe: {maxReplicationLag: 600}}}}",
        );
        let mut client = RawClient::app(stage.port);
        for replica in fleet.replicas() {
            // Applying stops, and the lag is not told by `Seconds_Behind` before the source sends something.
            fleet.stop_applying(replica).unwrap();
        }
        for v in 1..=50 {
            assert_eq!(
                client.query(&format!("UPDATE app.t SET v = {v} WHERE id = 1")),
                Reply::Ok
            );
            assert_eq!(
                client.query("SELECT v FROM app.t WHERE id = 1").value(),
                v.to_string(),
                "{kind:?}"
            );
        }
        assert!(stage.metric("dbmesh_reads_turned_to_primary_total") > 0.0);
        for replica in fleet.replicas() {
            fleet.start_applying(replica).unwrap();
        }
        let ids = replica_ids(&fleet);
        eventually("replicas serve again", Duration::from_secs(20), || {
            ids.contains(&server_id(&mut client))
        });
        assert_eq!(
            client.query("SELECT v FROM app.t WHERE id = 1").value(),
            "50",
            "{kind:?}"
        );
    }
}

#[test]
fn under_global_every_session_reads_what_any_has_written() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let stage = before(&fleet, "{static: {}, consistency: global}");
        let (mut writer, mut reader) = (RawClient::app(stage.port), RawClient::app(stage.port));
        let began = Instant::now();
        let mut v = 0;
        while began.elapsed() < Duration::from_secs(3) {
            v += 1;
            assert_eq!(
                writer.query(&format!("UPDATE app.t SET v = {v} WHERE id = 1")),
                Reply::Ok
            );
            assert_eq!(
                reader.query("SELECT v FROM app.t WHERE id = 1").value(),
                v.to_string(),
                "{kind:?}"
            );
        }
    }
}
