//! Fleets with replication, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use dbmesh_testkit::{Fleet, FleetOptions, Kind};

#[test]
fn replicas_follow_refuse_writes_lag_on_command_and_catch_up() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let fleet = Fleet::start(FleetOptions::new(kind, 2)).unwrap();
        fleet.primary().execute("CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").unwrap();
        fleet.wait_until_caught_up().unwrap();
        let count = |server: &dbmesh_testkit::Server| {
            server
                .query_value("SELECT COUNT(*) FROM d.t")
                .unwrap()
                .unwrap()
        };
        assert_eq!(
            fleet.servers().map(count).collect::<Vec<_>>(),
            ["1", "1", "1"]
        );

        let replica = &fleet.replicas()[0];
        let app =
            dbmesh_testkit::Session::over_tcp(replica.port(), "app", "app-password", None).unwrap();
        assert_eq!(
            app.execute("INSERT INTO d.t VALUES (9)")
                .unwrap_err()
                .code(),
            Some(1290)
        );
        fleet.stop_applying(replica).unwrap();
        fleet
            .primary()
            .execute("INSERT INTO d.t VALUES (2)")
            .unwrap();
        assert_eq!(count(replica), "1");
        fleet.start_applying(replica).unwrap();
        fleet.wait_until_caught_up().unwrap();
        assert_eq!(count(replica), "2");
    }
}
