//! The answer of one shard to its part of a statement, in pieces as they come.
//!
//! Owns the split of an answer into columns, rows and its end. Must never look into a row. Input: a server's bytes.

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{HEADER_BYTES, Header, MAX_PAYLOAD, Reader};
use dbmesh_wire::column::Column;
use dbmesh_wire::relay::{Outcome, Progress, Relay, Shape};
use dbmesh_wire::reply;

use crate::backend::{Backend, BackendError};
use dbmesh_merge::Definition;

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is known yet.
    Begin,
    /// Columns come.
    Columns(u64),
    /// Rows come.
    Rows,
    /// It is whole.
    Done,
}

/// The answer of one shard.
#[derive(Debug)]
pub struct Part {
    relay: Relay,
    /// How columns are told.
    told: Capabilities,
    /// What came and was not taken.
    out: Vec<u8>,
    /// Where whole row packets end in `out`, or pieces of one.
    rows_end: usize,
    /// Bytes of the last row's packet that have not come.
    row_left: usize,
    /// The next packet continues a row.
    continues: bool,
    stage: Stage,
    columns: Vec<Definition>,
    end: Vec<u8>,
    outcome: Option<Outcome>,
}

impl Part {
    /// The answer that this connection gives next.
    #[must_use]
    pub fn of(backend: &mut Backend) -> Self {
        let mut hops = backend.own_hops();
        // What a server tells this client of its types, the client is told.
        let extended = backend
            .flags
            .0
            .intersection(Capabilities::EXTENDED_METADATA);
        hops.client = hops.client.union(extended);
        Self {
            told: hops.client,
            relay: Relay::new(Shape::Results, hops),
            out: Vec::new(),
            rows_end: 0,
            row_left: 0,
            continues: false,
            stage: Stage::Begin,
            columns: Vec::new(),
            end: Vec::new(),
            outcome: None,
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether all columns came, or there are none.
    #[must_use]
    pub fn is_described(&self) -> bool {
        matches!(self.stage, Stage::Rows | Stage::Done)
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Definition] {
        &self.columns
    }

    /// Rows that came and were not taken, as packets with their headers, cut anywhere.
    #[must_use]
    pub fn rows(&self) -> &[u8] {
        self.out.get(..self.rows_end).unwrap_or_default()
    }

    /// The rows were taken.
    pub fn take_rows(&mut self) {
        self.out.drain(..self.rows_end);
        self.rows_end = 0;
    }

    /// The packet that ended it: OK, EOF or an error.
    #[must_use]
    pub fn end(&self) -> &[u8] {
        &self.end
    }

    /// What the server reported, once it is whole.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Takes in what the connection has read.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn take_in(&mut self, backend: &mut Backend) -> Result<(), BackendError> {
        let channel = backend.channel();
        let (taken, progress) = self.relay.feed(channel.inbox().unread(), &mut self.out)?;
        channel.consume(taken);
        let whole = match progress {
            Progress::More => false,
            Progress::Done => true,
            Progress::LocalInfile(_) => {
                return Err(BackendError::Protocol("unasked LOCAL INFILE".into()));
            }
        };
        self.split()?;
        if whole {
            backend.answered(self.relay.outcome().status);
            if self.stage != Stage::Done {
                return Err(BackendError::Protocol("an answer without an end".into()));
            }
            self.outcome = Some(self.relay_outcome());
        }
        Ok(())
    }

    fn relay_outcome(&self) -> Outcome {
        let seen = self.relay.outcome();
        Outcome {
            status: seen.status,
            affected_rows: seen.affected_rows,
            last_insert_id: seen.last_insert_id,
            warnings: seen.warnings,
            rows: seen.rows,
            result_sets: seen.result_sets,
            ended_in_rows: seen.ended_in_rows,
            error: seen.error,
            tracked: seen.tracked.clone(),
            tracked_overflow: seen.tracked_overflow,
            bytes: seen.bytes,
        }
    }

    /// Splits what came.
    fn split(&mut self) -> Result<(), BackendError> {
        loop {
            let rest = self.out.get(self.rows_end..).unwrap_or_default();
            if self.row_left > 0 {
                let take = self.row_left.min(rest.len());
                self.row_left -= take;
                self.rows_end += take;
                if self.row_left > 0 {
                    return Ok(());
                }
                continue;
            }
            let Some(header) = Header::first(rest) else {
                return Ok(());
            };
            let len = header.len as usize;
            if self.continues || (self.stage == Stage::Rows && self.is_row(rest, len)) {
                self.continues = len == MAX_PAYLOAD;
                self.rows_end += HEADER_BYTES;
                self.row_left = len;
                continue;
            }
            let Some(payload) = rest.get(HEADER_BYTES..HEADER_BYTES + len) else {
                return Ok(());
            };
            let payload = payload.to_vec();
            let from = self.rows_end;
            self.out.drain(from..from + HEADER_BYTES + len);
            self.control(payload)?;
        }
    }

    /// Whether a packet among rows is one of them.
    fn is_row(&self, packet: &[u8], len: usize) -> bool {
        match packet.get(HEADER_BYTES) {
            Some(&reply::ERR_MARKER) => false,
            Some(&reply::EOF_MARKER) => len == MAX_PAYLOAD,
            Some(_) => true,
            // An empty row of no columns does not exist; its first byte will come.
            None => false,
        }
    }

    fn control(&mut self, payload: Vec<u8>) -> Result<(), BackendError> {
        match (self.stage, payload.first()) {
            (_, Some(&reply::ERR_MARKER))
            | (Stage::Begin, Some(&reply::OK_MARKER))
            | (Stage::Rows, Some(&reply::EOF_MARKER)) => {
                self.end = payload;
                self.stage = Stage::Done;
            }
            (Stage::Begin, Some(_)) => {
                self.stage = Stage::Columns(Reader::new(&payload).lenenc_int()?);
            }
            (Stage::Columns(left), Some(_)) => {
                self.columns
                    .push(Definition::of(&Column::decode_from(&payload, self.told)?));
                self.stage = match left {
                    0 | 1 => Stage::Rows,
                    left => Stage::Columns(left - 1),
                };
            }
            _ => {
                return Err(BackendError::Protocol(
                    "a packet that does not belong here".into(),
                ));
            }
        }
        Ok(())
    }
}
