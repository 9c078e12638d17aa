//! Many logical tables: how long start, `dbmesh check` and a reload take, what a table costs in memory before and after it
//! is used, and how long its first statement takes. Every table has a shard on each node.

use std::process::{Command, Stdio};
use std::time::Instant;

use dbmesh_testkit::Server;
use serde_json::json;

use super::super::{Outcome, mib};
use super::{Mesh, Nodes, ms, resources};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::{peak_rss_bytes, rss_bytes};
use crate::bench::rig::{self, SCHEMA, step};
use crate::bench::scenario::cluster::text;
use crate::bench::stats::median;

/// How often dbmesh is started, checks and reloads.
const TIMES: u32 = 5;
/// Tables that are created by one text.
const TABLES_A_TEXT: u32 = 100;
/// Servers keep what is small in one file: a file for every table would be 112 KiB.
const SERVER: [&str; 3] = [
    "--innodb-file-per-table=OFF",
    "--table-open-cache=2000",
    "--table-definition-cache=2000",
];

pub fn run(options: &Options) -> Result<Outcome, String> {
    let tables = options.scale_tables;
    step(&format!("tables: creating {tables} on two servers"));
    let nodes = Nodes::start(options.server.into(), &SERVER)?;
    nodes.each(|node, server| create(node, server, tables))?;

    let (mut starts, mut checks, mut reloads) = (Vec::new(), Vec::new(), Vec::new());
    step("tables: starting, checking, reloading");
    for _ in 1..TIMES {
        starts.push(Mesh::start(&nodes, options, &sharding(tables))?.start_ms);
    }
    let base = Mesh::start(&nodes, options, &sharding(1))?;
    let base_rss = rss_bytes(base.daemon.pid()).unwrap_or_default();
    drop(base);
    let mut mesh = Mesh::start(&nodes, options, &sharding(tables))?;
    starts.push(mesh.start_ms);
    let started_rss = rss_bytes(mesh.daemon.pid()).unwrap_or_default();
    let started_peak = peak_rss_bytes(mesh.daemon.pid()).unwrap_or_default();
    for _ in 0..TIMES {
        checks.push(check(&mesh)?);
    }

    let [firsts, seconds] = use_all(&mesh, tables)?;
    let used_rss = rss_bytes(mesh.daemon.pid()).unwrap_or_default();

    for more in 1..=TIMES {
        reloads.push(reload(&mut mesh, &nodes, tables + more)?);
    }
    let reloaded_rss = rss_bytes(mesh.daemon.pid()).unwrap_or_default();
    let kib = |more: u64, less: u64| more.saturating_sub(less) as f64 / 1024.0 / f64::from(tables);
    let table = format!(
        "| logical tables | until it accepts, ms | `dbmesh check`, ms | reload, ms | RSS after the start, MiB (peak) | with one table | KiB per table | \
         first statement on a table, ms | second | KiB per table used | RSS after {TIMES} reloads, MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n\
         | {tables} | {:.0} | {:.0} | {:.0} | {:.1} ({:.1}) | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |\n",
        median(&starts),
        median(&checks),
        median(&reloads),
        mib(started_rss),
        mib(started_peak),
        mib(base_rss),
        kib(started_rss, base_rss),
        median(&firsts),
        median(&seconds),
        kib(used_rss, started_rss),
        mib(reloaded_rss),
    );
    Ok(Outcome {
        server: nodes.version(),
        table,
        json: json!({
            "tables": tables, "start_ms": starts, "check_ms": checks, "reload_ms": reloads,
            "rss_bytes": started_rss, "peak_rss_bytes": started_peak, "rss_of_one_table_bytes": base_rss,
            "first_statement_p50_ms": median(&firsts), "second_statement_p50_ms": median(&seconds),
            "rss_used_bytes": used_rss, "rss_reloaded_bytes": reloaded_rss,
        }),
    })
}

/// A first and a second statement on every table: how long each took.
fn use_all(mesh: &Mesh, tables: u32) -> Result<[Vec<f64>; 2], String> {
    step("tables: a first and a second statement on each");
    let mut client = Client::connect(mesh.port.number())?;
    let mut all = [Vec::new(), Vec::new()];
    for times in &mut all {
        for table in 0..tables {
            let began = Instant::now();
            let answer = client.query(&format!("SELECT v FROM t_{table} WHERE id = 1"))?;
            times.push(ms(began));
            if answer.rows != 0 {
                let rows = answer.rows;
                return Err(format!("t_{table} has {rows} rows and should have none"));
            }
        }
    }
    Ok(all)
}

fn create(node: usize, server: &Server, tables: u32) -> Result<(), String> {
    let session = server.session().map_err(text)?;
    session.execute(&format!("USE {SCHEMA}")).map_err(text)?;
    let numbers: Vec<u32> = (0..tables).collect();
    for some in numbers.chunks(TABLES_A_TEXT as usize) {
        let create = |table: &u32| {
            format!(
                "CREATE TABLE t_{table}_{node} (id BIGINT NOT NULL PRIMARY KEY, v BIGINT NOT NULL, note VARCHAR(40), at DATETIME)"
            )
        };
        let texts: Vec<String> = some.iter().map(create).collect();
        session.execute(&texts.join(";")).map_err(text)?;
    }
    Ok(())
}

/// `dbmesh check` of the mesh's own resources.
fn check(mesh: &Mesh) -> Result<f64, String> {
    let program = rig::program()?;
    let began = Instant::now();
    let mut command = Command::new(program);
    command
        .arg("check")
        .arg(mesh.folder.path().join("dbmesh.yaml"))
        .stdout(Stdio::null());
    match command.status().map_err(text)?.success() {
        true => Ok(ms(began)),
        false => Err("dbmesh check found errors".to_owned()),
    }
}

/// Gives it this many tables while it runs.
fn reload(mesh: &mut Mesh, nodes: &Nodes, tables: u32) -> Result<f64, String> {
    const RELOADS: &str = "dbmesh_config_reloads_total";
    let (done, failed) = ("result=\"ok\"", "result=\"failed\"");
    let before = mesh.metric(RELOADS, done)?;
    let resources = resources(mesh.port.number(), nodes.ports(), &sharding(tables));
    let (new, config) = (
        mesh.folder.path().join("new.yaml"),
        mesh.folder.path().join("dbmesh.yaml"),
    );
    std::fs::write(&new, resources).map_err(text)?;
    std::fs::rename(&new, &config).map_err(text)?;
    let began = Instant::now();
    mesh.daemon.reload();
    let mesh = &*mesh;
    mesh.wait("the reload", || Ok(mesh.metric(RELOADS, done)? > before))?;
    match mesh.metric(RELOADS, failed)? > 0.0 {
        false => Ok(ms(began)),
        true => Err("a reload failed".to_owned()),
    }
}

pub fn sharding(tables: u32) -> String {
    let mut spec =
        "  algorithms: {two: {type: MOD, props: {sharding-count: 2}}}\n  rules:\n".to_owned();
    for table in 0..tables {
        spec += &format!(
            "  - tableName: t_{table}\n    tableStrategy: {{tableShardingAlgorithmName: two, tableShardingColumn: id}}\n    \
             actualDatanodes: {{valueSource: {{expression: \"ds_0.t_{table}_0, ds_1.t_{table}_1\"}}}}\n"
        );
    }
    spec
}
