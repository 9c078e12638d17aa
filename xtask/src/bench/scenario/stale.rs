//! Stale reads: clients write numbers and read them back, own ones under `session` and everybody's under `global`, while
//! replicas lag by turns. The server itself says whether a row has the number that it must have: a read that finds none is
//! stale. Input: options.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::Kind;
use serde_json::{Value, json};

use super::Outcome;
use super::cluster::{Cluster, text};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::rig::step;

/// Reads that are checked under each level, and how many with `--quick`.
const READS: [u64; 2] = [100_000, 5_000];
/// Clients.
const CLIENTS: usize = 16;
/// One statement of so many writes.
const WRITE_EVERY: u64 = 10;
/// How long one replica stands still.
const LAG: Duration = Duration::from_secs(5);
/// How long it has then to catch up before the other one stands still.
const PAUSE: Duration = Duration::from_millis(500);
/// Connections of the pool.
const POOL: u32 = 32;

/// Runs it.
///
/// # Errors
/// When a statement fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let quick = usize::from(options.quick);
    let reads = READS.get(quick).copied().unwrap_or_default();
    let mut table = String::from(
        "| consistency | checked reads | stale | failed | sent to replicas | turned to the primary |\n|---|---|---|---|---|---|\n",
    );
    let mut levels = Vec::new();
    let mut version = String::new();
    for level in ["session", "global"] {
        step(&format!("stale reads under {level}"));
        let (seen, server) = check(options.server.into(), level, reads)?;
        table += &format!(
            "| {level} | {} | {} | {} | {} | {} |\n",
            seen.checked, seen.stale, seen.failed, seen.at_replicas, seen.turned
        );
        levels.push(seen.json(level));
        version = server;
    }
    Ok(Outcome {
        server: version,
        table,
        json: json!({ "clients": CLIENTS, "lag_s": LAG.as_secs(), "levels": levels }),
    })
}

struct Seen {
    checked: u64,
    stale: u64,
    failed: u64,
    at_replicas: u64,
    turned: u64,
}

impl Seen {
    fn json(&self, level: &str) -> Value {
        json!({
            "consistency": level, "checked_reads": self.checked, "stale_reads": self.stale, "failed": self.failed,
            "reads_at_replicas": self.at_replicas, "reads_turned_to_primary": self.turned,
        })
    }
}

/// What the clients share.
struct Shared {
    /// The number last written by each client, once it knows.
    rows: Vec<AtomicU64>,
    checked: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

fn check(kind: Kind, level: &str, reads: u64) -> Result<(Seen, String), String> {
    let cluster = Cluster::start(kind, POOL, &format!(", consistency: {level}"))?;
    let shared = Shared {
        rows: (0..CLIENTS).map(|_| AtomicU64::new(0)).collect(),
        checked: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let mut client = Client::connect(cluster.port)?;
    for row in 0..CLIENTS {
        client.query(&format!("INSERT INTO counters VALUES ({row}, 0)"))?;
    }
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|own| {
                let (shared, port) = (&shared, cluster.port);
                scope.spawn(move || read_back(port, own, level == "global", shared))
            })
            .collect();
        let lagging = lag_by_turns(&cluster, &shared, reads);
        shared.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client
                .join()
                .map_err(|_| "a client panicked".to_owned())??;
        }
        lagging
    })?;
    let seen = Seen {
        checked: shared.checked.into_inner(),
        stale: shared.stale.into_inner(),
        failed: shared.failed.into_inner(),
        at_replicas: cluster.metric("dbmesh_endpoint_statements_total", "server-1")?
            + cluster.metric("dbmesh_endpoint_statements_total", "server-2")?,
        turned: cluster.metric("dbmesh_reads_turned_to_primary_total", "")?,
    };
    Ok((seen, cluster.version()))
}

fn lag_by_turns(cluster: &Cluster, shared: &Shared, reads: u64) -> Result<(), String> {
    let enough = || shared.checked.load(Ordering::Relaxed) >= reads;
    for replica in cluster.fleet.replicas().iter().cycle() {
        cluster.fleet.stop_applying(replica).map_err(text)?;
        let until = Instant::now() + LAG;
        while Instant::now() < until {
            std::thread::sleep(PAUSE / 10);
        }
        cluster.fleet.start_applying(replica).map_err(text)?;
        std::thread::sleep(PAUSE);
        if enough() || shared.failed.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    Ok(())
}

fn read_back(port: u16, own: usize, across: bool, shared: &Shared) -> Result<(), String> {
    let mut client = Client::connect(port)?;
    let mut n = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        n += 1;
        if n % WRITE_EVERY == 1 {
            client.query(&format!("UPDATE counters SET v = {n} WHERE id = {own}"))?;
            if let Some(row) = shared.rows.get(own) {
                row.store(n, Ordering::SeqCst);
            }
        }
        let of = match across {
            true => (own + usize::try_from(n).unwrap_or_default()) % CLIENTS,
            false => own,
        };
        let least = shared
            .rows
            .get(of)
            .map_or(0, |row| row.load(Ordering::SeqCst));
        let sql = format!("SELECT v FROM counters WHERE id = {of} AND v >= {least}");
        match client.query(&sql) {
            Ok(answer) => {
                shared.checked.fetch_add(1, Ordering::Relaxed);
                let stale = u64::from(answer.rows == 0);
                shared.stale.fetch_add(stale, Ordering::Relaxed);
            }
            Err(error) => {
                step(&format!("a read failed: {error}"));
                shared.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}
