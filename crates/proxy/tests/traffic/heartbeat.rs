//! The lag of replicas by a heartbeat table, over real fleets.

use std::time::Duration;

use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, Server};

use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(30);

fn beat(primary: &Server) {
    primary
        .execute("DELETE FROM app.beat; INSERT INTO app.beat VALUES (NOW(6))")
        .unwrap();
}

/// How the replica stands, as the admin page says.
fn replica(stage: &Stage, field: &str) -> String {
    let (_, page) = stage.proxy.admin_get("/debug/endpoints").unwrap();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let mut all = page.as_array().unwrap().iter();
    let replica = all
        .find(|endpoint| endpoint["endpoint"] == "server-1")
        .unwrap();
    replica[field].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_replica_serves_while_the_heart_beats() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let fleet = Fleet::start(FleetOptions::new(kind, 1)).unwrap();
        let primary = fleet.primary();
        primary
            .execute("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.beat (ts DATETIME(6) NOT NULL)")
            .unwrap();
        fleet.wait_until_caught_up().unwrap();
        let probe = "{periodMilliseconds: 100, failureThreshold: 1, maxReplicationLag: 3, heartbeat: {table: app.beat}}";
        let port = Port::reserve().unwrap();
        let yaml = Config::of_fleet(&fleet, port.number(), 4)
            .strategy(&format!(
                "loadBalance: {{readWriteSplitting: {{static: {{monitor: {{replicationLagProbe: {probe}}}}}}}}}"
            ))
            .to_yaml();
        let stage = Stage::of_yaml(&yaml, port, &[]);
        let is = |field: &str, what: &str| replica(&stage, field) == what;
        let serves = || is("serves_as", "replica");
        eventually("without a beat nobody knows", PATIENCE, || {
            is("lag", "unknown") && !serves()
        });
        // Beats go on until the replica serves, however slow the machine is.
        eventually("a beat", PATIENCE, || {
            beat(primary);
            serves()
        });
        eventually("the heart stands still", PATIENCE, || {
            is("lag", "behind") && is("serves_not", "behind")
        });
        eventually("it beats again", PATIENCE, || {
            beat(primary);
            serves()
        });
        fleet.stop_applying(&fleet.replicas()[0]).unwrap();
        eventually("beats do not arrive", PATIENCE, || {
            beat(primary);
            is("serves_not", "behind")
        });
    }
}
