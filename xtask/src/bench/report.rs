//! The report of a benchmark on disk: the numbers with the machine and the commit they were measured on, for a number without
//! those means nothing. It must never overwrite an older report. Input: what a scenario returned.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Options;
use super::scenario::Outcome;
use crate::workspace;

/// Writes `target/bench/<scenario>-<seconds since 1970>.json` and returns its path.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(scenario: &str, options: &Options, outcome: &Outcome) -> Result<PathBuf, String> {
    let root = workspace::root();
    let folder = root.join("target/bench");
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let report = json!({
        "scenario": scenario,
        "unix_seconds": seconds,
        "commit": commit(&root),
        "machine": machine(),
        "server": outcome.server,
        "options": format!("{options:?}"),
        "result": outcome.json,
    });
    let path = folder.join(format!("{scenario}-{seconds}.json"));
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(&folder).map_err(wrong)?;
    let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    std::fs::write(&path, text).map_err(wrong)?;
    Ok(path)
}

/// The commit measured, with `+` when the work tree differed from it.
fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        Command::new("git")
            .args(args)
            .current_dir(root)
            .output()
            .ok()
            .filter(|out| out.status.success())
    };
    let id = String::from_utf8_lossy(&git(&["rev-parse", "--short=12", "HEAD"])?.stdout)
        .trim()
        .to_owned();
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|out| !out.stdout.is_empty());
    Some(if changed { id + "+" } else { id })
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name.to_owned());
    let load = read("/proc/loadavg");
    json!({
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_at_the_end": load.split_whitespace().next(),
    })
}
