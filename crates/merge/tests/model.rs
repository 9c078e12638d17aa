//! The merger against a model that keeps everything in a vector: any rows, any cuts, small budgets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_merge::{
    Aggregate, Budget, Budgets, Grouping, Key, Limit, MemorySpill, MergeError, MergeSpec, Merger,
    Output, OutputDefinition, SharedMemory, Spill, Step,
};
use dbmesh_wire::Capabilities;
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::{Column, ColumnType};
use dbmesh_wire::result_set::{Cell, RowFormat, put_binary_row, put_text_row};
use proptest::prelude::*;
use support::client::ResultSet;
use support::files::FileSpill;
use support::{draw::Draw, merge};

/// A number that may be NULL, and a string.
type Row = (Option<i64>, String);

const TYPES: [ColumnType; 2] = [ColumnType::LONGLONG, ColumnType::VAR_STRING];

fn encode(format: RowFormat, row: &Row) -> Vec<u8> {
    let cells = [Cell::from(row.0), Cell::from(row.1.as_str())];
    let mut out = Vec::new();
    match format {
        RowFormat::Text => put_text_row(&mut out, &cells),
        RowFormat::Binary => put_binary_row(&mut out, &TYPES, &cells),
    }
    out
}

fn set(format: RowFormat, rows: &[Row]) -> ResultSet {
    let columns = [Column::integer(b"n"), Column::text(b"s", 255)];
    let payload = |column: &Column<'_>| {
        let mut out = Vec::new();
        column.encode(&mut out, Capabilities::PROTOCOL_41);
        out
    };
    ResultSet {
        columns: columns.iter().map(payload).collect(),
        rows: rows.iter().map(|row| encode(format, row)).collect(),
    }
}

fn shards() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let row = (prop::option::of(-3_i64..4), "[a-c]{0,2}");
    prop::collection::vec(prop::collection::vec(row, 0..30), 1..6)
}

fn format() -> impl Strategy<Value = RowFormat> {
    prop_oneof![Just(RowFormat::Text), Just(RowFormat::Binary)]
}

/// Little memory, so that nearly everything goes to the spill.
fn tight() -> Budgets {
    Budgets {
        shard_bytes_max: 64,
        memory_bytes_max: 1 << 20,
        ..Budgets::default()
    }
}

fn spill() -> Option<Box<dyn dbmesh_merge::Spill + Send>> {
    Some(Box::new(MemorySpill::default()))
}

fn by_bytes(column: usize) -> Key {
    Key::ascending(column).collated(46)
}

proptest! {
    #[test]
    fn ordered_merge_is_a_stable_sort(mut shards in shards(), format in format(), piece in 1_usize..40, descending: bool,
        offset_rows in 0_u64..5, count_rows in prop::option::of(0_u64..50)) {
        let order = |a: &Row, b: &Row| {
            let numbers = if descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
            numbers.then_with(|| a.1.cmp(&b.1))
        };
        shards.iter_mut().for_each(|rows| rows.sort_by(order));
        let mut all: Vec<Row> = shards.concat();
        all.sort_by(order);
        let expected: Vec<Vec<u8>> = all.iter().map(|row| encode(format, row))
            .skip(offset_rows as usize).take(count_rows.unwrap_or(u64::MAX) as usize).collect();
        let sets: Vec<ResultSet> = shards.iter().map(|rows| set(format, rows)).collect();
        let number = if descending { Key::ascending(0).descending() } else { Key::ascending(0) };
        let spec = MergeSpec { order: vec![number, by_bytes(1)], limit: Limit { offset_rows, count_rows }, ..MergeSpec::default() };
        let merged = merge(&spec, format, &sets, tight(), None, piece).unwrap();
        prop_assert_eq!(merged.rows, expected);
    }

    #[test]
    fn sorting_is_stable_and_hides_columns(shards in shards(), format in format(), piece in 1_usize..40) {
        let sets: Vec<ResultSet> = shards.iter().map(|rows| set(format, rows)).collect();
        let spec = MergeSpec { sort: vec![by_bytes(1)], hidden: 1, ..MergeSpec::default() };
        let merged = merge(&spec, format, &sets, tight(), spill(), piece).unwrap();
        let mut all: Vec<Row> = shards.concat();
        all.sort_by(|a, b| a.1.cmp(&b.1));
        let mut expected: Vec<Vec<u8>> = all.iter().map(|row| {
            let mut out = Vec::new();
            match format {
                RowFormat::Text => put_text_row(&mut out, &[Cell::from(row.0)]),
                RowFormat::Binary => put_binary_row(&mut out, &TYPES[..1], &[Cell::from(row.0)]),
            }
            out
        }).collect();
        let mut rows = merged.rows;
        // Rows of several shards come in any order among equals.
        rows.sort();
        expected.sort();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn groups_are_those_of_a_map(shards in shards(), format in format(), sorted: bool, piece in 1_usize..40) {
        let mut shards = shards;
        if sorted {
            shards.iter_mut().for_each(|rows| rows.sort());
        }
        let mut model: BTreeMap<Option<i64>, (u64, Vec<String>)> = BTreeMap::new();
        for (number, text) in shards.concat() {
            let group = model.entry(number).or_default();
            group.0 += 1;
            group.1.push(text);
        }
        let expected: Vec<Vec<u8>> = model.into_iter().map(|(number, (count, mut texts))| {
            let least = texts.iter().min().unwrap().clone();
            texts.sort();
            texts.dedup();
            let cells = [Cell::from(number), Cell::from(count), Cell::from(least.as_str()), Cell::from(texts.len() as u64)];
            let mut out = Vec::new();
            match format {
                RowFormat::Text => put_text_row(&mut out, &cells),
                RowFormat::Binary => put_binary_row(&mut out, &[TYPES[0], TYPES[0], TYPES[1], TYPES[0]], &cells),
            }
            out
        }).collect();
        let sets: Vec<ResultSet> = shards.iter().map(|rows| set(format, rows)).collect();
        let output = |value| Output { value, definition: OutputDefinition::Derived(b"x".to_vec()) };
        let outputs = vec![output(Aggregate::First(0)), output(Aggregate::CountRows), output(Aggregate::Min(by_bytes(1))),
            output(Aggregate::CountDistinct(vec![by_bytes(1)]))];
        let spec = MergeSpec {
            order: if sorted { vec![Key::ascending(0), by_bytes(1)] } else { vec![] },
            group: Some(Grouping { keys: vec![Key::ascending(0)], outputs, ..Grouping::default() }),
            ..MergeSpec::default()
        };
        let merged = merge(&spec, format, &sets, tight(), spill(), piece).unwrap();
        prop_assert_eq!(merged.rows, expected);
    }
}

/// Many rows of many keys, four shards.
fn many(rows: usize, keys: u64) -> Vec<ResultSet> {
    let mut draw = Draw(5);
    (0..4)
        .map(|_| {
            let rows: Vec<Row> = (0..rows / 4)
                .map(|_| {
                    (
                        Some(draw.below(keys) as i64),
                        format!("{:020}", draw.next()),
                    )
                })
                .collect();
            set(RowFormat::Text, &rows)
        })
        .collect()
}

#[test]
fn distinct_lets_each_key_pass_once_with_and_without_a_spill() {
    let sets = many(60_000, 20_000);
    let mut seen = std::collections::HashSet::new();
    // One piece per shard: rows come shard by shard.
    let expected: Vec<Vec<u8>> = sets
        .iter()
        .flat_map(|set| set.rows.clone())
        .filter(|row| seen.insert(row[..row[0] as usize + 1].to_vec()))
        .collect();
    let spec = MergeSpec {
        distinct: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let roomy = merge(
        &spec,
        RowFormat::Text,
        &sets,
        Budgets::default(),
        None,
        1 << 30,
    )
    .unwrap();
    assert!(roomy.rows == expected, "without a spill");
    let budgets = Budgets {
        memory_bytes_max: 4 << 20,
        ..Budgets::default()
    };
    let tight = merge(
        &spec,
        RowFormat::Text,
        &sets,
        budgets,
        Some(Box::new(FileSpill::new())),
        1 << 16,
    )
    .unwrap();
    assert!(tight.merger.usage().runs > 2, "{:?}", tight.merger.usage());
    assert_eq!(tight.rows.len(), expected.len());
}

/// A million with optimization, fewer without.
const MANY: usize = if cfg!(debug_assertions) {
    160_000
} else {
    1_200_000
};
/// Memory for them.
const LITTLE_BYTES: usize = if cfg!(debug_assertions) {
    4 << 20
} else {
    16 << 20
};

#[test]
fn a_million_groups_are_spilled_instead_of_growing() {
    let sets = many(MANY, 1 << 40);
    let output = |value| Output {
        value,
        definition: OutputDefinition::Derived(b"x".to_vec()),
    };
    let spec = MergeSpec {
        group: Some(Grouping {
            keys: vec![Key::ascending(0)],
            outputs: vec![
                output(Aggregate::First(0)),
                output(Aggregate::CountRows),
                output(Aggregate::Sum(0)),
            ],
            ..Grouping::default()
        }),
        ..MergeSpec::default()
    };
    let budgets = Budgets {
        memory_bytes_max: LITTLE_BYTES,
        ..Budgets::default()
    };
    let merged = merge(
        &spec,
        RowFormat::Text,
        &sets,
        budgets,
        Some(Box::new(FileSpill::new())),
        1 << 16,
    )
    .unwrap();
    let usage = merged.merger.usage();
    assert!(merged.rows.len() > MANY - 10, "{}", merged.rows.len());
    assert!(
        usage.memory_bytes_peak <= LITTLE_BYTES && usage.runs > 5 && usage.spill_bytes == 0,
        "{usage:?}"
    );
}

#[test]
fn many_rows_are_sorted_in_little_memory() {
    let sets = many(MANY, 1 << 40);
    let spec = MergeSpec {
        sort: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let budgets = Budgets {
        memory_bytes_max: LITTLE_BYTES,
        ..Budgets::default()
    };
    let merged = merge(
        &spec,
        RowFormat::Text,
        &sets,
        budgets,
        Some(Box::new(FileSpill::new())),
        1 << 16,
    )
    .unwrap();
    let usage = merged.merger.usage();
    assert!(
        usage.memory_bytes_peak <= LITTLE_BYTES && usage.runs > 1,
        "{usage:?}"
    );
    let mut expected: Vec<Vec<u8>> = sets.into_iter().flat_map(|set| set.rows).collect();
    let number = |row: &Vec<u8>| {
        std::str::from_utf8(&row[1..=row[0] as usize])
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    expected.sort_by_key(number);
    assert!(
        merged
            .rows
            .iter()
            .map(number)
            .eq(expected.iter().map(number))
    );
}

/// A number of a long row of them, in no order.
fn scrambled(place: u64) -> u64 {
    place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// Sorts rows as they are made, `shards` of them in turns; gives how many there were, and the merger.
fn sort_made(count: u64, shards: usize, budgets: Budgets) -> (u64, Merger) {
    let spec = MergeSpec {
        sort: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let columns = vec![vec![Column::integer(b"n"), Column::text(b"s", 255)]; shards];
    let spill = Some(Box::new(FileSpill::new()) as Box<dyn Spill + Send>);
    let mut merger = Merger::new(&spec, RowFormat::Text, &columns, budgets, spill).unwrap();
    let mut next: Vec<u64> = (0..shards as u64).collect();
    let (mut rows, mut last) = (0, 0);
    let mut piece = Vec::new();
    loop {
        match merger.next().unwrap() {
            Step::Row(row) => {
                let digits = std::str::from_utf8(&row[1..=row[0] as usize]).unwrap();
                let number: u64 = digits.parse().unwrap();
                assert!(number >= last, "{number} after {last}");
                (rows, last) = (rows + 1, number);
            }
            Step::Need(shard) => {
                piece.clear();
                let (mut seq, mut row) = (0, Vec::new());
                while next[shard] < count && piece.len() < 64 << 10 {
                    row.clear();
                    let number = scrambled(next[shard]).to_string();
                    let cells = [Cell::from(number.as_str()), Cell::from("a short text")];
                    put_text_row(&mut row, &cells);
                    put_packet(&mut piece, &mut seq, &row);
                    next[shard] += shards as u64;
                }
                match piece.is_empty() {
                    true => merger.shard_done(shard).unwrap(),
                    false => drop(merger.feed(shard, &piece).unwrap()),
                }
            }
            Step::Done => return (rows, merger),
        }
    }
}

#[test]
#[ignore = "long: ten million rows, in a minute with optimization"]
fn ten_million_rows_are_sorted_within_64_mib() {
    let budgets = Budgets {
        memory_bytes_max: 64 << 20,
        ..Budgets::default()
    };
    let (rows, merger) = sort_made(10_000_000, 8, budgets);
    let usage = merger.usage();
    assert_eq!(rows, 10_000_000);
    assert!(
        usage.memory_bytes_peak <= 64 << 20 && usage.runs > 1,
        "{usage:?}"
    );
    println!("{usage:?}");
}

#[test]
fn mergers_share_a_bounded_memory() {
    let memory = Arc::new(SharedMemory::new(1 << 20));
    assert_eq!(
        memory.budget(64 << 20),
        4 << 20,
        "there is little: it spills early"
    );
    let columns = vec![vec![Column::integer(b"n")]];
    let spec = MergeSpec {
        sort: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let budgets = Budgets::default();
    let new = || {
        let mut merger = Merger::new(&spec, RowFormat::Text, &columns, budgets, None).unwrap();
        merger.share(memory.clone());
        merger
    };
    let (mut piece, mut seq) = (Vec::new(), 0);
    for _ in 0..50_000 {
        put_packet(&mut piece, &mut seq, &[1, b'7']);
    }
    let (mut one, mut other) = (new(), new());
    one.feed(0, &piece).unwrap();
    assert!(memory.used_bytes() >= piece.len(), "{memory:?}");
    let error = (0..8).find_map(|_| other.feed(0, &piece).err()).unwrap();
    assert!(
        matches!(
            error,
            MergeError::OverBudget {
                budget: Budget::Shared,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(memory.refused(), 1);
    drop(other);
    one.feed(0, &piece).unwrap();
    drop(one);
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn errors_name_the_budget() {
    let sets = many(100_000, 1 << 40);
    let spec = MergeSpec {
        sort: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let run = |budgets: Budgets, spill| {
        merge(&spec, RowFormat::Text, &sets, budgets, spill, 1 << 16).unwrap_err()
    };
    let of = |error: &MergeError| match error {
        MergeError::OverBudget { budget, .. } => *budget,
        other => panic!("{other}"),
    };
    let small = Budgets {
        memory_bytes_max: 1 << 20,
        ..Budgets::default()
    };
    assert_eq!(of(&run(small, None)), Budget::Memory);
    let error = run(
        Budgets {
            spill_bytes_max: 1 << 20,
            ..small
        },
        spill(),
    );
    assert_eq!(of(&error), Budget::Spill);
    assert!(error.to_string().contains("spill_bytes_max"), "{error}");
    assert_eq!(
        of(&run(
            Budgets {
                row_bytes_max: 10,
                ..small
            },
            None
        )),
        Budget::Row
    );
}

#[test]
fn rows_out_of_order_are_refused() {
    let rows: Vec<Row> = [2, 1].map(|n| (Some(n), String::new())).to_vec();
    let spec = MergeSpec {
        order: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let sets = [set(RowFormat::Text, &[]), set(RowFormat::Text, &rows)];
    let error = merge(&spec, RowFormat::Text, &sets, Budgets::default(), None, 99).unwrap_err();
    assert!(
        matches!(error, MergeError::Unsorted { shard: 1 }),
        "{error}"
    );
}

#[test]
fn an_ordered_merge_keeps_only_what_waits() {
    let mut sets = many(MANY, 1 << 40);
    let number = |row: &Vec<u8>| {
        let digits = &row[1..=row[0] as usize];
        std::str::from_utf8(digits).unwrap().parse::<i64>().unwrap()
    };
    for set in &mut sets {
        set.rows.sort_by_key(number);
    }
    let spec = MergeSpec {
        order: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let budgets = Budgets {
        memory_bytes_max: 1 << 20,
        ..Budgets::default()
    };
    let merged = merge(&spec, RowFormat::Text, &sets, budgets, None, 1 << 16).unwrap();
    assert!(merged.rows.is_sorted_by_key(number));
    let usage = merged.merger.usage();
    assert!(
        usage.memory_bytes_peak <= 600_000 && usage.runs == 0,
        "{usage:?}"
    );
}
