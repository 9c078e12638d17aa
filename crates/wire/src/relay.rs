//! Relays a server's response to a client, packet boundaries in sight, rows untouched.
//!
//! Owns the state machine of a response (result sets, their end, errors, LOCAL INFILE requests) and the
//! re-numbering and re-encoding that two hops with different capabilities need. It must never decode a row,
//! and never hold more of one than its header. Input: what the backend sent, in pieces of any size; output: bytes
//! for the client, appended to a buffer, and an [`Outcome`] that says what the server reported on the way.
//! Source: "Text/Binary Protocol Resultset" and "OK_Packet" of the MySQL protocol documentation.

mod fields;
mod hops;
mod names;
mod outcome;
mod sayings;
mod steps;

use crate::caps::Capabilities;
use crate::codec::{self, HEADER_BYTES, MAX_PAYLOAD, Reader};
use crate::status::Status;
use crate::track;
use fields::{OkFields, eof_fields, renumber};
pub use hops::{Hops, ItemFilter};
pub use names::{Names, Pair, Tables};
pub use outcome::{Numbering, Outcome, RelayError};
use steps::{EndKind, RowsStop, Taken};

/// Largest packet that must be seen whole (OK, ERR, EOF, column count, LOCAL INFILE request), in bytes.
pub const CONTROL_PACKET_BYTES_MAX: usize = 1 << 20;
/// Most bytes of session-state items remembered from one response.
pub const TRACKED_BYTES_MAX: usize = 1 << 20;

/// Most columns of a result set; servers have 4096 at most.
const COLUMNS_MAX: u64 = 65_535;

/// Where the status stands in an EOF packet, header included, in bytes.
const EOF_STATUS_OFFSET: usize = HEADER_BYTES + 3;

/// What kind of response the command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// COM_QUERY, COM_STMT_EXECUTE: OK, ERR, LOCAL INFILE or result sets, possibly several.
    Results,
    /// COM_STMT_FETCH: rows and their end.
    Rows,
    /// COM_FIELD_LIST: column definitions and their end.
    Columns,
    /// COM_PING, COM_INIT_DB, COM_SET_OPTION, COM_STMT_RESET…: one OK, EOF or ERR.
    Single,
    /// COM_STATISTICS: one packet of text.
    Text,
}

/// How far a call of [`Relay::feed`] came.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The response goes on; feed more.
    More,
    /// The response is complete.
    Done,
    /// The server asks for a local file of this name: its bytes. Nothing was written for the client.
    LocalInfile(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    Columns {
        left: u64,
    },
    /// The backend's EOF behind the columns.
    ColumnsEnd,
    /// All columns seen; nothing of the rows yet.
    RowsBegin,
    Rows,
    FieldList,
    Done,
}

/// The state machine of one response.
#[derive(Debug)]
pub struct Relay {
    phase: Phase,
    shape: Shape,
    hops: Hops,
    /// Payload bytes of the current packet that have not been seen yet.
    payload_left: usize,
    /// The current packet is 16 MiB - 1 long: the next one continues it.
    continues: bool,
    /// Whether the next packet's number is known.
    numbered: bool,
    /// Where in the output the status of the EOF between columns and rows stands, while it can still be corrected.
    columns_status: Option<usize>,
    /// Warnings that the client is told of beside the server's.
    more_warnings: u16,
    /// The id of an INSERT that the server does not know.
    insert_id: Option<u64>,
    outcome: Outcome,
}

impl Relay {
    /// A response of this shape between these hops.
    #[must_use]
    pub fn new(shape: Shape, hops: Hops) -> Self {
        let phase = match shape {
            Shape::Rows => Phase::Rows,
            Shape::Columns => Phase::FieldList,
            Shape::Results | Shape::Single | Shape::Text => Phase::First,
        };
        Self {
            phase,
            shape,
            numbered: hops.numbering == Numbering::Strict,
            hops,
            payload_left: 0,
            continues: false,
            columns_status: None,
            more_warnings: 0,
            insert_id: None,
            outcome: Outcome::default(),
        }
    }

    /// What the server reported so far.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Ends the relay and gives what the server reported.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }

    /// Whether a byte has been passed on to the client.
    #[must_use]
    pub fn started(&self) -> bool {
        self.outcome.bytes > 0
    }

    /// Whether the client has whole packets only: an error may follow.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.payload_left == 0 && !self.continues
    }

    /// Next sequence numbers: of the server's next packet, and of the next packet to the client.
    #[must_use]
    pub fn sequence(&self) -> (u8, u8) {
        (self.hops.backend_seq, self.hops.client_seq)
    }

    /// Continues the numbering behind packets that went the other way (LOCAL INFILE).
    pub fn set_sequence(&mut self, backend_seq: u8, client_seq: u8) {
        self.hops.backend_seq = backend_seq;
        self.hops.client_seq = client_seq;
    }

    /// Takes what it can from `input`, appends the client's bytes to `out`, and says how many bytes of `input` it is
    /// done with. Bytes left over (an incomplete header or control packet) must come again, with more behind them.
    ///
    /// # Errors
    /// When the bytes are no response of this shape; the backend connection must then be closed.
    pub fn feed(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Progress), RelayError> {
        let before = out.len();
        self.columns_status = None;
        let mut at = 0;
        let result = loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.payload_left > 0 {
                let take = self.payload_left.min(rest.len());
                out.extend_from_slice(rest.get(..take).unwrap_or_default());
                self.payload_left -= take;
                at += take;
                if self.payload_left > 0 {
                    break Ok(Progress::More);
                }
                continue;
            }
            if self.phase == Phase::Done {
                break Ok(Progress::Done);
            }
            let rows = matches!(self.phase, Phase::Rows) && !self.continues;
            if rows {
                let (taken, stop) = self.take_rows(rest, out)?;
                at += taken;
                match stop {
                    RowsStop::Control => {}
                    RowsStop::Short => break Ok(Progress::More),
                    RowsStop::Streaming => continue,
                }
            }
            match self.take_packet(input.get(at..).unwrap_or_default(), out)? {
                Taken::Short => break Ok(Progress::More),
                Taken::Bytes(n) => at += n,
                Taken::LocalInfile(n, name) => {
                    at += n;
                    break Ok(Progress::LocalInfile(name));
                }
            }
        };
        self.outcome.bytes += (out.len() - before) as u64;
        result.map(|progress| (at, progress))
    }

    /// Copies whole row packets in one run; stops at the first packet that is not a complete plain row.
    fn take_rows(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, RowsStop), RelayError> {
        let start = out.len();
        if let (false, Some(header)) = (self.numbered, codec::Header::first(input)) {
            self.adopt_number(header.seq);
        }
        let delta = self.hops.client_seq.wrapping_sub(self.hops.backend_seq);
        let mut at = 0;
        let stop = loop {
            let Some(&[l0, l1, l2, seq, first]) =
                input.get(at..).and_then(|r| r.first_chunk::<5>())
            else {
                break if input.len() - at >= HEADER_BYTES
                    && input.get(at..at + 3) == Some(&[0, 0, 0])
                {
                    RowsStop::Control
                } else {
                    RowsStop::Short
                };
            };
            let len = usize::from(l0) | usize::from(l1) << 8 | usize::from(l2) << 16;
            if len == MAX_PAYLOAD || len == 0 || first >= 0xFE {
                break RowsStop::Control;
            }
            if seq != self.hops.backend_seq {
                return Err(RelayError::Sequence {
                    expected: self.hops.backend_seq,
                    found: seq,
                });
            }
            self.hops.backend_seq = seq.wrapping_add(1);
            self.outcome.rows += 1;
            let whole = HEADER_BYTES + len;
            if input.len() - at < whole {
                self.payload_left = whole - (input.len() - at);
                at = input.len();
                break RowsStop::Streaming;
            }
            at += whole;
        };
        out.extend_from_slice(input.get(..at).unwrap_or_default());
        if delta != 0 {
            renumber(out, start, delta);
        }
        self.hops.client_seq = self.hops.backend_seq.wrapping_add(delta);
        Ok((at, stop))
    }

    /// Takes one packet that is not a plain row in the middle of a run.
    fn take_packet(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Taken, RelayError> {
        let Some(header) = codec::Header::first(input) else {
            return Ok(Taken::Short);
        };
        let len = header.len as usize;
        if self.continues {
            self.accept_sequence(header.seq)?;
            self.continues = len == MAX_PAYLOAD;
            return Ok(self.pass_header(len, out));
        }
        let first = if len == 0 {
            None
        } else {
            input.get(HEADER_BYTES).copied()
        };
        if first.is_none() && len > 0 {
            return Ok(Taken::Short);
        }
        if self.passes_unseen(first, len) {
            self.accept_sequence(header.seq)?;
            if matches!(self.phase, Phase::RowsBegin) {
                self.begin_rows(None, out);
            }
            self.count_unseen();
            self.continues = len == MAX_PAYLOAD;
            return Ok(self.pass_header(len, out));
        }
        if len > CONTROL_PACKET_BYTES_MAX {
            return Err(RelayError::ControlTooLarge(len));
        }
        let Some(payload) = input.get(HEADER_BYTES..HEADER_BYTES + len) else {
            return Ok(Taken::Short);
        };
        self.accept_sequence(header.seq)?;
        self.control(payload, out, HEADER_BYTES + len)
    }

    /// Whether a packet is a row or a column definition, which pass without being looked at.
    fn passes_unseen(&self, first: Option<u8>, len: usize) -> bool {
        match self.phase {
            Phase::Columns { .. } => !self.reshapes_columns(),
            Phase::RowsBegin | Phase::Rows => match first {
                Some(0xFF) => false,
                Some(0xFE) => len == MAX_PAYLOAD,
                _ => true,
            },
            Phase::FieldList => !matches!(first, Some(0xFE | 0xFF)) && !self.reshapes_columns(),
            Phase::First | Phase::ColumnsEnd | Phase::Done => false,
        }
    }

    /// Whether column definitions look different on the two hops.
    fn reshapes_columns(&self) -> bool {
        let has = |caps: Capabilities| caps.contains(Capabilities::EXTENDED_METADATA);
        has(self.hops.backend) != has(self.hops.client) || self.hops.names.is_some()
    }

    fn count_unseen(&mut self) {
        match &mut self.phase {
            Phase::Columns { left } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.phase = if self.hops.backend.contains(Capabilities::DEPRECATE_EOF) {
                        Phase::RowsBegin
                    } else {
                        Phase::ColumnsEnd
                    };
                }
            }
            Phase::RowsBegin | Phase::Rows => self.outcome.rows += 1,
            _ => {}
        }
    }

    /// Writes what stands between columns and rows for this client, and enters the rows.
    fn begin_rows(&mut self, status: Option<Status>, out: &mut Vec<u8>) {
        if !self.hops.client.contains(Capabilities::DEPRECATE_EOF) {
            self.columns_status = status.is_none().then_some(out.len() + EOF_STATUS_OFFSET);
            let status = status.unwrap_or(self.hops.status);
            self.put_eof(0, status, out);
        }
        self.phase = Phase::Rows;
    }

    fn control(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        taken: usize,
    ) -> Result<Taken, RelayError> {
        let first = payload.first().copied();
        match (self.phase, first) {
            (_, None) if self.shape != Shape::Text => {
                return Err(RelayError::Unexpected("empty packet"));
            }
            (Phase::First, _) if self.shape == Shape::Text => {
                self.put(payload, out);
                self.phase = Phase::Done;
            }
            (_, Some(0xFF)) => {
                self.end_in_error(payload, out)?;
            }
            (Phase::First, Some(0x00)) => self.end_result(payload, EndKind::Ok, out)?,
            (Phase::First, Some(0xFE)) if self.shape == Shape::Single => {
                self.end_result(payload, EndKind::Ok, out)?
            }
            (Phase::First, Some(0xFB)) if self.shape == Shape::Results => {
                let name = payload.get(1..).unwrap_or_default().to_vec();
                return Ok(Taken::LocalInfile(taken, name));
            }
            (Phase::First, Some(_)) if self.shape == Shape::Results => {
                let count = Reader::new(payload).lenenc_int()?;
                if count == 0 || count > COLUMNS_MAX {
                    return Err(RelayError::Unexpected("column count"));
                }
                self.outcome.begin_result();
                self.outcome.result_sets += 1;
                self.put(payload, out);
                self.phase = Phase::Columns { left: count };
            }
            (Phase::Columns { .. } | Phase::FieldList, Some(0..0xFB)) => {
                self.reshape_column(payload, out)?
            }
            (Phase::ColumnsEnd, Some(0xFE)) => {
                let (_, status) = eof_fields(payload)?;
                if status.contains(Status::CURSOR_EXISTS)
                    && self.hops.client.contains(Capabilities::DEPRECATE_EOF)
                {
                    // The EOF behind the columns is the end of the response when a cursor was opened.
                    self.end_result(payload, EndKind::Rows, out)?;
                } else {
                    self.outcome.status = Some(status);
                    self.begin_rows(Some(status), out);
                    if status.contains(Status::CURSOR_EXISTS) {
                        self.phase = Phase::Done;
                    }
                }
            }
            (Phase::RowsBegin, Some(0xFE)) => {
                let status = self.end_status(payload)?;
                if !status.contains(Status::CURSOR_EXISTS) {
                    self.begin_rows(None, out);
                }
                self.end_result(payload, EndKind::Rows, out)?;
            }
            (Phase::Rows | Phase::FieldList, Some(0xFE)) => {
                self.end_result(payload, EndKind::Rows, out)?
            }
            _ => return Err(RelayError::Unexpected("packet in a response")),
        }
        Ok(Taken::Bytes(taken))
    }

    fn end_in_error(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), RelayError> {
        self.outcome.error = Some(Reader::new(payload.get(1..).unwrap_or_default()).u16()?);
        if self.phase == Phase::RowsBegin {
            // The error comes in place of rows; what stands in front of those is due all the same.
            self.begin_rows(None, out);
        }
        let renamed = self.hops.names.as_ref().map(|names| names.error(payload));
        self.put(renamed.as_deref().unwrap_or(payload), out);
        self.phase = Phase::Done;
        Ok(())
    }

    fn reshape_column(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), RelayError> {
        let hops = (self.hops.backend, self.hops.client);
        let names = self.hops.names.as_deref();
        names::put_column(out, &mut self.hops.client_seq, names, payload, hops)?;
        self.count_unseen();
        Ok(())
    }

    fn end_status(&self, payload: &[u8]) -> Result<Status, RelayError> {
        Ok(if self.ends_in_eof(payload) {
            eof_fields(payload)?.1
        } else {
            OkFields::decode(payload)?.status
        })
    }

    /// A 0xFE packet is an OK under DEPRECATE_EOF, an EOF otherwise. MariaDB and MySQL both answer some commands with a
    /// bare 5-byte EOF whatever was agreed, so its length decides.
    fn ends_in_eof(&self, payload: &[u8]) -> bool {
        payload.first() == Some(&0xFE)
            && (payload.len() <= 5 || !self.hops.backend.contains(Capabilities::DEPRECATE_EOF))
    }

    fn end_result(
        &mut self,
        payload: &[u8],
        kind: EndKind,
        out: &mut Vec<u8>,
    ) -> Result<(), RelayError> {
        let mut ok = if self.ends_in_eof(payload) {
            let (warnings, status) = eof_fields(payload)?;
            OkFields {
                affected_rows: 0,
                last_insert_id: 0,
                status,
                warnings,
                info: &[],
                state: &[],
            }
        } else {
            OkFields::decode(payload)?
        };
        self.say_id(&mut ok, kind);
        self.absorb(&ok, kind);
        self.say_warnings(&mut ok);
        self.correct_columns_status(ok.status, out);
        let ends_in_fe = payload.first() == Some(&0xFE);
        if ends_in_fe && !self.hops.client.contains(Capabilities::DEPRECATE_EOF) {
            let status = ok.status.difference(Status::SESSION_STATE_CHANGED);
            self.put_eof(ok.warnings, status, out);
        } else {
            self.put_ok(if ends_in_fe { 0xFE } else { 0 }, &ok, out);
        }
        self.phase = if ok.status.contains(Status::MORE_RESULTS) && self.shape == Shape::Results {
            Phase::First
        } else {
            Phase::Done
        };
        self.numbered = self.hops.numbering == Numbering::Strict;
        Ok(())
    }

    /// A server says the same status behind the columns and behind the rows. Where both leave in one piece, so do we.
    fn correct_columns_status(&mut self, status: Status, out: &mut [u8]) {
        let Some(at) = self.columns_status.take() else {
            return;
        };
        let shown = status
            .difference(Status::SESSION_STATE_CHANGED)
            .0
            .to_le_bytes();
        if let Some(bytes) = out.get_mut(at..at + shown.len()) {
            bytes.copy_from_slice(&shown);
        }
    }

    fn absorb(&mut self, ok: &OkFields<'_>, kind: EndKind) {
        self.outcome.status = Some(ok.status);
        self.outcome.warnings = ok.warnings;
        self.outcome.ended_in_rows = kind == EndKind::Rows;
        if kind == EndKind::Ok {
            self.outcome.affected_rows = ok.affected_rows;
        }
        if ok.last_insert_id != 0 {
            self.outcome.last_insert_id = ok.last_insert_id;
        }
        if self.outcome.tracked.len() + ok.state.len() > TRACKED_BYTES_MAX {
            self.outcome.tracked_overflow = true;
        } else if !ok.state.is_empty() {
            self.outcome.tracked.extend_from_slice(ok.state);
        }
    }

    /// Takes a jump of the numbers where one may be.
    fn adopt_number(&mut self, seq: u8) {
        if !self.numbered {
            self.hops.backend_seq = seq;
            self.numbered = true;
        }
    }

    fn accept_sequence(&mut self, seq: u8) -> Result<(), RelayError> {
        self.adopt_number(seq);
        if seq != self.hops.backend_seq {
            return Err(RelayError::Sequence {
                expected: self.hops.backend_seq,
                found: seq,
            });
        }
        self.hops.backend_seq = seq.wrapping_add(1);
        Ok(())
    }

    /// Passes a packet on without waiting for its payload.
    fn pass_header(&mut self, len: usize, out: &mut Vec<u8>) -> Taken {
        out.extend_from_slice(
            &codec::Header {
                len: u32::try_from(len).unwrap_or(0),
                seq: self.hops.client_seq,
            }
            .encode(),
        );
        self.hops.client_seq = self.hops.client_seq.wrapping_add(1);
        self.payload_left = len;
        Taken::Bytes(HEADER_BYTES)
    }

    fn put(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        codec::put_packet(out, &mut self.hops.client_seq, payload);
    }

    fn put_eof(&mut self, warnings: u16, status: Status, out: &mut Vec<u8>) {
        let [w0, w1] = warnings.to_le_bytes();
        let [s0, s1] = status.union(self.hops.more).0.to_le_bytes();
        self.put(&[0xFE, w0, w1, s0, s1], out);
    }

    fn put_ok(&mut self, header: u8, ok: &OkFields<'_>, out: &mut Vec<u8>) {
        let mut state = Vec::new();
        if self.hops.client.contains(Capabilities::SESSION_TRACK) && !ok.state.is_empty() {
            for item in track::items(ok.state)
                .filter_map(Result::ok)
                .filter(|item| self.hops.filter.passes(item))
            {
                item.encode(&mut state);
            }
        }
        let mut status = ok.status.difference(Status::SESSION_STATE_CHANGED);
        status = status.union(self.hops.more);
        if !state.is_empty() {
            status = status.union(Status::SESSION_STATE_CHANGED);
        }
        let mark = codec::begin_packet(out);
        out.push(header);
        codec::put_lenenc_int(out, ok.affected_rows);
        codec::put_lenenc_int(out, ok.last_insert_id);
        codec::put_u16(out, status.0);
        codec::put_u16(out, ok.warnings);
        if !state.is_empty() || !ok.info.is_empty() {
            codec::put_lenenc_bytes(out, ok.info);
        }
        if !state.is_empty() {
            codec::put_lenenc_bytes(out, &state);
        }
        codec::finish_packet(out, mark, &mut self.hops.client_seq);
    }
}
