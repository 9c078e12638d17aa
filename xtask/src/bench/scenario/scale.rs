//! Split tables in great numbers and sizes: ten thousand logical tables, definitions on 64 shards, ten million rows in
//! order and a million groups. Every part starts two servers of its own, which make their data themselves, and a dbmesh
//! before them; all of it is gone afterwards. Memory is the proxy's, as the kernel counts it. Input: options, of which
//! `--parts`, `--scale-tables` and `--scale-rows` are this scenario's own.

mod definitions;
mod rows;
mod tables;

use std::time::{Duration, Instant};

use clap::ValueEnum;
use dbmesh_testkit::folder::Folder;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Kind, Server, ServerOptions};
use serde_json::{Map, Value};

use super::Outcome;
use super::cluster::text;
use crate::bench::Options;
use crate::bench::process::Daemon;
use crate::bench::rig::{self, PASSWORD, SCHEMA, USER, step};

/// Nodes, each a server of its own.
const NODES: usize = 2;
/// How long the proxy may take until it listens, or has done what it was asked for.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(2);

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// Start, check, reload and memory with many logical tables.
    Tables,
    /// CREATE, ALTER and DROP of a table of 64 shards, also with a server that is down.
    Definitions,
    /// Many rows in order, sorted, and grouped.
    Rows,
}

/// Runs it.
///
/// # Errors
/// When a server or dbmesh does not start, or an answer is not what it should be.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let (mut server, mut table, mut json) = (String::new(), String::new(), Map::new());
    for part in &options.parts {
        let (name, outcome) = match part {
            Part::Tables => ("tables", tables::run(options)?),
            Part::Definitions => ("definitions", definitions::run(options)?),
            Part::Rows => ("rows", rows::run(options)?),
        };
        server = outcome.server;
        // The next part may fail, and takes long.
        step(&format!("{name}:\n{}", outcome.table));
        table += &outcome.table;
        table += "\n";
        json.insert(name.to_owned(), outcome.json);
    }
    Ok(Outcome {
        server,
        table,
        json: Value::Object(json),
    })
}

/// The servers of a part.
struct Nodes {
    servers: [Server; NODES],
}

impl Nodes {
    /// Starts them with an empty schema. They keep no binary log: nothing follows them.
    fn start(kind: Kind, args: &[&str]) -> Result<Self, String> {
        let server = |id| {
            let mut options = ServerOptions::new(kind)
                .server_id(id)
                .arg("--skip-log-bin")
                .arg("--max-connections=200");
            for arg in args {
                options = options.arg(*arg);
            }
            let server = Server::start(options).map_err(text)?;
            let create = format!("CREATE DATABASE {SCHEMA}");
            server.execute(&create).map_err(text)?;
            Ok::<_, String>(server)
        };
        Ok(Self {
            servers: [server(1)?, server(2)?],
        })
    }

    /// Does something at all servers at the same time.
    fn each(
        &self,
        work: impl Fn(usize, &Server) -> Result<(), String> + Sync,
    ) -> Result<(), String> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .servers
                .iter()
                .enumerate()
                .map(|(node, server)| scope.spawn(move || work(node, server)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                let done = thread.join();
                done.unwrap_or_else(|_| Err("a loading thread panicked".to_owned()))
            })
        })
    }

    fn version(&self) -> String {
        let version = self.servers[0].query_value("SELECT VERSION()");
        version.ok().flatten().unwrap_or_default()
    }

    fn ports(&self) -> [u16; NODES] {
        [self.servers[0].port(), self.servers[1].port()]
    }
}

/// A dbmesh before the servers.
struct Mesh {
    // Ended before its ports and folder are given back.
    daemon: Daemon,
    port: Port,
    admin: Port,
    folder: Folder,
    /// From the creation of its process until it accepts a connection.
    start_ms: f64,
}

impl Mesh {
    /// Starts it with the DataShard that `sharding` is the `spec` of.
    fn start(nodes: &Nodes, options: &Options, sharding: &str) -> Result<Self, String> {
        let program = rig::program()?;
        let (port, admin) = (
            Port::reserve().map_err(text)?,
            Port::reserve().map_err(text)?,
        );
        let folder = Folder::create("bench-scale").map_err(text)?;
        let config = folder.path().join("dbmesh.yaml");
        let resources = resources(port.number(), nodes.ports(), sharding);
        std::fs::write(&config, resources).map_err(text)?;
        let (config, log) = (config.display().to_string(), folder.path().join("log"));
        let address = format!("127.0.0.1:{}", admin.number());
        let workers = options.workers.to_string();
        let mut args = vec!["proxy", "--config", &config, "--admin", &address];
        args.extend(["--workers", &workers, "--log-level", "warn"]);
        let started = Instant::now();
        let mut daemon = Daemon::spawn(&program, &args, &log)?;
        daemon.wait_listening(port.number(), LIMIT, &log)?;
        Ok(Self {
            start_ms: ms(started),
            daemon,
            port,
            admin,
            folder,
        })
    }

    /// A metric, by a part of its labels.
    fn metric(&self, name: &str, label: &str) -> Result<f64, String> {
        let value = dbmesh_testkit::proxy::metric(self.admin.number(), name, label);
        Ok(value.map_err(text)?.unwrap_or_default())
    }

    /// Waits until something holds.
    fn wait(
        &self,
        what: &str,
        mut holds: impl FnMut() -> Result<bool, String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let held = holds();
            match held {
                Ok(true) => return Ok(()),
                _ if Instant::now() < deadline => std::thread::sleep(POLL),
                other => {
                    let log = std::fs::read_to_string(self.folder.path().join("log"));
                    let log = log.unwrap_or_default();
                    let tail: Vec<&str> = log.lines().rev().take(10).collect();
                    return Err(format!("not in {LIMIT:?}: {what} ({other:?}); {tail:?}"));
                }
            }
        }
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

/// All resources: a service whose schema has the same name at both nodes, `ds_0` and `ds_1`.
fn resources(port: u16, servers: [u16; NODES], sharding: &str) -> String {
    let api = "apiVersion: core.database-mesh.io/v1alpha1";
    let mut yaml = format!(
        "{api}\nkind: VirtualDatabase\nmetadata: {{name: bench}}\nspec:\n  services:\n  - name: mysql\n    databaseMySQL: \
         {{host: 127.0.0.1, port: {port}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, poolSize: 16}}\n    \
         trafficStrategy: bench\n    dataShard: bench\n    tls: {{mode: disabled}}\n    \
         users: [{{name: ops, password: ops-password, operator: true}}]\n---\n{api}\nkind: TrafficStrategy\n\
         metadata: {{name: bench}}\nspec: {{selector: {{matchLabels: {{source: bench}}}}}}\n"
    );
    for (node, server) in servers.iter().enumerate() {
        yaml += &format!(
            "---\n{api}\nkind: DatabaseEndpoint\nmetadata: {{name: ds_{node}, labels: {{source: bench}}}}\nspec: {{database: \
             {{MySQL: {{host: 127.0.0.1, port: {server}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, \
             tls: {{mode: disabled}}}}}}}}\n",
        );
    }
    yaml + &format!("---\n{api}\nkind: DataShard\nmetadata: {{name: bench}}\nspec:\n{sharding}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rig::defects;

    #[test]
    fn the_proxy_takes_the_resources() {
        for sharding in [
            tables::sharding(3),
            definitions::sharding(),
            rows::sharding(),
        ] {
            let yaml = resources(3306, [3307, 3308], &sharding);
            assert_eq!(defects("bench.yaml", &yaml), "");
        }
    }
}
