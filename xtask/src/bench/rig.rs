//! The machines of a benchmark, all on this one: a real server, HAProxy in TCP mode and dbmesh before it, each at its own port
//! of the loopback address. It owns their processes and folder and ends them. Input: which targets are wanted, and options.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use dbmesh_testkit::folder::Folder;
use dbmesh_testkit::port::free_port;
use dbmesh_testkit::server::{APP_PASSWORD, APP_USER};
use dbmesh_testkit::{Fleet, FleetOptions, Kind, Server};

use super::Options;
use super::process::{Daemon, cpu_us, find_program};
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
    /// How many tables of its own each table of the load is.
    pub pieces: u32,
}

/// How dbmesh is to run.
#[derive(Clone, Copy, Debug)]
pub struct Proxy {
    /// Backend connections at most.
    pub pool: u32,
    /// Worker threads; 0 means one per CPU.
    pub workers: u32,
    /// Where reads go.
    pub reads: Reads,
}

/// Where reads go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// Where writes go.
    AtThePrimary,
    /// To the replicas, by rules and under session consistency.
    SplitOff,
}

/// A second service of a dbmesh, in front of another server.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// Where it listens.
    pub port: u16,
    /// Where its server does.
    pub server_port: u16,
    /// Backend connections at most.
    pub pool: u32,
}

/// What a dbmesh does beside passing statements on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Nothing: no insight.
    Bare,
    /// What it does by default: insight.
    Usual,
    /// And tracing of one statement in a hundred, to a collector that is not there.
    Traced,
    /// A hundred rules by expression, of which none matches.
    Ruled,
    /// A line on disk for every statement.
    Audited,
}

impl Manner {
    /// All of them, the cheapest first.
    pub const ALL: [Manner; 5] = [
        Manner::Bare,
        Manner::Usual,
        Manner::Traced,
        Manner::Ruled,
        Manner::Audited,
    ];

    fn name(self) -> &'static str {
        match self {
            Manner::Bare => "bare",
            Manner::Usual => "usual",
            Manner::Traced => "traced",
            Manner::Ruled => "ruled",
            Manner::Audited => "audited",
        }
    }

    /// Lines of the service, and of the strategy, in resources.
    fn lines(self, folder: &Path) -> (String, String) {
        let service = match self {
            Manner::Bare => "    observability: {insight: off}\n".to_owned(),
            Manner::Usual | Manner::Ruled => String::new(),
            Manner::Traced => {
                "    observability: {tracing: {endpoint: 'http://127.0.0.1:9', ratio: 0.01}}\n"
                    .to_owned()
            }
            Manner::Audited => {
                let file = folder.join("audit.jsonl");
                format!(
                    "    observability: {{audit: {{file: '{}'}}}}\n",
                    file.display()
                )
            }
        };
        if self != Manner::Ruled {
            return (service, String::new());
        }
        let rules: Vec<String> = (0..100)
            .map(|n| format!("  - {{name: r{n}, match: {{regex: ['^SELECT .* FROM report_{n}\\b']}}, action: deny}}\n"))
            .collect();
        (service, format!("  rules:\n{}", rules.concat()))
    }
}

/// Everything that runs, and the folder it runs in.
pub struct Rig {
    fleet: Fleet,
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
        Rig::with_replicas(kind, 0)
    }

    /// As [`Rig::start`], with servers that follow it.
    ///
    /// # Errors
    /// As [`Rig::start`].
    pub fn with_replicas(kind: Kind, replicas: u32) -> Result<Rig, String> {
        step("starting servers");
        let mut options = FleetOptions::new(kind, replicas);
        options.extra_args = vec![
            format!("--max-connections={SERVER_CONNECTIONS_MAX}"),
            "--max-prepared-stmt-count=1000000".to_owned(),
            "--innodb-buffer-pool-size=256M".to_owned(),
            "--table-open-cache=4000".to_owned(),
        ];
        // Replication is looked at through it.
        if kind == Kind::MySql && replicas == 0 {
            options
                .extra_args
                .push("--performance-schema=OFF".to_owned());
        }
        let fleet = Fleet::start(options).map_err(|error| error.to_string())?;
        fleet
            .primary()
            .execute(&format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}"))
            .map_err(|error| error.to_string())?;
        let folder = Folder::create("bench").map_err(|error| error.to_string())?;
        Ok(Rig {
            fleet,
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
        sysbench::prepare(&self.server().socket_path().to_string_lossy())?;
        self.fleet
            .wait_until_caught_up()
            .map_err(|error| error.to_string())
    }

    /// The server that takes writes.
    fn server(&self) -> &Server {
        self.fleet.primary()
    }

    /// What the server says it is.
    pub fn server_version(&self) -> &str {
        self.server().installation().version()
    }

    /// Processor time that all servers have used.
    ///
    /// # Errors
    /// When one of them has died.
    pub fn servers_cpu_us(&self) -> Result<u64, String> {
        let mut sum = 0;
        for server in self.fleet.servers() {
            let ended = || format!("a server has ended:\n{}", server.log_tail(10));
            sum += server.pid().and_then(cpu_us).ok_or_else(ended)?;
        }
        Ok(sum)
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
                            reads: Reads::AtThePrimary,
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
            port: self.server().port(),
            proxy_pid: None,
            pieces: 1,
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
        let config = self.write("haproxy.cfg", &haproxy_config(port, self.server().port()))?;
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
        let port = free_port().map_err(|error| error.to_string())?;
        let config = match proxy.reads {
            Reads::AtThePrimary => self.dbmesh_config(port, proxy.pool)?,
            Reads::SplitOff => self.split_config(port, proxy.pool)?,
        };
        let name = match proxy.reads {
            Reads::AtThePrimary => format!("dbmesh/{}", proxy.pool),
            Reads::SplitOff => format!("split/{}", proxy.pool),
        };
        self.start_dbmesh(&name, &config, port, proxy.workers)
    }

    /// Starts a dbmesh that does more or less beside passing statements on.
    ///
    /// # Errors
    /// As [`Rig::dbmesh`].
    pub fn dbmesh_in(&mut self, manner: Manner, pool: u32, workers: u32) -> Result<Target, String> {
        let port = free_port().map_err(|error| error.to_string())?;
        let (service, strategy) = manner.lines(self.folder.path());
        let tls = "    tls: {mode: disabled}\n";
        let balance = "  loadBalance: {simpleLoadBalance: {kind: random}}\n";
        let text = resources(port, self.server().port(), pool)
            .replacen(tls, &format!("{tls}{service}"), 1)
            .replacen(balance, &format!("{balance}{strategy}"), 1);
        let config = self.write(&format!("{}-{port}.yaml", manner.name()), &text)?;
        self.start_dbmesh(manner.name(), &config, port, workers)
    }

    /// Starts a dbmesh with a second service.
    ///
    /// # Errors
    /// As [`Rig::dbmesh`].
    pub fn dbmesh_beside(&mut self, other: Neighbour, workers: u32) -> Result<Target, String> {
        let port = free_port().map_err(|error| error.to_string())?;
        let calm = resources(port, self.server().port(), 8);
        let second = resources(other.port, other.server_port, other.pool);
        let second = second.replace("bench", "neighbour");
        let config = self.write("beside.yaml", &format!("{calm}---\n{second}"))?;
        self.start_dbmesh("beside", &config, port, workers)
    }

    fn start_dbmesh(
        &mut self,
        name: &str,
        config: &str,
        port: u16,
        workers: u32,
    ) -> Result<Target, String> {
        let program = self.dbmesh_program()?;
        let admin = format!(
            "127.0.0.1:{}",
            free_port().map_err(|error| error.to_string())?
        );
        let workers = workers.to_string();
        let args = [
            "proxy",
            "--config",
            config,
            "--admin",
            &admin,
            "--workers",
            &workers,
            "--log-level",
            "warn",
        ];
        self.start_daemon(&program, &args, name, TargetKind::Dbmesh, port)
    }

    /// Starts dbmesh with these resources, which make it listen at `port`.
    ///
    /// # Errors
    /// As [`Rig::dbmesh`].
    pub fn dbmesh_of(
        &mut self,
        name: &str,
        port: u16,
        resources: &str,
        workers: u32,
    ) -> Result<Target, String> {
        let config = self.write(&format!("dbmesh-{port}.yaml"), resources)?;
        self.start_dbmesh(name, &config, port, workers)
    }

    /// The port of the server that takes writes.
    pub fn server_port(&self) -> u16 {
        self.server().port()
    }

    /// Runs a statement at the server, as its administrator.
    ///
    /// # Errors
    /// What the server says.
    pub fn execute(&self, sql: &str) -> Result<(), String> {
        let done = self.server().execute(sql);
        done.map(drop).map_err(|error| format!("{sql}: {error}"))
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
            &resources(port, self.server().port(), pool),
        )
    }

    /// As [`Rig::dbmesh_config`], with all servers, and reads split off: ten rules by regular expression, which decide on
    /// nothing, come before the one that decides.
    fn split_config(&self, port: u16, pool: u32) -> Result<String, String> {
        let mut rules: Vec<String> = (0..10)
            .map(|n| format!("{{name: r{n}, type: regex, regex: ['(?i)^select .* from report_{n}\\b'], target: readwrite}}"))
            .collect();
        rules.push("{name: reads, type: generic}".to_owned());
        let splitting = format!(
            "readWriteSplitting: {{static: {{rules: [{}]}}}}",
            rules.join(", ")
        );
        let plain = resources(port, self.server().port(), pool);
        let mut text = plain.replace(
            "{simpleLoadBalance: {kind: random}}",
            &format!("{{simpleLoadBalance: {{kind: random}}, {splitting}}}"),
        );
        for (number, replica) in self.fleet.replicas().iter().enumerate() {
            text.push_str(&format!(
                "---\n{}",
                endpoint(&format!("replica-{number}"), "replica", replica.port())
            ));
        }
        self.write(&format!("split-{port}.yaml"), &text)
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
            pieces: 1,
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
{}",
        endpoint("bench", "primary", server_port)
    )
}

fn endpoint(name: &str, role: &str, server_port: u16) -> String {
    format!(
        "apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: {name}, namespace: default, labels: {{source: bench}}}}
spec:
  role: {role}
  database: {{MySQL: {{host: 127.0.0.1, port: {server_port}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, tls: {{mode: disabled}}}}}}
"
    )
}

/// What the proxy will say to resources, as text; empty when it takes them.
#[cfg(test)]
pub fn defects(name: &str, text: &str) -> String {
    let folder = Folder::create("bench-resources").unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    dbmesh_model::topology(&file).map_or_else(|defects| format!("{defects:?}"), |_| String::new())
}

#[cfg(test)]
mod tests {
    use super::defects;

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
