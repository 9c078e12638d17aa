//! Sessions through a small pool see exactly what they would see of the server itself.
//!
//! Owns the comparison: every scenario runs once with a connection of its own for each session, and once through a proxy
//! whose sessions share one or two connections. Transcripts must be equal to the last flag. Input: `twin/*.twin`, written by
//! hand, and scenarios drawn from a seed (`DBMESH_TWIN_SEED`, for `DBMESH_TWIN_SECONDS`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, dead_code)]

#[path = "support/support.rs"]
mod support;

use dbmesh_testkit::Kind;
use support::ground::{Ground, Refusals, tell};
use support::scenario::Scenario;

fn hand_written(kind: Kind) {
    let ground = Ground::start(kind);
    let only = std::env::var("DBMESH_TWIN_ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    let mut runs = 0;
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/twin"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "twin"))
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let scenarios = Scenario::parse_all(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for scenario in scenarios.iter().filter(|s| s.is_for(kind) && s.name.contains(&only)) {
            let pools = if scenario.pools.is_empty() { vec![1, 2] } else { scenario.pools.clone() };
            for pool in pools {
                runs += 1;
                if let Some(difference) = ground.compare(scenario, pool, Refusals::Count) {
                    failures.push(tell(scenario, &difference, pool, kind));
                }
            }
        }
    }
    assert!(runs > 0, "no scenario for {kind}");
    assert!(failures.is_empty(), "{} of {runs} runs differ:\n{}", failures.len(), failures.join("\n"));
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
