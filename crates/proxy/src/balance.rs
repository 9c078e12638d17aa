//! The choice of one endpoint among those that may serve.
//!
//! Owns the algorithms, and the preference for what is near. It must never know roles or health: who may serve was decided
//! before. Input: endpoints with their weights, load and latency; the key of a statement, where the algorithm goes by one.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_model::topology::{Balance, Hashing};

use crate::upstream::{Few, Member};

/// Statements under way at an endpoint below which it is never overloaded: with less, chance alone makes uneven shares.
const LOAD_FLOOR: u32 = 8;
/// An odd multiplier that spreads consecutive numbers evenly (2^64 divided by the golden ratio).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a choice goes by.
#[derive(Debug)]
pub struct Way<'a, K> {
    /// The algorithm.
    pub balance: Balance,
    /// Where the algorithms that go in turn stand.
    pub turn: &'a AtomicU64,
    /// How far an endpoint is loaded before its keys go elsewhere.
    pub hashing: Hashing,
    /// The key; asked only by the algorithm that goes by it.
    pub key: K,
}

/// One of these; none if there is none.
pub fn pick<'a, K: FnOnce() -> u64>(
    way: Way<'_, K>,
    from: &[&'a Arc<Member>],
) -> Option<&'a Arc<Member>> {
    let count = from.len() as u64;
    if count <= 1 {
        return from.first().copied();
    }
    let nth = |n: u64| from.get(usize::try_from(n % count).unwrap_or(0)).copied();
    match way.balance {
        Balance::Random => nth(random()),
        Balance::RoundRobin => nth(way.turn.fetch_add(1, Ordering::Relaxed)),
        Balance::Weighted => {
            let total: u64 = from.iter().map(|m| u64::from(m.endpoint.weight)).sum();
            let mut at = way
                .turn
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(GOLDEN)
                % total.max(1);
            from.iter().copied().find(|m| {
                let weight = u64::from(m.endpoint.weight);
                let here = at < weight;
                at = at.saturating_sub(weight);
                here
            })
        }
        Balance::LeastConn => {
            let shift = usize::try_from(random() % count).unwrap_or(0);
            let rotated = from.iter().cycle().skip(shift).take(from.len());
            rotated.copied().min_by_key(|m| {
                u64::from(m.outstanding()) * 1000 / u64::from(m.endpoint.weight.max(1))
            })
        }
        Balance::Ewma => {
            let first = random() % count;
            let second = (first + 1 + random() % (count - 1)) % count;
            let (a, b) = (nth(first)?, nth(second)?);
            Some(if a.cost() <= b.cost() { a } else { b })
        }
        Balance::ConsistentHash => {
            let buckets = from.iter().map(|m| Bucket {
                id: m.hash_id,
                weight: m.endpoint.weight.max(1),
                load: m.outstanding(),
            });
            let at = bucket((way.key)(), buckets, way.hashing.max_load_percent)?;
            from.get(at).copied()
        }
    }
}

/// An endpoint as consistent hashing sees it.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The hash of its name.
    id: u64,
    weight: u32,
    /// Statements under way.
    load: u32,
}

/// The bucket of a key: the one with the highest score for it among those that are not overloaded. Scores of a bucket do
/// not depend on the others, so when one comes or goes, only its own keys move (rendezvous hashing; Thaler and
/// Ravishankar 1996, with weights as of Schindelhauer and Schomaker 2005). What an overloaded one may not take goes to the
/// second best (bounded loads; Mirrokni, Thorup and Zadimoghaddam 2016).
fn bucket(
    key: u64,
    buckets: impl Iterator<Item = Bucket> + Clone,
    max_load_percent: u32,
) -> Option<usize> {
    let load: u64 = buckets.clone().map(|b| u64::from(b.load)).sum();
    let weight: u64 = buckets.clone().map(|b| u64::from(b.weight)).sum();
    let best = |may: &dyn Fn(&Bucket) -> bool| {
        let able = buckets.clone().enumerate().filter(|(_, b)| may(b));
        let scored = able.map(|(at, b)| (score(key, b), at));
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, at)| at)
    };
    let may = |b: &Bucket| {
        let share = (load + 1) * u64::from(b.weight) * u64::from(max_load_percent);
        let most = share.div_ceil(100 * weight.max(1));
        b.load < LOAD_FLOOR || u64::from(b.load) < most
    };
    best(&may).or_else(|| best(&|_| true))
}

/// How much a bucket wants a key.
fn score(key: u64, bucket: Bucket) -> f64 {
    let mixed = mix(key ^ bucket.id);
    // 53 bits and a half: above 0 and below 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let unit = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(bucket.weight) / unit.ln()
}

/// A hash that is the same in every process: proxies side by side send a key to the same endpoint.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> u64 {
    // FNV-1a, whose weak high bits the mixing makes up for.
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mix(hash)
}

/// Every bit of the input acts on every bit of the output (the finalizer of `SplitMix64`).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(GOLDEN);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Leaves only what is near, as long as anything near has room; else whoever has room.
pub fn prefer_near(from: &mut Few<'_>, spill_over_percent: u32) {
    let mut near = from.iter().filter(|m| m.near);
    if near.any(|m| m.pool.use_percent() < spill_over_percent) {
        from.retain(|m| m.near);
    } else if from.iter().any(|m| m.pool.use_percent() < 100) {
        from.retain(|m| m.pool.use_percent() < 100);
    }
}

/// A fast random number; good enough to spread load.
#[must_use]
pub fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x.wrapping_mul(GOLDEN) >> 16
    })
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::thread::current().id()) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(names: &[&str]) -> Vec<Bucket> {
        let bucket = |name: &&str| Bucket {
            id: hash_of(name.as_bytes()),
            weight: 1,
            load: 0,
        };
        names.iter().map(bucket).collect()
    }

    fn place(key: u64, of: &[Bucket]) -> usize {
        bucket(hash_of(&key.to_le_bytes()), of.iter().copied(), 125).unwrap()
    }

    #[test]
    fn keys_spread_by_weight() {
        let mut of = buckets(&["a", "b", "c"]);
        of[2].weight = 2;
        let mut counts = [0u32; 3];
        for key in 0..20_000 {
            counts[place(key, &of)] += 1;
        }
        for (count, share) in counts.iter().zip([5_000, 5_000, 10_000u32]) {
            assert!(count.abs_diff(share) < share / 20, "{counts:?}");
        }
    }

    #[test]
    fn who_comes_or_goes_moves_only_its_own_keys() {
        let all = buckets(&["a", "b", "c", "d"]);
        let mut moved = 0;
        for key in 0..20_000 {
            let before = place(key, &all);
            let after = place(key, &all[..3]);
            if before == 3 {
                moved += 1;
            } else {
                assert_eq!(before, after, "{key} moved without need");
            }
        }
        assert!((4_500..5_500).contains(&moved), "{moved} of 20000");
    }

    #[test]
    fn an_overloaded_one_sheds_keys_and_nobody_else_does() {
        let mut of = buckets(&["a", "b", "c"]);
        let keys = 0..2_000u64;
        let quiet: Vec<usize> = keys.clone().map(|key| place(key, &of)).collect();
        (of[0].load, of[1].load, of[2].load) = (40, 12, 12);
        for (key, before) in keys.clone().zip(&quiet) {
            let now = place(key, &of);
            assert!(now != 0, "40 of 64 is more than 125 % of a third");
            assert!(*before == 0 || *before == now, "{key} moved without need");
        }
        (of[0].load, of[1].load, of[2].load) = (7, 0, 0);
        let few: Vec<usize> = keys.map(|key| place(key, &of)).collect();
        assert_eq!(few, quiet, "a handful of statements is no load");
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        assert_eq!(hash_of(b"192.0.2.7"), 8_871_465_900_017_807_932);
    }
}
