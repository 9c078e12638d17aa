//! `cargo xtask demo`: a shop's catalogue on a primary and two replicas, with dbmesh in front of them.
//!
//! Owns what it starts, and ends all of it on Ctrl-C. It must never touch a server that was there
//! before. Its inputs are the resource files and the SQL file in `deploy/demo/`, whose ports it replaces
//! where they are taken.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use dbmesh_testkit::{
    Fleet, FleetOptions, Kind, Proxy, Session, binaries::Installation, folder::Folder, port,
    process,
};

use crate::workspace;

mod load;
mod sharded;

const USER: &str = "catalogue_user";
const PASSWORD: &str = "default_password";
const SCHEMA: &str = "socksdb";
/// The ports in `deploy/demo/`: where the mesh listens, and those of its servers.
const MESH_PORT: u16 = 13_306;
const SERVER_PORTS: [u16; 3] = [13_307, 13_308, 13_309];

/// Options of the demonstration.
#[derive(clap::Args)]
pub struct Options {
    /// Show live traffic: statements per second and latencies, every second.
    #[arg(long)]
    load: bool,
    /// MariaDB servers instead of MySQL.
    #[arg(long)]
    mariadb: bool,
    /// Orders split over two primaries with a replica each, eight shards, instead of the catalogue.
    #[arg(long, conflicts_with_all = ["load", "clients"])]
    sharded: bool,
    /// Clients of --load.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// End after so many seconds, with an error if a statement failed, instead of at Ctrl-C.
    #[arg(long)]
    seconds: Option<u32>,
}

/// What runs while the demonstration does.
struct Demo {
    fleet: Fleet,
    proxy: Proxy,
    port: u16,
    client: String,
    /// Holds the script that `client` names.
    _folder: Folder,
}

/// Starts everything, says how to use it, and stays until it is told to end.
pub fn run(options: &Options) -> Result<(), String> {
    process::exit_on_signals("\ndemo: ending the servers and removing their folders", 0)
        .map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let kind = match options.mariadb {
        true => Kind::MariaDb,
        false => Kind::MySql,
    };
    let limit = options
        .seconds
        .map(|seconds| Duration::from_secs(seconds.into()));
    if options.sharded {
        return sharded::run(kind, || stay(limit));
    }
    let demo = Demo::start(kind)?;
    demo.describe();
    if options.load {
        return load::run(demo.port, options.clients, limit);
    }
    stay(limit)
}

/// Until the limit, or for ever.
fn stay(limit: Option<Duration>) -> Result<(), String> {
    println!("Ctrl-C ends it all.");
    match limit {
        Some(limit) => thread::sleep(limit),
        None => loop {
            thread::sleep(Duration::from_secs(3600));
        },
    }
    Ok(())
}

impl Demo {
    fn start(kind: Kind) -> Result<Demo, String> {
        let installation = Installation::find(kind).map_err(text)?;
        if std::env::var_os("DBMESH_BIN").is_none() {
            eprintln!("demo: building dbmesh");
            build()?;
        }
        eprintln!(
            "demo: starting a primary and two replicas ({kind} {})",
            installation.version()
        );
        let fleet = Fleet::start(FleetOptions::new(kind, 2)).map_err(text)?;
        eprintln!("demo: loading the catalogue");
        fleet
            .primary()
            .execute(&read(&files().join("catalogue.sql"))?)
            .map_err(text)?;
        fleet.wait_until_caught_up().map_err(text)?;
        let port = if port::is_free(MESH_PORT) {
            MESH_PORT
        } else {
            port::free_port().map_err(text)?
        };
        eprintln!("demo: starting dbmesh");
        let proxy = Proxy::start(&resources(kind, &fleet, port)?, &[]).map_err(text)?;
        let session = Session::over_tcp(port, USER, PASSWORD, Some(SCHEMA)).map_err(text)?;
        let socks = session.query("SELECT COUNT(*) FROM sock").map_err(text)?;
        if socks != [[Some("10".to_owned())]] {
            return Err(format!("the mesh counts {socks:?} socks instead of 10"));
        }
        let folder = Folder::create("client").map_err(text)?;
        let client = client_script(&installation, folder.path(), port)?;
        Ok(Demo {
            fleet,
            proxy,
            port,
            client,
            _folder: folder,
        })
    }

    fn describe(&self) {
        let Demo {
            fleet,
            proxy,
            port,
            client,
            ..
        } = self;
        let primary = fleet.primary();
        println!("\ndbmesh listens on 127.0.0.1:{port} in front of");
        for (index, server) in fleet.servers().enumerate() {
            let role = if index == 0 { "primary" } else { "replica" };
            println!(
                "  {role}  127.0.0.1:{}  process {}",
                server.port(),
                server.pid().unwrap_or_default()
            );
        }
        println!(
            "\nConnect:    mysql --host=127.0.0.1 --port={port} --user={USER} --password={PASSWORD} {SCHEMA}"
        );
        println!("            or {client}");
        println!(
            "Look:       curl http://127.0.0.1:{}/metrics (also /healthz, /readyz)",
            proxy.admin_port()
        );
        println!(
            "Configure:  {} (then: kill -HUP {})",
            proxy.config_path().display(),
            proxy.pid()
        );
        println!("Log:        {}", proxy.log_path().display());
        println!("\nTry:");
        println!("  SELECT name, price FROM sock ORDER BY price;");
        println!(
            "  SELECT sock.name, GROUP_CONCAT(tag.name) FROM sock JOIN sock_tag USING (sock_id) JOIN tag USING (tag_id) GROUP BY sock.name;"
        );
        println!("  DELETE FROM sock;           -- refused by a rule of the traffic strategy");
        let Some(replica) = fleet.replicas().first() else {
            return;
        };
        let (stop, writes) = match primary.kind() {
            Kind::MySql => (
                "STOP REPLICA",
                "super_read_only = 0; SET GLOBAL read_only = 0",
            ),
            Kind::MariaDb => ("STOP SLAVE", "read_only = 0"),
        };
        println!(
            "\nReads go to the replicas. Lose the primary, in a shell, and promote a replica: writes wait meanwhile."
        );
        println!("  kill -9 {}", primary.pid().unwrap_or_default());
        println!(
            "  mysql --socket={} --user=root --execute='{stop}; SET GLOBAL {writes}'\n",
            replica.socket_path().display()
        );
    }
}

/// The resource files of `deploy/demo/` with the ports of this run and the kind of its servers.
fn resources(kind: Kind, fleet: &Fleet, mesh_port: u16) -> Result<String, String> {
    let names = [
        "virtual-database.yaml",
        "traffic-strategy.yaml",
        "database-endpoints.yaml",
    ];
    let texts: Result<Vec<_>, _> = names.iter().map(|name| read(&files().join(name))).collect();
    let mut yaml = texts?.join("---\n");
    let servers = SERVER_PORTS
        .into_iter()
        .zip(fleet.servers().map(dbmesh_testkit::Server::port));
    for (written, actual) in servers.chain([(MESH_PORT, mesh_port)]) {
        let (written, actual) = (format!("port: {written}"), format!("port: {actual}"));
        if !yaml.contains(&written) {
            return Err(format!("no `{written}` in {}", files().display()));
        }
        yaml = yaml.replace(&written, &actual);
    }
    Ok(yaml.replace("    MySQL: {", &format!("    {kind}: {{")))
}

/// A script that runs the servers' own client, for machines without one.
fn client_script(installation: &Installation, folder: &Path, port: u16) -> Result<String, String> {
    let program = match installation.kind() {
        Kind::MySql => "mysql",
        Kind::MariaDb => "mariadb",
    };
    let client = installation.client_command(program).map_err(text)?;
    let words = std::iter::once(client.get_program()).chain(client.get_args());
    let quoted: Vec<_> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let login =
        format!("--host=127.0.0.1 --port={port} --user={USER} --password={PASSWORD} {SCHEMA}");
    let path = folder.join(program);
    fs::write(
        &path,
        format!("#!/bin/sh\nexec {} \"$@\" {login}\n", quoted.join(" ")),
    )
    .map_err(text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(text)?;
    Ok(path.display().to_string())
}

/// Builds with cargo's own progress on the terminal; the harness finds the result up to date.
fn build() -> Result<(), String> {
    let mut cargo = Command::new(workspace::cargo());
    cargo
        .current_dir(workspace::root())
        .args(["build", "--package", "dbmesh", "--bin", "dbmesh"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo build: {status}"))
    }
}

fn files() -> PathBuf {
    workspace::root().join("deploy/demo")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
