//! A fleet behind a proxy that finds the primary by asking the servers.
//!
//! Owns both. It must never tell the proxy who the primary is. Input: the kind of server, and what the strategy adds.

use std::time::Duration;

use dbmesh_testkit::config::Config;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Fleet, FleetOptions, Kind, Server, operator};

use crate::faultkit::client::RawClient;
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

/// Both kinds of server.
pub const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// How long the proxy may take to see what an operator did.
pub const NOTICE: Duration = Duration::from_secs(20);

/// A primary and two replicas behind a proxy.
pub struct Cluster {
    /// The servers; `fleet.primary()` is the one that was it first.
    pub fleet: Fleet,
    /// The proxy.
    pub stage: Stage,
    yaml: String,
}

impl Cluster {
    /// Roles by what the servers report; `splitting` holds more fields of `readWriteSplitting`.
    pub fn start(kind: Kind, splitting: &str) -> Self {
        let mut options = FleetOptions::new(kind, 2);
        options.extra_args = operator::semi_synchronous(kind);
        Self::of(options, splitting, &[])
    }

    /// The same, with more of the strategy.
    pub fn with_strategy(kind: Kind, strategy: &[&str]) -> Self {
        let mut options = FleetOptions::new(kind, 2);
        options.extra_args = operator::semi_synchronous(kind);
        Self::of(options, "", strategy)
    }

    /// The same with commits that wait for no replica.
    pub fn asynchronous(kind: Kind, splitting: &str) -> Self {
        Self::of(FleetOptions::new(kind, 2), splitting, &[])
    }

    fn of(options: FleetOptions, splitting: &str, strategy: &[&str]) -> Self {
        let fleet = Fleet::start(options).unwrap();
        let primary = fleet.primary();
        primary
            .execute(
                "CREATE DATABASE IF NOT EXISTS app; \
                 CREATE TABLE app.ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, op BIGINT NOT NULL, KEY (op)); \
                 CREATE TABLE app.t (id INT PRIMARY KEY, v BIGINT NOT NULL); INSERT INTO app.t VALUES (1, 0)",
            )
            .unwrap();
        fleet.wait_until_caught_up().unwrap();
        let port = Port::reserve().unwrap();
        let discovery = "dynamic: {discovery: {masterHighAvailability: {monitorInterval: 1000}}}";
        let config = Config::of_fleet(&fleet, port.number(), 16).schema("app").strategy(&format!(
            "loadBalance: {{simpleLoadBalance: {{kind: roundrobin}}, readWriteSplitting: {{{discovery}{splitting}}}}}"
        ));
        let config = strategy
            .iter()
            .fold(config, |config, line| config.strategy(line));
        let yaml = config.to_yaml();
        let stage = Stage::of_yaml(&yaml, port, &[]);
        let cluster = Self { fleet, stage, yaml };
        cluster.wait_for_primary(0);
        cluster
    }

    /// Ends the proxy and starts another one with these arguments.
    pub fn restart_proxy(&mut self, args: &[&str]) {
        let port = Port::reserve().unwrap();
        let old = format!("port: {}\n", self.stage.port);
        assert!(self.yaml.contains(&old));
        self.yaml = self
            .yaml
            .replace(&old, &format!("port: {}\n", port.number()));
        // The state file is one process's.
        self.stage.proxy.kill();
        self.stage = Stage::of_yaml(&self.yaml, port, args);
    }

    /// A client that is logged in.
    pub fn client(&self) -> RawClient {
        RawClient::app(self.stage.port)
    }

    /// All servers, the first primary first.
    pub fn servers(&self) -> Vec<&Server> {
        self.fleet.servers().collect()
    }

    /// Statements that the proxy sent to the server of this place.
    pub fn statements(&self, place: usize) -> f64 {
        let label = format!("endpoint=\"server-{place}\"");
        let name = "dbmesh_endpoint_statements_total";
        self.stage
            .proxy
            .metric(name, &label)
            .unwrap()
            .unwrap_or(0.0)
    }

    /// Whether the proxy keeps the server of this place from traffic.
    pub fn is_fenced(&self, place: usize) -> bool {
        let label = format!("endpoint=\"server-{place}\"");
        self.stage
            .proxy
            .metric("dbmesh_endpoint_fenced", &label)
            .unwrap()
            == Some(1.0)
    }

    /// Waits until writes go to the server of this place.
    pub fn wait_for_primary(&self, place: usize) {
        let id = self.servers()[place]
            .query_value("SELECT @@server_id")
            .unwrap()
            .unwrap();
        let mut client = self.client();
        eventually("the primary is found", NOTICE, || {
            client.query("SELECT @@server_id FOR UPDATE").value() == id
        });
    }

    /// Reloads a configuration that differs in the pool's size, so that all pools are made anew.
    pub fn reload_with_other_pools(&self) {
        let before = self.stage.metric("dbmesh_config_reloads_total");
        self.stage
            .proxy
            .rewrite_config(&self.yaml.replace("poolSize: 16", "poolSize: 15"))
            .unwrap();
        self.stage.proxy.sighup();
        eventually("the configuration is reloaded", NOTICE, || {
            self.stage.metric("dbmesh_config_reloads_total") > before
        });
    }
}
