//! Rows of hostile shards: whatever they send, merging ends in rows or in an error, within its budgets.
#![no_main]

use arbitrary::Arbitrary;
use dbmesh_merge::{
    Aggregate, Budgets, Direction, FloatSums, GroupConcat, Grouping, Key, Limit, MemorySpill, MergeSpec, Merger, Output,
    OutputDefinition, Step,
};
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};
use dbmesh_wire::result_set::RowFormat;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    binary: bool,
    columns: Vec<(u8, u16, u8, bool)>,
    order: Vec<FuzzKey>,
    distinct: Vec<FuzzKey>,
    sort: Vec<FuzzKey>,
    group: Option<(Vec<FuzzKey>, Vec<(u8, FuzzKey)>)>,
    hidden: u8,
    offset: u8,
    memory_kib: u16,
    /// Whole rows, and bytes that may be anything.
    pieces: Vec<(u8, bool, &'a [u8])>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
struct FuzzKey {
    column: u8,
    descending: bool,
    comparison: u8,
}

impl FuzzKey {
    fn key(self) -> Key {
        let key = Key::ascending(usize::from(self.column % 5));
        let collations = [63, 46, 8, 45, 224, 255, 278, 309];
        let collation = collations[usize::from(self.comparison / 3) % collations.len()];
        let key = match self.comparison % 3 {
            0 => key,
            1 => key.collated(collation),
            _ => key.weighed(collation),
        };
        let direction = if self.descending { Direction::Descending } else { Direction::Ascending };
        Key { direction, ..key }
    }
}

fn keys(keys: &[FuzzKey]) -> Vec<Key> {
    keys.iter().take(4).map(|key| key.key()).collect()
}

fn aggregate(kind: u8, key: Key) -> Aggregate {
    let (column, increment) = (key.column, kind / 16);
    match kind % 16 {
        0 => Aggregate::First(column),
        1 => Aggregate::CountRows,
        2 => Aggregate::Count(column),
        3 => Aggregate::CountPartial(column),
        4 => Aggregate::Sum(column),
        5 => Aggregate::Avg { column, increment },
        6 => Aggregate::AvgPartial { sum: column, count: column / 2, increment },
        7 => Aggregate::Min(key),
        8 => Aggregate::Max(key),
        9 => Aggregate::BitAnd(column),
        10 => Aggregate::BitXor(column),
        11 => Aggregate::CountDistinct(vec![key]),
        12 => Aggregate::SumDistinct(key),
        13 => Aggregate::AvgDistinct { key, increment },
        _ => Aggregate::GroupConcat(GroupConcat {
            columns: vec![column],
            distinct: if kind > 100 { vec![key] } else { vec![] },
            order: vec![key],
            separator: b", ".to_vec(),
            bytes_max: u64::from(kind),
        }),
    }
}

fn spec(input: &Input) -> MergeSpec {
    let group = input.group.as_ref().map(|(by, outputs)| Grouping {
        keys: keys(by),
        outputs: outputs
            .iter()
            .take(6)
            .map(|(kind, key)| Output {
                value: aggregate(*kind, key.key()),
                definition: OutputDefinition::Derived(b"x".to_vec()),
            })
            .collect(),
        float_sums: FloatSums::Accept,
    });
    MergeSpec {
        order: keys(&input.order),
        group,
        distinct: keys(&input.distinct),
        sort: keys(&input.sort),
        limit: Limit { offset_rows: u64::from(input.offset % 4), count_rows: None },
        hidden: usize::from(input.hidden % 3),
    }
}

fuzz_target!(|input: Input| {
    let columns: Vec<Column<'_>> = input
        .columns
        .iter()
        .take(5)
        .map(|(kind, collation, decimals, unsigned)| {
            let mut column = Column::text(b"c", [255, 8, 63, 45][usize::from(*collation) % 4]);
            column.column_type = ColumnType(*kind);
            column.decimals = *decimals;
            if *unsigned {
                column.flags = ColumnFlags::UNSIGNED;
            }
            column
        })
        .collect();
    let format = if input.binary { RowFormat::Binary } else { RowFormat::Text };
    let budgets = Budgets {
        memory_bytes_max: usize::from(input.memory_kib) << 10,
        spill_bytes_max: 1 << 20,
        row_bytes_max: 1 << 16,
        ..Budgets::default()
    };
    let shards = vec![columns; 3];
    let spill = Box::new(MemorySpill::default());
    let Ok(mut merger) = Merger::new(&spec(&input), format, &shards, budgets, Some(spill)) else {
        return;
    };
    let mut pieces = input.pieces.iter();
    loop {
        match merger.next() {
            Err(_) | Ok(Step::Done) => break,
            Ok(Step::Row(_)) => {}
            Ok(Step::Need(shard)) => match pieces.next() {
                Some((of, whole, bytes)) => {
                    let mut packet = Vec::new();
                    if *whole {
                        put_packet(&mut packet, &mut 0, bytes);
                    } else {
                        packet.extend_from_slice(bytes);
                    }
                    if merger.feed(usize::from(of % 3), &packet).is_err() {
                        break;
                    }
                }
                None => {
                    if merger.shard_done(shard).is_err() {
                        break;
                    }
                }
            },
        }
        assert!(merger.usage().memory_bytes <= budgets.memory_bytes_max);
    }
});
