//! The configuration texts of the harness and of the demonstration, read as the proxy reads them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{fs, path::Path};

use dbmesh_testkit::{
    Kind,
    config::{Backend, Config},
    folder::Folder,
};

#[test]
fn the_written_resources_resolve() {
    let folder = Folder::create("config").unwrap();
    let path = folder.path().join("dbmesh.yaml");
    let primary = Backend {
        kind: Kind::MySql,
        port: 3307,
    };
    let yaml = Config::new(primary, 3306, 8)
        .replica(Backend {
            kind: Kind::MariaDb,
            port: 3308,
        })
        .schema("shop")
        .service("limits: {queueWaitMs: 100}")
        .strategy("circuitBreaks: [{regex: [sleep]}]")
        .endpoint("tls: {mode: required}")
        .to_yaml();
    fs::write(&path, yaml).unwrap();
    let topology = dbmesh_model::topology(&path).unwrap();
    assert_eq!(topology.services.len(), 1);
    let service = &topology.services[0];
    assert_eq!(service.schema.as_deref(), Some("shop"));
    assert_eq!(service.strategy.endpoints.len(), 2);
}

#[test]
fn the_demonstration_resolves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo");
    let topology = dbmesh_model::topology(&folder).unwrap();
    assert_eq!(topology.services.len(), 1);
    assert_eq!(topology.services[0].strategy.endpoints.len(), 3);
}

#[test]
fn the_sharded_demonstration_resolves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo-sharded");
    let topology = dbmesh_model::topology(&folder).unwrap();
    assert_eq!(topology.services.len(), 1);
    assert!(topology.services[0].sharding.is_some());
}
