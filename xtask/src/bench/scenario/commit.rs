//! What a commit over two nodes costs: the same two updates on one node and on two, on durable servers, in one interleaved
//! run. It also shows what a transaction of one node pays for the machinery beside it. Servers are `MySQL`; MariaDB has no
//! atomic commit over nodes. Input: options; `seconds` is per turn and round.

use std::time::{Duration, Instant};

use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Kind, Server, ServerOptions};
use serde_json::{Value, json};

use super::Outcome;
use super::cluster::{LIMIT, text};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::Daemon;
use crate::bench::rig::{self, PASSWORD, SCHEMA, USER, step};
use crate::bench::stats::median;

/// Clients at the same time; one shows the way of one commit, sixteen what shared waits for the disk save.
const CLIENTS: [usize; 2] = [1, 16];
/// Rows: even ones are on the first node, odd ones on the second.
const ROWS: u64 = 1_000;
/// Connections of each pool.
const POOL: u32 = 32;

/// What clients do in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Two rows of one node, without dbmesh.
    Direct,
    /// Two rows of one node, where nothing is set up for several.
    OneWithout,
    /// Two rows of one node, where several nodes commit as one.
    One,
    /// A row of each node, which commit one after the other.
    TwoBestEffort,
    /// A row of each node, which commit as one; the answer comes when it is decided.
    TwoDecided,
    /// A row of each node, which commit as one.
    Two,
}

impl Turn {
    const ALL: [Self; 6] = [
        Self::Direct,
        Self::OneWithout,
        Self::One,
        Self::TwoBestEffort,
        Self::TwoDecided,
        Self::Two,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "one node, direct",
            Self::OneWithout => "one node, `refuse`",
            Self::One => "one node, `atomic`",
            Self::TwoBestEffort => "two nodes, `bestEffort`",
            Self::TwoDecided => "two nodes, `atomic`, `afterDecision`",
            Self::Two => "two nodes, `atomic`",
        }
    }

    fn nodes(self) -> u64 {
        match self {
            Self::Direct | Self::OneWithout | Self::One => 1,
            Self::TwoBestEffort | Self::TwoDecided | Self::Two => 2,
        }
    }

    /// Names of the table's shards differ from its own.
    fn table(self, node: u64) -> String {
        match self {
            Self::Direct => format!("counter_{node}"),
            _ => "counter".to_owned(),
        }
    }
}

/// A proxy for each policy, before the same servers.
struct Meshes {
    servers: [Server; 2],
    ports: Vec<Port>,
    _daemons: Vec<Daemon>,
    _folder: dbmesh_testkit::folder::Folder,
}

impl Meshes {
    const POLICIES: [&str; 4] = [
        "acrossNodes: refuse",
        "acrossNodes: atomic",
        "acrossNodes: bestEffort",
        "acrossNodes: atomic, answers: afterDecision",
    ];

    fn start() -> Result<Self, String> {
        let program = rig::program()?;
        let server = |id| {
            let options = ServerOptions::new(Kind::MySql).server_id(id).durable();
            Server::start(options).map_err(text)
        };
        let servers = [server(1)?, server(2)?];
        for (node, server) in servers.iter().enumerate() {
            let table = format!("{SCHEMA}.counter_{node}");
            let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 0)")).collect();
            let create = format!(
                "CREATE DATABASE {SCHEMA}; CREATE TABLE {table} (id BIGINT PRIMARY KEY, v BIGINT NOT NULL); \
                 INSERT INTO {table} VALUES {}",
                rows.join(",")
            );
            server.execute(&create).map_err(text)?;
        }
        let folder = dbmesh_testkit::folder::Folder::create("bench-commit").map_err(text)?;
        let (mut ports, mut daemons) = (Vec::new(), Vec::new());
        for (number, policy) in Self::POLICIES.into_iter().enumerate() {
            let (port, admin) = (
                Port::reserve().map_err(text)?,
                Port::reserve().map_err(text)?,
            );
            let config = folder.path().join(format!("{number}.yaml"));
            std::fs::write(&config, resources(&servers, port.number(), policy)).map_err(text)?;
            let log = folder.path().join(format!("{number}.log"));
            let (config, address) = (
                config.display().to_string(),
                format!("127.0.0.1:{}", admin.number()),
            );
            let args = ["proxy", "--config", &config, "--admin", &address];
            let mut daemon = Daemon::spawn(&program, &args, &log)?;
            daemon.wait_listening(port.number(), LIMIT, &log)?;
            daemons.push(daemon);
            ports.push(port);
        }
        Ok(Self {
            servers,
            ports,
            _daemons: daemons,
            _folder: folder,
        })
    }

    fn port(&self, turn: Turn) -> u16 {
        let of = |at: usize| self.ports.get(at).map_or(0, Port::number);
        match turn {
            Turn::Direct => self.servers[0].port(),
            Turn::OneWithout => of(0),
            Turn::One | Turn::Two => of(1),
            Turn::TwoBestEffort => of(2),
            Turn::TwoDecided => of(3),
        }
    }
}

fn resources(servers: &[Server; 2], port: u16, policy: &str) -> String {
    let api = "apiVersion: core.database-mesh.io/v1alpha1";
    let mut yaml = format!(
        "{api}\nkind: VirtualDatabase\nmetadata: {{name: bench}}\nspec:\n  services:\n  - name: mysql\n    databaseMySQL: \
         {{host: 127.0.0.1, port: {port}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}, poolSize: {POOL}}}\n    \
         trafficStrategy: bench\n    dataShard: bench\n---\n{api}\nkind: TrafficStrategy\nmetadata: {{name: bench}}\nspec: \
         {{selector: {{matchLabels: {{source: bench}}}}}}\n"
    );
    for (node, server) in servers.iter().enumerate() {
        yaml += &format!(
            "---\n{api}\nkind: DatabaseEndpoint\nmetadata: {{name: ds_{node}, labels: {{source: bench}}}}\nspec: {{database: \
             {{MySQL: {{host: 127.0.0.1, port: {}, user: {USER}, password: {PASSWORD}, db: {SCHEMA}}}}}}}\n",
            server.port()
        );
    }
    yaml + &format!(
        "---\n{api}\nkind: DataShard\nmetadata: {{name: bench}}\nspec:\n  transactions: {{{policy}}}\n  rules:\n  \
         - tableName: counter\n    tableStrategy: {{tableShardingAlgorithmName: mod, tableShardingColumn: id}}\n    \
         actualDatanodes: {{valueSource: {{expression: \"ds_0.counter_0, ds_1.counter_1\"}}}}\n"
    )
}

/// What was measured of a turn.
#[derive(Debug, Default, Clone)]
struct Times {
    commit_us: Vec<f64>,
    whole_us: Vec<f64>,
}

/// Runs it.
///
/// # Errors
/// When a program is missing or a statement fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let meshes = Meshes::start()?;
    let version = meshes.servers[0].query_value("SELECT VERSION()");
    let mut table = String::from(
        "| clients | transaction | COMMIT p50 µs | p99 µs | whole p50 µs | COMMIT to one node's | whole to one node's |\n|---|---|---|---|---|---|---|\n",
    );
    let mut cells = Vec::new();
    for clients in CLIENTS {
        let mut all: Vec<Times> = vec![Times::default(); Turn::ALL.len()];
        for round in 0..options.rounds as usize {
            step(&format!("{clients} clients, round {}", round + 1));
            for place in 0..Turn::ALL.len() {
                let at = (place + round) % Turn::ALL.len();
                let (Some(turn), Some(times)) = (Turn::ALL.get(at), all.get_mut(at)) else {
                    continue;
                };
                let lasts = Duration::from_secs(u64::from(options.seconds));
                let measured = take_turn(*turn, meshes.port(*turn), clients, lasts)?;
                times.commit_us.extend(measured.commit_us);
                times.whole_us.extend(measured.whole_us);
            }
        }
        let base = Turn::ALL.iter().position(|turn| *turn == Turn::One);
        let base = base.and_then(|at| all.get(at)).cloned().unwrap_or_default();
        for (turn, times) in Turn::ALL.iter().zip(&all) {
            let cell = cell(*turn, clients, times, &base);
            let number = |name: &str| cell.get(name).and_then(Value::as_f64).unwrap_or_default();
            table += &format!(
                "| {clients} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |\n",
                turn.name(),
                number("commit_p50_us"),
                number("commit_p99_us"),
                number("whole_p50_us"),
                number("commit_ratio"),
                number("whole_ratio"),
            );
            cells.push(cell);
        }
    }
    Ok(Outcome {
        server: version.ok().flatten().unwrap_or_default(),
        table,
        json: json!({ "rows": ROWS, "cells": cells }),
    })
}

fn cell(turn: Turn, clients: usize, times: &Times, base: &Times) -> Value {
    let ratio = |of: &[f64], to: &[f64]| median(of) / median(to).max(1.0);
    json!({
        "transaction": turn.name(), "clients": clients, "transactions": times.commit_us.len(),
        "commit_p50_us": median(&times.commit_us), "commit_p99_us": percentile(&times.commit_us, 0.99),
        "whole_p50_us": median(&times.whole_us), "whole_p99_us": percentile(&times.whole_us, 0.99),
        "commit_ratio": ratio(&times.commit_us, &base.commit_us),
        "whole_ratio": ratio(&times.whole_us, &base.whole_us),
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list"
)]
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn take_turn(turn: Turn, port: u16, clients: usize, lasts: Duration) -> Result<Times, String> {
    let until = Instant::now() + lasts;
    let threads: Vec<_> = (0..clients as u64)
        .map(|number| std::thread::spawn(move || one_client(turn, port, number, until)))
        .collect();
    let mut all = Times::default();
    for thread in threads {
        let times = thread
            .join()
            .map_err(|_| "a client panicked".to_owned())??;
        all.commit_us.extend(times.commit_us);
        all.whole_us.extend(times.whole_us);
    }
    Ok(all)
}

/// Every client has rows of its own: nobody waits for a lock.
fn one_client(turn: Turn, port: u16, number: u64, until: Instant) -> Result<Times, String> {
    let mut client = Client::connect(port)?;
    let mut times = Times::default();
    let (first, second) = (number * 4, number * 4 + 2 + (turn.nodes() - 1));
    let node = |id: u64| id % turn.nodes().max(1);
    let update = |id: u64| {
        format!(
            "UPDATE {} SET v = v + 1 WHERE id = {id}",
            turn.table(node(id))
        )
    };
    let texts = [update(first), update(second)];
    while Instant::now() < until {
        let began = Instant::now();
        client.query("BEGIN")?;
        for text in &texts {
            client.query(text)?;
        }
        let commits = Instant::now();
        client.query("COMMIT")?;
        times.commit_us.push(micros(commits.elapsed()));
        times.whole_us.push(micros(began.elapsed()));
    }
    Ok(times)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&values, 0.99) - 100.0).abs() < f64::EPSILON);
        assert!((percentile(&[7.0], 0.99) - 7.0).abs() < f64::EPSILON);
        assert!(percentile(&[], 0.5).abs() < f64::EPSILON);
    }
}
