//! A tree of losers: which of several sorted streams has the least head.
//!
//! Owns the matches between streams; after a winner's head is replaced, one match per level is played again. It
//! knows nothing of what is compared. Input: the number of streams, and a comparison of two of them.

/// Stands for no stream while the tree is built: it wins every match.
const NOBODY: usize = usize::MAX;

/// A tree of losers over streams `0..n`.
#[derive(Debug)]
pub(crate) struct Tournament {
    losers: Vec<usize>,
    winner: usize,
}

impl Tournament {
    /// Plays all matches. `less` must order the streams totally.
    pub(crate) fn new(streams: usize, less: impl Fn(usize, usize) -> bool) -> Self {
        let mut tree = Self {
            losers: vec![NOBODY; streams],
            winner: NOBODY,
        };
        for stream in 0..streams {
            tree.play(stream, &less);
        }
        tree
    }

    /// The stream with the least head.
    pub(crate) const fn winner(&self) -> usize {
        self.winner
    }

    /// Plays the winner's matches again, whose head is another now.
    pub(crate) fn replay(&mut self, less: impl Fn(usize, usize) -> bool) {
        let winner = self.winner;
        if winner != NOBODY {
            self.play(winner, &less);
        }
    }

    fn play(&mut self, stream: usize, less: &impl Fn(usize, usize) -> bool) {
        let mut winner = stream;
        let mut node = stream.saturating_add(self.losers.len()) / 2;
        while node > 0 {
            if let Some(loser) = self.losers.get_mut(node)
                && winner != NOBODY
                && (*loser == NOBODY || less(*loser, winner))
            {
                std::mem::swap(loser, &mut winner);
            }
            node /= 2;
        }
        self.winner = winner;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_any_number_of_streams() {
        for streams in 1..20_usize {
            let mut heads: Vec<Vec<usize>> = (0..streams)
                .map(|s| (0..s % 5).map(|i| i * 7 % 11 + s).rev().collect())
                .collect();
            heads
                .iter_mut()
                .for_each(|head| head.sort_by(|a, b| b.cmp(a)));
            let mut all: Vec<usize> = heads.concat();
            all.sort_unstable();
            let key = |heads: &[Vec<usize>], s: usize| {
                (heads[s].last().is_none(), heads[s].last().copied(), s)
            };
            let mut tree = Tournament::new(streams, |a, b| key(&heads, a) < key(&heads, b));
            let mut merged = Vec::new();
            while let Some(value) = heads[tree.winner()].pop() {
                merged.push(value);
                tree.replay(|a, b| key(&heads, a) < key(&heads, b));
            }
            assert_eq!(merged, all, "{streams} streams");
        }
    }
}
