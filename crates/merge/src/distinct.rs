//! Of rows with equal keys only the first remains.
//!
//! Owns the keys that were seen. Rows pass at once while the keys fit in memory; then they wait until all have
//! come, and leave in the order of their arrival. It must never let a row pass twice. Input: the rows of the
//! stage before.

use crate::error::MergeError;
use crate::key::KeyEncoder;
use crate::keyed::{Kept, Keyed};
use crate::row::{Cells, RowLayout};
use crate::sorter::{Sorted, Sorter};
use crate::spill::Spiller;

/// Lets the first row of each key pass.
#[derive(Debug)]
pub(crate) struct Distinct {
    keys: KeyEncoder,
    layout: RowLayout,
    seen: Keyed<Seen>,
    arrivals: u64,
    key: Vec<u8>,
    cells: Cells,
    waiting: Option<Sorted>,
}

/// A key that was seen: its row, unless that has passed.
#[derive(Debug)]
struct Seen {
    arrival: u64,
    waiting: Option<Box<[u8]>>,
}

impl Kept for Seen {
    fn heap_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |row| row.len())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.arrival.to_be_bytes());
        if let Some(row) = &self.waiting {
            out.push(1);
            out.extend_from_slice(row);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (arrival, rest) = bytes.split_first_chunk()?;
        Some(Self {
            arrival: u64::from_be_bytes(*arrival),
            waiting: rest.split_first().map(|(_, row)| row.into()),
        })
    }

    fn absorb(&mut self, _: Self) -> Result<(), MergeError> {
        Ok(())
    }
}

impl Distinct {
    pub(crate) fn new(keys: KeyEncoder, layout: RowLayout, spiller: &Spiller) -> Self {
        Self {
            keys,
            layout,
            seen: Keyed::new(spiller.budgets.memory_bytes_max / 8),
            arrivals: 0,
            key: Vec::new(),
            cells: Cells::new(),
            waiting: None,
        }
    }

    /// Whether the row passes now.
    pub(crate) fn passes(
        &mut self,
        row: &[u8],
        shard: usize,
        spiller: &mut Spiller,
    ) -> Result<bool, MergeError> {
        self.layout
            .split(row, &mut self.cells)
            .map_err(|error| MergeError::decode(shard, error))?;
        self.key.clear();
        self.keys
            .put(row, &self.cells, &mut self.key)
            .map_err(|(column, expected)| MergeError::value(shard, column, expected))?;
        self.arrivals += 1;
        if self.seen.contains(&self.key) {
            return Ok(false);
        }
        let passes = !self.seen.has_spilled();
        let seen = Seen {
            arrival: self.arrivals,
            waiting: (!passes).then(|| row.into()),
        };
        self.seen.update(&self.key, spiller, |_| Ok(Some(seen)))?;
        Ok(passes)
    }

    /// Goes on to the next of the rows that had to wait, after all have come.
    pub(crate) fn advance(&mut self, spiller: &mut Spiller) -> Result<bool, MergeError> {
        if self.waiting.is_none() {
            if !self.seen.has_spilled() {
                return Ok(false);
            }
            let mut sorter = Sorter::new(spiller.budgets.memory_bytes_max / 8);
            let mut seen = self.seen.drain(spiller)?;
            while let Some((_, one)) = seen.pop(spiller)? {
                if let Some(row) = &one.waiting {
                    sorter.push(&one.arrival.to_be_bytes(), row, spiller)?;
                }
            }
            self.waiting = Some(sorter.finish(spiller)?);
        }
        match &mut self.waiting {
            Some(sorted) => sorted.advance(spiller),
            None => Ok(false),
        }
    }

    /// The row that had to wait.
    pub(crate) fn row(&self) -> &[u8] {
        self.waiting.as_ref().map_or(&[], Sorted::row)
    }
}
