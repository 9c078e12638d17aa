//! One run of sysbench and what it reports. It must never guess: a report without the expected lines is an error. Input: the
//! text that sysbench 1.0 prints with `--histogram`.

use std::process::Command;

use clap::ValueEnum;

use super::process::{cpu_of_children_us, find_program};
use super::rig::{PASSWORD, SCHEMA, USER};
use super::stats::Histogram;

/// Tables of the data set.
const TABLES: u32 = 4;
/// Rows of each table. Small enough to stay in memory: the proxy is measured, not the disk.
pub const TABLE_ROWS: u32 = 25_000;

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Workload {
    /// One row by primary key, autocommit.
    PointSelect,
    /// A transaction of 10 point and 4 range selects.
    ReadOnly,
    /// The same with 4 writes.
    ReadWrite,
}

impl Workload {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::PointSelect => "point-select",
            Workload::ReadOnly => "read-only",
            Workload::ReadWrite => "read-write",
        }
    }

    fn script(self) -> &'static str {
        match self {
            Workload::PointSelect => "oltp_point_select",
            Workload::ReadOnly => "oltp_read_only",
            Workload::ReadWrite => "oltp_read_write",
        }
    }
}

/// How statements travel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Statements {
    /// Prepared once, executed in the binary protocol.
    Prepared,
    /// As text.
    Text,
}

impl Statements {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Statements::Prepared => "prepared",
            Statements::Text => "text",
        }
    }
}

/// What one run is.
#[derive(Clone, Copy)]
pub struct Run {
    /// What the clients do.
    pub workload: Workload,
    /// How statements travel.
    pub statements: Statements,
    /// Concurrent clients.
    pub clients: u32,
    /// Length.
    pub seconds: u32,
    /// How many tables each table is: so that a server has as many to do with as where they are split.
    pub pieces: u32,
}

/// What one run reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Statements answered.
    pub queries: u64,
    /// Statements per second.
    pub qps: f64,
    /// Latency of an event (a statement, or a transaction) in milliseconds: median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Errors that sysbench ignored (deadlocks, for example).
    pub errors: u64,
    /// Processor time of sysbench itself, in microseconds.
    pub client_cpu_us: u64,
}

/// Fills the schema over the server's socket; this also primes the server's cache of `caching_sha2_password`, without which the
/// client library could not log in over plain TCP.
///
/// # Errors
/// What sysbench says when it fails.
pub fn prepare(socket: &str) -> Result<(), String> {
    let mut command = base(Workload::ReadWrite, 1)?;
    command
        .arg(format!("--mysql-socket={socket}"))
        .arg("prepare");
    output(command).map(drop)
}

/// Runs one load against a port of the loopback address.
///
/// # Errors
/// What sysbench says when it fails, or the line its report lacks.
pub fn run(port: u16, run: Run) -> Result<Report, String> {
    let mut command = base(run.workload, run.pieces)?;
    let ps_mode = match run.statements {
        Statements::Prepared => "auto",
        Statements::Text => "disable",
    };
    command
        .args([
            "--mysql-host=127.0.0.1",
            "--histogram=on",
            "--percentile=99",
            "--rand-type=uniform",
        ])
        .arg(format!("--mysql-port={port}"))
        .arg(format!("--threads={}", run.clients))
        .arg(format!("--time={}", run.seconds))
        .arg(format!("--db-ps-mode={ps_mode}"))
        .arg("run");
    let before = cpu_of_children_us().unwrap_or_default();
    let text = output(command)?;
    let client_cpu_us = cpu_of_children_us()
        .unwrap_or_default()
        .saturating_sub(before);
    parse(&text, client_cpu_us)
}

fn base(workload: Workload, pieces: u32) -> Result<Command, String> {
    let program =
        find_program("sysbench").ok_or("sysbench is missing: apt-get install sysbench")?;
    let mut command = Command::new(program);
    command
        .arg(workload.script())
        .arg(format!("--mysql-user={USER}"))
        .arg(format!("--mysql-password={PASSWORD}"))
        .arg(format!("--mysql-db={SCHEMA}"))
        .arg(format!("--tables={}", TABLES * pieces))
        .arg(format!("--table-size={}", TABLE_ROWS / pieces));
    Ok(command)
}

fn output(mut command: Command) -> Result<String, String> {
    let out = command
        .output()
        .map_err(|error| format!("cannot run sysbench: {error}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(text);
    }
    let said = text + &String::from_utf8_lossy(&out.stderr);
    let fatal: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("FATAL") || line.contains("error"))
        .take(5)
        .collect();
    Err(format!(
        "sysbench failed ({}):\n{}",
        out.status,
        fatal.join("\n")
    ))
}

fn parse(text: &str, client_cpu_us: u64) -> Result<Report, String> {
    let counter = |label: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .ok_or_else(|| format!("sysbench reports no `{label}`"))
    };
    let queries = counter("queries:")?;
    let per_second = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("queries:")?.split_once('('));
    let qps = per_second
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .ok_or("sysbench reports no queries per second")?;
    let histogram = Histogram::new(text.lines().filter_map(bucket).collect());
    if histogram == Histogram::default() {
        return Err("sysbench reports no histogram".to_owned());
    }
    Ok(Report {
        queries,
        qps,
        p50_ms: histogram.percentile_ms(50.0),
        p95_ms: histogram.percentile_ms(95.0),
        p99_ms: histogram.percentile_ms(99.0),
        errors: counter("ignored errors:")?,
        client_cpu_us,
    })
}

/// A line of the histogram: `value |***** count`.
fn bucket(line: &str) -> Option<(f64, u64)> {
    let (value, rest) = line.split_once('|')?;
    Some((
        value.trim().parse().ok()?,
        rest.trim_start_matches('*').trim().parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
Latency histogram (values are in milliseconds)
       value  ------------- distribution ------------- count
       0.108 |******                                   60
       0.110 |****                                     39
       2.500 |                                         1

SQL statistics:
    queries performed:
        read:                            100
        total:                           100
    transactions:                        100    (1234.50 per sec.)
    queries:                             100    (1234.56 per sec.)
    ignored errors:                      2      (0.00 per sec.)
    reconnects:                          0      (0.00 per sec.)
";

    #[test]
    fn a_report_is_read_whole_or_not_at_all() {
        let report = parse(REPORT, 7).unwrap();
        assert_eq!(
            (
                report.queries,
                report.qps,
                report.errors,
                report.client_cpu_us
            ),
            (100, 1234.56, 2, 7)
        );
        assert_eq!(
            (report.p50_ms, report.p95_ms, report.p99_ms),
            (0.108, 0.110, 0.110)
        );
        for lacking in ["queries:", "ignored errors:", "|"] {
            assert!(parse(&REPORT.replace(lacking, ""), 0).is_err(), "{lacking}");
        }
    }
}
