//! Rows per second of one core: ordered merge by an integer and by utf8mb4_0900_ai_ci, grouping with a spill.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dbmesh_merge::{
    Aggregate, Budgets, Grouping, Key, MemorySpill, MergeSpec, Merger, Output, OutputDefinition,
    Step,
};
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::{Cell, RowFormat, put_binary_row, put_text_row};

const SHARDS: usize = 8;
const ROWS: usize = 400_000;
/// What a socket brings at a time.
const PIECE: usize = 64 << 10;

/// Rows of every shard as packets, sorted by a key.
fn shards(format: RowFormat, key: Key) -> Vec<Vec<u8>> {
    let types: Vec<_> = columns().iter().map(|column| column.column_type).collect();
    let mut shards = vec![(Vec::new(), 0_u8); SHARDS];
    for (number, text) in rows() {
        let shard = &mut shards[(number as usize >> 7) % SHARDS];
        let cells = [Cell::from(number), Cell::from(text.as_str())];
        let mut row = Vec::new();
        match format {
            RowFormat::Text => put_text_row(&mut row, &cells),
            RowFormat::Binary => put_binary_row(&mut row, &types, &cells),
        }
        put_packet(&mut shard.0, &mut shard.1, &row);
    }
    shards
        .into_iter()
        .map(|(bytes, _)| sorted(format, key, &bytes))
        .collect()
}

fn sorted(format: RowFormat, key: Key, bytes: &[u8]) -> Vec<u8> {
    let spec = MergeSpec {
        sort: vec![key],
        ..MergeSpec::default()
    };
    let mut merger = Merger::new(&spec, format, &[columns()], Budgets::default(), None).unwrap();
    merger.feed(0, bytes).unwrap();
    merger.shard_done(0).unwrap();
    let (mut out, mut seq) = (Vec::new(), 0);
    while let Step::Row(row) = merger.next().unwrap() {
        put_packet(&mut out, &mut seq, row);
    }
    out
}

fn columns() -> Vec<Column<'static>> {
    vec![Column::integer(b"n"), Column::text(b"s", 255)]
}

fn rows() -> Vec<(i64, String)> {
    let words = [
        "Straße",
        "apple",
        "Émile",
        "zebra",
        "Ångström",
        "order",
        "Customer",
        "naïve",
        "quick",
        "fox",
    ];
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..ROWS)
        .map(|_| {
            let number = next() as i64;
            (
                number,
                format!(
                    "{} {}",
                    words[next() as usize % words.len()],
                    next() % 100_000
                ),
            )
        })
        .collect()
}

/// Merges everything; returns the number of rows.
fn run(mut merger: Merger, shards: &[Vec<u8>]) -> usize {
    let mut pieces: Vec<_> = shards.iter().map(|bytes| bytes.chunks(PIECE)).collect();
    let mut count = 0;
    loop {
        match merger.next().unwrap() {
            Step::Row(row) => {
                black_box(row);
                count += 1;
            }
            Step::Need(shard) => match pieces[shard].next() {
                Some(piece) => {
                    merger.feed(shard, piece).unwrap();
                }
                None => merger.shard_done(shard).unwrap(),
            },
            Step::Done => return count,
        }
    }
}

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group
        .throughput(Throughput::Elements(ROWS as u64))
        .sample_size(10);
    let columns = vec![columns(); SHARDS];
    let order = |key| MergeSpec {
        order: vec![key],
        ..MergeSpec::default()
    };
    for format in [RowFormat::Text, RowFormat::Binary] {
        let cases = [
            ("integer", Key::ascending(0)),
            ("0900_ai_ci", Key::ascending(1).collated(255)),
        ];
        for (name, key) in cases {
            let spec = order(key);
            let bytes = shards(format, key);
            group.bench_function(format!("{name} {format:?}"), |bencher| {
                let new =
                    || Merger::new(&spec, format, &columns, Budgets::default(), None).unwrap();
                bencher.iter_batched(
                    new,
                    |merger| assert_eq!(run(merger, &bytes), ROWS),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    let output = |value| Output {
        value,
        definition: OutputDefinition::Derived(b"x".to_vec()),
    };
    let grouping = Grouping {
        keys: vec![Key::ascending(0)],
        outputs: vec![
            output(Aggregate::First(0)),
            output(Aggregate::CountRows),
            output(Aggregate::Sum(0)),
        ],
        ..Grouping::default()
    };
    let bytes = shards(RowFormat::Text, Key::ascending(1).collated(255));
    for (name, order, memory_bytes_max) in [("hash", vec![], 1 << 30), ("spill", vec![], 16 << 20)]
    {
        let spec = MergeSpec {
            order,
            group: Some(grouping.clone()),
            ..MergeSpec::default()
        };
        let budgets = Budgets {
            memory_bytes_max,
            ..Budgets::default()
        };
        group.bench_function(format!("group by integer, {name}"), |bencher| {
            let new = || {
                let spill = Box::new(MemorySpill::default());
                Merger::new(&spec, RowFormat::Text, &columns, budgets, Some(spill)).unwrap()
            };
            bencher.iter_batched(new, |merger| run(merger, &bytes), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, merge);
criterion_main!(benches);
