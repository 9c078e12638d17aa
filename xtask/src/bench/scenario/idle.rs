//! Idle clients: what memory each of them costs the proxy, logged in and silent, and after one statement. Memory of the client
//! side is not counted: clients live in this process. Input: options; `--idle-clients` says how many.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Outcome, mib};
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::{descriptors, raise_descriptor_limit, rss_bytes};
use crate::bench::rig::{Proxy, Reads, Rig, step};

/// Connections that dbmesh may open to the server.
const POOL: u32 = 8;
/// Threads that log clients in.
const THREADS: u32 = 4;
/// Time for the proxy to finish what the last login started.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs it.
///
/// # Errors
/// When a client cannot log in or gets a wrong answer.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let clients = options.idle_clients;
    raise_descriptor_limit(u64::from(clients) + 1_000)?;
    let mut rig = Rig::start(options.server.into())?;
    let target = rig.dbmesh(Proxy {
        pool: POOL,
        workers: options.workers,
        reads: Reads::AtThePrimary,
    })?;
    let pid = target.proxy_pid.ok_or("dbmesh has no process")?;
    let rss = || rss_bytes(pid).ok_or_else(|| "dbmesh has ended".to_owned());

    // The first login and statement pay for pools and caches that all clients share.
    Client::connect(target.port)?.query("SELECT 1")?;
    std::thread::sleep(SETTLE);
    let before = rss()?;

    step(&format!("logging {clients} clients in"));
    let started = Instant::now();
    let mut connected = connect_all(target.port, clients)?;
    let login_seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let idle = rss()?;
    let open = descriptors(pid).unwrap_or_default();

    step("one statement each");
    for client in &mut connected {
        let answer = client.query("SELECT 1")?;
        if answer.rows != 1 {
            return Err(format!("SELECT 1 gave {} rows", answer.rows));
        }
    }
    std::thread::sleep(SETTLE);
    let served = rss()?;

    let each = |now: u64| now.saturating_sub(before) as f64 / f64::from(clients.max(1));
    let table = format!(
        "| clients | RSS before MiB | RSS idle MiB | bytes per idle client | bytes per client after one statement | descriptors | logins/s |\n\
         |---|---|---|---|---|---|---|\n\
         | {clients} | {:.1} | {:.1} | {:.0} | {:.0} | {open} | {:.0} |\n",
        mib(before),
        mib(idle),
        each(idle),
        each(served),
        f64::from(clients) / login_seconds,
    );
    let json = json!({
        "clients": clients, "pool": POOL, "rss_before_bytes": before, "rss_idle_bytes": idle, "rss_served_bytes": served,
        "bytes_per_idle_client": each(idle), "bytes_per_served_client": each(served), "descriptors": open,
        "logins_per_second": f64::from(clients) / login_seconds,
    });
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table,
        json,
    })
}

fn connect_all(port: u16, clients: u32) -> Result<Vec<Client>, String> {
    let connected = Mutex::new(Ok(Vec::new()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let connected = &connected;
            scope.spawn(move || {
                let share = clients / THREADS + u32::from(thread < clients % THREADS);
                let made: Result<Vec<Client>, String> =
                    (0..share).map(|_| Client::connect(port)).collect();
                let mut all = connected
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                match (&mut *all, made) {
                    (Ok(all), Ok(made)) => all.extend(made),
                    (all, Err(error)) => *all = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            });
        }
    });
    connected
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
