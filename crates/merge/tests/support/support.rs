//! What the tests share: a client that keeps the server's packets, a spill over files, a driver of the merger.
#![allow(dead_code)]

pub mod client;
pub mod draw;
pub mod files;

use dbmesh_merge::{Budgets, MergeError, MergeSpec, Merger, Spill, Step};
use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::RowFormat;

use client::ResultSet;

/// Rows as packets with headers.
pub fn packets(rows: &[Vec<u8>]) -> Vec<u8> {
    let (mut bytes, mut seq) = (Vec::new(), 0);
    for row in rows {
        put_packet(&mut bytes, &mut seq, row);
    }
    bytes
}

/// What a merger made.
#[derive(Debug)]
pub struct Merged {
    pub rows: Vec<Vec<u8>>,
    pub merger: Merger,
}

/// Merges whole result sets; what is fed at a time is cut at `piece` bytes.
pub fn merge(
    spec: &MergeSpec,
    format: RowFormat,
    shards: &[ResultSet],
    budgets: Budgets,
    spill: Option<Box<dyn Spill + Send>>,
    piece: usize,
) -> Result<Merged, MergeError> {
    let columns: Vec<Vec<Column<'_>>> = shards
        .iter()
        .map(|set| {
            set.columns
                .iter()
                .map(|c| Column::decode(c).unwrap())
                .collect()
        })
        .collect();
    let mut merger = Merger::new(spec, format, &columns, budgets, spill)?;
    let bytes: Vec<Vec<u8>> = shards.iter().map(|set| packets(&set.rows)).collect();
    let mut pieces: Vec<_> = bytes.iter().map(|bytes| bytes.chunks(piece)).collect();
    let mut rows = Vec::new();
    loop {
        match merger.next()? {
            Step::Row(row) => rows.push(row.to_vec()),
            Step::Done => return Ok(Merged { rows, merger }),
            Step::Need(shard) => match pieces[shard].next() {
                Some(piece) => {
                    merger.feed(shard, piece)?;
                }
                None => merger.shard_done(shard)?,
            },
        }
    }
}
