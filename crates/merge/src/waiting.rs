//! The rows of one shard that wait to be merged: in memory, and behind those in the spill.
//!
//! Owns where they are, and their order, which is that of their arrival. Memory has room for `shard_bytes_max`, and for what
//! comes at a time while half of it is left to the stages; a shard that is fed beyond that, because others get its connection
//! only then or because its server does not wait for ever, goes on in the spill. Without a spill, memory takes all. Input: the row packets of a shard.

use crate::error::MergeError;
use crate::inbox::{Inbox, Next};
use crate::spill::{RunId, SpillError, Spiller};

/// Bytes that come back from the spill at a time, where memory has as much room.
const READ_BYTES: usize = 64 << 10;
/// And at least so many.
const READ_BYTES_MIN: usize = 4 << 10;

/// The rows of one shard.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    inbox: Inbox,
    /// Bytes of the inbox that are accounted for.
    accounted: usize,
    /// What came behind the inbox; never without a byte that is still to be read.
    spilled: Option<Spilled>,
    done: bool,
}

#[derive(Debug)]
struct Spilled {
    run: RunId,
    written: u64,
    read: u64,
}

impl Waiting {
    /// Adds packets.
    pub(crate) fn feed(&mut self, packets: &[u8], spiller: &mut Spiller) -> Result<(), MergeError> {
        if self.done {
            return Err(MergeError::Misuse("a shard that is done was fed"));
        }
        let full = self.inbox.waiting_bytes() >= spiller.budgets.shard_bytes_max;
        let full = (full && spiller.has_store()) || spiller.is_half_full(packets.len());
        if packets.is_empty() || (self.spilled.is_none() && !full) {
            return self.keep(packets, spiller);
        }
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled {
                run: spiller.create()?,
                written: 0,
                read: 0,
            }),
        };
        spiller.append(spilled.run, packets)?;
        spilled.written += packets.len() as u64;
        Ok(())
    }

    fn keep(&mut self, packets: &[u8], spiller: &mut Spiller) -> Result<(), MergeError> {
        self.inbox.feed(packets)?;
        self.account(spiller)
    }

    fn account(&mut self, spiller: &mut Spiller) -> Result<(), MergeError> {
        let now = self.inbox.memory_bytes();
        let before = std::mem::replace(&mut self.accounted, now);
        match now == before {
            true => Ok(()),
            false => spiller.resize(before, now),
        }
    }

    /// No more will come.
    pub(crate) fn finish(&mut self) {
        self.done = true;
        if self.spilled.is_none() {
            self.inbox.finish();
        }
    }

    /// Bytes that wait, without the head.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let spilled = self.spilled.as_ref().map_or(0, |s| s.written - s.read);
        let spilled = usize::try_from(spilled).unwrap_or(usize::MAX);
        self.inbox.waiting_bytes().saturating_add(spilled)
    }

    /// Lets the head go and makes the next row the head.
    pub(crate) fn advance(
        &mut self,
        shard: usize,
        spiller: &mut Spiller,
    ) -> Result<Next, MergeError> {
        loop {
            let next = self.inbox.advance(shard, spiller.budgets.row_bytes_max)?;
            if next == Next::Done && self.accounted > 0 {
                self.inbox.release();
                self.account(spiller)?;
            }
            if next != Next::NeedInput || !self.take_up(spiller)? {
                return Ok(next);
            }
        }
    }

    /// The payload of the row at the head.
    pub(crate) fn row(&self) -> &[u8] {
        self.inbox.row()
    }

    /// Brings bytes back from the spill; false when none are there.
    fn take_up(&mut self, spiller: &mut Spiller) -> Result<bool, MergeError> {
        let Some(spilled) = &mut self.spilled else {
            return Ok(false);
        };
        let room = spiller.budgets.shard_bytes_max.max(READ_BYTES_MIN);
        let left = usize::try_from(spilled.written - spilled.read);
        let wanted = READ_BYTES.min(room).min(left.unwrap_or(READ_BYTES));
        let mut bytes = vec![0; wanted];
        if spiller.read(spilled.run, spilled.read, &mut bytes)? != bytes.len() {
            return Err(MergeError::Spill(SpillError::Corrupt));
        }
        spilled.read += wanted as u64;
        if spilled.read == spilled.written {
            spiller.remove(spilled.run, spilled.written);
            self.spilled = None;
        }
        self.keep(&bytes, spiller)?;
        if self.done && self.spilled.is_none() {
            self.inbox.finish();
        }
        Ok(true)
    }
}
