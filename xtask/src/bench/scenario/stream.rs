//! One long result, read as fast as it comes: what a row costs each process, and whether the proxy's memory stays flat while it
//! passes. Input: options; `--stream-rows` rows of about a kilobyte.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Outcome, mib};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::{cpu_us, rss_bytes};
use crate::bench::rig::{Rig, Target, step};
use crate::bench::stats::median;

/// Connections that dbmesh may open to the server; one is used.
const POOL: u32 = 8;
/// Bytes of the one column of a row.
const COLUMN_BYTES: u32 = 1_000;
/// How often the proxy's memory is looked at.
const WATCH: Duration = Duration::from_millis(20);

/// One target's reading of the whole result.
struct Sample {
    seconds: f64,
    bytes: u64,
    rows: u64,
    server_cpu_us: u64,
    proxy_cpu_us: u64,
    extra_rss_bytes: u64,
}

/// Runs it.
///
/// # Errors
/// When a result is not whole.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut rig = Rig::start(options.server.into())?;
    rig.load_tables()?;
    let targets = rig.targets(options, &[POOL])?;
    let mut samples: Vec<Vec<Sample>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds as usize {
        step(&format!("round {} of {}", round + 1, options.rounds));
        for turn in 0..targets.len() {
            let index = (turn + round) % targets.len();
            if let (Some(target), Some(samples)) = (targets.get(index), samples.get_mut(index)) {
                samples.push(
                    read(&rig, target, options.stream_rows)
                        .map_err(|error| format!("{}: {error}", target.name))?,
                );
            }
        }
    }
    let mut table = String::from(
        "| target | MiB/s | server CPU µs/row | proxy CPU µs/row | extra RSS MiB (peak) |\n|---|---|---|---|---|\n",
    );
    let mut rows = Vec::new();
    for (target, samples) in targets.iter().zip(&samples) {
        let (line, json) = summary(target, samples);
        table += &line;
        rows.push(json);
    }
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table,
        json: json!({ "rows": options.stream_rows, "column_bytes": COLUMN_BYTES, "targets": rows }),
    })
}

fn read(rig: &Rig, target: &Target, rows: u64) -> Result<Sample, String> {
    let mut client = Client::connect(target.port)?;
    let cpu = |pid: Option<u32>| pid.and_then(cpu_us).unwrap_or_default();
    let rss = || target.proxy_pid.and_then(rss_bytes).unwrap_or_default();
    let (server_before, proxy_before, rss_before) =
        (rig.servers_cpu_us()?, cpu(target.proxy_pid), rss());
    let (peak, done) = (AtomicU64::new(rss_before), AtomicBool::new(false));
    let started = Instant::now();
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(rss(), Ordering::Relaxed);
                std::thread::sleep(WATCH);
            }
        });
        let sql = format!(
            "SELECT REPEAT('x', {COLUMN_BYTES}) FROM sbtest1 a CROSS JOIN sbtest2 b LIMIT {rows}"
        );
        let answer = client.query(&sql);
        done.store(true, Ordering::Relaxed);
        answer
    })?;
    if answer.rows != rows || answer.bytes < rows * u64::from(COLUMN_BYTES) {
        return Err(format!(
            "{} rows of {rows} came, {} bytes",
            answer.rows, answer.bytes
        ));
    }
    Ok(Sample {
        seconds: started.elapsed().as_secs_f64(),
        bytes: answer.bytes,
        rows,
        server_cpu_us: rig.servers_cpu_us()?.saturating_sub(server_before),
        proxy_cpu_us: cpu(target.proxy_pid).saturating_sub(proxy_before),
        extra_rss_bytes: peak.into_inner().saturating_sub(rss_before),
    })
}

fn summary(target: &Target, samples: &[Sample]) -> (String, Value) {
    let middle =
        |pick: &dyn Fn(&Sample) -> f64| median(&samples.iter().map(pick).collect::<Vec<_>>());
    let speed = middle(&|s| mib(s.bytes) / s.seconds);
    let server = middle(&|s| s.server_cpu_us as f64 / s.rows as f64);
    let proxy = middle(&|s| s.proxy_cpu_us as f64 / s.rows as f64);
    let extra = samples
        .iter()
        .map(|s| s.extra_rss_bytes)
        .max()
        .unwrap_or_default();
    let between = target.proxy_pid.is_some();
    let of_proxy = |text: String| if between { text } else { "–".to_owned() };
    let line = format!(
        "| {} | {speed:.0} | {server:.2} | {} | {} |\n",
        target.name,
        of_proxy(format!("{proxy:.2}")),
        of_proxy(format!("{:.1}", mib(extra))),
    );
    let json = json!({
        "target": target.name, "mib_per_second": speed, "server_cpu_us_per_row": server,
        "proxy_cpu_us_per_row": between.then_some(proxy), "extra_rss_bytes": between.then_some(extra),
        "seconds": samples.iter().map(|s| s.seconds).collect::<Vec<_>>(),
    });
    (line, json)
}
