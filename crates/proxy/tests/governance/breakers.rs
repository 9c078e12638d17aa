//! Breakers: an endpoint that fails is spared, and comes back by itself or by an operator.

use std::time::Duration;

use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::binary;
use dbmesh_testkit::server::Kind;

use crate::ask::assert_error;
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{Ground, KINDS};

fn state(stage: &Stage) -> String {
    let (_, body) = stage.proxy.admin_get("/debug/endpoints").unwrap();
    let all: serde_json::Value = serde_json::from_str(&body).unwrap();
    all[0]["breaker"].as_str().unwrap().to_owned()
}

#[test]
fn slow_statements_open_it_and_probes_close_it() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_breaker");
        let policy = "failover: {breaker: {windowMs: 60000, minVolume: 4, slowMs: 200, slowPercent: 50, openMs: 1500, probes: 2}}";
        let stage = ground.stage(|config| config.strategy(policy));
        let mut client = ground.client(&stage);
        assert_eq!(state(&stage), "closed");
        for _ in 0..4 {
            assert_eq!(client.query("SELECT SLEEP(0.3)").value(), "0");
        }
        let refused = client.query("SELECT 1");
        if refused.code().is_some() {
            assert_error(&refused, 2003, "server-0 is spared");
        }
        eventually("probes come through", Duration::from_secs(20), || {
            client.query("SELECT 1") == Reply::Rows(vec![vec![Some("1".into())]])
                && state(&stage) == "closed"
        });
        let opened = stage.metric("dbmesh_endpoint_breaker_opened_total");
        assert!(opened >= 1.0, "{kind:?}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_reached_fails_fast() {
    let ground = Ground::new(Kind::MySql, "gov_unreachable");
    let dead = Port::reserve().unwrap();
    let port = Port::reserve().unwrap();
    let yaml = ground.yaml(port.number(), |config| {
        config.strategy("failover: {breaker: {minVolume: 3, openMs: 600000}}")
    });
    let real = format!("port: {}", ground.server.port());
    let yaml = yaml.replace(&real, &format!("port: {}", dead.number()));
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let mut client = RawClient::app(stage.port);
    eventually("it opens", Duration::from_secs(20), || {
        client.query("SELECT 1");
        state(&stage) == "open"
    });
    assert_error(&client.query("SELECT 1"), 2003, "is spared");
}

#[test]
fn an_operator_holds_it() {
    let ground = Ground::new(Kind::MySql, "gov_forced");
    let stage = ground.stage(|config| config);
    let mut client = ground.client(&stage);
    let mut held = ground.client(&stage);
    assert_eq!(held.query("BEGIN"), Reply::Ok);
    let order = |state: &str| {
        let admin = format!("127.0.0.1:{}", stage.proxy.admin_port());
        let mut command = std::process::Command::new(binary().unwrap());
        let done = command
            .args(["breaker", "server-0", state, "--admin", &admin])
            .output();
        let done = done.unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    order("open");
    assert_eq!(state(&stage), "open");
    assert_error(&client.query("SELECT 1"), 2003, "server-0 is spared");
    // A transaction that is open goes on.
    assert_eq!(held.query("SELECT v FROM t WHERE id = 1").value(), "10");
    assert_eq!(held.query("COMMIT"), Reply::Ok);
    order("auto");
    assert_eq!(client.query("SELECT 1").value(), "1");
    let log = stage.proxy.log();
    assert!(
        log.contains("an operator sets the endpoint's breaker"),
        "{log}"
    );
}
