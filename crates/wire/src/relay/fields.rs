//! The packets that a relay looks into: OK and EOF; and the renumbering of those it does not.
//!
//! Owns no state. It must never read beyond what a packet holds. Input: payloads of a backend, headers of our own output.

use crate::codec::{DecodeError, HEADER_BYTES, Reader};
use crate::status::Status;

/// An OK packet, whichever its first byte.
pub(super) struct OkFields<'a> {
    pub(super) affected_rows: u64,
    pub(super) last_insert_id: u64,
    pub(super) status: Status,
    pub(super) warnings: u16,
    pub(super) info: &'a [u8],
    pub(super) state: &'a [u8],
}

impl<'a> OkFields<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload.get(1..).unwrap_or_default());
        let affected_rows = r.lenenc_int()?;
        let last_insert_id = r.lenenc_int()?;
        let status = Status(r.u16()?);
        let warnings = r.u16()?;
        let info = if r.is_empty() { &[] } else { r.lenenc_bytes()? };
        let changed = status.contains(Status::SESSION_STATE_CHANGED) && !r.is_empty();
        let state = if changed { r.lenenc_bytes()? } else { &[] };
        Ok(Self {
            affected_rows,
            last_insert_id,
            status,
            warnings,
            info,
            state,
        })
    }
}

/// Warnings and status of a 5-byte EOF.
pub(super) fn eof_fields(payload: &[u8]) -> Result<(u16, Status), DecodeError> {
    let mut r = Reader::new(payload.get(1..).unwrap_or_default());
    Ok((r.u16()?, Status(r.u16()?)))
}

/// Adds `delta` to the sequence number of every packet header in `out[start..]`; the last packet may be incomplete.
pub(super) fn renumber(out: &mut [u8], start: usize, delta: u8) {
    let mut at = start;
    while let Some([l0, l1, l2, seq]) = out.get_mut(at..).and_then(|r| r.first_chunk_mut::<4>()) {
        *seq = seq.wrapping_add(delta);
        at += HEADER_BYTES + (usize::from(*l0) | usize::from(*l1) << 8 | usize::from(*l2) << 16);
    }
}
