//! A bounded memory of what was found out once.
//!
//! Owns two generations: a flood of what is asked once pushes out what is as rare, and leaves what was asked for since the
//! generation began. Must never hold more than twice its generation.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// Entries of one generation.
pub(crate) const GENERATION_MAX: usize = 4_096;

/// What was found out, by what it depends on.
#[derive(Debug)]
pub(crate) struct Memory<K, V> {
    young: HashMap<K, V, Keyed>,
    old: HashMap<K, V, Keyed>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Memory<K, V> {
    /// What is known; it is kept from now on.
    pub(crate) fn find(&mut self, key: &K) -> Option<V> {
        if let Some(known) = self.young.get(key) {
            return Some(known.clone());
        }
        let known = self.old.remove(key)?;
        self.keep(key.clone(), known.clone());
        Some(known)
    }

    /// Remembers.
    pub(crate) fn keep(&mut self, key: K, value: V) {
        if self.young.len() >= GENERATION_MAX {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, value);
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.young.len(), self.old.len())
    }
}

/// Hashes one number, which is a hash already: by a multiplication whose halves are folded, under a key that nobody outside
/// knows, so that nobody can choose digests that meet in one place.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    key: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        Self {
            key: RandomState::new().hash_one(0_u64),
        }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.key)
    }
}

/// The state of [`Keyed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        /// Odd, and without a pattern (2^64 divided by the golden ratio).
        const FACTOR: u128 = 0x9E37_79B9_7F4A_7C15;
        let product = u128::from(number ^ self.0) * FACTOR;
        #[allow(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let folded = product as u64 ^ (product >> 64) as u64;
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 = folded ^ self.0.rotate_left(29);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(size_of::<u64>()) {
            let mut number = [0; size_of::<u64>()];
            for (to, from) in number.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(number));
        }
    }
}
