//! Near its limit of memory the proxy refuses new work, lives on, and takes work again.

use std::time::Duration;

use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::Kind;

use crate::ask::assert_error;
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::Ground;

#[test]
fn new_work_is_refused_near_the_limit_and_let_in_again() {
    let ground = Ground::new(Kind::MySql, "gov_memory");
    let port = Port::reserve().unwrap();
    let yaml = ground.yaml(port.number(), |config| config);
    let stage = Stage::of_yaml(&yaml, port, &["--memory-limit", "80MiB"]);
    let mut client = ground.client(&stage);
    let mut bound = ground.client(&stage);
    assert_eq!(client.query("SELECT 1").value(), "1");
    assert_eq!(bound.query("BEGIN"), Reply::Ok);
    let near = || stage.metric("dbmesh_memory_near_limit") == 1.0;
    assert!(!near());

    // Commands that never end fill the sessions' buffers.
    let mut hoarders: Vec<RawClient> = (0..3).map(|_| ground.client(&stage)).collect();
    let mut piece = vec![0xFF, 0xFF, 0xFF, 0];
    piece.push(3);
    piece.resize(4 + 0xFF_FFFF, b' ');
    for number in 0..3 {
        piece[3] = number;
        for hoarder in &mut hoarders {
            let _ = hoarder.raw(&piece);
        }
    }
    eventually("memory is short", Duration::from_secs(20), near);
    assert_error(&client.query("SELECT 1"), 1041, "limit of memory");
    let refused = RawClient::connect(stage.port).login(&ground.credentials());
    assert_error(&refused, 1041, "limit of memory");
    assert_eq!(bound.query("SELECT v FROM t WHERE id = 1").value(), "10");
    assert_eq!(bound.query("COMMIT"), Reply::Ok);

    drop(hoarders);
    eventually("there is memory again", Duration::from_secs(20), || !near());
    assert_eq!(client.query("SELECT 1").value(), "1");
    assert!(stage.metric("dbmesh_memory_refused_total") >= 2.0);
}
