//! The fingerprint of an answer: what a client sees of it, as its bytes pass by.
//!
//! Owns the walk over packets and the hash. Columns, rows in their order, errors, and of an OK packet the rows changed, the
//! insert id and its text go in; status flags, warnings and session tracking do not, for they speak of the server. It must
//! never hold more than one packet that is no row, up to a limit. Input: the bytes that a client gets, in pieces of any size.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hasher};

use dbmesh_wire::codec::{HEADER_BYTES, MAX_PAYLOAD, Reader};
use dbmesh_wire::reply;

/// Bytes of an OK or ERR packet that count.
const CONTROL_BYTES_MAX: usize = 4 << 10;

/// What came of a statement, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    hash: u64,
    packets: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    Columns { left: u64 },
    ColumnsEnd,
    Rows,
    Done,
}

/// A fingerprint under way.
#[derive(Debug)]
pub struct Fingerprint {
    /// The same for all answers of a process, and secret, so that nobody can make two answers look alike.
    keys: RandomState,
    hasher: DefaultHasher,
    /// Whether no EOF stands between columns and rows.
    deprecate_eof: bool,
    phase: Phase,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Bytes of the packet that are still to come.
    left: usize,
    /// Bytes of the packet so far.
    seen: usize,
    /// The next packet continues this one.
    continues: bool,
    /// The first byte of the packet.
    first: Option<u8>,
    /// A packet that is no row.
    control: Vec<u8>,
    packets: u64,
    bytes: u64,
}

impl Fingerprint {
    /// Of answers to a client with, or without, EOF packets between columns and rows.
    #[must_use]
    pub fn new(deprecate_eof: bool) -> Self {
        let keys = RandomState::new();
        Self {
            hasher: keys.build_hasher(),
            keys,
            deprecate_eof,
            phase: Phase::First,
            header: [0; HEADER_BYTES],
            header_len: 0,
            left: 0,
            seen: 0,
            continues: false,
            first: None,
            control: Vec::new(),
            packets: 0,
            bytes: 0,
        }
    }

    /// An answer begins.
    pub fn restart(&mut self) {
        self.hasher = self.keys.build_hasher();
        (self.phase, self.header_len, self.left) = (Phase::First, 0, 0);
        (self.seen, self.continues, self.first) = (0, false, None);
        (self.packets, self.bytes) = (0, 0);
        self.control.clear();
    }

    /// What came so far.
    #[must_use]
    pub fn print(&self) -> Print {
        Print {
            hash: self.hasher.finish(),
            packets: self.packets,
            bytes: self.bytes,
        }
    }

    /// Takes in bytes of the answer.
    pub fn feed(&mut self, mut input: &[u8]) {
        while self.phase != Phase::Done && !input.is_empty() {
            if self.left == 0 {
                let missing = HEADER_BYTES.saturating_sub(self.header_len);
                let (header, rest) = input.split_at(missing.min(input.len()));
                for byte in header {
                    if let Some(place) = self.header.get_mut(self.header_len) {
                        *place = *byte;
                    }
                    self.header_len += 1;
                }
                input = rest;
                if self.header_len < HEADER_BYTES {
                    return;
                }
                self.header_len = 0;
                let [a, b, c, _] = self.header;
                self.left = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
                self.continues = self.left == MAX_PAYLOAD;
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
        if self.first.is_none() {
            self.first = payload.first().copied();
        }
        self.seen = self.seen.saturating_add(payload.len());
        if self.is_data() {
            self.bytes = self.bytes.wrapping_add(payload.len() as u64);
            self.hasher.write(payload);
        } else {
            let room = CONTROL_BYTES_MAX.saturating_sub(self.control.len());
            let kept = payload.get(..room).unwrap_or(payload);
            self.control.extend_from_slice(kept);
        }
    }

    /// Whether the packet is a column or a row.
    fn is_data(&self) -> bool {
        match self.phase {
            Phase::Columns { .. } => self.first != Some(reply::ERR_MARKER),
            Phase::Rows => match self.first {
                Some(reply::ERR_MARKER) => false,
                // A row that begins so has a value that does not fit into one packet.
                Some(reply::EOF_MARKER) => self.continues || self.seen >= MAX_PAYLOAD,
                _ => true,
            },
            Phase::First | Phase::ColumnsEnd | Phase::Done => false,
        }
    }

    fn end_packet(&mut self) {
        self.packets = self.packets.wrapping_add(1);
        let is_data = self.is_data();
        // Where packets end is part of what is seen.
        self.hasher.write_usize(if is_data { self.seen } else { 0 });
        self.phase = match self.phase {
            _ if !is_data && self.first == Some(reply::ERR_MARKER) => {
                self.hasher.write(&self.control);
                Phase::Done
            }
            Phase::First => self.begin(),
            Phase::Columns { left } if left > 1 => Phase::Columns { left: left - 1 },
            Phase::Columns { .. } if self.deprecate_eof => Phase::Rows,
            Phase::Columns { .. } => Phase::ColumnsEnd,
            Phase::ColumnsEnd => Phase::Rows,
            Phase::Rows if is_data => Phase::Rows,
            Phase::Rows | Phase::Done => Phase::Done,
        };
        self.control.clear();
        (self.first, self.seen) = (None, 0);
    }

    /// The first packet: an OK, or the number of columns.
    fn begin(&mut self) -> Phase {
        let mut reader = Reader::new(&self.control);
        if self.first == Some(reply::OK_MARKER) {
            let _ = reader.u8();
            let counts = (reader.lenenc_int(), reader.lenenc_int());
            let (affected, id) = (counts.0.unwrap_or(0), counts.1.unwrap_or(0));
            self.hasher.write_u64(affected);
            self.hasher.write_u64(id);
            let _ = (reader.u16(), reader.u16());
            self.hasher.write(reader.lenenc_bytes().unwrap_or_default());
            return Phase::Done;
        }
        match reader.lenenc_int() {
            Ok(left) if left > 0 => {
                self.hasher.write_u64(left);
                Phase::Columns { left }
            }
            _ => Phase::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_wire::codec::put_packet;

    fn packets(payloads: &[&[u8]]) -> Vec<u8> {
        let (mut out, mut seq) = (Vec::new(), 1);
        for payload in payloads {
            put_packet(&mut out, &mut seq, payload);
        }
        out
    }

    fn print_in_pieces(print: &mut Fingerprint, bytes: &[u8], piece: usize) -> Print {
        print.restart();
        bytes.chunks(piece).for_each(|piece| print.feed(piece));
        print.print()
    }

    #[test]
    fn what_a_client_sees_decides_and_pieces_do_not() {
        let end: &[u8] = &[0xFE, 0, 0, 2, 0, 0, 0];
        let other_end: &[u8] = &[0xFE, 0, 0, 3, 0, 1, 0];
        let long = vec![0xFE; MAX_PAYLOAD + 3];
        let rows = |rows: &[&[u8]], end: &[u8]| {
            let mut all: Vec<&[u8]> = vec![&[2], b"column-a", b"column-b"];
            all.extend_from_slice(rows);
            all.push(end);
            packets(&all)
        };
        let mut of = Fingerprint::new(true);
        let plain = rows(&[b"\x01a\x01b", b"\x01c\x01d", &long], end);
        let expected = print_in_pieces(&mut of, &plain, usize::MAX);
        for piece in [1 << 20, 997, 5] {
            assert_eq!(print_in_pieces(&mut of, &plain, piece), expected);
        }
        // Status flags and warnings at the end are the server's.
        let same = rows(&[b"\x01a\x01b", b"\x01c\x01d", &long], other_end);
        assert_eq!(print_in_pieces(&mut of, &same, usize::MAX), expected);
        let cut: [&[u8]; 2] = [b"\x01a\x01b\x01c", b"\x01d"];
        for other in [
            rows(&[b"\x01c\x01d", b"\x01a\x01b", &long], end),
            rows(&[b"\x01a\x01b", b"\x01c\x01d"], end),
            rows(&cut, end),
            rows(&[], end),
            rows(
                &[b"\x01a\x01b", b"\x01c\x01d", &long],
                b"\xFF\x01\x04#HY000x",
            ),
        ] {
            assert_ne!(print_in_pieces(&mut of, &other, usize::MAX), expected);
        }
    }

    #[test]
    fn of_an_ok_the_counts_the_id_and_the_text_decide() {
        let mut of = Fingerprint::new(true);
        let mut print = |payload: &[u8]| print_in_pieces(&mut of, &packets(&[payload]), usize::MAX);
        let plain = print(&[0, 1, 7, 3, 0, 0, 0]);
        assert_eq!(print(&[0, 1, 7, 1, 0, 5, 0]), plain);
        assert_ne!(print(&[0, 2, 7, 3, 0, 0, 0]), plain);
        assert_ne!(print(&[0, 1, 8, 3, 0, 0, 0]), plain);
        assert_ne!(print(&[0, 1, 7, 3, 0, 0, 0, 2, b'R', b'm']), plain);
        let error = print(b"\xFF\x26\x04#23000Duplicate entry '1'");
        assert_ne!(print(b"\xFF\x26\x04#23000Duplicate entry '2'"), error);
    }

    #[test]
    fn with_eof_packets_the_rows_come_behind_them() {
        let mut of = Fingerprint::new(false);
        let eof: &[u8] = &[0xFE, 0, 0, 2, 0];
        let answer = |row: &[u8]| packets(&[&[1], b"column", eof, row, eof]);
        let one = print_in_pieces(&mut of, &answer(b"\x01a"), 3);
        assert_eq!(print_in_pieces(&mut of, &answer(b"\x01a"), 100), one);
        assert_ne!(print_in_pieces(&mut of, &answer(b"\x01b"), 100), one);
    }
}
