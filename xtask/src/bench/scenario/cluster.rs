//! A fleet behind dbmesh that finds the primary by asking the servers: what failover and stale reads are measured on. It
//! starts and ends both. It must never tell dbmesh who the primary is. Input: the kind of server, and the strategy.

use std::time::{Duration, Instant};

use dbmesh_testkit::config::Config;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Fleet, FleetOptions, Kind, Server, operator};

use crate::bench::client::Client;
use crate::bench::process::Daemon;
use crate::bench::rig::{self, SCHEMA};

/// Replicas of the fleet.
const REPLICAS: u32 = 2;
/// How long anything may take until it is given up.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// A fleet behind dbmesh.
pub struct Cluster {
    /// The servers.
    pub fleet: Fleet,
    /// Where clients log in.
    pub port: u16,
    admin: u16,
    // Ended before its port and folder are given back.
    _daemon: Daemon,
    _ports: [Port; 2],
    _folder: dbmesh_testkit::folder::Folder,
}

impl Cluster {
    /// Starts a fleet with semi-synchronous replication and dbmesh before it. `splitting` holds fields of
    /// `readWriteSplitting` beside `dynamic`.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(kind: Kind, pool: u32, splitting: &str) -> Result<Cluster, String> {
        let program = rig::program()?;
        let mut options = FleetOptions::new(kind, REPLICAS);
        options.extra_args = operator::semi_synchronous(kind);
        let fleet = Fleet::start(options).map_err(text)?;
        let primary = fleet.primary();
        primary
            .execute(&format!(
                "CREATE DATABASE {SCHEMA}; \
                 CREATE TABLE {SCHEMA}.ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, op BIGINT NOT NULL, KEY (op)); \
                 CREATE TABLE {SCHEMA}.counters (id INT PRIMARY KEY, v BIGINT NOT NULL)"
            ))
            .map_err(text)?;
        fleet.wait_until_caught_up().map_err(text)?;
        let ports = [
            Port::reserve().map_err(text)?,
            Port::reserve().map_err(text)?,
        ];
        let [port, admin] = [ports[0].number(), ports[1].number()];
        let folder = dbmesh_testkit::folder::Folder::create("bench-cluster").map_err(text)?;
        let config = folder.path().join("dbmesh.yaml");
        let balance = "loadBalance: {simpleLoadBalance: {kind: roundrobin}, readWriteSplitting: \
                       {dynamic: {discovery: {masterHighAvailability: {}}}";
        let yaml = Config::of_fleet(&fleet, port, pool)
            .schema(SCHEMA)
            .strategy(&format!("{balance}{splitting}}}}}"))
            .to_yaml();
        std::fs::write(&config, yaml).map_err(text)?;
        let log = folder.path().join("dbmesh.log");
        let (config, address) = (config.display().to_string(), format!("127.0.0.1:{admin}"));
        let mut daemon = Daemon::spawn(
            &program,
            &["proxy", "--config", &config, "--admin", &address],
            &log,
        )?;
        daemon.wait_listening(port, LIMIT, &log)?;
        let cluster = Cluster {
            fleet,
            port,
            admin,
            _daemon: daemon,
            _ports: ports,
            _folder: folder,
        };
        cluster.wait("writes are taken", || {
            let mut client = Client::connect(port)?;
            client
                .query("DELETE FROM ledger WHERE op < 0")
                .map(|_| true)
        })?;
        Ok(cluster)
    }

    /// All servers, the first primary first.
    pub fn servers(&self) -> Vec<&Server> {
        self.fleet.servers().collect()
    }

    /// The version of the servers.
    pub fn version(&self) -> String {
        let version = self.fleet.primary().query_value("SELECT VERSION()");
        version.ok().flatten().unwrap_or_default()
    }

    /// The sum of a metric over all its labels that contain `label`.
    ///
    /// # Errors
    /// When the admin port does not answer.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters are whole and positive"
    )]
    pub fn metric(&self, name: &str, label: &str) -> Result<u64, String> {
        let value = dbmesh_testkit::proxy::metric(self.admin, name, label).map_err(text)?;
        Ok(value.unwrap_or_default() as u64)
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When it does not in time; what it said last.
    pub fn wait(
        &self,
        what: &str,
        mut check: impl FnMut() -> Result<bool, String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + LIMIT;
        let mut last = String::new();
        while Instant::now() < deadline {
            match check() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = error,
            }
            std::thread::sleep(POLL);
        }
        Err(format!("not within {LIMIT:?}: {what}; {last}"))
    }
}

/// An error in words.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
