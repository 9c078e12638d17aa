//! What split tables cost: point statements on eight shards beside the same proxy over as many tables that clients know one by
//! one, and a statement over all shards beside the slowest shard asked alone. Shards are of two schemas of one server, so that no
//! other server makes the difference; nor does the number of tables, which costs a server 4 to 7 µs per statement. Input: options.

use std::time::Instant;

use dbmesh_testkit::port::free_port;
use serde_json::{Value, json};

use super::Outcome;
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::compare::{self, Load};
use crate::bench::process::raise_descriptor_limit;
use crate::bench::rig::{PASSWORD, Rig, SCHEMA, Target, USER, step};
use crate::bench::stats::median;
use crate::bench::sysbench::{TABLE_ROWS, Workload};

/// Shards of each table.
const SHARDS: u32 = 8;
/// Schemas that have them.
const SOURCES: u32 = 2;
/// Tables of sysbench.
const TABLES: u32 = 4;
/// Descriptors of the clients and of the proxies, with room.
const DESCRIPTORS: u64 = 8_192;
/// Statements over all shards in each round.
const SCATTERS: u32 = 200;

/// What is asked of all shards, and what of it takes time: waiting leaves the processors to the others, computing does not.
const QUERIES: [(&str, &str); 3] = [
    (
        "waits 20 ms",
        "SELECT id, SLEEP(0.02) FROM {t} ORDER BY id LIMIT 1",
    ),
    (
        "rows in order",
        "SELECT id, k FROM {t} WHERE k < 12000 ORDER BY k, id LIMIT 200",
    ),
    (
        "computes",
        "SELECT SUM(k), COUNT(*) FROM {t} WHERE c LIKE '%77%'",
    ),
];

/// Runs it.
///
/// # Errors
/// When a program is missing or a run fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    raise_descriptor_limit(DESCRIPTORS)?;
    let mut rig = Rig::start(options.server.into())?;
    rig.load_tables()?;
    split(&rig)?;
    let mut targets = rig.targets(options, &options.pools)?;
    targets.iter_mut().for_each(|target| target.pieces = SHARDS);
    for pool in &options.pools {
        let port = free_port().map_err(|error| error.to_string())?;
        let text = resources(port, rig.server_port(), *pool);
        targets.push(rig.dbmesh_of(&format!("sharded/{pool}"), port, &text, options.workers)?);
    }
    let loads: Vec<Load> = options
        .loads()
        .into_iter()
        .filter(|load| load.workload == Workload::PointSelect)
        .collect();
    let cells = compare::run(&rig, &targets, &loads, options.rounds, options.seconds)?;
    let scatters = scatter(&rig, &targets, options)?;
    let mut table = compare::table(&cells);
    table += "\n| over eight shards | slowest shard alone, p50 ms | all shards, p50 ms | ratio |\n|---|---|---|---|\n";
    for row in &scatters {
        table += &format!(
            "| {} | {:.2} | {:.2} | {:.2} |\n",
            row.name,
            row.alone_ms,
            row.all_ms,
            row.all_ms / row.alone_ms
        );
    }
    let scattered: Vec<Value> = scatters.iter().map(Scattered::json).collect();
    let cells = cells.iter().map(compare::Cell::json).collect::<Vec<_>>();
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table,
        json: json!({ "cells": cells, "scatter": scattered }),
    })
}

/// Puts the rows of every table into its shards.
fn split(rig: &Rig) -> Result<(), String> {
    step("splitting tables");
    for source in 0..SOURCES {
        rig.execute(&format!("CREATE DATABASE shards_{source}"))?;
    }
    for table in 1..=TABLES {
        for shard in 0..SHARDS {
            let name = physical(table, shard);
            rig.execute(&format!("CREATE TABLE {name} LIKE {SCHEMA}.sbtest{table}"))?;
            rig.execute(&format!(
                "INSERT INTO {name} SELECT * FROM {SCHEMA}.sbtest{table} WHERE id % {SHARDS} = {shard}"
            ))?;
            rig.execute(&format!("ANALYZE TABLE {name}"))?;
        }
    }
    // The same rows in as many tables, for those that know them all.
    for table in TABLES + 1..=TABLES * SHARDS {
        let name = format!("{SCHEMA}.sbtest{table}");
        rig.execute(&format!("CREATE TABLE {name} LIKE {SCHEMA}.sbtest1"))?;
        rig.execute(&format!(
            "INSERT INTO {name} SELECT * FROM {SCHEMA}.sbtest1 ORDER BY id LIMIT {}",
            TABLE_ROWS / SHARDS
        ))?;
        rig.execute(&format!("ANALYZE TABLE {name}"))?;
    }
    Ok(())
}

fn physical(table: u32, shard: u32) -> String {
    let source = shard / (SHARDS / SOURCES);
    format!("shards_{source}.sbtest{table}_{shard}")
}

/// One statement over all shards.
struct Scattered {
    name: &'static str,
    alone_ms: f64,
    all_ms: f64,
}

impl Scattered {
    fn json(&self) -> Value {
        json!({ "statement": self.name, "slowest_alone_p50_ms": self.alone_ms, "all_p50_ms": self.all_ms })
    }
}

/// Asks all shards through the proxy, and each alone at the server, in turns.
fn scatter(rig: &Rig, targets: &[Target], options: &Options) -> Result<Vec<Scattered>, String> {
    let sharded = targets
        .iter()
        .find(|target| target.name.starts_with("sharded"));
    let mesh = sharded.ok_or("no sharded target")?.port;
    let (mut mesh, mut server) = (Client::connect(mesh)?, Client::connect(rig.server_port())?);
    let rounds = SCATTERS * options.rounds.min(3) / if options.quick { 10 } else { 1 };
    let mut rows = Vec::new();
    for (name, query) in QUERIES {
        step(&format!("over eight shards: {name}"));
        let mut all = Vec::new();
        let mut alone = vec![Vec::new(); SHARDS as usize];
        for round in 0..rounds {
            all.push(timed(&mut mesh, &query.replace("{t}", "sbtest1"))?);
            let shard = round % SHARDS;
            let text = query.replace("{t}", &physical(1, shard));
            let took = timed(&mut server, &text)?;
            if let Some(times) = alone.get_mut(shard as usize) {
                times.push(took);
            }
        }
        let slowest = alone.iter().map(|times| median(times));
        rows.push(Scattered {
            name,
            alone_ms: slowest.fold(0.0, f64::max),
            all_ms: median(&all),
        });
    }
    Ok(rows)
}

fn timed(client: &mut Client, sql: &str) -> Result<f64, String> {
    let started = Instant::now();
    client
        .query(sql)
        .map_err(|error| format!("{sql}: {error}"))?;
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}

/// The resources of a proxy over the shards: the pool's connections are shared among the two schemas.
fn resources(port: u16, server_port: u16, pool: u32) -> String {
    let each = pool.div_ceil(SOURCES);
    let mut text = format!(
        "apiVersion: core.database-mesh.io/v1alpha1
kind: VirtualDatabase
metadata: {{name: bench, namespace: default}}
spec:
  services:
  - name: mysql
    databaseMySQL: {{host: 127.0.0.1, port: {port}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, poolSize: {each}}}
    trafficStrategy: bench
    dataShard: bench
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
kind: DataShard
metadata: {{name: bench, namespace: default}}
spec:
  algorithms: {{eight: {{type: MOD, props: {{sharding-count: {SHARDS}}}}}}}
  rules:
"
    );
    let last = SHARDS / SOURCES - 1;
    for table in 1..=TABLES {
        text += &format!(
            "  - tableName: sbtest{table}
    tableStrategy: {{tableShardingAlgorithmName: eight, tableShardingColumn: id}}
    actualDatanodes: {{valueSource: {{expression: \"ds_0.sbtest{table}_{{0..{last}}}, ds_1.sbtest{table}_{{{}..{}}}\"}}}}
",
            last + 1,
            SHARDS - 1
        );
    }
    for source in 0..SOURCES {
        text += &format!(
            "---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {{name: ds_{source}, namespace: default, labels: {{source: bench}}}}
spec:
  database: {{MySQL: {{host: 127.0.0.1, port: {server_port}, user: {USER}, password: {PASSWORD}, db: shards_{source}, tls: {{mode: disabled}}}}}}
"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::bench::rig::defects;

    #[test]
    fn the_proxy_takes_the_resources() {
        assert_eq!(defects("bench.yaml", &super::resources(3306, 3307, 8)), "");
    }
}
