//! `cargo xtask bench`: what the proxy costs, measured beside the alternatives in one interleaved run. It owns the programs it
//! starts and the reports under `target/bench/`. It must never compare numbers of different runs, for machines are shared and
//! noisy: ratios and processor time count. Input: real servers from testkit, sysbench, HAProxy and a release build of dbmesh.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod client;
mod compare;
mod process;
mod report;
mod rig;
mod scenario;
mod stats;
mod sysbench;

use clap::{Parser, ValueEnum};
use dbmesh_testkit::Kind;
use dbmesh_testkit::process::exit_on_signals;
use serde_json::json;

use compare::Load;
use rig::{Rig, TargetKind};
use scenario::Outcome;
use scenario::scale::Part;
use sysbench::{Statements, Workload};

/// Descriptors that a comparison needs at most in one process.
const DESCRIPTORS: u64 = 8_192;

/// Compares a direct server, HAProxy in TCP mode and dbmesh in one interleaved run.
#[derive(Parser, Clone, Debug)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", about)]
pub struct Options {
    /// What to measure.
    #[arg(long, value_enum, default_value_t = Scenario::Compare)]
    scenario: Scenario,
    /// Rounds; each runs every target once, in rotated order.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Concurrent clients.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    clients: Vec<u32>,
    /// What the clients do.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Workload::PointSelect, Workload::ReadOnly, Workload::ReadWrite])]
    workloads: Vec<Workload>,
    /// How statements travel.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Statements::Text, Statements::Prepared])]
    statements: Vec<Statements>,
    /// What to measure beside each other. Ratios need `direct` and `haproxy`.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [TargetKind::Direct, TargetKind::Haproxy, TargetKind::Dbmesh])]
    targets: Vec<TargetKind>,
    /// Backend connections of dbmesh; one dbmesh runs for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 64])]
    pools: Vec<u32>,
    /// Worker threads of dbmesh; 0 means one per CPU.
    #[arg(long, default_value_t = 0)]
    workers: u32,
    /// The server behind.
    #[arg(long, value_enum, default_value_t = ServerKind::Mysql)]
    server: ServerKind,
    /// A look instead of a measurement: one load of 16 clients, 2 rounds of 3 seconds, a short stream, few idle clients.
    #[arg(long)]
    quick: bool,
    /// `--scenario isolation`: the proxy alone on one processor, everything else on the others.
    #[arg(long)]
    pinned: bool,
    /// Minutes of `--scenario soak`.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Clients of `--scenario idle`.
    #[arg(long, default_value_t = 10_000)]
    idle_clients: u32,
    /// Rows, of about a kilobyte, of `--scenario stream`.
    #[arg(long, default_value_t = 1_000_000)]
    stream_rows: u64,
    /// What `--scenario sharded-scale` looks at.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Tables, Part::Definitions, Part::Rows])]
    parts: Vec<Part>,
    /// Logical tables of `--scenario sharded-scale`.
    #[arg(long, default_value_t = 10_000)]
    scale_tables: u32,
    /// Rows of `--scenario sharded-scale`.
    #[arg(long, default_value_t = 10_000_000)]
    scale_rows: u64,
}

impl Options {
    /// Every combination of what clients do, how, and how many they are.
    fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for workload in &self.workloads {
            for statements in &self.statements {
                loads.extend(self.clients.iter().map(|clients| Load {
                    workload: *workload,
                    statements: *statements,
                    clients: *clients,
                }));
            }
        }
        loads
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Scenario {
    /// Throughput, latency and processor time of every target under every load.
    Compare,
    /// Reads split off to two replicas, beside one server.
    Splitting,
    /// 1,000 clients over 32 connections, and directly.
    Many,
    /// Memory per idle client.
    Idle,
    /// A result of a gigabyte.
    Stream,
    /// Time from start to the first connection.
    Start,
    /// Memory and descriptors over a long mixed run.
    Soak,
    /// Promotion to first write after a killed primary; statements lost in planned switchovers.
    Failover,
    /// Reads checked for staleness while replicas lag.
    Stale,
    /// Point statements on eight shards beside whole tables; statements over all shards beside one.
    Sharded,
    /// Ten thousand logical tables, definitions on 64 shards, ten million rows in order and a million groups.
    ShardedScale,
    /// Commits over two nodes beside those of one, on durable servers.
    Commit,
    /// The p99 of a calm service beside one that is saturated, stalled or flooding.
    Isolation,
    /// What rules, insight, tracing and audit cost.
    Governance,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Scenario::Compare => "compare",
            Scenario::Splitting => "splitting",
            Scenario::Many => "many",
            Scenario::Idle => "idle",
            Scenario::Stream => "stream",
            Scenario::Start => "start",
            Scenario::Soak => "soak",
            Scenario::Failover => "failover",
            Scenario::Stale => "stale",
            Scenario::Sharded => "sharded",
            Scenario::ShardedScale => "sharded-scale",
            Scenario::Commit => "commit",
            Scenario::Isolation => "isolation",
            Scenario::Governance => "governance",
        }
    }
}

/// The kind of server behind the targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ServerKind {
    /// Oracle MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
}

impl From<ServerKind> for Kind {
    fn from(kind: ServerKind) -> Kind {
        match kind {
            ServerKind::Mysql => Kind::MySql,
            ServerKind::Mariadb => Kind::MariaDb,
        }
    }
}

/// Runs a benchmark, prints its table and writes its report.
///
/// # Errors
/// When an option is wrong, a program is missing, or a run fails.
pub fn run(args: &[String]) -> Result<(), String> {
    let arguments = std::iter::once("bench").chain(args.iter().map(String::as_str));
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => shortened(options)?,
        Err(error) if error.use_stderr() => return Err(error.to_string()),
        Err(help) => {
            println!("{help}");
            return Ok(());
        }
    };
    exit_on_signals(
        "\nbench: ending the programs and removing their folders",
        130,
    )
    .map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let outcome = match options.scenario {
        Scenario::Compare => compare_all(&options),
        Scenario::Splitting => scenario::splitting::run(&options),
        Scenario::Many => scenario::many::run(&options),
        Scenario::Idle => scenario::idle::run(&options),
        Scenario::Stream => scenario::stream::run(&options),
        Scenario::Start => scenario::start::run(&options),
        Scenario::Soak => scenario::soak::run(&options),
        Scenario::Failover => scenario::failover::run(&options),
        Scenario::Stale => scenario::stale::run(&options),
        Scenario::Sharded => scenario::sharded::run(&options),
        Scenario::ShardedScale => scenario::scale::run(&options),
        Scenario::Commit => scenario::commit::run(&options),
        Scenario::Isolation => scenario::isolation::run(&options),
        Scenario::Governance => scenario::governance::run(&options),
    }?;
    println!("{}", outcome.table);
    let path = report::write(options.scenario.name(), &options, &outcome)?;
    println!("written: {}", path.display());
    Ok(())
}

/// The options with `--quick` applied, or what is wrong with them.
fn shortened(mut options: Options) -> Result<Options, String> {
    if options.quick {
        options.rounds = options.rounds.min(2);
        options.seconds = options.seconds.min(3);
        options.clients = vec![16];
        options.workloads = vec![Workload::PointSelect];
        options.idle_clients = options.idle_clients.min(1_000);
        options.stream_rows = options.stream_rows.min(100_000);
        options.scale_tables = options.scale_tables.min(500);
        options.scale_rows = options.scale_rows.min(200_000);
        options.minutes = options.minutes.min(1);
    }
    let zero = options.rounds == 0
        || options.seconds == 0
        || options.clients.contains(&0)
        || options.pools.contains(&0)
        || options.scale_tables == 0
        || options.scale_rows == 0;
    if zero {
        return Err("rounds, seconds, clients, pools, tables and rows begin at 1".to_owned());
    }
    Ok(options)
}

fn compare_all(options: &Options) -> Result<Outcome, String> {
    process::raise_descriptor_limit(DESCRIPTORS)?;
    let mut rig = Rig::start(options.server.into())?;
    rig.load_tables()?;
    let targets = rig.targets(options, &options.pools)?;
    let loads = options.loads();
    let cells = compare::run(&rig, &targets, &loads, options.rounds, options.seconds)?;
    let json = json!({ "cells": cells.iter().map(compare::Cell::json).collect::<Vec<_>>() });
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table: compare::table(&cells),
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = std::iter::once("bench").chain(args.iter().copied());
        shortened(Options::try_parse_from(args).map_err(|error| error.to_string())?)
    }

    #[test]
    fn lists_are_parsed_and_nothing_is_silently_zero() {
        let options = parse(&[
            "--clients",
            "1,16",
            "--pools",
            "8",
            "--targets",
            "direct,dbmesh",
            "--workloads",
            "read-only",
        ])
        .unwrap();
        assert_eq!(options.clients, [1, 16]);
        assert_eq!(options.targets, [TargetKind::Direct, TargetKind::Dbmesh]);
        assert_eq!(options.workloads, [Workload::ReadOnly]);
        assert!(parse(&["--rounds", "0"]).is_err());
        assert!(parse(&["--pools", "0"]).is_err());
        assert!(parse(&["--targets", "other"]).is_err());
    }

    #[test]
    fn quick_shortens_everything() {
        let options = parse(&["--quick"]).unwrap();
        assert_eq!(
            (options.rounds, options.seconds, options.clients.as_slice()),
            (2, 3, &[16][..])
        );
        assert!(options.idle_clients <= 1_000 && options.minutes == 1);
    }
}
