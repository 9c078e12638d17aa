//! The cost of planning a statement whose digest is known, beside that of analysing it, and the cost of hints.

#![allow(missing_docs)] // the macros make undocumented items
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dbmesh_model::topology::sharding::{Algorithm, Axis, Module, Target};
use dbmesh_plan::shard::KeyValue;
use dbmesh_plan::shard::algorithm::{self, Slot};
use dbmesh_plan::{Judge, Prover, SessionView, Subject, plan};
use dbmesh_sql::{Dialect, Hints, analyze, analyze_guarded};

#[path = "../tests/support/strategy.rs"]
mod strategy;

const POINT: &str = "SELECT id, name FROM users WHERE id = 42 LIMIT 1  ";
const JOIN: &str = "SELECT o.id, o.total, c.name, c.email, COUNT(i.id) AS items FROM orders o JOIN customers c ON c.id = o.customer_id LEFT JOIN order_items i ON i.order_id = o.id WHERE o.status = 'open' AND o.created_at > '2024-01-01' AND c.region IN ('eu', 'us', 'ap') GROUP BY o.id ORDER BY o.created_at DESC LIMIT 50 OFFSET 100";
const HINTED: &str =
    "/* mesh: replica, timeout_ms=200 */ SELECT id, name FROM users WHERE id = 42 LIMIT 1";

fn hits(criterion: &mut Criterion) {
    let with_rules = strategy::splitting();
    let mut without =
        dbmesh_model::topology::Splitting::clone(with_rules.splitting.as_ref().unwrap());
    without.rules.clear();
    without.matcher = None;
    let dialect = Dialect::default();
    for (name, sql) in [("point", POINT), ("join", JOIN)] {
        let statement = analyze(sql.as_bytes(), &dialect);
        let mut group = criterion.benchmark_group(name);
        let mut prover = Prover::default();
        group.bench_function("prove", |b| {
            b.iter(|| prover.prove(black_box(&statement), sql.as_bytes(), &dialect));
        });
        for (label, splitting) in [
            ("plan", &without),
            ("plan, ten rules", with_rules.splitting.as_ref().unwrap()),
        ] {
            group.bench_function(label, |b| {
                b.iter(|| {
                    let proof = prover.prove(black_box(&statement), sql.as_bytes(), &dialect);
                    let view = SessionView {
                        splitting: Some(splitting),
                        proof,
                        ..strategy::free_session()
                    };
                    plan(&statement, black_box(sql.as_bytes()), view)
                });
            });
        }
        group.finish();
    }
}

fn hints(criterion: &mut Criterion) {
    let dialect = Dialect::default();
    let statement = analyze(HINTED.as_bytes(), &dialect);
    let mut group = criterion.benchmark_group("hints");
    group.bench_function("read", |b| {
        b.iter(|| Hints::of_comments(black_box(HINTED.as_bytes()), &statement.hints).is_ok());
    });
    group.bench_function("analyze with", |b| {
        b.iter(|| analyze(black_box(HINTED.as_bytes()), &dialect));
    });
    group.bench_function("analyze without", |b| {
        b.iter(|| analyze(black_box(POINT.as_bytes()), &dialect));
    });
    group.finish();
}

/// Verdicts of rules on a statement whose digest is known, and on one that is not.
fn rules(criterion: &mut Criterion) {
    /// Guards digests, as the proxy's key does.
    const KEY: u64 = 7;
    let dialect = Dialect::default();
    let mut group = criterion.benchmark_group("rules");
    for (id, count) in [(1, 1), (2, 10), (3, 100)] {
        let strategy = strategy::ruled(count);
        let book = &strategy.rules;
        let statement = analyze_guarded(POINT.as_bytes(), &dialect, KEY);
        let subject = Subject {
            statement: &statement,
            sql: POINT.as_bytes(),
            dialect: &dialect,
            schema: Some(b"shop"),
        };
        let mut judge = Judge::default();
        group.bench_function(format!("known verdict, {count}"), |b| {
            b.iter(|| judge.find(book, id, black_box(&subject)));
        });
        group.bench_function(format!("first verdict, {count}"), |b| {
            b.iter(|| Judge::default().find(book, id, black_box(&subject)));
        });
    }
    group.bench_function("analyze for it", |b| {
        b.iter(|| analyze_guarded(black_box(POINT.as_bytes()), &dialect, KEY));
    });
    group.bench_function("analyze without", |b| {
        b.iter(|| analyze(black_box(POINT.as_bytes()), &dialect));
    });
    group.finish();
}

/// The slot of a key by algorithms of dbmesh's own and by modules of users.
fn slots(criterion: &mut Criterion) {
    const TEXT: &str = "EU-1042";
    let file = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let integer = wat::parse_file(file("../model/cases/modules/modulo.wat")).unwrap();
    let text = std::fs::read(file("../../docs/algorithms/by_number.wasm")).unwrap();
    let module = |bytes: &[u8]| Algorithm::Wasm {
        module: Arc::new(Module::compile("own", bytes).unwrap()),
    };
    // One that might keep something: every call has an instance of its own.
    let keeping = wat::parse_str(
        r#"(module (memory 17) (global $sp (mut i32) (i32.const 0))
          (func (export "slot_integer") (param i64 i32) (result i32) (global.set $sp (local.get 1))
            (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.extend_i32_u (local.get 1))))))"#,
    )
    .unwrap();
    let mut group = criterion.benchmark_group("slots");
    for (name, algorithm, value) in [
        ("MOD", Algorithm::Mod, KeyValue::Integer(1042)),
        (
            "WASM of a number",
            module(&integer),
            KeyValue::Integer(1042),
        ),
        (
            "WASM of a number, with state",
            module(&keeping),
            KeyValue::Integer(1042),
        ),
        ("HASH_MOD", Algorithm::HashMod, KeyValue::Text(TEXT.into())),
        (
            "CRC32_MOD",
            Algorithm::Crc32Mod,
            KeyValue::Text(TEXT.into()),
        ),
        ("WASM of a text", module(&text), KeyValue::Text(TEXT.into())),
    ] {
        let target = |slot: usize| Target {
            name: slot.to_string(),
            shards: vec![slot],
        };
        let axis = Axis {
            columns: Vec::new(),
            algorithm,
            targets: (0..8).map(target).collect(),
        };
        let values = [value];
        assert!(matches!(algorithm::slot(&axis, &values), Slot::At(_)));
        group.bench_function(name, |b| {
            b.iter(|| algorithm::slot(black_box(&axis), black_box(&values)));
        });
    }
    group.finish();
}

criterion_group!(benches, hits, hints, rules, slots);
criterion_main!(benches);
