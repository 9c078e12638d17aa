//! Failover and switchover under load: how long after a promotion the first write succeeds, and what a planned switchover costs
//! clients that commit by themselves. Every killed primary is one of a fresh fleet, for an old one may have what no replica has.
//! Input: options.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dbmesh_testkit::{Kind, operator};
use serde_json::json;

use super::Outcome;
use super::cluster::{Cluster, text};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::rig::step;
use crate::bench::stats::Histogram;

/// Killed primaries, and how many with `--quick`.
const KILLS: [u32; 2] = [20, 2];
/// Clients that write meanwhile.
const WRITERS: u64 = 16;
/// Planned switchovers, and how many with `--quick`.
const SWITCHOVERS: [usize; 2] = [10, 2];
/// Clients at work during those.
const CLIENTS: u64 = 64;
/// Connections of the pool.
const POOL: u32 = 32;

/// What the clients of one run saw.
#[derive(Default)]
struct Seen {
    /// Moments and durations of acknowledged writes, in ms.
    done: Mutex<Vec<(Instant, f64)>>,
    unknown: AtomicU64,
    failed: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Runs it.
///
/// # Errors
/// When a server or dbmesh does not do what it must.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let kind = options.server.into();
    let quick = usize::from(options.quick);
    let kills = KILLS.get(quick).copied().unwrap_or_default();
    let mut times_ms = Vec::new();
    let (mut unknown, mut failed) = (0, Vec::new());
    for run in 1..=kills {
        step(&format!("failover {run} of {kills}"));
        let (time_ms, seen) = kill(kind)?;
        times_ms.push(time_ms);
        unknown += seen.unknown.load(Ordering::Relaxed);
        failed.extend(seen.failed.into_inner().map_err(text)?);
    }
    step("planned switchovers");
    let count = SWITCHOVERS.get(quick).copied().unwrap_or_default();
    let planned = switch_over(kind, count)?;
    let of = Histogram::new(times_ms.iter().map(|ms| (*ms, 1)).collect());
    let (p50, p99) = (of.percentile_ms(50.0), of.percentile_ms(99.0));
    let table = format!(
        "| killed primaries | promotion to first write, ms p50 | p99 | writes of unknown outcome, per run | other errors |\n\
         |---|---|---|---|---|\n| {kills} | {p50:.0} | {p99:.0} | {:.1} of {WRITERS} clients | {} |\n\n\
         | planned switchovers | clients | statements | failed | longest pause, ms p50 | max |\n|---|---|---|---|---|---|\n\
         | {count} | {CLIENTS} | {} | {} | {:.0} | {:.0} |\n",
        unknown as f64 / f64::from(kills),
        failed.len(),
        planned.statements,
        planned.failed,
        planned.pauses.percentile_ms(50.0),
        planned.pauses.percentile_ms(100.0),
    );
    Ok(Outcome {
        server: planned.version,
        table,
        json: json!({
            "kills": kills, "writers": WRITERS, "first_write_ms": times_ms, "first_write_p50_ms": p50, "first_write_p99_ms": p99,
            "unknown": unknown, "failed": failed, "switchovers": count, "switchover_clients": CLIENTS,
            "switchover_statements": planned.statements, "switchover_failed": planned.failed,
            "longest_pause_p50_ms": planned.pauses.percentile_ms(50.0), "longest_pause_max_ms": planned.pauses.percentile_ms(100.0),
        }),
    })
}

/// Kills a primary under load and promotes; gives the time from the promotion to the first write, in ms.
fn kill(kind: Kind) -> Result<(f64, Seen), String> {
    let cluster = Cluster::start(kind, POOL, "")?;
    let servers = cluster.servers();
    let seen = Seen::default();
    let promoted = std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let (seen, port) = (&seen, cluster.port);
            scope.spawn(move || write(port, number, seen));
        }
        let promoted = (|| {
            run_on(&cluster, &seen, 500)?;
            servers[0].kill_9();
            let (_, promoted) = operator::promote_after_loss(&servers[1..]).map_err(text)?;
            run_on(&cluster, &seen, 200)?;
            Ok::<_, String>(promoted)
        })();
        seen.stop.store(true, Ordering::Relaxed);
        promoted
    })?;
    let done = seen.done.lock().map_err(text)?;
    let after = done.iter().filter(|(ended, _)| *ended > promoted);
    let first = after.map(|(ended, _)| (*ended - promoted).as_secs_f64() * 1e3);
    let first = first.fold(f64::INFINITY, f64::min);
    drop(done);
    Ok((first, seen))
}

/// What planned switchovers cost.
struct Planned {
    version: String,
    statements: usize,
    failed: usize,
    /// The longest statement of each switchover.
    pauses: Histogram,
}

fn switch_over(kind: Kind, count: usize) -> Result<Planned, String> {
    let cluster = Cluster::start(kind, POOL, "")?;
    let servers = cluster.servers();
    let seen = Seen::default();
    let pauses = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (seen, port) = (&seen, cluster.port);
            scope.spawn(move || write(port, number, seen));
        }
        let pauses = (|| {
            let mut pauses = Vec::new();
            for turn in 0..count {
                run_on(&cluster, &seen, 500)?;
                let before = seen.done.lock().map_err(text)?.len();
                let place = |n: usize| servers[n % servers.len()];
                operator::switch_over(place(turn), place(turn + 1), &[place(turn + 2)])
                    .map_err(text)?;
                run_on(&cluster, &seen, 500)?;
                let done = seen.done.lock().map_err(text)?;
                let longest = done
                    .iter()
                    .skip(before)
                    .map(|(_, ms)| *ms)
                    .fold(0.0, f64::max);
                pauses.push((longest, 1));
            }
            Ok::<_, String>(pauses)
        })();
        seen.stop.store(true, Ordering::Relaxed);
        pauses
    })?;
    let failed = seen.failed.into_inner().map_err(text)?;
    if let Some(first) = failed.first() {
        step(&format!("a statement failed: {first}"));
    }
    let statements = seen.done.into_inner().map_err(text)?.len();
    let unknown = usize::try_from(seen.unknown.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    Ok(Planned {
        version: cluster.version(),
        statements,
        failed: failed.len() + unknown,
        pauses: Histogram::new(pauses),
    })
}

/// Waits until this many writes more have succeeded.
fn run_on(cluster: &Cluster, seen: &Seen, writes: usize) -> Result<(), String> {
    let count = || seen.done.lock().map(|done| done.len()).map_err(text);
    let goal = count()? + writes;
    cluster.wait("writes succeed", || Ok(count()? >= goal))
}

/// A client that writes without a pause.
fn write(port: u16, number: u64, seen: &Seen) {
    let mut client = None;
    let mut op = number << 32;
    while !seen.stop.load(Ordering::Relaxed) {
        if client.is_none() {
            client = Client::connect(port).ok();
        }
        let Some(connected) = &mut client else {
            continue;
        };
        op += 1;
        let began = Instant::now();
        let answer = connected.query(&format!("INSERT INTO ledger (op) VALUES ({op})"));
        let ended = Instant::now();
        match answer {
            Ok(_) => {
                if let Ok(mut done) = seen.done.lock() {
                    done.push((ended, (ended - began).as_secs_f64() * 1e3));
                }
            }
            Err(error) if error.contains("may or may not have been executed") => {
                seen.unknown.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                client = None;
                if let Ok(mut failed) = seen.failed.lock() {
                    failed.push(error);
                }
            }
        }
    }
}
