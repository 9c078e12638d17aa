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

use dbmesh_testkit::Kind;
use support::ground::{Ground, Refusals, tell};
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

/// Prints what the server itself says.
fn show(ground: &Ground, scenario: &Scenario) {
    let seen = ground.direct(scenario, &BTreeSet::new());
    for ((who, act), seen) in scenario.steps.iter().zip(seen) {
        println!("{who} {act}\n{}", seen.text);
    }
}

fn hand_written(kind: Kind) {
    let ground = Ground::start(kind);
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
    hand_written(Kind::MySql);
}

#[test]
fn hand_written_scenarios_on_mariadb() {
    hand_written(Kind::MariaDb);
}
