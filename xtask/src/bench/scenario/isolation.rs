//! What a neighbour does to a calm service of the same process: nothing, saturation of its own connections, a server that
//! stands still, a flood of commands; and what the same flood does from a process of its own, which is what sharing the machine
//! costs. The phases of a round follow each other, and ratios are taken inside it. The flood is sent by threads of the lowest
//! priority, so that it takes processor time of the proxy and not of the calm clients or their server. Where the kernel moves
//! threads between processors, it lets the proxy wait for those of a flood now and then; pinned, that is not measured. Input:
//! options; rounds and seconds as in the comparison.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dbmesh_testkit::port::free_port;
use dbmesh_testkit::{Server, ServerOptions};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;

use super::Outcome;
use crate::bench::Options;
use crate::bench::client::Client;
use crate::bench::process::cpu_us;
use crate::bench::rig::{Neighbour, Proxy, Reads, Rig, SCHEMA, step};
use crate::bench::stats::median;

/// Clients of the calm service.
const CALM_CLIENTS: u32 = 4;
/// Each sends a statement this often.
const CALM_EVERY: Duration = Duration::from_millis(4);
/// Clients of the neighbour.
const NEIGHBOUR_CLIENTS: u32 = 64;
/// Connections that the neighbour's server gets.
const NEIGHBOUR_POOL: u32 = 4;
/// COM_PINGs of the flood that are under way on a connection.
const PIPELINED: usize = 512;
/// How long it takes until a neighbour is what it is meant to be.
const SETTLE: Duration = Duration::from_millis(500);

/// What the neighbour does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Alone,
    Saturated,
    Stalled,
    Flooding,
    /// The same flood to a proxy of its own on the same machine.
    Elsewhere,
}

impl Phase {
    const ALL: [Phase; 5] = [
        Phase::Alone,
        Phase::Saturated,
        Phase::Stalled,
        Phase::Flooding,
        Phase::Elsewhere,
    ];

    fn name(self) -> &'static str {
        match self {
            Phase::Alone => "alone",
            Phase::Saturated => "saturated",
            Phase::Stalled => "stalled",
            Phase::Flooding => "flooding",
            Phase::Elsewhere => "flooding another process",
        }
    }
}

/// One phase of one round.
struct Sample {
    statements: usize,
    p50_ms: f64,
    p99_ms: f64,
    /// Of one processor, what the proxy used, in percent.
    proxy_percent: f64,
    /// Answers per second that a flood got.
    flood_per_s: f64,
}

/// Runs it.
///
/// # Errors
/// When a program is missing or a run fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let processors = options.pinned.then(Processors::share).transpose()?;
    let mut rig = Rig::start(options.server.into())?;
    let other = Server::start(ServerOptions::new(options.server.into()));
    let other = other.map_err(|error| error.to_string())?;
    let create = format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}");
    other.execute(&create).map_err(|error| error.to_string())?;
    let port = free_port().map_err(|error| error.to_string())?;
    let neighbour = Neighbour {
        port,
        server_port: other.port(),
        pool: NEIGHBOUR_POOL,
    };
    let mut start = || rig.dbmesh_beside(neighbour, options.workers);
    let target = match &processors {
        Some(processors) => processors.on_the_first(start)?,
        None => start()?,
    };
    let pid = target.proxy_pid.unwrap_or_default();
    let elsewhere = rig.dbmesh(Proxy {
        pool: NEIGHBOUR_POOL,
        workers: options.workers,
        reads: Reads::AtThePrimary,
    })?;
    let mut samples: Vec<Vec<Sample>> = Phase::ALL.iter().map(|_| Vec::new()).collect();
    let time = Duration::from_secs(options.seconds.into());
    for round in 0..options.rounds as usize {
        for turn in 0..Phase::ALL.len() {
            let at = (turn + round) % Phase::ALL.len();
            let (Some(phase), Some(samples)) = (Phase::ALL.get(at), samples.get_mut(at)) else {
                continue;
            };
            step(&format!(
                "round {}: the neighbour is {}",
                round + 1,
                phase.name()
            ));
            let to = match phase {
                Phase::Elsewhere => elsewhere.port,
                _ => port,
            };
            let disturbance = Disturbance::begin(*phase, to, &other)?;
            std::thread::sleep(SETTLE);
            samples.push(measure((target.port, pid), time, &disturbance)?);
            disturbance.end()?;
        }
    }
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table: table(&samples),
        json: report(&samples),
    })
}

/// The processors of this machine: those of whoever is measured, and those of all others, this process first.
struct Processors {
    first: CpuSet,
    others: CpuSet,
}

impl Processors {
    /// Leaves the first processor, with whatever starts from now on.
    fn share() -> Result<Self, String> {
        let all = sched_getaffinity(None).map_err(|error| error.to_string())?;
        let mut there = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let (mut first, mut others) = (CpuSet::new(), all);
        let cpu = there.next().unwrap_or_default();
        first.set(cpu);
        others.unset(cpu);
        if there.next().is_none() {
            return Err("--pinned needs two processors, and this process may use one".into());
        }
        let processors = Self { first, others };
        bind(&processors.others)?;
        Ok(processors)
    }

    /// What `start` starts has the first processor.
    fn on_the_first<T>(&self, start: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        bind(&self.first)?;
        let started = start();
        bind(&self.others)?;
        started
    }
}

/// This thread, and what it starts, use these processors.
fn bind(to: &CpuSet) -> Result<(), String> {
    sched_setaffinity(None, to).map_err(|error| format!("cannot choose processors: {error}"))
}

/// The calm clients' latencies for a while.
fn measure(
    (port, pid): (u16, u32),
    time: Duration,
    disturbance: &Disturbance<'_>,
) -> Result<Sample, String> {
    let before = cpu_us(pid).unwrap_or_default();
    let answered = disturbance.answered.load(Ordering::Relaxed);
    let begun = Instant::now();
    let clients = (0..CALM_CLIENTS).map(|_| std::thread::spawn(move || calm(port, time)));
    let clients: Vec<_> = clients.collect();
    let mut all = Vec::new();
    for client in clients {
        let latencies = client.join().map_err(|_| "a calm client panicked")?;
        all.extend(latencies?);
    }
    let answered = disturbance.answered.load(Ordering::Relaxed) - answered;
    all.sort_by(f64::total_cmp);
    let used = cpu_us(pid).unwrap_or_default().saturating_sub(before);
    let percentile = |percent: usize| {
        let at = (all.len() * percent / 100).min(all.len().saturating_sub(1));
        all.get(at).copied().unwrap_or_default()
    };
    Ok(Sample {
        statements: all.len(),
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        proxy_percent: used as f64 / begun.elapsed().as_micros() as f64 * 100.0,
        flood_per_s: answered as f64 / begun.elapsed().as_secs_f64(),
    })
}

/// Milliseconds that each statement took from when it was due: one that begins late because the one before took long counts
/// as long.
fn calm(port: u16, time: Duration) -> Result<Vec<f64>, String> {
    let mut client = Client::connect(port)?;
    let mut latencies = Vec::new();
    let begun = Instant::now();
    let mut due = begun;
    while begun.elapsed() < time {
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let sent = Instant::now().max(due);
        // A sleep that ends late is the machine's doing; a statement that keeps the next waiting is not.
        let late = sent.duration_since(due) >= CALM_EVERY;
        let from = if late { due } else { sent };
        client.query("SELECT 1")?;
        latencies.push(from.elapsed().as_secs_f64() * 1e3);
        due += CALM_EVERY;
    }
    Ok(latencies)
}

/// What the neighbour's clients do, until told to end.
struct Disturbance<'a> {
    stop: Arc<AtomicBool>,
    /// Answers that a flood got.
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
    stalled: Option<&'a Server>,
}

impl<'a> Disturbance<'a> {
    fn begin(phase: Phase, port: u16, server: &'a Server) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let mut clients = Vec::new();
        let count = if phase == Phase::Alone {
            0
        } else {
            NEIGHBOUR_CLIENTS
        };
        for _ in 0..count {
            let client = Client::connect(port)?;
            let (stop, answered) = (stop.clone(), answered.clone());
            clients.push(std::thread::spawn(move || {
                // The thread's own niceness: what its pings cost the machine is not the question.
                let _ = rustix::process::nice(19);
                match phase {
                    Phase::Flooding | Phase::Elsewhere => flood(client, &stop, &answered),
                    _ => ask(client, &stop),
                }
            }));
        }
        let stalled = (phase == Phase::Stalled).then_some(server);
        if let Some(server) = stalled {
            server.pause();
        }
        Ok(Self {
            stop,
            answered,
            clients,
            stalled,
        })
    }

    fn end(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.stalled {
            server.resume();
        }
        for client in self.clients {
            client.join().map_err(|_| "a neighbour's client panicked")?;
        }
        Ok(())
    }
}

/// Statements that hold a connection for 20 ms each: many times more than there are connections for.
fn ask(mut client: Client, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) && client.query("SELECT SLEEP(0.02)").is_ok() {}
}

/// COM_PINGs, as many under way as there is room for: they cost nobody but the proxy.
fn flood(client: Client, stop: &AtomicBool, answered: &AtomicU64) {
    /// A ping and its answer, in packets.
    const PING: [u8; 5] = [1, 0, 0, 0, 14];
    const OK_BYTES: usize = 11;
    let mut stream = client.into_stream();
    let many = PING.repeat(PIPELINED);
    let mut answers = vec![0; OK_BYTES * PIPELINED];
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(&many).is_err() || stream.read_exact(&mut answers).is_err() {
            return;
        }
        answered.fetch_add(PIPELINED as u64, Ordering::Relaxed);
    }
}

/// p99 of a phase beside that of the same round alone.
fn ratio(samples: &[Vec<Sample>], phase: usize) -> f64 {
    let alone = samples.first().into_iter().flatten();
    let pairs = samples.get(phase).into_iter().flatten().zip(alone);
    median(
        &pairs
            .map(|(with, alone)| with.p99_ms / alone.p99_ms)
            .collect::<Vec<_>>(),
    )
}

fn middle(samples: &[Sample], pick: fn(&Sample) -> f64) -> f64 {
    median(&samples.iter().map(pick).collect::<Vec<_>>())
}

fn table(samples: &[Vec<Sample>]) -> String {
    let mut out = String::from(
        "| the neighbour is | statements | p50 / p99 ms | p99 ÷ alone | proxy CPU % | pings/s |\n|---|---|---|---|---|---|\n",
    );
    for (at, (phase, samples_of)) in Phase::ALL.iter().zip(samples).enumerate() {
        out += &format!(
            "| {} | {} | {:.2} / {:.2} | {:.2} | {:.0} | {:.0} |\n",
            phase.name(),
            samples_of.iter().map(|s| s.statements).sum::<usize>(),
            middle(samples_of, |s| s.p50_ms),
            middle(samples_of, |s| s.p99_ms),
            ratio(samples, at),
            middle(samples_of, |s| s.proxy_percent),
            middle(samples_of, |s| s.flood_per_s),
        );
    }
    out
}

fn report(samples: &[Vec<Sample>]) -> serde_json::Value {
    let phases = Phase::ALL.iter().zip(samples).enumerate();
    let phases = phases.map(|(at, (phase, of))| {
        let rounds = of.iter().map(|s| {
            json!({ "statements": s.statements, "p50_ms": s.p50_ms, "p99_ms": s.p99_ms, "proxy_percent": s.proxy_percent, "flood_per_s": s.flood_per_s })
        });
        json!({ "phase": phase.name(), "p99_ratio_to_alone": ratio(samples, at), "rounds": rounds.collect::<Vec<_>>() })
    });
    json!({ "phases": phases.collect::<Vec<_>>() })
}
