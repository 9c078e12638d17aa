//! Shards that are fed while others are waited for: what memory has no room for goes to the spill, in its order.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_merge::{Budget, Budgets, Key, MemorySpill, MergeError, MergeSpec, Merger, Spill, Step};
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::{Cell, RowFormat, put_text_row};
use proptest::prelude::*;

/// Row packets of these numbers, sorted.
fn packets(numbers: &[i64]) -> Vec<u8> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let (mut out, mut seq) = (Vec::new(), 0);
    for number in sorted {
        let mut row = Vec::new();
        put_text_row(&mut row, &[Cell::from(number)]);
        put_packet(&mut out, &mut seq, &row);
    }
    out
}

fn merger(shards: usize, budgets: Budgets, spill: Option<Box<dyn Spill + Send>>) -> Merger {
    let spec = MergeSpec {
        order: vec![Key::ascending(0)],
        ..MergeSpec::default()
    };
    let columns = vec![vec![Column::integer(b"n")]; shards];
    Merger::new(&spec, RowFormat::Text, &columns, budgets, spill).unwrap()
}

fn spill() -> Option<Box<dyn Spill + Send>> {
    Some(Box::new(MemorySpill::default()))
}

fn number(row: &[u8]) -> i64 {
    std::str::from_utf8(&row[1..]).unwrap().parse().unwrap()
}

/// Takes rows until a shard is needed: the shard.
fn take(merger: &mut Merger, into: &mut Vec<i64>) -> Option<usize> {
    loop {
        match merger.next().unwrap() {
            Step::Row(row) => into.push(number(row)),
            Step::Need(shard) => return Some(shard),
            Step::Done => return None,
        }
    }
}

const SHARDS: usize = 8;
/// Of each shard; about 2 MiB.
const ROWS: i64 = 150_000;

#[test]
fn shards_that_come_one_after_the_other_take_no_more_memory_than_one() {
    let numbers = |shard: i64| (0..ROWS).map(move |n| n * 1_000_003 % 9_999_991 + shard);
    let budgets = Budgets {
        memory_bytes_max: 4 << 20,
        shard_bytes_max: 64 << 10,
        ..Budgets::default()
    };
    let mut merger = merger(SHARDS, budgets, spill());
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    // The one that is needed first comes last, as on a connection that the others have before.
    for shard in (0..SHARDS).rev() {
        let own: Vec<i64> = numbers(shard as i64).collect();
        for piece in packets(&own).chunks(32 << 10) {
            merger.feed(shard, piece).unwrap();
        }
        merger.shard_done(shard).unwrap();
        all.extend(own);
        let needed = take(&mut merger, &mut rows);
        assert_eq!(
            needed,
            shard.checked_sub(1).map(|_| 0),
            "after shard {shard}"
        );
    }
    all.sort_unstable();
    assert!(rows == all, "{} rows of {}", rows.len(), all.len());
    let usage = merger.usage();
    assert!(usage.memory_bytes_peak < 3 << 20, "{usage:?}");
    assert!(usage.spill_bytes_peak > 10 << 20, "{usage:?}");
    assert_eq!(usage.spill_bytes, 0, "runs are removed when they are read");
}

#[test]
fn without_a_spill_the_budget_is_named() {
    let budgets = Budgets {
        memory_bytes_max: 1 << 20,
        ..Budgets::default()
    };
    let mut merger = merger(2, budgets, None);
    let bytes = packets(&(0..ROWS).collect::<Vec<_>>());
    let error = bytes
        .chunks(32 << 10)
        .find_map(|piece| merger.feed(1, piece).err());
    let error = error.expect("2 MiB fit into one");
    assert!(
        matches!(
            error,
            MergeError::OverBudget {
                budget: Budget::Memory,
                ..
            }
        ),
        "{error}"
    );
}

proptest! {
    /// Whoever is fed, and however much, the answer is the same.
    #[test]
    fn any_order_of_feeding_gives_the_same_rows(
        shards in prop::collection::vec(prop::collection::vec(-1_000_i64..1_000, 0..80), 1..5),
        turns in prop::collection::vec((0_usize..5, 1_usize..90), 0..200),
        shard_bytes_max in 1_usize..200,
    ) {
        let budgets = Budgets { shard_bytes_max, memory_bytes_max: 1 << 20, ..Budgets::default() };
        let mut merger = merger(shards.len(), budgets, spill());
        let bytes: Vec<Vec<u8>> = shards.iter().map(|numbers| packets(numbers)).collect();
        let mut fed = vec![0; shards.len()];
        let mut done = vec![false; shards.len()];
        let mut rows = Vec::new();
        let mut turns = turns.into_iter();
        loop {
            let needed = take(&mut merger, &mut rows);
            let Some(needed) = needed else { break };
            let (shard, length) = match turns.next() {
                Some((shard, length)) => (shard % shards.len(), length),
                None => (needed, 50),
            };
            let end = bytes[shard].len().min(fed[shard] + length);
            if !done[shard] {
                merger.feed(shard, &bytes[shard][fed[shard]..end]).unwrap();
                fed[shard] = end;
                if end == bytes[shard].len() {
                    merger.shard_done(shard).unwrap();
                    done[shard] = true;
                }
            }
        }
        let mut all: Vec<i64> = shards.concat();
        all.sort_unstable();
        prop_assert_eq!(rows, all);
        prop_assert_eq!(merger.usage().spill_bytes, 0);
    }
}
