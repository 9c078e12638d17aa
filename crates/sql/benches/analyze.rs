//! The cost of one statement: lexer, digest and facts together.

#![allow(missing_docs)] // the macros make undocumented items

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dbmesh_sql::{Dialect, Lexer, analyze};

const POINT: &str = "SELECT id, name FROM users WHERE id = 42 LIMIT 1  ";
const INSERT: &str = "INSERT INTO orders (id, customer_id, status, total, currency, created_at, updated_at, note, flags, region) VALUES (1001, 42, 'open', 19.99, 'EUR', '2024-01-01 10:00:00', '2024-01-01 10:00:00', '', 0, 'eu')";
const JOIN: &str = "SELECT o.id, o.total, c.name, c.email, COUNT(i.id) AS items FROM orders o JOIN customers c ON c.id = o.customer_id LEFT JOIN order_items i ON i.order_id = o.id WHERE o.status = 'open' AND o.created_at > '2024-01-01' AND c.region IN ('eu', 'us', 'ap') GROUP BY o.id ORDER BY o.created_at DESC LIMIT 50 OFFSET 100";
const SET: &str = "SET NAMES utf8mb4, sql_mode='STRICT_TRANS_TABLES', autocommit=1";

fn statements(criterion: &mut Criterion) {
    let dialect = Dialect::default();
    for (name, sql) in [
        ("point", POINT),
        ("insert", INSERT),
        ("join", JOIN),
        ("set", SET),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function("analyze", |b| {
            b.iter(|| analyze(black_box(sql.as_bytes()), &dialect))
        });
        group.bench_function("lexer", |b| {
            b.iter(|| Lexer::new(black_box(sql.as_bytes()), &dialect).count())
        });
        group.finish();
    }
}

criterion_group!(benches, statements);
criterion_main!(benches);
