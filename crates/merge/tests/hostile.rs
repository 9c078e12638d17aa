//! Shards that send anything: merging ends in rows or in an error, never in a panic, within the memory budget.
//! `fuzz/fuzz_targets/merge.rs` is the same for longer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_merge::{
    Aggregate, Budgets, FloatSums, GroupConcat, Grouping, Key, MemorySpill, MergeSpec, Merger,
    Output, OutputDefinition, Step,
};
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};
use dbmesh_wire::result_set::{Cell, RowFormat, put_text_row};
use proptest::prelude::*;

fn key() -> impl Strategy<Value = Key> {
    let collation = prop_oneof![
        Just(63_u16),
        Just(46),
        Just(8),
        Just(45),
        Just(224),
        Just(255),
        Just(278)
    ];
    (0_usize..3, any::<bool>(), 0..3, collation).prop_map(
        |(column, descending, comparison, collation)| {
            let key = Key::ascending(column);
            let key = match comparison {
                0 => key,
                1 => key.collated(collation),
                _ => key.weighed(collation),
            };
            if descending { key.descending() } else { key }
        },
    )
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    (key(), 0..13, any::<u8>()).prop_map(|(key, kind, increment)| {
        let column = key.column;
        match kind {
            0 => Aggregate::First(column),
            1 => Aggregate::CountRows,
            2 => Aggregate::CountPartial(column),
            3 => Aggregate::Sum(column),
            4 => Aggregate::Avg { column, increment },
            5 => Aggregate::AvgPartial {
                sum: column,
                count: 1,
                increment,
            },
            6 => Aggregate::Min(key),
            7 => Aggregate::Max(key),
            8 => Aggregate::BitXor(column),
            9 => Aggregate::CountDistinct(vec![key]),
            10 => Aggregate::SumDistinct(key),
            11 => Aggregate::AvgDistinct { key, increment },
            _ => Aggregate::GroupConcat(GroupConcat {
                columns: vec![column],
                distinct: if increment > 99 { vec![key] } else { vec![] },
                order: vec![key],
                separator: b",".to_vec(),
                bytes_max: u64::from(increment),
            }),
        }
    })
}

fn spec() -> impl Strategy<Value = MergeSpec> {
    let keys = || prop::collection::vec(key(), 0..3);
    let outputs = prop::collection::vec(aggregate(), 1..5);
    (
        keys(),
        prop::option::of((keys(), outputs)),
        keys(),
        keys(),
        0_usize..2,
    )
        .prop_map(|(order, group, distinct, sort, hidden)| {
            let group = group.map(|(keys, outputs)| Grouping {
                keys,
                outputs: outputs
                    .into_iter()
                    .map(|value| Output {
                        value,
                        definition: OutputDefinition::Derived(b"x".to_vec()),
                    })
                    .collect(),
                float_sums: FloatSums::Accept,
            });
            MergeSpec {
                order,
                group,
                distinct,
                sort,
                hidden,
                ..MergeSpec::default()
            }
        })
}

/// Values that look like something, as rows of the text protocol, or any bytes.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "-?[0-9]{0,25}\\.?[0-9]{0,3}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:.]{0,12})?",
        "-?[0-9]{1,3}:[0-9]{2}:[0-9]{2}",
        "\\PC{0,4}",
        "-?[0-9]e[0-9]{1,3}",
    ];
    let row = prop::collection::vec(prop::option::of(value), 3).prop_map(|values| {
        let cells: Vec<Cell<'_>> = values
            .iter()
            .map(|v| v.as_deref().map_or(Cell::Null, Cell::from))
            .collect();
        let mut row = Vec::new();
        put_text_row(&mut row, &cells);
        row
    });
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let packet = prop_oneof![3 => row, 1 => bytes.clone()].prop_map(|payload| {
        let mut packet = Vec::new();
        put_packet(&mut packet, &mut 0, &payload);
        packet
    });
    prop_oneof![9 => packet, 1 => bytes]
}

fn column() -> impl Strategy<Value = (u8, u16, bool, bool)> {
    let kinds = [
        0_u8, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 245, 246, 247, 252, 253, 254, 255,
    ];
    (
        prop::sample::select(kinds.to_vec()),
        prop::sample::select(vec![255_u16, 63, 8, 45]),
        any::<bool>(),
        any::<bool>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn any_bytes_end_in_rows_or_in_an_error(
        spec in spec(), columns in prop::collection::vec(column(), 3), binary in prop::bool::weighted(0.3),
        pieces in prop::collection::vec((0_usize..2, piece()), 0..8), memory_bytes_max in 2_000_usize..100_000,
    ) {
        let columns: Vec<Column<'_>> = columns.iter().map(|(kind, collation, unsigned, whole)| {
            let mut column = Column::text(b"c", *collation);
            column.column_type = ColumnType(*kind);
            column.flags = if *unsigned { ColumnFlags::UNSIGNED } else { ColumnFlags(0) };
            column.decimals = if *whole { 31 } else { 2 };
            column
        }).collect();
        let format = if binary { RowFormat::Binary } else { RowFormat::Text };
        let budgets = Budgets { memory_bytes_max, row_bytes_max: 1000, ..Budgets::default() };
        let spill = Box::new(MemorySpill::default());
        let Ok(mut merger) = Merger::new(&spec, format, &[columns.clone(), columns], budgets, Some(spill)) else {
            return Ok(());
        };
        let mut pieces = pieces.iter();
        loop {
            match merger.next() {
                Err(_) | Ok(Step::Done) => break,
                Ok(Step::Row(_)) => {}
                Ok(Step::Need(shard)) => match pieces.next() {
                    Some((of, bytes)) if merger.feed(*of, bytes).is_err() => break,
                    Some(_) => {}
                    None => merger.shard_done(shard).unwrap(),
                },
            }
            prop_assert!(merger.usage().memory_bytes <= memory_bytes_max);
        }
    }
}
