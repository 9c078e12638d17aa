//! A long run under mixed load with clients that come and go: memory and descriptors of the proxy must not climb. It judges the
//! slope over the last four fifths of the run, when pools and caches have filled. Input: options; `--minutes` says how long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Outcome, mib};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::{descriptors, rss_bytes};
use crate::bench::rig::{Proxy, Reads, Rig, Target, step};
use crate::bench::stats::slope;
use crate::bench::sysbench::{self, Run, Statements, Workload};

/// Connections that dbmesh may open to the server.
const POOL: u32 = 32;
/// Descriptors, beside those of the pool, that may be open at the end and were not at the beginning.
const DESCRIPTORS_SLACK: u64 = 16;
/// Seconds of each run of sysbench; between two runs all of its clients leave and come back.
const CHUNK_SECONDS: u32 = 20;
/// How often memory and descriptors are looked at.
const WATCH: Duration = Duration::from_secs(1);
/// Pause of the client that logs in, asks once and leaves, again and again.
const CHURN_PAUSE: Duration = Duration::from_millis(20);
/// Time for closed connections to be cleared away at the end.
const SETTLE: Duration = Duration::from_secs(3);
/// The two loads that run at the same time.
const LOADS: [Run; 2] = [
    Run {
        workload: Workload::ReadWrite,
        statements: Statements::Text,
        clients: 48,
        seconds: CHUNK_SECONDS,
        pieces: 1,
    },
    Run {
        workload: Workload::PointSelect,
        statements: Statements::Prepared,
        clients: 32,
        seconds: CHUNK_SECONDS,
        pieces: 1,
    },
];

/// What was seen at one moment.
struct Sight {
    hours: f64,
    rss_bytes: u64,
    /// Nothing when the process's table may not be read, which is root's right.
    descriptors: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// When a client fails or the proxy dies.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut rig = Rig::start(options.server.into())?;
    rig.load_tables()?;
    let target = rig.dbmesh(Proxy {
        pool: POOL,
        workers: options.workers,
        reads: Reads::AtThePrimary,
    })?;
    let pid = target.proxy_pid.ok_or("dbmesh has no process")?;
    let before = descriptors(pid);
    step(&format!("{} minutes of mixed load", options.minutes));
    let (sights, logins) = load(
        &target,
        pid,
        Duration::from_secs(u64::from(options.minutes) * 60),
    )?;
    std::thread::sleep(SETTLE);
    let after = descriptors(pid);
    rss_bytes(pid).ok_or("dbmesh has ended")?;

    let settled = sights.get(sights.len() / 5..).unwrap_or_default();
    let line = |pick: fn(&Sight) -> Option<f64>| {
        let points = settled
            .iter()
            .filter_map(|sight| Some((sight.hours, pick(sight)?)));
        slope(&points.collect::<Vec<_>>())
    };
    let rss_slope = line(|sight| Some(mib(sight.rss_bytes)));
    let descriptor_slope = line(|sight| sight.descriptors.map(|count| count as f64));
    let (first, last) = (
        settled.first().map_or(0, |s| s.rss_bytes),
        settled.last().map_or(0, |s| s.rss_bytes),
    );
    let shown =
        |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let table = format!(
        "| minutes | logins of the churning client | RSS MiB first → last | MiB per hour | descriptors per hour | descriptors before → after |\n\
         |---|---|---|---|---|---|\n| {} | {logins} | {:.1} → {:.1} | {rss_slope:+.2} | {descriptor_slope:+.1} | {} → {} |\n",
        options.minutes,
        mib(first),
        mib(last),
        shown(before),
        shown(after),
    );
    if let (Some(before), Some(after)) = (before, after)
        && after > before + u64::from(POOL) + DESCRIPTORS_SLACK
    {
        return Err(format!(
            "descriptors leak: {before} before, {after} after all clients left\n{table}"
        ));
    }
    let seen: Vec<_> = sights
        .iter()
        .map(|s| json!([s.hours * 3600.0, s.rss_bytes, s.descriptors]))
        .collect();
    let json = json!({
        "minutes": options.minutes, "logins": logins, "rss_mib_per_hour": rss_slope, "descriptors_per_hour": descriptor_slope,
        "descriptors_before": before, "descriptors_after": after, "sights_seconds_rss_bytes_descriptors": seen,
    });
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table,
        json,
    })
}

/// Loads the target for `time` and watches its process meanwhile. Returns what was seen and how often the churning client came.
fn load(target: &Target, pid: u32, time: Duration) -> Result<(Vec<Sight>, u64), String> {
    let (over, logins) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let go_on = || started.elapsed() < time && !over.load(Ordering::Relaxed);
    // One failure ends all of them.
    let until_failure = |step: &mut dyn FnMut() -> Result<(), String>| -> Result<(), String> {
        while go_on() {
            step().inspect_err(|_| over.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let mut workers = vec![scope.spawn(|| {
            until_failure(&mut || {
                Client::connect(target.port)?.query("SELECT CONNECTION_ID()")?;
                logins.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(CHURN_PAUSE);
                Ok(())
            })
        })];
        for run in LOADS {
            let until_failure = &until_failure;
            workers.push(
                scope.spawn(move || {
                    until_failure(&mut || sysbench::run(target.port, run).map(drop))
                }),
            );
        }
        let mut sights = Vec::new();
        while go_on() {
            std::thread::sleep(WATCH);
            let Some(rss_bytes) = rss_bytes(pid) else {
                over.store(true, Ordering::Relaxed);
                return Err("dbmesh has ended".to_owned());
            };
            sights.push(Sight {
                hours: started.elapsed().as_secs_f64() / 3600.0,
                rss_bytes,
                descriptors: descriptors(pid),
            });
        }
        for worker in workers {
            worker
                .join()
                .map_err(|_| "a client thread panicked".to_owned())??;
        }
        Ok((sights, logins.load(Ordering::Relaxed)))
    })
}
