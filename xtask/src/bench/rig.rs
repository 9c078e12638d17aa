//! The machines of a benchmark, all on this one: a real server, HAProxy in TCP mode and dbmesh before it, each at its own port
//! of the loopback address. It owns their processes and folder and ends them. Input: which targets are wanted, and options.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use dbmesh_testkit::folder::Folder;
use dbmesh_testkit::port::free_port;
use dbmesh_testkit::server::{APP_PASSWORD, APP_USER};
use dbmesh_testkit::{Kind, Server, ServerOptions};

use super::Options;
use super::process::{Daemon, find_program};
use super::sysbench;
use crate::workspace;

/// The account that clients log in with, at the server and at every proxy.
pub const USER: &str = APP_USER;
/// Its password.
pub const PASSWORD: &str = APP_PASSWORD;
/// The schema with the data set.
pub const SCHEMA: &str = "sbtest";
/// Connections that the server takes: the most clients of a direct run, with room for the proxies' pools.
const SERVER_CONNECTIONS_MAX: u32 = 2_000;
/// How long a program may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What stands between clients and the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TargetKind {
    /// Nothing.
    Direct,
    /// HAProxy in TCP mode: it looks at nothing, and so is the floor of what any proxy costs.
    Haproxy,
    /// This project's proxy.
    Dbmesh,
}

/// Something that clients can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// What it is.
    pub kind: TargetKind,
    /// Port on the loopback address.
    pub port: u16,
    /// The process between client and server, if there is one.
    pub proxy_pid: Option<u32>,
}

/// How dbmesh is to run.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// Backend connections at most.
    pub pool: u32,
    /// Worker threads; 0 means one per CPU.
    pub workers: u32,
}

/// Everything that runs, and the folder it runs in.
pub struct Rig {
    server: Server,
    daemons: Vec<Daemon>,
    dbmesh: Option<PathBuf>,
    // Dropped after the programs that write into it.
    folder: Folder,
}

impl Rig {
    /// Starts a server of `kind` with the account and an empty schema.
    ///
    /// # Errors
    /// When it cannot be found, fetched or started.
    pub fn start(kind: Kind) -> Result<Rig, String> {
        step("starting a server");
        let mut options = ServerOptions::new(kind)
            .arg(format!("--max-connections={SERVER_CONNECTIONS_MAX}"))
            .arg("--max-prepared-stmt-count=1000000")
            .arg("--innodb-buffer-pool-size=256M")
            .arg("--table-open-cache=4000");
        if kind == Kind::MySql {
            options = options.arg("--performance-schema=OFF");
        }
        let server = Server::start(options).map_err(|error| error.to_string())?;
        server
            .execute(&format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"))
            .map_err(|error| error.to_string())?;
        let folder = Folder::create("bench").map_err(|error| error.to_string())?;
        Ok(Rig {
            server,
            folder,
            daemons: Vec::new(),
            dbmesh: None,
        })
    }

    /// Fills the schema with sysbench's tables.
    ///
    /// # Errors
    /// What sysbench says when it fails.
    pub fn load_tables(&self) -> Result<(), String> {
        step("loading tables");
        sysbench::prepare(&self.server.socket_path().to_string_lossy())
    }

    /// What the server says it is.
    pub fn server_version(&self) -> &str {
        self.server.installation().version()
    }

    /// The server's process id.
    ///
    /// # Errors
    /// When it has died.
    pub fn server_pid(&self) -> Result<u32, String> {
        self.server
            .pid()
            .ok_or_else(|| format!("the server has ended:\n{}", self.server.log_tail(10)))
    }

    /// Starts the targets that the options name; one dbmesh for each number in `pools`.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn targets(&mut self, options: &Options, pools: &[u32]) -> Result<Vec<Target>, String> {
        let mut targets = Vec::new();
        for kind in &options.targets {
            match kind {
                TargetKind::Direct => targets.push(self.direct()),
                TargetKind::Haproxy => targets.push(self.haproxy()?),
                TargetKind::Dbmesh => {
                    for pool in pools {
                        let workers = options.workers;
                        targets.push(self.dbmesh(Proxy {
                            pool: *pool,
                            workers,
                        })?);
                    }
                }
            }
        }
        Ok(targets)
    }

    /// The target without anything between.
    fn direct(&self) -> Target {
        Target {
            name: "direct".to_owned(),
            kind: TargetKind::Direct,
            port: self.server.port(),
            proxy_pid: None,
        }
    }

    /// Starts HAProxy before the server.
    ///
    /// # Errors
    /// When it is missing or does not listen.
    fn haproxy(&mut self) -> Result<Target, String> {
        let program =
            find_program("haproxy").ok_or("haproxy is missing: apt-get install haproxy")?;
        let port = free_port().map_err(|error| error.to_string())?;
        let config = self.write("haproxy.cfg", &haproxy_config(port, self.server.port()))?;
        self.start_daemon(
            &program,
            &["-db", "-f", &config],
            "haproxy",
            TargetKind::Haproxy,
            port,
        )
    }

    /// Starts dbmesh before the server, from a release build made when it is first needed.
    ///
    /// # Errors
    /// When it cannot be built or does not listen.
    pub fn dbmesh(&mut self, proxy: Proxy) -> Result<Target, String> {
        let program = self.dbmesh_program()?;
        let port = free_port().map_err(|error| error.to_string())?;
        let admin = format!(
            "127.0.0.1:{}",
            free_port().map_err(|error| error.to_string())?
        );
        let config = self.dbmesh_config(port, proxy.pool)?;
        let workers = proxy.workers.to_string();
        let args = [
            "proxy",
            "--config",
            &config,
            "--admin",
            &admin,
            "--workers",
            &workers,
            "--log-level",
            "warn",
        ];
        self.start_daemon(
            &program,
            &args,
            &format!("dbmesh/{}", proxy.pool),
            TargetKind::Dbmesh,
            port,
        )
    }

    /// The release build of dbmesh, made now if need be. `DBMESH_BIN` names another one.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn dbmesh_program(&mut self) -> Result<PathBuf, String> {
        if let Some(program) = &self.dbmesh {
            return Ok(program.clone());
        }
        Ok(self.dbmesh.insert(program()?).clone())
    }

    /// Writes resources for a proxy at `port` with `pool` backend connections; returns the path of the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn dbmesh_config(&self, port: u16, pool: u32) -> Result<String, String> {
        self.write(
            &format!("dbmesh-{port}.yaml"),
            &resources(port, self.server.port(), pool),
        )
    }

    /// A file for the output of a program.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder
            .path()
            .join(format!("{}.log", name.replace('/', "-")))
    }

    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn start_daemon(
        &mut self,
        program: &Path,
        args: &[&str],
        name: &str,
        kind: TargetKind,
        port: u16,
    ) -> Result<Target, String> {
        step(&format!("starting {name}"));
        let log = self.log(name);
        let mut daemon = Daemon::spawn(program, args, &log)?;
        daemon.wait_listening(port, START_LIMIT, &log)?;
        let target = Target {
            name: name.to_owned(),
            kind,
            port,
            proxy_pid: Some(daemon.pid()),
        };
        self.daemons.push(daemon);
        Ok(target)
    }
}

/// Says on stderr what happens now.
pub fn step(what: &str) {
    eprintln!("bench: {what}");
}

/// The program to measure: what `DBMESH_BIN` names, or a release build of this work tree.
///
/// # Errors
/// When cargo fails.
pub fn program() -> Result<PathBuf, String> {
    match std::env::var_os("DBMESH_BIN") {
        Some(program) => Ok(PathBuf::from(program)),
        None => build_release(),
    }
}

fn build_release() -> Result<PathBuf, String> {
    step("building dbmesh (release)");
    let args = [
        "build",
        "--release",
        "--package",
        "dbmesh",
        "--message-format",
        "json-render-diagnostics",
    ];
    let out = Command::new(workspace::cargo())
        .args(args)
        .current_dir(workspace::root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !out.status.success() {
        return Err("dbmesh does not build".to_owned());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let mut programs = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    programs
        .next_back()
        .ok_or_else(|| "cargo names no program".to_owned())
}

fn haproxy_config(port: u16, server_port: u16) -> String {
    format!(
        "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen mysql\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{server_port}\n"
    )
}

/// The three resources of a proxy with one endpoint. There is no TLS, as there is none for the other targets. Limits are out of the way of every scenario: what they cost is not what
/// is measured.
fn resources(port: u16, server_port: u16, pool: u32) -> String {
    format!(
        "apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {{name: bench, namespace: default}}
spec:
  services:
  - name: mysql
    databaseMySQL: {{host: 127.0.0.1, port: {port}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, poolSize: {pool}}}
    trafficStrategy: bench
    limits: {{maxConnections: 20000, maxConnectionsPerUser: 20000, maxConnectionsPerAddress: 20000, queueWaitMs: 60000}}
    pool: {{connectRatePerSecond: 10000}}
    tls: {{mode: disabled}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {{name: bench, namespace: default}}
spec:
  selector: {{matchLabels: {{source: bench}}}}
  loadBalance: {{simpleLoadBalance: {{kind: random}}}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: bench, namespace: default, labels: {{source: bench}}}}
spec: {{database: {{MySQL: {{host: 127.0.0.1, port: {server_port}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, tls: {{mode: disabled}}}}}}}}
"
    )
}

#[cfg(test)]
mod tests {
    use dbmesh_testkit::folder::Folder;

    /// What the proxy will say to resources, as text; empty when it takes them.
    fn defects(name: &str, text: &str) -> String {
        let folder = Folder::create("bench-resources").unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        dbmesh_model::topology(&file)
            .map_or_else(|defects| format!("{defects:?}"), |_| String::new())
    }

    #[test]
    fn the_proxy_takes_the_resources() {
        assert_eq!(defects("bench.yaml", &super::resources(3306, 3307, 8)), "");
        assert_ne!(defects("bench.yaml", &super::resources(3306, 3307, 0)), "");
    }

    #[test]
    fn the_proxy_takes_the_resources_of_the_readme() {
        let readme = std::fs::read_to_string(crate::workspace::root().join("README.md")).unwrap();
        let blocks: Vec<&str> = readme
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            assert_eq!(defects("readme.yaml", block), "");
        }
    }
}
