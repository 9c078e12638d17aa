//! The start: time from the creation of the process until it accepts a connection, with the server already there. Every start
//! is a process of its own that is ended again. Input: options.

use std::time::{Duration, Instant};

use dbmesh_testkit::port::Port;
use serde_json::json;

use super::Outcome;
use crate::bench::Options;
use crate::bench::process::{Daemon, rss_bytes};
use crate::bench::rig::Rig;
use crate::bench::stats::{median, spread_percent};

/// How often it is started.
const STARTS: u32 = 20;
/// How long one start may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs it.
///
/// # Errors
/// When a start fails.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut rig = Rig::start(options.server.into())?;
    let program = rig.dbmesh_program()?;
    let (mut times_ms, mut rss) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let reserve = || Port::reserve().map_err(|error| error.to_string());
        let (port, admin) = (reserve()?, reserve()?);
        let config = rig.dbmesh_config(port.number(), 8)?;
        let admin = format!("127.0.0.1:{}", admin.number());
        let log = rig.log("start");
        let started = Instant::now();
        let mut daemon = Daemon::spawn(
            &program,
            &["proxy", "--config", &config, "--admin", &admin],
            &log,
        )?;
        daemon.wait_listening(port.number(), LIMIT, &log)?;
        times_ms.push(started.elapsed().as_secs_f64() * 1_000.0);
        rss.push(rss_bytes(daemon.pid()).unwrap_or_default() as f64);
    }
    let (time, spread, memory) = (median(&times_ms), spread_percent(&times_ms), median(&rss));
    let table = format!(
        "| starts | until it accepts, ms | spread | RSS then MiB |\n|---|---|---|---|\n| {STARTS} | {time:.1} | ± {spread:.0} % | {:.1} |\n",
        memory / f64::from(1 << 20),
    );
    Ok(Outcome {
        server: rig.server_version().to_owned(),
        table,
        json: json!({ "starts": STARTS, "median_ms": time, "times_ms": times_ms, "rss_bytes": memory }),
    })
}
