//! A bounded memory of what was found out once.
//!
//! Owns two generations: a flood of what is asked once pushes out what is as rare, and leaves what was asked for since the
//! generation began. Must never hold more than twice its generation.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Entries of one generation.
pub(crate) const GENERATION_MAX: usize = 4_096;

/// What was found out, by what it depends on.
#[derive(Debug)]
pub(crate) struct Memory<K, V, S = RandomState> {
    young: HashMap<K, V, S>,
    old: HashMap<K, V, S>,
}

impl<K, V, S: Default> Default for Memory<K, V, S> {
    fn default() -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher> Memory<K, V, S> {
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
