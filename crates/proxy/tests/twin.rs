//! Sessions through a small pool see exactly what they would see of the server itself.
//!
//! Owns the comparison: every scenario runs once with a connection of its own for each session, and once through a proxy
//! whose sessions share one or two connections. Transcripts must be equal to the last flag. Input: `twin/*.twin`, written by
//! hand, and scenarios drawn from a seed (`DBMESH_TWIN_SEED`, for `DBMESH_TWIN_SECONDS`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    dead_code
)]

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dbmesh_testkit::Kind;
use support::draw;
use support::ground::{Difference, Ground, Refusals, tell};
use support::scenario::Scenario;

/// The case files, or the one that `DBMESH_TWIN_FILE` names.
fn files() -> Vec<PathBuf> {
    if let Some(file) = std::env::var_os("DBMESH_TWIN_FILE") {
        return vec![file.into()];
    }
    let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/twin")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "twin"));
    files.sort();
    files
}

/// What the proxies have behind them.
#[derive(Clone, Copy, Debug)]
enum Behind {
    One,
    /// Reads go to a replica that has all that was written.
    Replica,
}

impl Behind {
    fn ground(self, kind: Kind, queue_wait_ms: u32) -> Ground {
        match self {
            Self::One => Ground::start(kind, queue_wait_ms),
            Self::Replica => Ground::split(kind, queue_wait_ms),
        }
    }
}

/// Prints what the server itself says.
fn show(ground: &Ground, scenario: &Scenario) {
    let seen = ground.direct(scenario, &BTreeSet::new());
    for ((who, act), seen) in scenario.steps.iter().zip(seen) {
        println!("{who} {act}\n{}{}", seen.login, seen.text);
    }
}

/// One test at a time for each kind of server: three of each at once would only wait for each other.
fn turn(kind: Kind) -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
    let turn = &TURNS[usize::from(kind == Kind::MariaDb)];
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hand_written(kind: Kind, behind: Behind) {
    let _turn = turn(kind);
    let ground = behind.ground(kind, 400);
    let only = std::env::var("DBMESH_TWIN_ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    let mut runs = 0;
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let scenarios =
            Scenario::parse_all(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for scenario in scenarios
            .iter()
            .filter(|s| s.is_for(kind) && s.name.contains(&only))
        {
            let pools = if scenario.pools.is_empty() {
                vec![1, 2]
            } else {
                scenario.pools.clone()
            };
            for pool in pools {
                runs += 1;
                if std::env::var_os("DBMESH_TWIN_SHOW").is_some() {
                    show(&ground, scenario);
                }
                let differences = ground.compare(scenario, pool, Refusals::Count);
                if !differences.is_empty() {
                    failures.push(tell(scenario, &differences, pool, kind));
                }
            }
        }
    }
    assert!(runs > 0, "no scenario for {kind}");
    assert!(
        failures.is_empty(),
        "{} of {runs} runs differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    println!("{kind}: {runs} runs of hand-written scenarios, no difference");
}

#[test]
fn hand_written_scenarios_on_mysql() {
    hand_written(Kind::MySql, Behind::One);
}

#[test]
fn hand_written_scenarios_with_a_replica_on_mysql() {
    hand_written(Kind::MySql, Behind::Replica);
}

#[test]
fn hand_written_scenarios_on_mariadb() {
    hand_written(Kind::MariaDb, Behind::One);
}

#[test]
fn hand_written_scenarios_with_a_replica_on_mariadb() {
    hand_written(Kind::MariaDb, Behind::Replica);
}

/// Seeds of a run without a time: the same ones on every machine.
const SEEDS: u64 = 12;
/// Steps of a drawn scenario.
const STEPS: usize = 45;
/// Runs spent on making a failing scenario short.
const SHRINKS_MAX: usize = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Draws scenarios until the time is over; a difference is made short and told.
fn drawn(kind: Kind, behind: Behind) {
    let _turn = turn(kind);
    let ground = behind.ground(kind, 100);
    let (seconds, seeds) = match number("DBMESH_TWIN_SECONDS") {
        Some(seconds) => (seconds, u64::MAX),
        None => (120, SEEDS),
    };
    let first = number("DBMESH_TWIN_SEED").unwrap_or(1);
    let failures_max = number("DBMESH_TWIN_FAILURES").unwrap_or(1);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut failures) = (first, Vec::new());
    while Instant::now() < deadline
        && seed - first < seeds
        && (failures.len() as u64) < failures_max
    {
        for pool in [1, 2] {
            let scenario = draw::scenario(seed, pool, STEPS);
            let found = ground.compare(&scenario, pool, Refusals::LeftOut);
            if !found.is_empty() {
                failures.push(shortened(&ground, scenario, pool, found));
            }
        }
        seed += 1;
    }
    println!(
        "{kind}: seeds {first} to {}, {} differences",
        seed - 1,
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The scenario with as few steps as still differ, and what differs.
fn shortened(
    ground: &Ground,
    mut scenario: Scenario,
    pool: u32,
    mut differences: Vec<Difference>,
) -> String {
    if let Some(first) = differences.first() {
        scenario.steps.truncate(first.step + 1);
    }
    let (mut runs, mut size) = (0, scenario.steps.len().div_ceil(2));
    while size > 0 && runs < SHRINKS_MAX {
        let mut at = 0;
        while at < scenario.steps.len() && runs < SHRINKS_MAX {
            let mut shorter = scenario.clone();
            let end = (at + size).min(shorter.steps.len());
            shorter.steps.drain(at..end);
            runs += 1;
            let found = ground.compare(&shorter, pool, Refusals::LeftOut);
            if found.is_empty() {
                at += size;
            } else {
                shorter.steps.truncate(found[0].step + 1);
                (scenario, differences) = (shorter, found);
            }
        }
        size /= 2;
    }
    tell(&scenario, &differences, pool, ground.kind())
}

#[test]
fn drawn_scenarios_on_mysql() {
    drawn(Kind::MySql, Behind::One);
}

#[test]
fn drawn_scenarios_with_a_replica_on_mysql() {
    drawn(Kind::MySql, Behind::Replica);
}

#[test]
fn drawn_scenarios_on_mariadb() {
    drawn(Kind::MariaDb, Behind::One);
}

#[test]
fn drawn_scenarios_with_a_replica_on_mariadb() {
    drawn(Kind::MariaDb, Behind::Replica);
}

/// Another value for a session variable, as SQL; `None` where one cannot be guessed.
fn another(value: &str) -> Option<String> {
    Some(match value {
        "ON" | "1" => "0".to_owned(),
        "OFF" | "0" => "1".to_owned(),
        "YES" => "'NO'".to_owned(),
        "NO" => "'YES'".to_owned(),
        _ => (value.parse::<u64>().ok()? / 2).to_string(),
    })
}

/// Variables whose value is of the connection, the moment or the server's resources, or that would stop the test.
const NOT_COMPARED: [&str; 8] = [
    "timestamp",
    "insert_id",
    "rand_seed1",
    "rand_seed2",
    "pseudo_thread_id",
    "last_gtid",
    "lock_wait_timeout",
    "last_insert_id",
];

/// Every session variable that can be set at all: neither lost for the session that set it, nor seen by another.
fn every_variable(kind: Kind) {
    let _turn = turn(kind);
    let ground = Ground::start(kind, 50);
    let rows = ground.root().query("SHOW SESSION VARIABLES").unwrap();
    let mut steps = 0;
    let mut failures = Vec::new();
    for row in rows {
        let (Some(name), Some(value)) = (row[0].clone(), row[1].clone()) else {
            continue;
        };
        let Some(other) = another(&value).filter(|_| !NOT_COMPARED.contains(&name.as_str())) else {
            continue;
        };
        if ["autocommit", "sql_log_bin", "session_track_"]
            .iter()
            .any(|n| name.starts_with(n))
        {
            continue;
        }
        let session = ground.server().session().unwrap();
        if session
            .execute(&format!("SET SESSION {name} = {other}"))
            .is_err()
        {
            continue;
        }
        let text = format!(
            "# {name}\nA SET SESSION {name} = {other}\nB SELECT @@{name}\nA SELECT @@{name}\nB SELECT @@{name}\n\
             A SET SESSION {name} = DEFAULT\nB SELECT 1\nA SELECT @@{name}\n"
        );
        let scenario = Scenario::parse_all(&text).unwrap().remove(0);
        steps += 1;
        // A variable that cannot be restored pins: then the other session waits in vain, and is left out.
        let differences = ground.compare(&scenario, 1, Refusals::LeftOut);
        if !differences.is_empty() {
            failures.push(tell(&scenario, &differences, 1, kind));
        }
    }
    println!("{kind}: {steps} variables, {} differences", failures.len());
    assert!(steps > 100, "only {steps} variables could be set");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_session_variable_on_mysql() {
    every_variable(Kind::MySql);
}

#[test]
fn every_session_variable_on_mariadb() {
    every_variable(Kind::MariaDb);
}
