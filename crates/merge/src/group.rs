//! Groups of rows become one row each.
//!
//! Owns the groups: one at a time where rows come in the order of the group's keys, all of them by hash and with
//! the spill where they do not. It must never emit a group while a row of it may come. Input: the shards' rows
//! as one stream.

mod definition;
mod plan;
mod values;

use dbmesh_wire::column::ColumnType;
use dbmesh_wire::result_set::RowFormat;

use crate::aggregate::{Accumulator, Group, encode_integer};
use crate::column::Definition;
use crate::error::MergeError;
use crate::key::{KeyEncoder, Purpose};
use crate::keyed::{Drain, Keyed};
use crate::row::RowLayout;
use crate::source::{Pulled, Source};
use crate::spec::{Grouping, Key};
use crate::spill::Spiller;
use crate::value;
use plan::{Plan, Slot, Step};
use values::{Arrival, Stored, fold};

/// A GROUP_CONCAT that was longer than group_concat_max_len: the server's warning 1260 (`Row %u was cut by
/// GROUP_CONCAT()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutWarning {
    /// The row, counted over all groups from 1, as the server counts.
    pub row: u64,
}

/// How many warnings are kept (the server's max_error_count by default).
const WARNINGS_MAX: usize = 1024;

/// Makes groups of rows.
#[derive(Debug)]
pub(crate) struct Grouper {
    keys: KeyEncoder,
    plan: Plan,
    layout: RowLayout,
    arrangement: Arrangement,
    values: Keyed<Stored>,
    arrivals: u64,
    key: Vec<u8>,
    value_key: Vec<u8>,
    row: Vec<u8>,
    is_global: bool,
    /// Rows that GROUP_CONCAT put together in all groups, by set.
    counted: Vec<u64>,
    pub(crate) warnings: Vec<CutWarning>,
    pub(crate) warning_count: u64,
}

/// Where groups wait.
#[derive(Debug)]
enum Arrangement {
    /// Rows come in the order of the groups: there is one at a time.
    Streaming(Option<(Vec<u8>, Group)>, Emitted),
    /// Rows come in any order.
    Hashing(Keyed<Group>),
    /// All rows have come.
    Draining(Box<(Drain<Group>, Drain<Stored>)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emitted {
    Nothing,
    Something,
}

impl Grouper {
    /// Groups of rows of these columns, which come in this order.
    pub(crate) fn new(
        format: RowFormat,
        columns: &[Definition],
        order: &[Key],
        grouping: &Grouping,
        spiller: &Spiller,
    ) -> Result<Self, MergeError> {
        let plan = Plan::new(format, columns, grouping)?;
        let types = plan.definitions.iter().map(|d| d.column_type);
        let layout = RowLayout::new(format, types.collect::<Vec<ColumnType>>());
        let share = spiller.budgets.memory_bytes_max / 4;
        let arrangement = if begins_with(order, &grouping.keys) {
            Arrangement::Streaming(None, Emitted::Nothing)
        } else {
            Arrangement::Hashing(Keyed::new(share))
        };
        let counted = vec![0; plan.sets.len()];
        Ok(Self {
            counted,
            keys: KeyEncoder::new(format, columns, &grouping.keys, Purpose::Rows)?,
            plan,
            layout,
            arrangement,
            values: Keyed::new(share),
            arrivals: 0,
            key: Vec::new(),
            value_key: Vec::new(),
            row: Vec::new(),
            is_global: grouping.keys.is_empty(),
            warnings: Vec::new(),
            warning_count: 0,
        })
    }

    pub(crate) fn definitions(&self) -> &[Definition] {
        &self.plan.definitions
    }

    /// The group's row that was pulled last.
    pub(crate) fn row(&self) -> &[u8] {
        &self.row
    }

    /// Makes the next group's row the current one.
    pub(crate) fn pull(
        &mut self,
        source: &mut Source,
        spiller: &mut Spiller,
    ) -> Result<Pulled, MergeError> {
        loop {
            if matches!(self.arrangement, Arrangement::Draining(..)) {
                return self.pull_drained(spiller);
            }
            match source.pull(spiller)? {
                Pulled::Need(shard) => return Ok(Pulled::Need(shard)),
                Pulled::Row => {
                    if self.take(source, spiller)? {
                        return Ok(Pulled::Row);
                    }
                }
                Pulled::Done => {
                    if let Some(pulled) = self.end(spiller)? {
                        return Ok(pulled);
                    }
                }
            }
        }
    }

    /// Takes the source's row in. True when a group is complete with it.
    fn take(&mut self, source: &Source, spiller: &mut Spiller) -> Result<bool, MergeError> {
        let (row, cells) = source.row();
        let at = Arrival {
            row,
            cells,
            format: self.plan.format,
            shard: source.shard(),
            number: self.arrivals,
        };
        self.arrivals += 1;
        self.key.clear();
        self.keys
            .put(row, cells, &mut self.key)
            .map_err(|(column, expected)| MergeError::value(at.shard, column, expected))?;
        let mut complete = None;
        match &mut self.arrangement {
            Arrangement::Streaming(current, emitted) => match current {
                Some((key, group)) if *key == self.key => self.plan.apply(group, at)?,
                _ => {
                    let mut group = self.plan.begin(at);
                    self.plan.apply(&mut group, at)?;
                    complete = current.replace((self.key.clone(), group));
                    *emitted = Emitted::Something;
                }
            },
            Arrangement::Hashing(groups) => {
                let plan = &mut self.plan;
                groups.update(&self.key, spiller, |known| match known {
                    Some(group) => plan.apply(group, at).map(|()| None),
                    None => {
                        let mut group = plan.begin(at);
                        plan.apply(&mut group, at)?;
                        Ok(Some(group))
                    }
                })?;
            }
            Arrangement::Draining(..) => {}
        }
        let is_complete = complete.is_some();
        if let Some((key, group)) = complete {
            let mut values = self.values.drain(spiller)?;
            self.emit(&key, group, &mut values, spiller)?;
        }
        self.store(at, spiller)?;
        Ok(is_complete)
    }

    /// Stores the values of a row for the sets that need them.
    fn store(&mut self, at: Arrival<'_>, spiller: &mut Spiller) -> Result<(), MergeError> {
        for (index, set) in (0_u16..).zip(&mut self.plan.sets) {
            self.value_key.clear();
            self.value_key.extend_from_slice(&self.key);
            self.value_key.extend_from_slice(&index.to_be_bytes());
            let Some(stored) = set.store(at, &mut self.value_key)? else {
                continue;
            };
            self.values.update(&self.value_key, spiller, |known| {
                Ok(known.is_none().then_some(stored))
            })?;
        }
        Ok(())
    }

    /// All rows have come. `None` when groups are to be drained now.
    fn end(&mut self, spiller: &mut Spiller) -> Result<Option<Pulled>, MergeError> {
        match &mut self.arrangement {
            Arrangement::Streaming(current, emitted) => {
                let last = current.take();
                let (key, group) = match last {
                    Some(last) => last,
                    None if self.is_global && *emitted == Emitted::Nothing => {
                        (Vec::new(), self.plan.nothing())
                    }
                    None => return Ok(Some(Pulled::Done)),
                };
                *emitted = Emitted::Something;
                let mut values = self.values.drain(spiller)?;
                self.emit(&key, group, &mut values, spiller)?;
                Ok(Some(Pulled::Row))
            }
            Arrangement::Hashing(groups) => {
                let groups = groups.drain(spiller)?;
                let values = self.values.drain(spiller)?;
                self.arrangement = Arrangement::Draining(Box::new((groups, values)));
                Ok(None)
            }
            Arrangement::Draining(..) => Ok(None),
        }
    }

    fn pull_drained(&mut self, spiller: &mut Spiller) -> Result<Pulled, MergeError> {
        // Taken out while its parts are worked on; nothing is left behind but an empty stream.
        let empty = Arrangement::Streaming(None, Emitted::Something);
        let Arrangement::Draining(mut draining) = std::mem::replace(&mut self.arrangement, empty)
        else {
            return Ok(Pulled::Done);
        };
        let (groups, values) = &mut *draining;
        let pulled = match groups.pop(spiller)? {
            Some((key, group)) => {
                self.emit(&key, group, values, spiller)?;
                Pulled::Row
            }
            None => Pulled::Done,
        };
        self.arrangement = Arrangement::Draining(draining);
        Ok(pulled)
    }

    /// Writes a group's row.
    fn emit(
        &mut self,
        key: &[u8],
        group: Group,
        values: &mut Drain<Stored>,
        spiller: &mut Spiller,
    ) -> Result<(), MergeError> {
        let format = self.plan.format;
        let sets = if self.plan.sets.is_empty() {
            Vec::new()
        } else {
            fold(&self.plan.sets, key, values, format, spiller)?
        };
        for (counted, set) in self.counted.iter_mut().zip(&sets) {
            *counted += set.rows;
            if set.is_cut {
                self.warning_count += 1;
                if self.warnings.len() < WARNINGS_MAX {
                    self.warnings.push(CutWarning { row: *counted });
                }
            }
        }
        let mut cells: Vec<Option<Vec<u8>>> = Vec::with_capacity(self.plan.slots.len());
        for slot in &self.plan.slots {
            cells.push(match *slot {
                Slot::First(index) => group.first.get(index).cloned().flatten().map(Vec::from),
                Slot::Accumulator(index) => match group.accumulators.get(index) {
                    Some(accumulator) => finished(accumulator, format),
                    None => None,
                },
                Slot::Average(index, digits) => match group.accumulators.get(index) {
                    Some(Accumulator::Average(sum, count)) => {
                        sum.average(*count, digits, format)?
                    }
                    _ => None,
                },
                Slot::Values(index) => sets.get(index).and_then(|set| set.value.clone()),
            });
        }
        self.row.clear();
        self.layout
            .put(&mut self.row, cells.iter().map(Option::as_deref));
        Ok(())
    }
}

/// An aggregate's value in a row.
fn finished(accumulator: &Accumulator, format: RowFormat) -> Option<Vec<u8>> {
    match accumulator {
        Accumulator::Count(count) => Some(encode_integer(*count, format)),
        Accumulator::Sum(sum) => sum.encode(format),
        Accumulator::Extreme { best, .. } => best.as_ref().map(|(_, value)| value.clone()),
        Accumulator::Bits(_, bits) => Some(encode_integer(*bits, format)),
        Accumulator::Average(..) => None,
    }
}

/// Whether rows in this order come group after group.
fn begins_with(order: &[Key], group: &[Key]) -> bool {
    let Some(first) = order.get(..group.len()) else {
        return group.is_empty();
    };
    let within = |key: &Key, keys: &[Key]| {
        keys.iter()
            .any(|other| other.column == key.column && other.comparison == key.comparison)
    };
    group.iter().all(|key| within(key, first)) && first.iter().all(|key| within(key, group))
}

impl Plan {
    /// A group that begins with this row, without it.
    fn begin(&self, at: Arrival<'_>) -> Group {
        let first = self.first.iter();
        Group {
            first: first
                .map(|column| at.cells.value(at.row, *column).map(Into::into))
                .collect(),
            accumulators: self.empty.clone(),
        }
    }

    /// The group of no rows.
    fn nothing(&self) -> Group {
        Group {
            first: vec![None; self.first.len()],
            accumulators: self.empty.clone(),
        }
    }

    /// Takes a row into its group.
    fn apply(&mut self, group: &mut Group, at: Arrival<'_>) -> Result<(), MergeError> {
        let format = self.format;
        for (step, accumulator) in self.steps.iter_mut().zip(&mut group.accumulators) {
            let bad = |column, expected| MergeError::value(at.shard, column, expected);
            let value = |column: usize| at.cells.value(at.row, column);
            match step {
                Step::CountRows => accumulator.count(1)?,
                Step::Count(column) => accumulator.count(u64::from(value(*column).is_some()))?,
                Step::CountPartial(column) => {
                    if let Some(bytes) = value(*column) {
                        accumulator.count(count(format, bytes).ok_or(bad(*column, "count"))?)?;
                    }
                }
                Step::Sum(column, number) | Step::Average(column, number) => {
                    if let Some(bytes) = value(*column) {
                        accumulator
                            .add(number.read(format, bytes).ok_or(bad(*column, "number"))?)?;
                        accumulator.count(1)?;
                    }
                }
                Step::AveragePartial(sum, number, counted) => {
                    if let Some(bytes) = value(*sum) {
                        accumulator.add(number.read(format, bytes).ok_or(bad(*sum, "number"))?)?;
                    }
                    if let Some(bytes) = value(*counted) {
                        accumulator.count(count(format, bytes).ok_or(bad(*counted, "count"))?)?;
                    }
                }
                Step::Extreme(column, keys) => {
                    if let Some(bytes) = value(*column) {
                        let mut key = Vec::new();
                        keys.put(at.row, at.cells, &mut key)
                            .map_err(|(column, expected)| bad(column, expected))?;
                        accumulator.offer(&key, bytes);
                    }
                }
                Step::Bits { column, unsigned } => {
                    if let Some(bytes) = value(*column) {
                        let number = value::integer(format, *unsigned, bytes);
                        let number = number.ok_or(bad(*column, "integer"))?;
                        // Two's complement: the low 64 bits.
                        accumulator.bits(number as u64);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A partial COUNT.
fn count(format: RowFormat, bytes: &[u8]) -> Option<u64> {
    u64::try_from(value::integer(format, false, bytes)?).ok()
}
