//! Definitions on 64 shards of two nodes: how long they take, how far `SHOW MESH DEFINITIONS` says they are, and that a
//! CREATE TABLE which met a server that is down is finished by the same statement when it is back.

use std::time::Instant;

use dbmesh_wire::codec::Reader;
use serde_json::json;

use super::super::Outcome;
use super::{Mesh, Nodes, ms};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::rig::step;
use crate::bench::scenario::cluster::text;
use crate::bench::stats::median;

const SHARDS: u32 = 64;
const CREATE: &str = "CREATE TABLE wide (id BIGINT NOT NULL PRIMARY KEY, v BIGINT)";
const ALTER: &str = "ALTER TABLE wide ADD COLUMN note VARCHAR(20)";
const DROP: &str = "DROP TABLE wide";
/// How often each is done.
const TIMES: u32 = 3;

pub fn run(options: &Options) -> Result<Outcome, String> {
    step("definitions: 64 shards on two servers");
    let nodes = Nodes::start(options.server.into(), &[])?;
    let mesh = Mesh::start(&nodes, options, &sharding())?;
    let mut client = Client::connect(mesh.port.number())?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..TIMES {
        for (sql, times) in [CREATE, ALTER, DROP].iter().zip(&mut times) {
            let began = Instant::now();
            client
                .query(sql)
                .map_err(|error| format!("{sql}: {error}"))?;
            times.push(ms(began));
            expect(last(&mesh)?, ("done", SHARDS))?;
        }
    }
    let (halved, finish_ms) = lose_a_server(&nodes, &mesh)?;
    let [create, alter, drop] = times.map(|times| median(&times));
    let table = format!(
        "| definition on {SHARDS} shards of two servers | ms |\n|---|---|\n| CREATE TABLE | {create:.0} |\n| ALTER TABLE … ADD COLUMN | {alter:.0} |\n\
         | DROP TABLE | {drop:.0} |\n| CREATE TABLE again, after {halved} shards had it and a server came back | {finish_ms:.0} |\n"
    );
    Ok(Outcome {
        server: nodes.version(),
        table,
        json: json!({
            "shards": SHARDS, "create_ms": create, "alter_ms": alter, "drop_ms": drop,
            "shards_before_the_second_try": halved, "second_try_ms": finish_ms,
        }),
    })
}

/// CREATE TABLE while a server is down, and again when it is back: how many shards had it then, and how long that took.
fn lose_a_server(nodes: &Nodes, mesh: &Mesh) -> Result<(u32, f64), String> {
    step("definitions: CREATE TABLE while a server is down");
    nodes.servers[1].kill_9();
    let refused = Client::connect(mesh.port.number())?.query(CREATE);
    let said = refused
        .err()
        .ok_or("a table was created on a server that is down")?;
    if !said.contains("the same statement again finishes it") {
        return Err(format!("CREATE TABLE while a server is down: {said}"));
    }
    let (state, halved) = last(mesh)?;
    expect((state, halved), ("stopped", SHARDS / 2))?;
    nodes.servers[1].restart().map_err(text)?;
    let mut took = 0.0;
    mesh.wait("CREATE TABLE, when the server is back", || {
        let mut client = Client::connect(mesh.port.number())?;
        let began = Instant::now();
        client.query(CREATE)?;
        took = ms(began);
        Ok(true)
    })?;
    expect(last(mesh)?, ("done", SHARDS))?;
    let answer = Client::connect(mesh.port.number())?.query("SELECT id FROM wide")?;
    match answer.rows {
        0 => Ok((halved, took)),
        rows => Err(format!("a new table has {rows} rows")),
    }
}

/// The last definition: its state, and how many shards have it.
fn last(mesh: &Mesh) -> Result<(String, u32), String> {
    const STATE: usize = 3;
    let mut operator = Client::connect_as(mesh.port.number(), "ops", "ops-password")?;
    let mut found = None;
    operator.each("SHOW MESH DEFINITIONS LIMIT 1", |row| {
        let mut reader = Reader::new(row);
        let mut value = || {
            let bytes = reader.lenenc_bytes_or_null().map_err(text)?;
            Ok::<_, String>(String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned())
        };
        for _ in 0..STATE {
            value()?;
        }
        found = Some((value()?, value()?.parse().map_err(text)?));
        Ok(())
    })?;
    found.ok_or_else(|| "SHOW MESH DEFINITIONS knows of none".to_owned())
}

fn expect((state, shards): (String, u32), wanted: (&str, u32)) -> Result<(), String> {
    match (state.as_str(), shards) == wanted {
        true => Ok(()),
        false => Err(format!(
            "SHOW MESH DEFINITIONS says {state} and {shards} shards; it should be {} and {}",
            wanted.0, wanted.1
        )),
    }
}

pub fn sharding() -> String {
    format!(
        "  algorithms: {{wide: {{type: MOD, props: {{sharding-count: {SHARDS}}}}}}}\n  rules:\n  - tableName: wide\n    \
         tableStrategy: {{tableShardingAlgorithmName: wide, tableShardingColumn: id}}\n    actualDatanodes: {{valueSource: \
         {{expression: \"ds_0.wide_{{0..{}}}, ds_1.wide_{{{}..{}}}\"}}}}\n",
        SHARDS / 2 - 1,
        SHARDS / 2,
        SHARDS - 1,
    )
}
