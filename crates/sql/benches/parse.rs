//! The cost of parsing one statement, with and without its facts, in the memory of the statement before.

#![allow(missing_docs)] // the macros make undocumented items

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dbmesh_sql::{Dialect, ParsedFacts, Parser};

const POINT: &str = "SELECT id, name FROM users WHERE id = 42 LIMIT 1  ";
const INSERT: &str = "INSERT INTO orders (id, customer_id, status, total, currency, created_at, updated_at, note, flags, region) VALUES (1001, 42, 'open', 19.99, 'EUR', '2024-01-01 10:00:00', '2024-01-01 10:00:00', '', 0, 'eu')";
const JOIN: &str = "SELECT o.id, o.total, c.name, c.email, COUNT(i.id) AS items FROM orders o JOIN customers c ON c.id = o.customer_id LEFT JOIN order_items i ON i.order_id = o.id WHERE o.status = 'open' AND o.created_at > '2024-01-01' AND c.region IN ('eu', 'us', 'ap') GROUP BY o.id ORDER BY o.created_at DESC LIMIT 50 OFFSET 100";

fn statements(criterion: &mut Criterion) {
    let dialect = Dialect::default();
    for (name, sql) in [("point", POINT), ("insert", INSERT), ("join", JOIN)] {
        let sql = sql.as_bytes();
        let mut parser = Parser::new();
        let mut facts = ParsedFacts::default();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function("parse", |b| {
            b.iter(|| parser.parse(black_box(sql), &dialect).is_ok());
        });
        group.bench_function("parse and facts", |b| {
            b.iter(|| {
                if let Ok(ast) = parser.parse(black_box(sql), &dialect) {
                    facts.fill(ast, sql, &dialect);
                }
                facts.tables.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, statements);
criterion_main!(benches);
