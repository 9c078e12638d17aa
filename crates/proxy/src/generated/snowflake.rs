//! Keys of time, worker and sequence, as the algorithm of that name makes them: 41 bits of milliseconds since November 2016,
//! 10 bits of worker, 12 bits of sequence.
//!
//! Owns a clock that never goes back: when the machine's does, or when a millisecond is used up, it goes on by itself. The
//! sequence goes on from one millisecond to the next, so that keys made one at a time fall on all shards of a modulo.

/// 2016-11-01, the first millisecond: ShardingSphere's.
const EPOCH_MS: u64 = 1_477_929_600_000;
const SEQUENCE_BITS: u32 = 12;
const WORKER_BITS: u32 = 10;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// A generator: each key is greater than the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snowflake {
    worker: u16,
    /// Milliseconds of the last key.
    last_ms: u64,
    /// The next sequence.
    sequence: u64,
}

impl Snowflake {
    /// For a worker; its keys are of later milliseconds than this.
    #[must_use]
    pub fn new(worker: u16, after_ms: u64) -> Self {
        Self {
            worker,
            last_ms: after_ms,
            sequence: 0,
        }
    }

    /// The next key, at this time of the machine's.
    pub fn next(&mut self, now_ms: u64) -> u64 {
        if now_ms > self.last_ms {
            self.last_ms = now_ms;
        } else if self.sequence == 0 {
            self.last_ms += 1;
        }
        let time = self.last_ms.saturating_sub(EPOCH_MS) << (WORKER_BITS + SEQUENCE_BITS);
        let key = time | (u64::from(self.worker) << SEQUENCE_BITS) | self.sequence;
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK;
        key
    }

    /// Milliseconds that so many keys reach from now.
    #[must_use]
    pub fn reaches_ms(&self, now_ms: u64, count: usize) -> u64 {
        let turns = (self.sequence + count as u64) >> SEQUENCE_BITS;
        now_ms.max(self.last_ms) + turns + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_764_000_000_000;

    #[test]
    fn keys_rise_and_have_63_bits() {
        let mut generator = Snowflake::new(1023, 0);
        let keys: Vec<u64> = (0..20_000)
            .map(|turn| generator.next(NOW + turn / 9_000))
            .collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(keys.iter().all(|key| i64::try_from(*key).is_ok()));
        assert_eq!(keys[0] >> 22, NOW - EPOCH_MS);
        assert_eq!((keys[0] >> 12) & 1023, 1023);
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_key_twice() {
        let mut generator = Snowflake::new(1, 0);
        let mut keys = Vec::new();
        for now in [
            NOW,
            NOW + 5,
            NOW - 3_600_000,
            NOW - 1,
            NOW,
            NOW + 5,
            NOW + 6,
        ] {
            keys.extend((0..5_000).map(|_| generator.next(now)));
        }
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn two_workers_share_no_key() {
        let (mut one, mut two) = (Snowflake::new(1, 0), Snowflake::new(2, 0));
        let mut keys: Vec<u64> = (0..50_000)
            .flat_map(|turn| [one.next(NOW + turn / 100), two.next(NOW + turn / 130)])
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 100_000);
    }

    #[test]
    fn keys_made_now_and_then_fall_on_all_shards() {
        let mut generator = Snowflake::new(1, 0);
        let mut shards = [0_u32; 8];
        for turn in 0..800 {
            shards[usize::try_from(generator.next(NOW + turn * 50) % 8).unwrap()] += 1;
        }
        assert_eq!(shards, [100; 8]);
    }

    #[test]
    fn what_keys_reach_is_never_less_than_their_time() {
        let mut generator = Snowflake::new(1, NOW + 50);
        for count in [1, 4_095, 4_096, 10_000] {
            let reach = generator.reaches_ms(NOW, count);
            let last = (0..count).map(|_| generator.next(NOW)).last().unwrap();
            assert!((last >> 22) + EPOCH_MS <= reach, "{count}");
        }
    }
}
