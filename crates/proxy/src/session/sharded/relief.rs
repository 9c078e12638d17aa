//! Shards whose rows wait for those of others, and whose servers do not wait for ever.
//!
//! Owns how long none of a shard's rows was taken, and how many are to be taken then although the merge has no use for them
//! yet: they go to its files. Must never let a shard be read without a bound. Input: the time, and what was read.

use std::time::{Duration, Instant};

/// How long a server may find nobody who takes its rows. It ends the statement after `net_write_timeout`, which is 60 s by
/// default.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are taken then: as much as the buffers of both ends of a socket hold, so that something moves at the server.
const RELIEF_BYTES: usize = 8 << 20;

/// The shards of a statement.
#[derive(Debug)]
pub(super) struct Relief {
    shards: Vec<Shard>,
    /// When they are looked at again; never where nothing can be put aside.
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    /// Whether any of its rows was taken since all were looked at.
    taken: bool,
    /// Bytes that may be taken all the same.
    bytes: usize,
}

/// Whether there are files for what is taken early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// There are.
    Files,
    /// There are none.
    Nothing,
}

impl Relief {
    pub fn of(shards: usize, aside: Aside, now: Instant) -> Self {
        Self {
            shards: vec![Shard::default(); shards],
            next: (aside == Aside::Files).then(|| now + PATIENCE),
        }
    }

    /// When to look next.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// So many bytes of a shard were taken.
    pub fn took(&mut self, shard: usize, bytes: usize) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.taken = true;
            shard.bytes = shard.bytes.saturating_sub(bytes);
        }
    }

    /// Whether a shard is to be read that the merge has no room for.
    pub fn wants(&self, shard: usize) -> bool {
        self.shards.get(shard).is_some_and(|shard| shard.bytes > 0)
    }

    /// Looks at all shards, if it is time; these wait.
    pub fn look(&mut self, now: Instant, waits: impl Fn(usize) -> bool) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + PATIENCE);
        for (number, shard) in self.shards.iter_mut().enumerate() {
            shard.bytes = match !shard.taken && waits(number) {
                true => RELIEF_BYTES,
                false => 0,
            };
            shard.taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_long_is_read_for_so_many_bytes() {
        let began = Instant::now();
        let mut relief = Relief::of(3, Aside::Files, began);
        let waits = |shard: usize| shard != 2;
        relief.took(1, 100);
        relief.look(began + PATIENCE / 2, waits);
        assert!(
            (0..3).all(|shard| !relief.wants(shard)),
            "not before its time"
        );
        relief.look(began + PATIENCE, waits);
        let wanted: Vec<bool> = (0..3).map(|shard| relief.wants(shard)).collect();
        assert_eq!(
            wanted,
            [true, false, false],
            "who was read, or is hungry, needs none"
        );
        relief.took(0, RELIEF_BYTES - 1);
        assert!(relief.wants(0));
        relief.took(0, 10);
        assert!(!relief.wants(0));
        // It moved a moment ago; the other one did not.
        relief.look(began + PATIENCE * 2, waits);
        assert!(!relief.wants(0) && relief.wants(1));
        relief.look(began + PATIENCE * 3, waits);
        assert!(relief.wants(0));
    }

    #[test]
    fn nobody_is_read_early_where_nothing_can_be_put_aside() {
        let began = Instant::now();
        let mut relief = Relief::of(1, Aside::Nothing, began);
        relief.look(began + PATIENCE * 10, |_| true);
        assert!(relief.next().is_none() && !relief.wants(0));
    }
}
