//! A budget that is small, and enough: whatever the rows, their number and the stages.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use dbmesh_merge::{
    Aggregate, Appetite, Budgets, Grouping, Key, MemorySpill, MergeSpec, Merger, Output,
    OutputDefinition, Step,
};
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::{Cell, RowFormat, put_text_row};

/// What the proxy allows at least.
const MEMORY_BYTES: usize = 4 << 20;
/// As much as one read of a connection brings.
const PIECE_BYTES: usize = 128 << 10;
/// Binary, whose order is that of the bytes.
const BINARY: u16 = 63;

/// Rows of `g` and a text of so many bytes: every shard has its own, in no order.
struct Rows {
    shards: usize,
    text_bytes: usize,
    each: u64,
}

impl Rows {
    fn piece(&self, shard: usize, next: &mut u64) -> Vec<u8> {
        let (mut piece, mut seq, mut row) = (Vec::new(), 0, Vec::new());
        while *next < self.each && piece.len() < PIECE_BYTES {
            let number = *next * self.shards as u64 + shard as u64;
            let g = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24).to_string();
            let text = format!("{g:x>width$}", width = self.text_bytes);
            row.clear();
            put_text_row(
                &mut row,
                &[Cell::from(g.as_str()), Cell::from(text.as_str())],
            );
            put_packet(&mut piece, &mut seq, &row);
            *next += 1;
        }
        piece
    }

    /// Merges them as the proxy does: all shards bring as much as there is room for. Gives the number of rows.
    fn merge(&self, spec: &MergeSpec) -> u64 {
        let columns = vec![vec![Column::integer(b"g"), Column::text(b"p", 255)]; self.shards];
        let budgets = Budgets {
            shard_bytes_max: MEMORY_BYTES / (8 * self.shards),
            memory_bytes_max: MEMORY_BYTES,
            ..Budgets::default()
        };
        let spill = Box::new(MemorySpill::default());
        let merger = Merger::new(spec, RowFormat::Text, &columns, budgets, Some(spill));
        let mut merger = merger.unwrap();
        let mut next = vec![0; self.shards];
        let mut rows = 0;
        loop {
            match merger.next().unwrap() {
                Step::Row(_) => rows += 1,
                Step::Done => break,
                Step::Need(needed) => {
                    for (shard, next) in next.iter_mut().enumerate() {
                        if shard != needed && merger.appetite(shard) == Appetite::Full {
                            continue;
                        }
                        let piece = self.piece(shard, next);
                        if piece.is_empty() {
                            merger.shard_done(shard).unwrap();
                        } else {
                            merger.feed(shard, &piece).unwrap();
                        }
                    }
                }
            }
        }
        let usage = merger.usage();
        assert!(usage.memory_bytes_peak <= MEMORY_BYTES, "{usage:?}");
        assert!(usage.runs > 1 && usage.spill_bytes == 0, "{usage:?}");
        rows
    }
}

#[test]
fn the_least_budget_is_enough_for_any_number_of_rows() {
    let output = |value| Output {
        value,
        definition: OutputDefinition::Derived(b"x".to_vec()),
    };
    let group = || {
        Some(Grouping {
            keys: vec![Key::ascending(0)],
            outputs: vec![
                output(Aggregate::First(0)),
                output(Aggregate::CountRows),
                output(Aggregate::Max(Key::ascending(1).collated(BINARY))),
            ],
            ..Grouping::default()
        })
    };
    let both = || vec![Key::ascending(0), Key::ascending(1).collated(BINARY)];
    let specs = [
        MergeSpec {
            group: group(),
            sort: vec![Key::ascending(0)],
            ..MergeSpec::default()
        },
        MergeSpec {
            group: group(),
            distinct: vec![Key::ascending(0)],
            sort: vec![Key::ascending(0)],
            ..MergeSpec::default()
        },
        MergeSpec {
            distinct: both(),
            sort: both(),
            ..MergeSpec::default()
        },
        MergeSpec {
            sort: both(),
            ..MergeSpec::default()
        },
    ];
    let cases = [
        (1, 40, 40_000),
        (4, 4_000, 1_500),
        (64, 400, 600),
        (8, 60_000, 60),
    ];
    for (shards, text_bytes, each) in cases {
        let rows = Rows {
            shards,
            text_bytes,
            each,
        };
        for spec in &specs {
            assert_eq!(
                rows.merge(spec),
                shards as u64 * each,
                "{shards} {text_bytes}"
            );
        }
    }
}
