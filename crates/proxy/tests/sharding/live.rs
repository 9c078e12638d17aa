//! `dbmesh check --live`: what is said of real servers, and that nothing is written or given away.

use std::process::Command;

use dbmesh_testkit::Kind;
use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::folder::Folder;
use serde_json::Value;

use crate::ground::{Ground, Options, yaml};

/// Exit code, the text for people, the JSON.
fn check(ground: &Ground, options: &Options) -> (Option<i32>, String, Value) {
    check_text(&yaml(&ground.servers, ground.stage.port, options))
}

/// The same of these resources.
pub fn check_text(resources: &str) -> (Option<i32>, String, Value) {
    let folder = Folder::create("live").unwrap();
    let path = folder.path().join("dbmesh.yaml");
    std::fs::write(&path, resources).unwrap();
    let run = |form: &str| {
        let mut command = Command::new(dbmesh_testkit::proxy::binary().unwrap());
        let command = command.args(["check", "--live", "-o", form]).arg(&path);
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(!printed.contains("app-password"), "{printed}");
        (output.status.code(), printed)
    };
    let (code, table) = run("table");
    let (again, json) = run("json");
    assert_eq!(code, again);
    (code, table, serde_json::from_str(&json).unwrap())
}

pub fn remarks(json: &Value, endpoint: &str) -> Vec<String> {
    let servers = json["servers"].as_array().unwrap();
    let one = servers.iter().find(|one| one["endpoint"] == endpoint);
    let remarks = one.unwrap()["remarks"].as_array().unwrap();
    let what =
        |remark: &Value| format!("{} {}", remark["weight"].as_str().unwrap(), remark["what"]);
    remarks.iter().map(what).collect()
}

#[test]
fn servers_are_looked_at_without_being_touched() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        durable: true,
        ..Options::default()
    };
    let ground = Ground::new(Kind::MySql, &options);
    for (place, server) in ground.servers.iter().enumerate() {
        let sql = format!("CREATE TABLE shop_{place}.t_hint_{place} (id INT PRIMARY KEY, v INT)");
        server.execute(&sql).unwrap();
    }
    let (code, table, json) = check(&ground, &options);
    assert_eq!(code, Some(0), "{table}");
    assert!(
        table.contains("18 of 18") && table.contains("writable"),
        "{table}"
    );
    let version = ground.servers[0].query_value("SELECT VERSION()").unwrap();
    assert_eq!(json["servers"][0]["version"].as_str(), version.as_deref());

    let change = [
        "DROP TABLE shop_0.t_user_2",
        "SET GLOBAL sync_binlog = 0",
        "SET GLOBAL xa_detach_on_prepare = OFF",
    ];
    for sql in change {
        ground.servers[0].execute(sql).unwrap();
    }
    ground.servers[1].kill_9();
    let (code, table, json) = check(&ground, &options);
    assert_eq!(code, Some(1), "{table}");
    let first = remarks(&json, "ds_0").join("\n");
    for wanted in [
        "problem \"tables are missing in its schema: t_user_2\"",
        "problem \"it cannot keep an atomic commit: sync_binlog is not 1\"",
        "problem \"it cannot keep an atomic commit: xa_detach_on_prepare is off\"",
    ] {
        assert!(first.contains(wanted), "{first}");
    }
    let second = remarks(&json, "ds_1").join("\n");
    assert!(second.contains("problem \"cannot be reached"), "{second}");
    assert!(table.contains("SET PERSIST sync_binlog = 1"), "{table}");
}

#[test]
fn a_server_that_cannot_keep_the_promise_is_named() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        ..Options::default()
    };
    let ground = Ground::new(Kind::MariaDb, &options);
    let (code, table, json) = check(&ground, &options);
    assert_eq!(code, Some(1), "{table}");
    let said = remarks(&json, "ds_0").join("\n");
    assert!(
        said.contains("cannot keep an atomic commit: MariaDB"),
        "{said}"
    );
    // Nothing was made there.
    let made = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '_mesh'";
    let made = ground.servers[0].query_value(made).unwrap();
    assert_eq!(made.as_deref(), Some("0"));
}

#[test]
fn replication_is_told_as_it_stands() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let fleet = Fleet::start(FleetOptions::new(kind, 1)).unwrap();
        fleet.wait_until_caught_up().unwrap();
        let yaml = Config::of_fleet(&fleet, 3306, 4).to_yaml();
        let check = || {
            let folder = Folder::create("live").unwrap();
            let path = folder.path().join("dbmesh.yaml");
            std::fs::write(&path, &yaml).unwrap();
            let mut command = Command::new(dbmesh_testkit::proxy::binary().unwrap());
            let output = command.args(["check", "--live"]).arg(&path).output();
            let output = output.unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            (output.status.code(), printed)
        };
        let (code, table) = check();
        assert_eq!(code, Some(0), "{kind}: {table}");
        assert!(
            table.contains("receiver Yes, applier Yes"),
            "{kind}: {table}"
        );
        let stop = match kind {
            Kind::MySql => "STOP REPLICA SQL_THREAD",
            Kind::MariaDb => "STOP SLAVE SQL_THREAD",
        };
        fleet.replicas()[0].execute(stop).unwrap();
        let (code, table) = check();
        assert_eq!(code, Some(1), "{kind}: {table}");
        assert!(
            table.contains("receiver Yes, applier No"),
            "{kind}: {table}"
        );
    }
}
