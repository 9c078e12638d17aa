//! Sets of rules, by their place in the book.

use std::ops::{BitAnd, BitOr, Not};

use super::RULES_MAX;

const WORDS: usize = RULES_MAX / 64;

/// A set of rules, by their place in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct RuleBits([u64; WORDS]);

impl RuleBits {
    /// None.
    pub const NONE: Self = Self([0; WORDS]);
    /// Every one.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Adds a rule.
    pub fn add(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    /// Whether a rule is among them.
    #[must_use]
    pub fn has(self, rule: usize) -> bool {
        let word = self.0.get(rule / 64).copied().unwrap_or(0);
        word >> (rule % 64) & 1 == 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Their places, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                (bit < 64).then(|| {
                    word &= word - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

impl BitAnd for RuleBits {
    type Output = Self;

    fn bitand(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a &= b);
        self
    }
}

impl BitOr for RuleBits {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
        self
    }
}

impl Not for RuleBits {
    type Output = Self;

    fn not(mut self) -> Self {
        self.0.iter_mut().for_each(|word| *word = !*word);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order() {
        let mut bits = RuleBits::NONE;
        for place in [200, 3, 64, 63] {
            bits.add(place);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 63, 64, 200]);
        assert!((bits & !bits).is_empty() && (bits | RuleBits::ALL) == RuleBits::ALL);
    }
}
