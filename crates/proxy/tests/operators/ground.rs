//! A fleet with a table, a proxy in front of it, the command, and a load that counts what fails.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::binary;
use dbmesh_testkit::server::Kind;
use serde_json::Value;

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

pub const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// A primary and replicas with an empty table `app.t`.
pub fn fleet(kind: Kind, replicas: u32) -> Fleet {
    let fleet = Fleet::start(FleetOptions::new(kind, replicas)).unwrap();
    let primary = fleet.primary();
    primary
        .execute("CREATE DATABASE IF NOT EXISTS app")
        .unwrap();
    primary
        .execute("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT NOT NULL)")
        .unwrap();
    fleet.wait_until_caught_up().unwrap();
    fleet
}

/// The configuration, so that a test can write another one.
pub fn yaml(fleet: &Fleet, port: u16, pool_size: u32, strategy: &[&str]) -> String {
    let config = Config::of_fleet(fleet, port, pool_size).schema("app");
    let lines = strategy.iter();
    lines
        .fold(config, |config, line| config.strategy(line))
        .to_yaml()
}

/// Reads to replicas, and statements that wait for a primary.
pub const SPLITTING: &str =
    "loadBalance: {simpleLoadBalance: {kind: roundrobin}, readWriteSplitting: {static: {}}}";
pub const BUFFER: &str = "failover: {buffer: {maxWaitMs: 15000}}";

/// A proxy in front of a fleet; the name of each endpoint is `server-N`.
pub fn stage(fleet: &Fleet, pool_size: u32, strategy: &[&str]) -> Stage {
    let port = Port::reserve().unwrap();
    let yaml = yaml(fleet, port.number(), pool_size, strategy);
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let wanted = fleet.replicas().len();
    if strategy.contains(&SPLITTING) {
        eventually("replicas serve", Duration::from_secs(20), || {
            let serve = stage
                .proxy
                .metric("dbmesh_endpoint_serves", "role=\"replica\"");
            serve.unwrap() == Some(wanted as f64)
        });
    }
    stage
}

/// `dbmesh ARGS --admin …`, run by `ann`.
pub fn dbmesh(stage: &Stage, args: &[&str]) -> Output {
    let admin = format!("127.0.0.1:{}", stage.proxy.admin_port());
    Command::new(binary().unwrap())
        .args(args)
        .args(["--admin", &admin])
        .env("USER", "ann")
        .env_remove("SUDO_USER")
        .output()
        .unwrap()
}

/// What it says on both outputs, and whether it succeeded.
pub fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// What `/debug/endpoints` says of an endpoint.
pub fn endpoint(stage: &Stage, name: &str) -> Value {
    let (status, body) = stage.proxy.admin_get("/debug/endpoints").unwrap();
    assert_eq!(status, 200);
    let all: Vec<Value> = serde_json::from_str(&body).unwrap();
    let found = all.into_iter().find(|one| one["endpoint"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {body}"))
}

/// Sessions that insert and read, each statement by itself, until stopped. Any error is a failure.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    pub fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..4)
            .map(|_| {
                let stop = stop.clone();
                std::thread::spawn(move || work(port, &stop))
            })
            .collect();
        Self { stop, workers }
    }

    /// Rows inserted; no statement may have failed.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut rows = 0;
        for worker in self.workers {
            let (inserted, failures) = worker.join().unwrap();
            assert!(failures.is_empty(), "{failures:?}");
            rows += inserted;
        }
        rows
    }
}

fn work(port: u16, stop: &AtomicBool) -> (u64, Vec<String>) {
    let mut client = RawClient::app(port);
    let (mut rows, mut failures) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) && failures.len() < 5 {
        match client.query("INSERT INTO app.t (v) VALUES (1)") {
            Reply::Ok => rows += 1,
            other => failures.push(format!("INSERT: {other:?}")),
        }
        match client.query("SELECT 1 FROM app.t LIMIT 1") {
            Reply::Rows(found) if found.len() == 1 => {}
            other => failures.push(format!("SELECT: {other:?}")),
        }
    }
    (rows, failures)
}
