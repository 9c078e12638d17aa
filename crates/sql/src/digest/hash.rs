//! The digest as a running 64-bit hash: one multiplication per short piece.

use super::{Digest, Piece, Sink};
use crate::eight;
use crate::lexer::Chars;

const SEED: u64 = 0x6d65_7368_5f73_716c;
const ROW_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0xd6e8_feb8_6659_fd93;
const FOLD: u64 = 0x2020_2020_2020_2020;

/// Hashes pieces as they come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HashSink {
    state: u64,
    /// Where the hash of a row begins.
    row_seed: u64,
}

impl HashSink {
    pub(crate) fn new() -> Self {
        Self {
            state: SEED ^ u64::from(super::DIGEST_VERSION),
            row_seed: ROW_SEED,
        }
    }

    /// Another hash of the same pieces, which nobody foresees who does not know the key.
    fn keyed(key: u64) -> Self {
        let sink = Self {
            state: SEED ^ key,
            row_seed: ROW_SEED ^ key.rotate_left(17),
        };
        // Neither seed shows the key by itself.
        Self {
            state: sink.digest().0,
            row_seed: fold(sink.row_seed, MIX ^ key),
        }
    }

    pub(crate) fn digest(self) -> Digest {
        Digest(fold(self.state ^ MIX, self.state.rotate_left(32) | 1))
    }

    #[inline(always)]
    fn mix(&mut self, value: u64, tag: u64) {
        let left = self.state ^ value;
        let right = self.state.rotate_left(29) ^ tag.wrapping_mul(MIX);
        // The sum keeps a zero product from erasing what came before.
        self.state = fold(left, right).wrapping_add(self.state ^ value.rotate_left(11));
    }
}

/// What a piece adds to a hash: values, each with a tag of its kind and length.
#[inline(always)]
fn feed(piece: Piece<'_>, mix: impl FnMut(u64, u64)) {
    match piece {
        Piece::Keyword(word) => feed_chars(word, 1, FOLD, mix),
        Piece::Name(name) => feed_chars(name, 2, 0, mix),
        Piece::Symbol(symbol) => feed_chars(symbol, 3, 0, mix),
        Piece::Value => feed_value(4, mix),
        Piece::List => feed_value(5, mix),
    }
}

#[inline(always)]
fn feed_value(kind: u64, mut mix: impl FnMut(u64, u64)) {
    mix(kind, kind);
}

#[inline(always)]
fn feed_chars(chars: Chars<'_>, kind: u64, mask: u64, mut mix: impl FnMut(u64, u64)) {
    let tag = kind | ((chars.bytes.len() as u64) << 8);
    let Some((_, mut rest)) = chars.bytes.split_first_chunk::<8>() else {
        return mix(chars.head | mask, tag);
    };
    let mut last = chars.head;
    while !rest.is_empty() {
        mix(last | mask, kind);
        last = eight::short(rest);
        rest = rest.get(8..).unwrap_or_default();
    }
    mix(last | mask, tag);
}

impl Sink for HashSink {
    type Mark = u64;
    type Row = u64;

    #[inline(always)]
    fn put(&mut self, piece: Piece<'_>) {
        feed(piece, |value, tag| self.mix(value, tag));
    }

    fn put_hint(&mut self, _: Piece<'_>) {}

    #[inline]
    fn mark(&self) -> u64 {
        self.state
    }

    #[inline]
    fn reset(&mut self, mark: u64) {
        self.state = mark;
    }

    fn open_row(&mut self) -> u64 {
        // The row is hashed apart, so that equal rows are equal wherever they stand.
        std::mem::replace(&mut self.state, self.row_seed)
    }

    fn close_row(&mut self, mark: u64, previous: Option<(u64, u64)>) -> u64 {
        let row = self.state;
        match previous {
            Some((before, same)) if same == row => self.state = before,
            _ => {
                self.state = mark;
                self.mix(row, 6);
            }
        }
        row
    }
}

/// The digest, and a second hash under a key beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedSink {
    digest: HashSink,
    guard: HashSink,
}

impl GuardedSink {
    pub(crate) fn new(key: u64) -> Self {
        Self {
            digest: HashSink::new(),
            guard: HashSink::keyed(key),
        }
    }

    /// The digest, and the guard: never 0.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.digest.digest(), self.guard.digest().0.max(1))
    }
}

impl Sink for GuardedSink {
    type Mark = (u64, u64);
    type Row = (u64, u64);

    #[inline(always)]
    fn put(&mut self, piece: Piece<'_>) {
        feed(piece, |value, tag| {
            self.digest.mix(value, tag);
            self.guard.mix(value, tag);
        });
    }

    fn put_hint(&mut self, piece: Piece<'_>) {
        feed(piece, |value, tag| self.guard.mix(value, tag));
    }

    #[inline]
    fn mark(&self) -> Self::Mark {
        (self.digest.mark(), self.guard.mark())
    }

    #[inline]
    fn reset(&mut self, mark: Self::Mark) {
        self.digest.reset(mark.0);
        self.guard.reset(mark.1);
    }

    fn open_row(&mut self) -> Self::Mark {
        (self.digest.open_row(), self.guard.open_row())
    }

    fn close_row(
        &mut self,
        mark: Self::Mark,
        previous: Option<(Self::Mark, Self::Row)>,
    ) -> Self::Row {
        let (digest, guard) = match previous {
            Some((before, row)) => (Some((before.0, row.0)), Some((before.1, row.1))),
            None => (None, None),
        };
        (
            self.digest.close_row(mark.0, digest),
            self.guard.close_row(mark.1, guard),
        )
    }
}

#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}
