//! A checksum of the rows of an answer, as its bytes pass by.
//!
//! Owns the walk over packets and the sum over rows, which is the same in whatever order rows come. It must never hold more
//! than a packet's first bytes. Input: the bytes that a client gets, in pieces of any size.

use std::time::Duration;

use dbmesh_wire::codec::{HEADER_BYTES, MAX_PAYLOAD};
use dbmesh_wire::relay::Outcome;
use dbmesh_wire::reply;

/// What came of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows of the result.
    pub rows: u64,
    /// Rows changed.
    pub affected_rows: u64,
    /// Sum over the rows.
    pub content: u64,
    /// The error's number.
    pub error: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

/// First bytes of a packet that decide what it is.
const HEAD_BYTES: usize = 9;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    Columns { left: u64 },
    ColumnsEnd,
    Rows,
    Done,
}

/// A checksum under way.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Whether no EOF stands between columns and rows.
    deprecate_eof: bool,
    phase: Phase,
    header: Vec<u8>,
    /// Bytes of the packet that are still to come.
    left: usize,
    continues: bool,
    head: Vec<u8>,
    bytes: usize,
    hash: u64,
    sum: u64,
}

impl Tally {
    /// Of an answer that has not begun.
    #[must_use]
    pub fn new(deprecate_eof: bool) -> Self {
        Self {
            deprecate_eof,
            phase: Phase::First,
            header: Vec::with_capacity(HEADER_BYTES),
            left: 0,
            continues: false,
            head: Vec::with_capacity(HEAD_BYTES),
            bytes: 0,
            hash: FNV_OFFSET,
            sum: 0,
        }
    }

    /// The answer begins again.
    pub fn restart(&mut self) {
        *self = Self::new(self.deprecate_eof);
    }

    /// Takes in bytes of the answer.
    pub fn feed(&mut self, mut input: &[u8]) {
        while self.phase != Phase::Done && !input.is_empty() {
            if self.left == 0 {
                let missing = HEADER_BYTES.saturating_sub(self.header.len());
                let (header, rest) = input.split_at(missing.min(input.len()));
                self.header.extend_from_slice(header);
                input = rest;
                let [a, b, c, _] = self.header.as_slice() else {
                    return;
                };
                self.left = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
                self.continues = self.left == MAX_PAYLOAD;
                self.header.clear();
                if self.left == 0 {
                    self.end_packet();
                }
                continue;
            }
            let (payload, rest) = input.split_at(self.left.min(input.len()));
            self.take(payload);
            input = rest;
            self.left -= payload.len();
            if self.left == 0 && !self.continues {
                self.end_packet();
            }
        }
    }

    fn take(&mut self, payload: &[u8]) {
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head
            .extend_from_slice(payload.get(..missing).unwrap_or(payload));
        self.bytes = self.bytes.saturating_add(payload.len());
        if self.phase == Phase::Rows {
            self.hash = payload.iter().fold(self.hash, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
            });
        }
    }

    fn end_packet(&mut self) {
        let first = self.head.first().copied();
        self.phase = match self.phase {
            Phase::First => match columns(&self.head) {
                Some(left) => Phase::Columns { left },
                None => Phase::Done,
            },
            Phase::Columns { left } if left > 1 => Phase::Columns { left: left - 1 },
            Phase::Columns { .. } if self.deprecate_eof => Phase::Rows,
            Phase::Columns { .. } => Phase::ColumnsEnd,
            Phase::ColumnsEnd => Phase::Rows,
            Phase::Rows if first == Some(reply::ERR_MARKER) => Phase::Done,
            // A row that begins so has a value that does not fit into one packet.
            Phase::Rows if first == Some(reply::EOF_MARKER) && self.bytes < MAX_PAYLOAD => {
                Phase::Done
            }
            Phase::Rows => {
                // Mixed, so that rows that differ in one bit do not cancel each other out.
                let mixed = (self.hash ^ (self.hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                self.sum = self.sum.wrapping_add(mixed);
                Phase::Rows
            }
            Phase::Done => Phase::Done,
        };
        self.head.clear();
        self.bytes = 0;
        self.hash = FNV_OFFSET;
    }

    /// What came of the statement.
    #[must_use]
    pub fn seen(&self, outcome: &Outcome, took: Duration) -> Seen {
        Seen {
            rows: outcome.rows,
            affected_rows: outcome.affected_rows,
            content: self.sum,
            error: outcome.error,
            took,
        }
    }
}

/// The columns of a result set, if this is the head of one.
fn columns(head: &[u8]) -> Option<u64> {
    match head {
        [count @ 1..=0xFA, ..] => Some(u64::from(*count)),
        [0xFC, low, high, ..] => Some(u64::from(u16::from_le_bytes([*low, *high]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_wire::codec::put_packet;

    fn answer(rows: &[&[u8]], deprecate_eof: bool) -> Vec<u8> {
        let (mut out, mut seq) = (Vec::new(), 1);
        put_packet(&mut out, &mut seq, &[2]);
        put_packet(&mut out, &mut seq, b"column one");
        put_packet(&mut out, &mut seq, b"column two");
        if !deprecate_eof {
            put_packet(&mut out, &mut seq, &[0xFE, 0, 0, 2, 0]);
        }
        for row in rows {
            put_packet(&mut out, &mut seq, row);
        }
        put_packet(&mut out, &mut seq, &[0xFE, 0, 0, 2, 0, 0, 0]);
        out
    }

    fn sum(bytes: &[u8], deprecate_eof: bool, piece: usize) -> u64 {
        let mut tally = Tally::new(deprecate_eof);
        bytes.chunks(piece).for_each(|piece| tally.feed(piece));
        assert_eq!(tally.phase, Phase::Done);
        tally.sum
    }

    #[test]
    fn rows_make_the_sum_in_whatever_order_and_pieces_they_come() {
        let long = vec![7u8; MAX_PAYLOAD + 5];
        let rows: [&[u8]; 4] = [b"\x01a\x01b", b"\x01c\x01d", b"", &long];
        let turned: [&[u8]; 4] = [&long, b"", b"\x01c\x01d", b"\x01a\x01b"];
        let expected = sum(&answer(&rows, true), true, usize::MAX);
        assert_ne!(expected, 0);
        for piece in [3, 4, 5, 1000] {
            assert_eq!(sum(&answer(&turned, true), true, piece), expected);
            assert_eq!(sum(&answer(&rows, false), false, piece), expected);
        }
        let other: [&[u8]; 4] = [b"\x01a\x01d", b"\x01c\x01b", b"", &long];
        assert_ne!(sum(&answer(&other, true), true, 4096), expected);
        assert_ne!(sum(&answer(&rows[..3], true), true, 4096), expected);
    }

    #[test]
    fn what_has_no_rows_has_no_sum() {
        for payload in [
            &[0u8, 1, 0, 2, 0, 0, 0][..],
            &[0xFF, 1, 4, b'#'],
            &[0xFB, b'f'],
            &[],
        ] {
            let (mut out, mut seq) = (Vec::new(), 1);
            put_packet(&mut out, &mut seq, payload);
            assert_eq!(sum(&out, true, 2), 0);
        }
    }
}
