//! The shards' rows as one stream: in order, or as they come.
//!
//! Owns the shards' inboxes, the key of every head, and the check that a shard's rows are in the order that
//! was asked for: where the crate and a server disagree about an order, rows are refused, not mixed up. It must
//! never take a row while a shard that could have a lesser one is silent. Input: packets of the shards.

use dbmesh_wire::column::ColumnType;

use crate::column::Definition;
use crate::error::MergeError;
use crate::inbox::{Inbox, Next};
use crate::key::KeyEncoder;
use crate::row::{Cells, RowLayout};
use crate::spill::Spiller;
use crate::tournament::Tournament;
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
    inbox: Inbox,
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
            .map_or((&[], &NO_CELLS), |shard| (shard.inbox.row(), &shard.cells))
    }

    pub(crate) fn feed(
        &mut self,
        shard: usize,
        packets: &[u8],
        spiller: &mut Spiller,
    ) -> Result<usize, MergeError> {
        let inbox = self.inbox(shard)?;
        let before = inbox.memory_bytes();
        inbox.feed(packets)?;
        let (now, waiting) = (inbox.memory_bytes(), inbox.waiting_bytes());
        spiller.resize(before, now)?;
        Ok(waiting)
    }

    pub(crate) fn finish(&mut self, shard: usize) -> Result<(), MergeError> {
        self.inbox(shard)?.finish();
        Ok(())
    }

    pub(crate) fn waiting_bytes(&self, shard: usize) -> usize {
        self.shards
            .get(shard)
            .map_or(0, |shard| shard.inbox.waiting_bytes())
    }

    fn inbox(&mut self, shard: usize) -> Result<&mut Inbox, MergeError> {
        self.shards
            .get_mut(shard)
            .map(|shard| &mut shard.inbox)
            .ok_or(MergeError::Misuse("there is no such shard"))
    }

    /// Makes the next row the current one.
    pub(crate) fn pull(&mut self, spiller: &Spiller) -> Result<Pulled, MergeError> {
        if self.keys.is_some() {
            self.pull_ordered(spiller.budgets.row_bytes_max)
        } else {
            self.pull_any(spiller.budgets.row_bytes_max)
        }
    }

    /// The next row of the current shard, or of the next that has one.
    fn pull_any(&mut self, row_bytes_max: usize) -> Result<Pulled, MergeError> {
        let mut need = None;
        let shards = self.shards.len();
        for step in 0..shards {
            let index = (self.current + step) % shards;
            let Some(shard) = self.shards.get_mut(index) else {
                continue;
            };
            match shard.inbox.advance(index, row_bytes_max)? {
                Next::Row => {
                    self.current = index;
                    self.layout
                        .split(shard.inbox.row(), &mut shard.cells)
                        .map_err(|error| MergeError::decode(index, error))?;
                    return Ok(Pulled::Row);
                }
                Next::NeedInput => need = need.or(Some(index)),
                Next::Done => {}
            }
        }
        Ok(need.map_or(Pulled::Done, Pulled::Need))
    }

    fn pull_ordered(&mut self, row_bytes_max: usize) -> Result<Pulled, MergeError> {
        while let Some(&index) = self.stale.last() {
            if !self.replace_head(index, row_bytes_max)? {
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
    fn replace_head(&mut self, index: usize, row_bytes_max: usize) -> Result<bool, MergeError> {
        let (Some(shard), Some(keys)) = (self.shards.get_mut(index), &mut self.keys) else {
            return Ok(true);
        };
        match shard.inbox.advance(index, row_bytes_max)? {
            Next::NeedInput => return Ok(false),
            Next::Done => {
                shard.head.exhausted = true;
                return Ok(true);
            }
            Next::Row => {}
        }
        let row = shard.inbox.row();
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
