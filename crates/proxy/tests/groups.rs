//! A replication group of MySQL behind the proxy: who is the primary, and who must not be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "faultkit/faultkit.rs"]
mod faultkit;

use std::time::Duration;

use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::Server;
use dbmesh_testkit::{Group, Proxy};

use faultkit::client::{RawClient, Reply};
use faultkit::eventually;
use faultkit::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(40);

fn before(group: &Group) -> Stage {
    let port = Port::reserve().unwrap();
    let mut members = group.members().iter().map(Backend::from);
    let first = Config::new(members.next().unwrap(), port.number(), 4);
    let yaml = members
        .fold(first, Config::replica)
        .schema("app")
        .strategy(
            "loadBalance: {simpleLoadBalance: {kind: roundrobin}, readWriteSplitting: {consistency: eventual, \
             dynamic: {discovery: {masterHighAvailability: {monitorInterval: 200}}}}}",
        )
        .strategy("failover: {buffer: {maxWaitMs: 300}}")
        .to_yaml();
    Stage::of_yaml(&yaml, port, &[])
}

fn write(client: &mut RawClient) -> Reply {
    client.query("INSERT INTO app.t (id) VALUES (NULL)")
}

/// Where a row was written: the server that the statement ran at.
fn written_at(client: &mut RawClient) -> String {
    assert_eq!(write(client), Reply::Ok);
    client
        .query("SELECT @@server_id FROM app.t LIMIT 1 FOR UPDATE")
        .value()
}

/// A field of every endpoint, as the admin page says.
fn fields(proxy: &Proxy, name: &str) -> Vec<String> {
    let (_, page) = proxy.admin_get("/debug/endpoints").unwrap();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let all = page.as_array().unwrap().iter();
    all.map(|endpoint| endpoint[name].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn uuid(server: &Server) -> String {
    server.query_value("SELECT @@server_uuid").unwrap().unwrap()
}

#[test]
fn the_group_s_primary_is_followed_and_a_minority_has_none() {
    let group = Group::start(3).unwrap();
    let members = group.members();
    members[0]
        .execute(
            "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT); INSERT INTO app.t VALUES (1)",
        )
        .unwrap();
    let stage = before(&group);
    let mut client = RawClient::app(stage.port);
    eventually("the first member is the primary", PATIENCE, || {
        write(&mut client) == Reply::Ok
    });
    assert_eq!(written_at(&mut client), "1");
    // Both secondaries answer reads: they apply what the group agreed on.
    eventually("secondaries serve reads", PATIENCE, || {
        fields(&stage.proxy, "serves_as") == ["primary", "replica", "replica"]
    });
    // A planned change of the primary, by the group.
    let second = uuid(&members[1]);
    members[0]
        .execute(&format!(
            "SELECT group_replication_set_as_primary('{second}')"
        ))
        .unwrap();
    eventually("the second member is the primary", PATIENCE, || {
        matches!(write(&mut client), Reply::Ok) && written_at(&mut client) == "2"
    });
    // The primary is cut off from both others: it still calls itself ONLINE, PRIMARY and writable.
    members[0].pause();
    members[2].pause();
    eventually("it sees no majority", PATIENCE, || {
        let lost = "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'UNREACHABLE'";
        members[1].query_value(lost).unwrap().as_deref() == Some("2")
    });
    let says = members[1].query_value("SELECT @@global.read_only").unwrap();
    assert_eq!(says.as_deref(), Some("0"), "it takes writes, as it says");
    eventually("nobody is the primary", PATIENCE, || {
        let serves = fields(&stage.proxy, "serves_as");
        !serves.contains(&"primary".into()) && fields(&stage.proxy, "lag")[1] == "minority"
    });
    let mut late = RawClient::app(stage.port);
    let refused = late.query("INSERT INTO app.t (id) VALUES (NULL)");
    assert!(
        format!("{refused:?}").contains("no primary within 300 ms"),
        "{refused:?}"
    );
    let stale = late.query("SELECT id FROM app.t LIMIT 1");
    assert!(matches!(stale, Reply::Error(_)), "{stale:?}");
    members[0].resume();
    members[2].resume();
    eventually("a majority, and a primary again", PATIENCE, || {
        let mut client = RawClient::app(stage.port);
        write(&mut client) == Reply::Ok
    });
}
