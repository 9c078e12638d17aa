//! The shards' rows as one stream: in order, or as they come.
//!
//! Owns the shards' waiting rows, the key of every head, and the check that a shard's rows are in the order that
//! was asked for: where the crate and a server disagree about an order, rows are refused, not mixed up. It must
//! never take a row while a shard that could have a lesser one is silent. Input: packets of the shards.

use dbmesh_wire::column::ColumnType;

use crate::column::Definition;
use crate::error::MergeError;
use crate::inbox::Next;
use crate::key::KeyEncoder;
use crate::row::{Cells, RowLayout};
use crate::spill::Spiller;
use crate::tournament::Tournament;
use crate::waiting::Waiting;
use dbmesh_wire::result_set::RowFormat;

/// Servers sort by this many bytes of a string's weights (max_sort_length): beyond, their rows have no order.
const SORTED_BYTES: usize = 1024;

/// What a stage has for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// A row.
    Row,
    /// Nothing before more of this shard has come.
    Need(usize),
    /// Nothing any more.
    Done,
}

/// The shards' rows as one stream.
#[derive(Debug)]
pub(crate) struct Source {
    shards: Vec<Shard>,
    layout: RowLayout,
    keys: Option<KeyEncoder>,
    tree: Option<Tournament>,
    /// Groups need an order of whole keys; a sort may leave open what is behind max_sort_length.
    sorted_bytes: usize,
    /// The shard whose row was pulled last.
    current: usize,
    /// Shards whose head is to be replaced before another row is chosen.
    stale: Vec<usize>,
}

#[derive(Debug, Default)]
struct Shard {
    waiting: Waiting,
    cells: Cells,
    head: HeadKey,
    spare: Vec<u8>,
}

/// The key of a shard's head. `prefix` is its first 16 bytes as a number; a shard without rows is last.
#[derive(Debug, Default)]
struct HeadKey {
    exhausted: bool,
    prefix: u128,
    key: Vec<u8>,
}

impl HeadKey {
    fn less(&self, index: usize, other: &Self, other_index: usize) -> bool {
        if self.exhausted != other.exhausted {
            return other.exhausted;
        }
        if self.prefix != other.prefix {
            return self.prefix < other.prefix;
        }
        match self.key.cmp(&other.key) {
            std::cmp::Ordering::Equal => index < other_index,
            order => order.is_lt(),
        }
    }
}

impl Source {
    pub(crate) fn new(
        shards: usize,
        format: RowFormat,
        columns: &[Definition],
        keys: Option<KeyEncoder>,
        is_grouped: bool,
    ) -> Self {
        let types = columns.iter().map(|column| column.column_type);
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            layout: RowLayout::new(format, types.collect::<Vec<ColumnType>>()),
            keys,
            tree: None,
            sorted_bytes: if is_grouped { usize::MAX } else { SORTED_BYTES },
            current: 0,
            stale: (0..shards).rev().collect(),
        }
    }

    /// The shard whose row was pulled last.
    pub(crate) fn shard(&self) -> usize {
        self.current
    }

    /// The row that was pulled last.
    pub(crate) fn row(&self) -> (&[u8], &Cells) {
        static NO_CELLS: Cells = Cells::new();
        self.shards
            .get(self.current)
            .map_or((&[], &NO_CELLS), |shard| {
                (shard.waiting.row(), &shard.cells)
            })
    }

    pub(crate) fn feed(
        &mut self,
        shard: usize,
        packets: &[u8],
        spiller: &mut Spiller,
    ) -> Result<usize, MergeError> {
        let waiting = self.waiting(shard)?;
        waiting.feed(packets, spiller)?;
        Ok(waiting.waiting_bytes())
    }

    pub(crate) fn finish(&mut self, shard: usize) -> Result<(), MergeError> {
        self.waiting(shard)?.finish();
        Ok(())
    }

    pub(crate) fn waiting_bytes(&self, shard: usize) -> usize {
        self.shards
            .get(shard)
            .map_or(0, |shard| shard.waiting.waiting_bytes())
    }

    fn waiting(&mut self, shard: usize) -> Result<&mut Waiting, MergeError> {
        self.shards
            .get_mut(shard)
            .map(|shard| &mut shard.waiting)
            .ok_or(MergeError::Misuse("there is no such shard"))
    }

    /// Makes the next row the current one.
    pub(crate) fn pull(&mut self, spiller: &mut Spiller) -> Result<Pulled, MergeError> {
        if self.keys.is_some() {
            self.pull_ordered(spiller)
        } else {
            self.pull_any(spiller)
        }
    }

    /// The next row of the current shard, or of the next that has one.
    fn pull_any(&mut self, spiller: &mut Spiller) -> Result<Pulled, MergeError> {
        let mut need = None;
        let shards = self.shards.len();
        for step in 0..shards {
            let index = (self.current + step) % shards;
            let Some(shard) = self.shards.get_mut(index) else {
                continue;
            };
            match shard.waiting.advance(index, spiller)? {
                Next::Row => {
                    self.current = index;
                    self.layout
                        .split(shard.waiting.row(), &mut shard.cells)
                        .map_err(|error| MergeError::decode(index, error))?;
                    return Ok(Pulled::Row);
                }
                Next::NeedInput => need = need.or(Some(index)),
                Next::Done => {}
            }
        }
        Ok(need.map_or(Pulled::Done, Pulled::Need))
    }

    fn pull_ordered(&mut self, spiller: &mut Spiller) -> Result<Pulled, MergeError> {
        while let Some(&index) = self.stale.last() {
            if !self.replace_head(index, spiller)? {
                return Ok(Pulled::Need(index));
            }
            self.stale.pop();
            if let Some(tree) = &mut self.tree {
                tree.replay(|a, b| less(&self.shards, a, b));
            }
        }
        let count = self.shards.len();
        let tree = self
            .tree
            .get_or_insert_with(|| Tournament::new(count, |a, b| less(&self.shards, a, b)));
        let winner = tree.winner();
        let exhausted = self.shards.get(winner).is_none_or(|s| s.head.exhausted);
        if exhausted {
            return Ok(Pulled::Done);
        }
        self.current = winner;
        self.stale.push(winner);
        Ok(Pulled::Row)
    }

    /// False when the shard has to be heard first.
    fn replace_head(&mut self, index: usize, spiller: &mut Spiller) -> Result<bool, MergeError> {
        let (Some(shard), Some(keys)) = (self.shards.get_mut(index), &mut self.keys) else {
            return Ok(true);
        };
        match shard.waiting.advance(index, spiller)? {
            Next::NeedInput => return Ok(false),
            Next::Done => {
                shard.head.exhausted = true;
                return Ok(true);
            }
            Next::Row => {}
        }
        let row = shard.waiting.row();
        self.layout
            .split(row, &mut shard.cells)
            .map_err(|error| MergeError::decode(index, error))?;
        shard.spare.clear();
        keys.put(row, &shard.cells, &mut shard.spare)
            .map_err(|(column, expected)| MergeError::value(index, column, expected))?;
        let prefix = prefix(&shard.spare);
        let head = &mut shard.head;
        if prefix < head.prefix || (prefix == head.prefix && shard.spare < head.key) {
            let common = shard
                .spare
                .iter()
                .zip(&head.key)
                .take_while(|(a, b)| a == b);
            if common.count() < self.sorted_bytes {
                return Err(MergeError::Unsorted { shard: index });
            }
        }
        head.prefix = prefix;
        std::mem::swap(&mut head.key, &mut shard.spare);
        Ok(true)
    }
}

fn less(shards: &[Shard], a: usize, b: usize) -> bool {
    match (shards.get(a), shards.get(b)) {
        (Some(x), Some(y)) => x.head.less(a, &y.head, b),
        _ => false,
    }
}

/// The first 16 bytes as a number, zeros behind a shorter key.
fn prefix(key: &[u8]) -> u128 {
    if let Some(first) = key.first_chunk() {
        return u128::from_be_bytes(*first);
    }
    let mut first = [0; 16];
    first
        .iter_mut()
        .zip(key)
        .for_each(|(slot, byte)| *slot = *byte);
    u128::from_be_bytes(first)
}
