//! `dbmesh get` and the pages behind it.

use std::process::Command;
use std::time::Duration;

use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::binary;
use dbmesh_testkit::server::Kind;
use serde_json::Value;

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::ground::{SPLITTING, dbmesh, endpoint, fleet, said, stage};

#[test]
fn every_listing_shows_what_is_there() {
    for kind in crate::ground::KINDS {
        let fleet = fleet(kind, 1);
        let stage = stage(&fleet, 4, &[SPLITTING]);
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("INSERT INTO app.t (v) VALUES (1)"), Reply::Ok);
        let listing = |args: &[&str]| {
            let (code, text) = said(&dbmesh(&stage, &[&["get"], args].concat()));
            assert_eq!(code, Some(0), "{text}");
            assert!(!text.contains('\x1b'), "colour in a pipe: {text:?}");
            text
        };
        let endpoints = listing(&["endpoints"]);
        let row = |text: &str, of: &str| {
            let row = text.lines().find(|line| line.contains(of));
            let row = row.unwrap_or_else(|| panic!("no {of} in\n{text}"));
            row.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let primary = row(&endpoints, "server-0");
        assert_eq!(
            primary[..5],
            [
                "default/testkit/mysql",
                "server-0",
                "primary",
                "primary",
                "up"
            ]
        );
        assert!(primary[8].ends_with("/4"), "{endpoints}");
        let replica = row(&endpoints, "server-1");
        assert_eq!(replica[2..5], ["replica", "replica", "up"]);
        assert!(replica[5].ends_with("s"), "{endpoints}");
        assert_eq!(row(&endpoints, "SERVICE").len(), 10);
        assert_eq!(
            row(&listing(&["endpoints", "-o", "wide"]), "SERVICE").len(),
            16
        );
        let sessions = row(&listing(&["sessions"]), "app");
        assert_eq!(sessions[1], "app");
        assert!(sessions.contains(&"transaction".to_owned()), "{sessions:?}");
        let services = row(&listing(&["services"]), "default/testkit/mysql");
        assert_eq!(services[2..5], ["server-0", "server-1", "1"]);
        let pools = row(&listing(&["pools"]), "server-0");
        assert_eq!((pools[2].as_str(), pools[6].as_str()), ("4", "0"));
        let json: Value = serde_json::from_str(&listing(&["endpoints", "-o", "json"])).unwrap();
        assert_eq!(json[1]["serves_as"], "replica");
        assert_eq!(json[1]["role"], "replica");
        assert_eq!(json[1]["lag"], "behind");
        assert_eq!(json[0]["pool"]["leased"], 1);
        let serves = |name: &str, role: &str| {
            let metrics = stage.proxy.admin_get("/metrics").unwrap().1;
            let wanted = format!("endpoint=\"{name}\",role=\"{role}\"");
            let line = metrics
                .lines()
                .find(|l| l.starts_with("dbmesh_endpoint_serves{") && l.contains(&wanted));
            line.unwrap().ends_with(" 1")
        };
        assert!(serves("server-0", "primary") && !serves("server-0", "replica"));
        assert!(serves("server-1", "replica") && !serves("server-1", "primary"));
    }
}

#[test]
fn a_server_that_is_gone_says_why_it_does_not_serve() {
    let fleet = fleet(Kind::MySql, 1);
    let stage = stage(&fleet, 4, &[SPLITTING]);
    fleet.replicas()[0].kill_9();
    eventually("it is down", Duration::from_secs(20), || {
        endpoint(&stage, "server-1")["up"] == false
    });
    let seen = endpoint(&stage, "server-1");
    assert_eq!(seen["serves_as"], Value::Null);
    assert_eq!(seen["serves_not"], "down");
    assert!(seen["last_error"].is_string(), "{seen}");
    let (_, text) = said(&dbmesh(&stage, &["get", "endpoints", "-o", "wide"]));
    assert!(text.contains("probes do not reach it"), "{text}");
    let (status, ready) = stage.proxy.admin_get("/readyz").unwrap();
    assert_eq!(status, 200);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["services_without_primary"], Value::Array(Vec::new()));
}

#[test]
fn without_a_proxy_the_command_says_so() {
    let port = Port::reserve().unwrap();
    let output = Command::new(binary().unwrap())
        .args(["get", "endpoints", "--admin"])
        .arg(format!("127.0.0.1:{}", port.number()))
        .output()
        .unwrap();
    let (code, text) = said(&output);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("cannot reach the admin page at 127.0.0.1:"),
        "{text}"
    );
    assert!(text.contains("help: is `dbmesh proxy` running"), "{text}");
}
