//! The line of those who wait for a connection of a pool: in turn by who they are, so that one user's many sessions do not
//! keep those of another waiting behind them all.
//!
//! Owns the order. Of the same key, it is first come, first served. Input: the pool; keys that sessions make.

use std::collections::{HashMap, VecDeque};

use super::Waiter;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By key, none of them empty.
    queues: HashMap<u64, VecDeque<Waiter>>,
    /// The keys in the order of their turns.
    turns: VecDeque<u64>,
}

impl Line {
    pub fn push(&mut self, key: u64, waiter: Waiter) {
        let queue = self.queues.entry(key).or_default();
        if queue.is_empty() {
            self.turns.push_back(key);
        }
        queue.push_back(waiter);
    }

    /// Whose turn it is.
    pub fn pop(&mut self) -> Option<Waiter> {
        let key = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        first
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.queues.values().flatten()
    }
}
