//! The main comparison: every target under every load, interleaved, so that a noisy machine is noisy for all of them. It must
//! never compare runs of different rounds: ratios are taken inside a round, then their median over rounds.

use serde_json::{Value, json};

use super::process::cpu_us;
use super::rig::{Rig, Target, TargetKind, step};
use super::stats::{median, spread_percent};
use super::sysbench::{self, Report, Run, Statements, Workload};

/// A load: what every target is measured under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Load {
    /// What the clients do.
    pub workload: Workload,
    /// How statements travel.
    pub statements: Statements,
    /// Concurrent clients.
    pub clients: u32,
}

/// One target's run of one round under one load.
pub struct Sample {
    report: Report,
    server_cpu_us: u64,
    proxy_cpu_us: u64,
}

/// All rounds of one target under one load.
pub struct Series {
    /// The target's name.
    pub target: String,
    kind: TargetKind,
    /// One per round, in order.
    pub samples: Vec<Sample>,
}

/// All targets under one load.
pub struct Cell {
    /// The load.
    pub load: Load,
    /// In the order the targets were named.
    pub series: Vec<Series>,
}

/// Runs `rounds` rounds of `seconds` seconds for each target and load.
///
/// # Errors
/// When a run fails; what was measured before is lost, since rounds would be incomplete.
pub fn run(
    rig: &Rig,
    targets: &[Target],
    loads: &[Load],
    rounds: u32,
    seconds: u32,
) -> Result<Vec<Cell>, String> {
    const WARM_UP_SECONDS: u32 = 1;
    let mut cells = Vec::with_capacity(loads.len());
    for (number, load) in loads.iter().enumerate() {
        let name = format!(
            "{} {} {}",
            load.workload.name(),
            load.statements.name(),
            load.clients
        );
        let mut series: Vec<Series> = targets
            .iter()
            .map(|target| Series {
                target: target.name.clone(),
                kind: target.kind,
                samples: Vec::new(),
            })
            .collect();
        for target in targets {
            measure(rig, target, *load, WARM_UP_SECONDS)
                .map_err(|error| format!("{name}, {}: {error}", target.name))?;
        }
        for round in 0..rounds as usize {
            step(&format!(
                "load {} of {}, round {} of {rounds}: {name} clients",
                number + 1,
                loads.len(),
                round + 1
            ));
            for turn in 0..targets.len() {
                let index = (turn + round) % targets.len();
                let (Some(target), Some(series)) = (targets.get(index), series.get_mut(index))
                else {
                    continue;
                };
                let sample = measure(rig, target, *load, seconds);
                series
                    .samples
                    .push(sample.map_err(|error| format!("{name}, {}: {error}", target.name))?);
            }
        }
        cells.push(Cell {
            load: *load,
            series,
        });
    }
    Ok(cells)
}

fn measure(rig: &Rig, target: &Target, load: Load, seconds: u32) -> Result<Sample, String> {
    let cpu = |pid: Option<u32>| pid.and_then(cpu_us).unwrap_or_default();
    let (server_before, proxy_before) = (rig.servers_cpu_us()?, cpu(target.proxy_pid));
    let Load {
        workload,
        statements,
        clients,
    } = load;
    let report = sysbench::run(
        target.port,
        Run {
            workload,
            statements,
            clients,
            seconds,
            pieces: target.pieces,
        },
    )?;
    if report.queries == 0 {
        return Err("no statement was answered".to_owned());
    }
    Ok(Sample {
        report,
        server_cpu_us: rig.servers_cpu_us()?.saturating_sub(server_before),
        proxy_cpu_us: cpu(target.proxy_pid).saturating_sub(proxy_before),
    })
}

impl Sample {
    fn per_query(&self, cpu_us: u64) -> f64 {
        cpu_us as f64 / self.report.queries as f64
    }
}

impl Series {
    fn values(&self, pick: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(pick).collect()
    }

    fn middle(&self, pick: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.values(pick))
    }
}

impl Cell {
    /// Throughput of `series` relative to the first target of `kind`: the median of the ratios within each round. Nothing when
    /// that target did not run.
    fn ratio_to(&self, series: &Series, kind: TargetKind) -> Option<f64> {
        let base = self.series.iter().find(|other| other.kind == kind)?;
        let pairs = series.samples.iter().zip(&base.samples);
        Some(median(
            &pairs
                .map(|(ours, theirs)| ours.report.qps / theirs.report.qps)
                .collect::<Vec<_>>(),
        ))
    }

    /// The numbers of one target, as they stand in the table and in JSON.
    fn row(&self, series: &Series) -> Row {
        let qps = series.values(|s| s.report.qps);
        Row {
            target: series.target.clone(),
            qps: median(&qps),
            qps_spread_percent: spread_percent(&qps),
            to_direct: self.ratio_to(series, TargetKind::Direct),
            to_haproxy: self.ratio_to(series, TargetKind::Haproxy),
            p50_ms: series.middle(|s| s.report.p50_ms),
            p95_ms: series.middle(|s| s.report.p95_ms),
            p99_ms: series.middle(|s| s.report.p99_ms),
            server_cpu_us: series.middle(|s| s.per_query(s.server_cpu_us)),
            proxy_cpu_us: (series.kind != TargetKind::Direct)
                .then(|| series.middle(|s| s.per_query(s.proxy_cpu_us))),
            client_cpu_us: series.middle(|s| s.per_query(s.report.client_cpu_us)),
            errors: series.samples.iter().map(|s| s.report.errors).sum(),
        }
    }

    /// This cell for the JSON report: the medians and every round they come from.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .series
            .iter()
            .map(|series| self.row(series).json(&series.samples))
            .collect();
        json!({
            "workload": self.load.workload.name(),
            "statements": self.load.statements.name(),
            "clients": self.load.clients,
            "targets": rows,
        })
    }
}

/// Medians of one target under one load. Processor time is per statement.
struct Row {
    target: String,
    qps: f64,
    qps_spread_percent: f64,
    to_direct: Option<f64>,
    to_haproxy: Option<f64>,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    server_cpu_us: f64,
    proxy_cpu_us: Option<f64>,
    client_cpu_us: f64,
    errors: u64,
}

impl Row {
    fn json(&self, samples: &[Sample]) -> Value {
        let rounds: Vec<Value> = samples
            .iter()
            .map(|s| {
                json!({
                    "qps": s.report.qps, "p50_ms": s.report.p50_ms, "p95_ms": s.report.p95_ms, "p99_ms": s.report.p99_ms,
                    "queries": s.report.queries, "server_cpu_us": s.server_cpu_us, "proxy_cpu_us": s.proxy_cpu_us,
                    "client_cpu_us": s.report.client_cpu_us, "errors": s.report.errors,
                })
            })
            .collect();
        json!({
            "target": self.target, "qps": self.qps, "qps_spread_percent": self.qps_spread_percent,
            "ratio_to_direct": self.to_direct, "ratio_to_haproxy": self.to_haproxy,
            "p50_ms": self.p50_ms, "p95_ms": self.p95_ms, "p99_ms": self.p99_ms,
            "server_cpu_us_per_query": self.server_cpu_us, "proxy_cpu_us_per_query": self.proxy_cpu_us,
            "client_cpu_us_per_query": self.client_cpu_us, "errors": self.errors, "rounds": rounds,
        })
    }

    fn cells(&self) -> String {
        let ratio = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
        };
        let cpu = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
        };
        format!(
            "{} | {:.0} ± {:.0} % | {} | {} | {:.2} / {:.2} / {:.2} | {} | {} | {} | {}",
            self.target,
            self.qps,
            self.qps_spread_percent,
            ratio(self.to_direct),
            ratio(self.to_haproxy),
            self.p50_ms,
            self.p95_ms,
            self.p99_ms,
            cpu(Some(self.server_cpu_us)),
            cpu(self.proxy_cpu_us),
            cpu(Some(self.client_cpu_us)),
            self.errors,
        )
    }
}

/// The result as a Markdown table.
pub fn table(cells: &[Cell]) -> String {
    let mut out = String::from(
        "| load | clients | target | queries/s | ÷ direct | ÷ HAProxy | p50 / p95 / p99 ms | server CPU µs | proxy CPU µs | client CPU µs | errors |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        for series in &cell.series {
            let (workload, statements) = (cell.load.workload.name(), cell.load.statements.name());
            out += &format!(
                "| {workload}, {statements} | {} | {} |\n",
                cell.load.clients,
                cell.row(series).cells()
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, kind: TargetKind, qps: &[f64]) -> Series {
        let sample = |qps: &f64| Sample {
            report: Report {
                queries: 100,
                qps: *qps,
                p50_ms: 1.0,
                p95_ms: 2.0,
                p99_ms: 3.0,
                errors: 1,
                client_cpu_us: 500,
            },
            server_cpu_us: 1000,
            proxy_cpu_us: 200,
        };
        Series {
            target: name.to_owned(),
            kind,
            samples: qps.iter().map(sample).collect(),
        }
    }

    fn cell() -> Cell {
        let load = Load {
            workload: Workload::PointSelect,
            statements: Statements::Text,
            clients: 16,
        };
        // The machine halves its speed in the second round: ratios inside rounds stay 0.5.
        let direct = series("direct", TargetKind::Direct, &[1000.0, 500.0, 1000.0]);
        let ours = series("dbmesh/8", TargetKind::Dbmesh, &[500.0, 250.0, 500.0]);
        Cell {
            load,
            series: vec![direct, ours],
        }
    }

    #[test]
    fn ratios_are_taken_inside_a_round() {
        let cell = cell();
        let ours = cell.series.last().unwrap();
        assert_eq!(cell.ratio_to(ours, TargetKind::Direct), Some(0.5));
        assert_eq!(cell.ratio_to(ours, TargetKind::Haproxy), None);
    }

    #[test]
    fn processor_time_is_per_query() {
        let value = cell().json();
        let targets = value.get("targets").unwrap();
        let field = |index: usize, name: &str| {
            targets
                .get(index)
                .and_then(|t| t.get(name))
                .cloned()
                .unwrap()
        };
        assert_eq!(field(1, "server_cpu_us_per_query"), 10.0);
        assert_eq!(field(1, "proxy_cpu_us_per_query"), 2.0);
        assert_eq!(field(0, "proxy_cpu_us_per_query"), Value::Null);
        assert_eq!(field(1, "errors"), 3);
        assert!(
            table(&[cell()]).contains("| 0.50 | – |"),
            "{}",
            table(&[cell()])
        );
    }
}
