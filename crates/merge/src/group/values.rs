//! Aggregates that need all values of a group at once: COUNT, SUM and AVG of DISTINCT, GROUP_CONCAT.
//!
//! Owns the keys under which a group's values are stored (`group key · set · distinct key`, or `group key · set
//! · order key · number`), and what becomes of them in that order. It must never cut a character in two.
//! Input: rows when they come, stored values when a group ends.

use dbmesh_wire::codec::{Reader, put_lenenc_bytes};
use dbmesh_wire::result_set::RowFormat;

use crate::aggregate::{Number, Sum, encode_integer};
use crate::error::MergeError;
use crate::key::KeyEncoder;
use crate::keyed::{Drain, Kept};
use crate::row::Cells;
use crate::spill::{SpillError, Spiller};
use crate::value;

/// One aggregate over all values of a group.
#[derive(Debug)]
pub(super) struct ValueSet {
    pub(super) distinct: Option<KeyEncoder>,
    pub(super) order: Option<KeyEncoder>,
    pub(super) total: Total,
}

/// What becomes of the values.
#[derive(Debug, Clone)]
pub(super) enum Total {
    Count(u64),
    Sum(usize, Number, Sum),
    /// With div_precision_increment and the digits after the point.
    Average(usize, Number, (u8, u8), Sum, u64),
    Concat {
        /// Columns; of integers whether they are unsigned.
        columns: Vec<(usize, Option<bool>)>,
        separator: Vec<u8>,
        bytes_max: usize,
    },
}

/// A stored value: what it is ordered by where the key does not say, and the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    order: Box<[u8]>,
    value: Box<[u8]>,
}

impl Kept for Stored {
    fn heap_bytes(&self) -> usize {
        self.order.len() + self.value.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_lenenc_bytes(out, &self.order);
        out.extend_from_slice(&self.value);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::of("value", bytes);
        let order = reader.lenenc_bytes().ok()?.into();
        let value = reader.rest().into();
        Some(Self { order, value })
    }

    fn absorb(&mut self, _: Self) -> Result<(), MergeError> {
        Ok(())
    }
}

/// A row, and the number of its arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) row: &'a [u8],
    pub(super) cells: &'a Cells,
    pub(super) format: RowFormat,
    pub(super) shard: usize,
    pub(super) number: u64,
}

impl ValueSet {
    /// The value that a row adds; its key goes behind the group's in `key`. `None` where a value is NULL.
    pub(super) fn store(
        &mut self,
        at: Arrival<'_>,
        key: &mut Vec<u8>,
    ) -> Result<Option<Stored>, MergeError> {
        let bad = |(column, expected)| MergeError::value(at.shard, column, expected);
        let mut value = Vec::new();
        match &self.total {
            Total::Count(_) => {}
            Total::Sum(column, number, _) | Total::Average(column, number, ..) => {
                let Some(bytes) = at.cells.value(at.row, *column) else {
                    return Ok(None);
                };
                number
                    .read(at.format, bytes)
                    .ok_or_else(|| bad((*column, "number")))?;
                value.extend_from_slice(bytes);
            }
            Total::Concat { columns, .. } => {
                for (column, integer) in columns {
                    let Some(bytes) = at.cells.value(at.row, *column) else {
                        return Ok(None);
                    };
                    match integer {
                        Some(unsigned) if at.format == RowFormat::Binary => {
                            let number = value::integer(at.format, *unsigned, bytes)
                                .ok_or_else(|| bad((*column, "integer")))?;
                            value.extend_from_slice(number.to_string().as_bytes());
                        }
                        _ => value.extend_from_slice(bytes),
                    }
                }
            }
        }
        if let Some(distinct) = &self.distinct
            && distinct.any_null(at.row, at.cells)
        {
            return Ok(None);
        }
        let mut order = Vec::new();
        if let Some(keys) = &mut self.order {
            keys.put(at.row, at.cells, &mut order).map_err(bad)?;
        }
        match &mut self.distinct {
            Some(keys) => {
                keys.put(at.row, at.cells, key).map_err(bad)?;
                // Equal values of DISTINCT without ORDER BY come as the first of them came.
                if self.order.is_none() {
                    order.extend_from_slice(&at.number.to_be_bytes());
                }
            }
            None => {
                key.append(&mut order);
                key.extend_from_slice(&at.number.to_be_bytes());
            }
        }
        Ok(Some(Stored {
            order: order.into(),
            value: value.into(),
        }))
    }
}

/// What became of a group's values.
#[derive(Debug)]
pub(super) struct Folded {
    /// The aggregate's value.
    pub(super) value: Option<Vec<u8>>,
    /// Of GROUP_CONCAT: rows put together, the one that was cut included.
    pub(super) rows: u64,
    pub(super) is_cut: bool,
}

/// The values of one group as they come back.
#[derive(Debug)]
pub(super) struct Fold {
    total: Total,
    /// Of GROUP_CONCAT(DISTINCT): values that are still to be ordered.
    pending: Vec<Stored>,
    pending_bytes: usize,
    text: Option<Vec<u8>>,
    is_cut: bool,
    orders: bool,
    rows: u64,
}

impl Fold {
    fn new(set: &ValueSet) -> Self {
        Self {
            total: set.total.clone(),
            pending: Vec::new(),
            pending_bytes: 0,
            text: None,
            is_cut: false,
            orders: set.distinct.is_some(),
            rows: 0,
        }
    }

    fn add(
        &mut self,
        stored: Stored,
        format: RowFormat,
        spiller: &mut Spiller,
    ) -> Result<(), MergeError> {
        match &mut self.total {
            Total::Count(count) => *count += 1,
            Total::Sum(_, number, sum) => sum.add(read(*number, &stored, format)?)?,
            Total::Average(_, number, _, sum, count) => {
                sum.add(read(*number, &stored, format)?)?;
                *count += 1;
            }
            Total::Concat { .. } if self.orders => {
                let before = self.pending_bytes;
                self.pending_bytes += stored.heap_bytes() + size_of::<Stored>();
                spiller.resize(before, self.pending_bytes)?;
                self.pending.push(stored);
            }
            Total::Concat { .. } => self.append(&stored.value),
        }
        Ok(())
    }

    /// Appends to the text of GROUP_CONCAT, as `dump_leaf_key` of the server does.
    fn append(&mut self, value: &[u8]) {
        let Total::Concat {
            separator,
            bytes_max,
            ..
        } = &self.total
        else {
            return;
        };
        if self.is_cut {
            return;
        }
        self.rows += 1;
        let text = match &mut self.text {
            Some(text) => {
                text.extend_from_slice(separator);
                text
            }
            none => none.insert(Vec::new()),
        };
        text.extend_from_slice(value);
        if text.len() > *bytes_max {
            text.truncate(character_boundary(text, *bytes_max));
            self.is_cut = true;
        }
    }

    fn finish(mut self, format: RowFormat, spiller: &mut Spiller) -> Result<Folded, MergeError> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by(|a, b| a.order.cmp(&b.order));
        pending.iter().for_each(|stored| self.append(&stored.value));
        spiller.resize(self.pending_bytes, 0)?;
        let value = match self.total {
            Total::Count(count) => Some(encode_integer(count, format)),
            Total::Sum(_, _, sum) => sum.encode(format),
            Total::Average(_, _, digits, sum, count) => sum.average(count, digits, format)?,
            Total::Concat { .. } => self.text,
        };
        Ok(Folded {
            value,
            rows: self.rows,
            is_cut: self.is_cut,
        })
    }
}

/// A stored number, which was read once when it was stored.
fn read(number: Number, stored: &Stored, format: RowFormat) -> Result<Sum, MergeError> {
    number
        .read(format, &stored.value)
        .ok_or(MergeError::Spill(SpillError::Corrupt))
}

/// The last place up to `limit` where a character of UTF-8 begins.
fn character_boundary(text: &[u8], limit: usize) -> usize {
    let continues = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
    (0..=limit)
        .rev()
        .take(4)
        .find(|at| !continues(at))
        .unwrap_or(limit)
}

/// What all sets have for the group of this key, from stored values in the order of their keys.
pub(super) fn fold(
    sets: &[ValueSet],
    group: &[u8],
    values: &mut Drain<Stored>,
    format: RowFormat,
    spiller: &mut Spiller,
) -> Result<Vec<Folded>, MergeError> {
    let mut folds: Vec<Fold> = sets.iter().map(Fold::new).collect();
    while let Some(key) = values.peek()
        && let Some(rest) = key.strip_prefix(group)
    {
        let set = rest
            .first_chunk()
            .map_or(0, |bytes| u16::from_be_bytes(*bytes));
        let Some((_, stored)) = values.pop(spiller)? else {
            break;
        };
        if let Some(fold) = folds.get_mut(usize::from(set)) {
            fold.add(stored, format, spiller)?;
        }
    }
    folds
        .into_iter()
        .map(|fold| fold.finish(format, spiller))
        .collect()
}
