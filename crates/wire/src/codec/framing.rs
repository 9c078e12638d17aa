//! Cuts payloads into packets: a three-byte length, a sequence id, up to 16 MiB − 1 of payload.
//!
//! Owns the frame header and the split of large payloads. A payload that fills its last packet
//! exactly is followed by an empty packet, else the peer waits for more. Input: our own payloads,
//! and header bytes of a peer (every four bytes are a valid header).

use super::writer::put_u24;

/// Bytes of a packet header.
pub const HEADER_BYTES: usize = 4;

/// The largest payload of one packet, in bytes. A packet this long is continued by the next one.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// A packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes of this packet, at most [`MAX_PAYLOAD`].
    pub len: u32,
    /// Sequence id: starts at 0 with each command and wraps from 255 to 0.
    pub seq: u8,
}

impl Header {
    /// Reads a header.
    pub const fn parse(bytes: [u8; HEADER_BYTES]) -> Self {
        let [a, b, c, seq] = bytes;
        Self {
            len: u32::from_le_bytes([a, b, c, 0]),
            seq,
        }
    }

    /// Reads the header at the start of `bytes`, or `None` while fewer than four bytes are there.
    pub fn first(bytes: &[u8]) -> Option<Self> {
        bytes
            .first_chunk::<HEADER_BYTES>()
            .map(|header| Self::parse(*header))
    }

    /// Writes a header; the highest byte of `len` is dropped.
    pub const fn encode(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, _] = self.len.to_le_bytes();
        [a, b, c, self.seq]
    }

    /// Whether the payload goes on in the next packet.
    pub const fn is_continued(self) -> bool {
        self.len as usize == MAX_PAYLOAD
    }
}

/// Appends `payload` as one packet, or as several when it has 16 MiB − 1 or more, and advances `seq`
/// past them.
pub fn put_packet(out: &mut Vec<u8>, seq: &mut u8, payload: &[u8]) {
    let mut rest = payload;
    loop {
        let (chunk, tail) = rest.split_at_checked(MAX_PAYLOAD).unwrap_or((rest, &[]));
        put_u24(out, u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        out.push(*seq);
        *seq = seq.wrapping_add(1);
        out.extend_from_slice(chunk);
        if chunk.len() < MAX_PAYLOAD {
            return;
        }
        rest = tail;
    }
}

/// The packets of a payload as [`put_packet`] writes them, header and piece apart, for payloads too large to copy.
pub fn frames(payload: &[u8]) -> impl Iterator<Item = ([u8; HEADER_BYTES], &[u8])> {
    let count = payload.len() / MAX_PAYLOAD + 1;
    let mut rest = payload;
    (0..count).map(move |number| {
        let (piece, tail) = rest.split_at_checked(MAX_PAYLOAD).unwrap_or((rest, &[]));
        rest = tail;
        let header = Header {
            len: u32::try_from(piece.len()).unwrap_or(u32::MAX),
            seq: u8::try_from(number % 256).unwrap_or(0),
        };
        (header.encode(), piece)
    })
}

/// The number of the first packet of the answer to commands in packets, of which only the last may be long.
#[must_use]
pub fn seq_behind(packets: &[u8]) -> u8 {
    let (mut rest, mut behind) = (packets, 1);
    // What is shorter is of one packet each.
    while rest.len() > MAX_PAYLOAD {
        let Some(header) = Header::first(rest) else {
            break;
        };
        behind = header.seq.wrapping_add(1);
        let end = HEADER_BYTES.saturating_add(header.len as usize);
        rest = rest.get(end..).unwrap_or_default();
    }
    match Header::first(rest) {
        Some(last) => last.seq.wrapping_add(1),
        None => behind,
    }
}

/// Where a packet written in place starts. Made by [`begin_packet`], used up by [`finish_packet`].
#[derive(Debug)]
#[must_use = "a packet that is begun must be finished"]
pub struct PacketStart(usize);

/// Reserves a header at the end of `out`; the payload is appended by the caller.
pub fn begin_packet(out: &mut Vec<u8>) -> PacketStart {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    PacketStart(start)
}

/// Fills in the header of the packet that starts at `start` and advances `seq`. A payload of 16 MiB − 1
/// or more is split, which moves it once.
pub fn finish_packet(out: &mut Vec<u8>, start: PacketStart, seq: &mut u8) {
    let PacketStart(start) = start;
    let body = start.saturating_add(HEADER_BYTES).min(out.len());
    let length = out.len() - body;
    if length >= MAX_PAYLOAD {
        let payload = out.split_off(body);
        out.truncate(start);
        put_packet(out, seq, &payload);
        return;
    }
    let header = Header {
        len: u32::try_from(length).unwrap_or(0),
        seq: *seq,
    };
    if let Some(slot) = out.get_mut(start..body) {
        slot.copy_from_slice(&header.encode());
    }
    *seq = seq.wrapping_add(1);
}
