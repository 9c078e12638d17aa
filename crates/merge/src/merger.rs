//! The rows of several shards become one result: the state machine over all stages.
//!
//! Owns the stages and their order, and the budgets they share. It does no I/O: packets are fed, rows are taken,
//! and where it cannot go on it says which shard it waits for. It must never yield a row that a later one could
//! precede. Input: a specification, the shards' column definitions, the packets of their rows.

use std::sync::Arc;

use dbmesh_wire::column::{Column, ColumnType};
use dbmesh_wire::result_set::RowFormat;

use crate::column::{Definition, unify};
use crate::distinct::Distinct;
use crate::error::MergeError;
use crate::group::{CutWarning, Grouper};
use crate::key::{KeyEncoder, Purpose};
use crate::row::{Cells, RowLayout};
use crate::sorter::{Sorted, Sorter};
use crate::source::{Pulled, Source};
use crate::spec::{Limit, MergeSpec};
use crate::spill::{Budgets, SharedMemory, Spill, Spiller, Usage};

/// What the merger has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The payload of a row for the client.
    Row(&'a [u8]),
    /// Nothing before more of this shard was fed or it is done. Any shard may be fed meanwhile.
    Need(usize),
    /// Nothing any more. Shards that have not ended need not be heard: LIMIT was reached.
    Done,
}

/// Whether a shard should be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appetite {
    /// It should.
    Hungry,
    /// `shard_bytes_max` of it wait: not before rows were taken. What is fed all the same goes to the spill.
    Full,
}

/// Merges the rows of several shards.
///
/// ```
/// # use dbmesh_merge::{Budgets, Key, MergeSpec, Merger, Step, MergeError};
/// # use dbmesh_wire::{column::Column, result_set::RowFormat};
/// # fn main() -> Result<(), MergeError> {
/// let spec = MergeSpec { order: vec![Key::ascending(0)], ..MergeSpec::default() };
/// let columns = [vec![Column::integer(b"id")], vec![Column::integer(b"id")]];
/// let mut merger = Merger::new(&spec, RowFormat::Text, &columns, Budgets::default(), None)?;
/// merger.feed(0, &[2, 0, 0, 0, 1, b'3'])?;
/// merger.feed(1, &[2, 0, 0, 0, 1, b'2'])?;
/// assert_eq!(merger.next()?, Step::Row(&[1, b'2']));
/// assert_eq!(merger.next()?, Step::Need(1));
/// merger.shard_done(1)?;
/// assert_eq!(merger.next()?, Step::Row(&[1, b'3']));
/// merger.shard_done(0)?;
/// assert_eq!(merger.next()?, Step::Done);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Merger {
    source: Source,
    group: Option<Grouper>,
    distinct: Option<Distinct>,
    sort: Option<Sort>,
    limit: Limit,
    /// What the last row came out of.
    from: From,
    columns: Vec<Definition>,
    shown: usize,
    hidden: usize,
    layout: RowLayout,
    cells: Cells,
    out: Vec<u8>,
    spiller: Spiller,
}

/// The stage that holds a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Source,
    Group,
    Distinct,
    Sort,
}

#[derive(Debug)]
struct Sort {
    keys: KeyEncoder,
    state: SortState,
    key: Vec<u8>,
    cells: Cells,
}

#[derive(Debug)]
enum SortState {
    Filling(Sorter),
    Draining(Sorted),
}

impl Merger {
    /// A merger of as many shards as there are lists of columns.
    ///
    /// # Errors
    /// When the shards' columns differ, the specification does not fit them, or it asks for what cannot be
    /// done exactly.
    pub fn new(
        spec: &MergeSpec,
        format: RowFormat,
        shards: &[Vec<Column<'_>>],
        budgets: Budgets,
        spill: Option<Box<dyn Spill + Send>>,
    ) -> Result<Self, MergeError> {
        let owned = |columns: &Vec<Column<'_>>| columns.iter().map(Definition::of).collect();
        let all: Vec<Vec<Definition>> = shards.iter().map(owned).collect();
        let input = unify(&all)?;
        let spiller = Spiller::new(spill, budgets);
        let keys = |columns: &[Definition], keys: &[_]| {
            KeyEncoder::new(format, columns, keys, Purpose::Rows)
        };
        let order = (!spec.order.is_empty())
            .then(|| keys(&input, &spec.order))
            .transpose()?;
        let group = spec
            .group
            .as_ref()
            .map(|grouping| Grouper::new(format, &input, &spec.order, grouping, &spiller))
            .transpose()?;
        let source = Source::new(shards.len(), format, &input, order, group.is_some());
        let columns = group.as_ref().map_or(input, |g| g.definitions().to_vec());
        let types = columns.iter().map(|column| column.column_type);
        let layout = RowLayout::new(format, types.collect::<Vec<ColumnType>>());
        let distinct = (!spec.distinct.is_empty())
            .then(|| keys(&columns, &spec.distinct))
            .transpose()?
            .map(|keys| Distinct::new(keys, layout.clone(), &spiller));
        let sort = (!spec.sort.is_empty())
            .then(|| keys(&columns, &spec.sort))
            .transpose()?
            .map(|keys| Sort::new(keys, &spiller));
        let shown = columns
            .len()
            .checked_sub(spec.hidden)
            .ok_or(MergeError::Misuse("more columns are hidden than there are"))?;
        Ok(Self {
            source,
            group,
            distinct,
            sort,
            limit: spec.limit,
            from: From::Source,
            columns,
            shown,
            hidden: spec.hidden,
            layout,
            cells: Cells::new(),
            out: Vec::new(),
            spiller,
        })
    }

    /// Takes its memory from what other mergers take theirs from.
    pub fn share(&mut self, memory: Arc<SharedMemory>) {
        self.spiller.share(memory);
    }

    /// The columns of the result.
    pub fn columns(&self) -> &[Definition] {
        self.columns.get(..self.shown).unwrap_or(&self.columns)
    }

    /// Adds row packets of a shard, with their headers, cut anywhere; not the packet that ends the result.
    ///
    /// # Errors
    /// When there is no such shard, it is done, or the memory budget is used up.
    pub fn feed(&mut self, shard: usize, packets: &[u8]) -> Result<Appetite, MergeError> {
        let waiting = self.source.feed(shard, packets, &mut self.spiller)?;
        Ok(self.appetite_for(waiting))
    }

    /// Whether a shard should be read on.
    pub fn appetite(&self, shard: usize) -> Appetite {
        self.appetite_for(self.source.waiting_bytes(shard))
    }

    fn appetite_for(&self, waiting_bytes: usize) -> Appetite {
        if waiting_bytes < self.spiller.budgets.shard_bytes_max {
            Appetite::Hungry
        } else {
            Appetite::Full
        }
    }

    /// All rows of a shard were fed.
    ///
    /// # Errors
    /// When there is no such shard.
    pub fn shard_done(&mut self, shard: usize) -> Result<(), MergeError> {
        self.source.finish(shard)
    }

    /// Warnings of GROUP_CONCAT so far, the first 1024 of them.
    pub fn warnings(&self) -> &[CutWarning] {
        self.group.as_ref().map_or(&[], |group| &group.warnings)
    }

    /// How many warnings there were.
    pub fn warning_count(&self) -> u64 {
        self.group.as_ref().map_or(0, |group| group.warning_count)
    }

    /// How much of the budgets is used.
    pub fn usage(&self) -> Usage {
        self.spiller.usage
    }

    /// The next row, or what is missing for it.
    ///
    /// # Errors
    /// When a shard sent what is no row, a budget is used up, the spill fails, or the result would not be exact.
    #[expect(
        clippy::should_implement_trait,
        reason = "its rows are lent, which Iterator cannot"
    )]
    pub fn next(&mut self) -> Result<Step<'_>, MergeError> {
        loop {
            if self.limit.count_rows == Some(0) {
                return Ok(Step::Done);
            }
            match self.pull()? {
                Pulled::Need(shard) => return Ok(Step::Need(shard)),
                Pulled::Done => return Ok(Step::Done),
                Pulled::Row if self.limit.offset_rows > 0 => self.limit.offset_rows -= 1,
                Pulled::Row => break,
            }
        }
        if let Some(count) = &mut self.limit.count_rows {
            *count -= 1;
        }
        if self.hidden > 0 {
            return self.without_hidden().map(Step::Row);
        }
        Ok(Step::Row(self.row()))
    }

    /// The current row without its hidden columns.
    fn without_hidden(&mut self) -> Result<&[u8], MergeError> {
        let mut cells = std::mem::take(&mut self.cells);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let row = self.row();
        if self.from == From::Source {
            let (row, cells) = self.source.row();
            self.layout.put_prefix(row, cells, self.shown, &mut out);
        } else {
            // The crate's own rows, or a shard's that were split before.
            self.layout
                .split(row, &mut cells)
                .map_err(|error| MergeError::decode(0, error))?;
            self.layout.put_prefix(row, &cells, self.shown, &mut out);
        }
        self.cells = cells;
        self.out = out;
        Ok(&self.out)
    }

    fn row(&self) -> &[u8] {
        let nothing: &[u8] = &[];
        match self.from {
            From::Source => self.source.row().0,
            From::Group => self.group.as_ref().map_or(nothing, Grouper::row),
            From::Distinct => self.distinct.as_ref().map_or(nothing, Distinct::row),
            From::Sort => self.sort.as_ref().map_or(nothing, Sort::row),
        }
    }

    fn pull(&mut self) -> Result<Pulled, MergeError> {
        if self.sort.is_none() {
            return self.pull_distinct();
        }
        loop {
            if let Some(sort) = &mut self.sort
                && let SortState::Draining(sorted) = &mut sort.state
            {
                self.from = From::Sort;
                let row = sorted.advance(&mut self.spiller)?;
                return Ok(if row { Pulled::Row } else { Pulled::Done });
            }
            let pulled = self.pull_distinct()?;
            // Taken out so that it can look at the row of another stage.
            let Some(mut sort) = self.sort.take() else {
                return Ok(Pulled::Done);
            };
            let taken = match pulled {
                Pulled::Need(shard) => {
                    self.sort = Some(sort);
                    return Ok(Pulled::Need(shard));
                }
                Pulled::Row => sort.push(self, self.source.shard()),
                Pulled::Done => sort.finish(&mut self.spiller),
            };
            self.sort = Some(sort);
            taken?;
        }
    }

    fn pull_distinct(&mut self) -> Result<Pulled, MergeError> {
        loop {
            let pulled = self.pull_group()?;
            let Some(mut distinct) = self.distinct.take() else {
                return Ok(pulled);
            };
            let passed = match pulled {
                Pulled::Need(shard) => Ok(Some(Pulled::Need(shard))),
                Pulled::Row => {
                    let (row, shard) = (
                        stage_row(&self.source, self.group.as_ref()),
                        self.source.shard(),
                    );
                    distinct
                        .passes(row, shard, &mut self.spiller)
                        .map(|passes| passes.then_some(Pulled::Row))
                }
                Pulled::Done => {
                    self.from = From::Distinct;
                    distinct
                        .advance(&mut self.spiller)
                        .map(|row| Some(if row { Pulled::Row } else { Pulled::Done }))
                }
            };
            self.distinct = Some(distinct);
            if let Some(pulled) = passed? {
                return Ok(pulled);
            }
        }
    }

    fn pull_group(&mut self) -> Result<Pulled, MergeError> {
        match &mut self.group {
            Some(group) => {
                self.from = From::Group;
                group.pull(&mut self.source, &mut self.spiller)
            }
            None => {
                self.from = From::Source;
                self.source.pull(&mut self.spiller)
            }
        }
    }
}

/// The row behind grouping.
fn stage_row<'a>(source: &'a Source, group: Option<&'a Grouper>) -> &'a [u8] {
    group.map_or_else(|| source.row().0, Grouper::row)
}

impl Sort {
    fn new(keys: KeyEncoder, spiller: &Spiller) -> Self {
        Self {
            keys,
            state: SortState::Filling(Sorter::new(spiller.budgets.memory_bytes_max / 4)),
            key: Vec::new(),
            cells: Cells::new(),
        }
    }

    /// Takes in the merger's current row.
    fn push(&mut self, merger: &mut Merger, shard: usize) -> Result<(), MergeError> {
        let SortState::Filling(sorter) = &mut self.state else {
            return Ok(());
        };
        let row = match merger.from {
            From::Distinct => merger
                .distinct
                .as_ref()
                .map_or_else(Default::default, Distinct::row),
            _ => stage_row(&merger.source, merger.group.as_ref()),
        };
        merger
            .layout
            .split(row, &mut self.cells)
            .map_err(|error| MergeError::decode(shard, error))?;
        self.key.clear();
        self.keys
            .put(row, &self.cells, &mut self.key)
            .map_err(|(column, expected)| MergeError::value(shard, column, expected))?;
        sorter.push(&self.key, row, &mut merger.spiller)
    }

    fn finish(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        let empty = SortState::Filling(Sorter::new(0));
        if let SortState::Filling(sorter) = std::mem::replace(&mut self.state, empty) {
            self.state = SortState::Draining(sorter.finish(spiller)?);
        }
        Ok(())
    }

    fn row(&self) -> &[u8] {
        match &self.state {
            SortState::Draining(sorted) => sorted.row(),
            SortState::Filling(_) => &[],
        }
    }
}
