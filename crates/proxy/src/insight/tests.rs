//! What is kept of many digests, and what it costs.

use std::time::Duration;

use dbmesh_runtime::clock::Coarse;
use dbmesh_sql::Class;

use super::*;
use crate::registry::SessionHandle;

fn session(user: &str) -> SessionHandle {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let clock = Coarse::start();
    let at = |text: &str| text.to_owned();
    SessionHandle::new(1, at(user), at("here"), at("default/shop/mysql"), &clock, 1)
}

fn finished<'a>(session: &'a SessionHandle, digest: u64, took: Duration) -> Finished<'a> {
    Finished {
        session,
        digest,
        class: Class::Read,
        protocol: Protocol::Text,
        now_ms: 5,
        took,
        waited: Duration::ZERO,
        executed: took,
        rows: 1,
        affected: 0,
        bytes_in: 10,
        bytes_out: 20,
        error: None,
        endpoint: None,
        shards: 0,
        places: &[],
        pins: 0,
    }
}

fn draw(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn a_million_digests_leave_the_hundred_that_matter_and_memory_bounded() {
    const HEAVY: u64 = 100;
    let insight = Insight::with_shards(2);
    let session = session("app");
    let text = || "SELECT ?".repeat(40);
    let mut seed = 42;
    let mut expected = vec![0_u64; HEAVY as usize];
    // A flood of digests that come once each, and a hundred that come again and again, of different weight.
    for once in 0..1_000_000_u64 {
        let us = 20 + draw(&mut seed) % 400;
        let flood = finished(&session, 1 << 40 | once, Duration::from_micros(us));
        insight.add(&flood, text);
        if once % 10 == 0 {
            let heavy = draw(&mut seed) % HEAVY;
            let us = 300 + 20 * heavy;
            expected[heavy as usize] += us;
            let heavy = finished(&session, heavy, Duration::from_micros(us));
            insight.add(&heavy, text);
        }
    }
    let bytes: usize = insight.shards.iter().map(|s| s.table.lock().bytes()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes}");
    let entries: usize = insight.shards.iter().map(|s| s.table.lock().len()).sum();
    assert!(
        entries <= ENTRIES_MAX && entries > ENTRIES_MAX / 4,
        "{entries}"
    );
    assert!(insight.evicted.load(Ordering::Relaxed) > 900_000);
    let top = insight.top(&Question::default());
    assert_eq!(top.len(), 100);
    for (digest, entry) in top {
        let exact = expected[usize::try_from(digest).unwrap()] as f64;
        let off = (entry.time_ns as f64 / 1e3 - exact).abs() / exact;
        assert!(off <= 0.01, "{digest}: {off}");
    }
}

#[test]
fn users_are_told_apart_and_shards_add_up() {
    let insight = Insight::with_shards(4);
    let (ann, bob) = (session("ann"), session("bob"));
    assert_ne!(ann.scope, bob.scope);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..100_u64 {
                    let mut one = finished(&ann, 7, Duration::from_micros(100 + n));
                    one.error = (n % 10 == 0).then_some(1062);
                    insight.add(&one, || "SELECT ?".to_owned());
                }
                insight.add(&finished(&bob, 7, Duration::from_millis(9)), || {
                    "SELECT ?".to_owned()
                });
            });
        }
    });
    let listed = insight.to_json(&Question::default(), |ms| ms + 1_000);
    let rows = listed.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let ann = rows.iter().find(|row| row["user"] == "ann").unwrap();
    assert_eq!(ann["calls"], 400);
    assert_eq!(ann["errors"], 40);
    assert_eq!(ann["error_codes"]["1062"], 40);
    assert_eq!(ann["digest"], "0000000000000007");
    assert_eq!(ann["first_seen_ms"], 1_005);
    let p50 = ann["p50_us"].as_u64().unwrap();
    assert!((148..=152).contains(&p50), "{p50}");
    let by_calls = Question::of_query("order=calls&limit=1").unwrap();
    assert_eq!(insight.top(&by_calls)[0].1.calls, 400);
    let other = Question::of_query("service=default/other/mysql").unwrap();
    assert!(insight.top(&other).is_empty());
    assert!(Question::of_query("order=beauty").is_err());
    assert!(Question::of_query("colour=red").is_err());
    insight.clear();
    assert!(insight.top(&Question::default()).is_empty());
}
