//! A set of positions: of slots of an algorithm, or of shards of a table.
//!
//! Owns union and intersection. Must never hold a position beyond its size.

/// A set of positions below a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    words: Vec<u64>,
    size: usize,
}

impl Positions {
    /// The empty set.
    #[must_use]
    pub fn none(size: usize) -> Self {
        Self {
            words: vec![0; size.div_ceil(64)],
            size,
        }
    }

    /// All positions.
    #[must_use]
    pub fn all(size: usize) -> Self {
        let mut set = Self::none(size);
        set.words.fill(u64::MAX);
        if let (Some(last), used @ 1..) = (set.words.last_mut(), size % 64) {
            *last = (1 << used) - 1;
        }
        set
    }

    /// One position; none if it is beyond the size.
    #[must_use]
    pub fn one(size: usize, position: usize) -> Self {
        let mut set = Self::none(size);
        set.add(position);
        set
    }

    /// Adds a position below the size.
    pub fn add(&mut self, position: usize) {
        if position < self.size
            && let Some(word) = self.words.get_mut(position / 64)
        {
            *word |= 1 << (position % 64);
        }
    }

    /// Whether the position is in it.
    #[must_use]
    pub fn has(&self, position: usize) -> bool {
        self.words
            .get(position / 64)
            .is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Leaves what is in both.
    pub fn intersect(&mut self, other: &Self) {
        for (index, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(index).copied().unwrap_or(0);
        }
    }

    /// Adds what is in the other, of the same size.
    pub fn unite(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether all are.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.len() == self.size
    }

    /// How many there could be.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Those in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.size).filter(|position| self.has(*position))
    }

    /// The least.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.iter().next()
    }
}
