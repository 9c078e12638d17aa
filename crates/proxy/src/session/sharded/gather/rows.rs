//! Rows of a result as they come, for those that go on to another server: as the text protocol has them, also where the
//! statement has parameters.
//!
//! Owns the bytes that were read and not yet used: no more than one read brings, and one row. Input: a server's answer.

use dbmesh_plan::shard::gather::ScratchTable;
use dbmesh_wire::codec::{self, HEADER_BYTES, Header, MAX_PAYLOAD, Reader};
use dbmesh_wire::command::Parameter;
use dbmesh_wire::relay::{Progress, Relay, Shape};

use super::super::super::Failure;
use super::super::bound::{Once, text_row};
use super::broken;
use crate::backend::{Answer, Backend, BackendError, Cell, ServerError, server_error};
use crate::fault::Fault;

/// A result on its way.
#[derive(Debug)]
pub(super) struct Rows {
    relay: Relay,
    bytes: Vec<u8>,
    at: usize,
    /// Column definitions that are due; none before their number is known.
    definitions: Option<u64>,
    /// Those that came.
    columns: Vec<Vec<u8>>,
    /// A row of several packets.
    joined: Vec<u8>,
    /// The statement, where it is a prepared one: rows come in the binary protocol.
    once: Option<Once>,
    binary: bool,
    /// A row of the binary protocol, as text.
    text: Vec<u8>,
    ended: bool,
}

impl Rows {
    /// Sends the statement, which has these parameters. The server's refusal to prepare it is the inner error.
    pub async fn begin(
        backend: &mut Backend,
        sql: &[u8],
        values: &[Parameter<'_>],
    ) -> Result<Answer<Self>, BackendError> {
        if values.is_empty() {
            let payload = backend.query_payload(sql);
            return Self::begin_with(backend, &payload).await.map(Ok);
        }
        let once = match Once::prepare(backend, sql, values).await? {
            Ok(once) => once,
            Err(error) => return Ok(Err(error)),
        };
        let mut rows = Self::begin_with(backend, &once.payload).await?;
        (rows.once, rows.binary) = (Some(once), true);
        Ok(Ok(rows))
    }

    /// Sends a command whose answer has rows.
    pub async fn begin_with(backend: &mut Backend, payload: &[u8]) -> Result<Self, BackendError> {
        let mut packets = Vec::new();
        codec::put_packet(&mut packets, &mut 0, payload);
        backend.send(&packets).await?;
        Ok(Self {
            relay: Relay::new(Shape::Results, backend.own_hops()),
            bytes: Vec::new(),
            at: 0,
            definitions: None,
            columns: Vec::new(),
            joined: Vec::new(),
            once: None,
            binary: false,
            text: Vec::new(),
            ended: false,
        })
    }

    /// Reads on, until something came; says whether there can be more rows. The server's own error is the inner one.
    pub async fn more(
        &mut self,
        backend: &mut Backend,
    ) -> Result<Result<bool, ServerError>, BackendError> {
        if self.ended {
            return Ok(Ok(false));
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        let before = self.bytes.len();
        while self.bytes.len() == before && !self.ended {
            let (taken, progress) = {
                let unread = backend.channel().inbox().unread();
                self.relay.feed(unread, &mut self.bytes)?
            };
            backend.channel().consume(taken);
            match progress {
                Progress::Done => self.ended = true,
                Progress::LocalInfile(_) => {
                    return Err(BackendError::Protocol("unasked LOCAL INFILE".into()));
                }
                Progress::More if self.bytes.len() > before => {}
                Progress::More => {
                    if backend.channel().fill().await? == 0 {
                        return Err(BackendError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
        if self.ended {
            let outcome = self.relay.outcome();
            backend.answered(outcome.status);
            if let Some(once) = self.once.take() {
                once.close(backend).await?;
            }
            if outcome.error.is_some() {
                return Ok(Err(self.error()?));
            }
        }
        Ok(Ok(true))
    }

    /// The error at the end of what came.
    fn error(&mut self) -> Result<ServerError, BackendError> {
        let mut last = Vec::new();
        while let Some(packet) = self.packet() {
            last = packet.to_vec();
        }
        server_error(last)
    }

    /// The next row, if all of it came.
    pub fn next(&mut self) -> Result<Option<&[u8]>, BackendError> {
        loop {
            match self.definitions {
                None => match self.packet() {
                    Some(first) => self.definitions = Some(Reader::new(first).lenenc_int()?),
                    None => return Ok(None),
                },
                Some(0) => break,
                Some(due) => match self.packet().map(<[u8]>::to_vec) {
                    Some(column) => {
                        self.columns.push(column);
                        self.definitions = Some(due - 1);
                    }
                    None => return Ok(None),
                },
            }
        }
        let ended = self.ended;
        // A row can begin with that byte only if its first value fills whole packets.
        let is_end = |row: &[u8]| ended && row.first() == Some(&0xFE) && row.len() < MAX_PAYLOAD;
        if !self.binary {
            return Ok(self.packet().filter(|row| !is_end(row)));
        }
        let Some(row) = self.packet().filter(|row| !is_end(row)).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        let malformed = || BackendError::Protocol("a row of the binary protocol".into());
        self.text = text_row(&self.columns, &row).ok_or_else(malformed)?;
        Ok(Some(&self.text))
    }

    /// The definitions of columns, once all came.
    pub fn columns(&self) -> Option<&[Vec<u8>]> {
        (self.definitions == Some(0)).then_some(self.columns.as_slice())
    }

    /// How many warnings the answer had.
    pub fn warnings(&self) -> u16 {
        self.relay.outcome().warnings
    }

    /// The next whole packet, its parts joined.
    fn packet(&mut self) -> Option<&[u8]> {
        let mut at = self.at;
        let mut parts = 0;
        loop {
            let header = Header::first(self.bytes.get(at..)?)?;
            let end = at + HEADER_BYTES + header.len as usize;
            if end > self.bytes.len() {
                return None;
            }
            parts += 1;
            at = end;
            if !header.is_continued() {
                break;
            }
        }
        let start = std::mem::replace(&mut self.at, at);
        if parts == 1 {
            return self.bytes.get(start + HEADER_BYTES..at);
        }
        self.joined.clear();
        let mut piece = start;
        while piece < at {
            let header = Header::first(self.bytes.get(piece..)?)?;
            let end = piece + HEADER_BYTES + header.len as usize;
            self.joined
                .extend_from_slice(self.bytes.get(piece + HEADER_BYTES..end)?);
            piece = end;
        }
        Some(&self.joined)
    }
}

/// Gives every row of an answer, with the definitions of its columns, to `take`. The answer is read to its end, whatever
/// that says. The server's own error is the inner one.
pub(in super::super) async fn for_each(
    from: &mut Backend,
    (select, values): (&[u8], &[Parameter<'_>]),
    width: usize,
    mut take: impl FnMut(&[Vec<u8>], &[Cell]) -> Result<(), Failure>,
) -> Result<Result<(), ServerError>, Failure> {
    let mut coming = match Rows::begin(from, select, values).await.map_err(broken)? {
        Ok(coming) => coming,
        Err(error) => return Ok(Err(error)),
    };
    let mut taken = Ok(());
    loop {
        match coming.more(from).await.map_err(broken)? {
            Ok(true) => {}
            Ok(false) => return taken.map(Ok),
            Err(error) => return Ok(Err(error)),
        }
        while let Some(row) = coming.next().map_err(broken)? {
            if taken.is_ok() {
                let cells = cells(row, width).ok_or_else(otherwise);
                let columns = coming.columns().unwrap_or_default();
                taken = cells.and_then(|cells| take(columns, &cells));
            }
        }
    }
}

/// The values of a row; none if it has others than so many.
pub(super) fn cells(row: &[u8], width: usize) -> Option<Vec<Cell>> {
    let mut reader = Reader::new(row);
    let cells = (0..width).map(|_| Some(reader.lenenc_bytes_or_null().ok()?.map(Into::into)));
    let cells = cells.collect::<Option<Vec<_>>>()?;
    reader.is_empty().then_some(cells)
}

/// The values of a row of this table, which clients call by the name.
pub(super) fn cells_of(table: &ScratchTable, name: &str, row: &[u8]) -> Result<Vec<Cell>, Failure> {
    let cells = cells(row, table.width()).ok_or_else(otherwise)?;
    let mut values = cells.iter().enumerate();
    let is_lost = |(column, value): (usize, &Cell)| {
        let value = value.as_deref();
        value.is_some_and(|value| table.is_lost(column, value))
    };
    match values.any(is_lost) {
        true => Err(lost(name)),
        false => Ok(cells),
    }
}

/// Adds a row to the INSERT of a table, which clients call by the name. Gives how many of its values are ENUMs that hold no
/// value of their lists: a server warns of each.
pub(super) fn push(
    table: &ScratchTable,
    name: &str,
    row: &[u8],
    into: &mut Vec<u8>,
) -> Result<u64, Failure> {
    let mut reader = Reader::new(row);
    let (mut whole, mut given_back, mut outside) = (true, true, 0);
    let values = (0..table.width()).map_while(|column| match reader.lenenc_bytes_or_null() {
        Ok(value) => {
            given_back &= !value.is_some_and(|value| table.is_lost(column, value));
            outside += u64::from(value.is_some_and(|value| table.is_outside(column, value)));
            Some(value)
        }
        Err(_) => {
            whole = false;
            None
        }
    });
    let pushed = table.push_row(values, into);
    match (pushed && whole, given_back) {
        (true, true) => Ok(outside),
        (true, false) => Err(lost(name)),
        (false, _) => Err(otherwise()),
    }
}

fn otherwise() -> Failure {
    let what = "a row has other columns than its table".to_owned();
    broken(BackendError::Protocol(what))
}

fn lost(name: &str) -> Failure {
    let why = format!(
        "a JSON document of `{name}` holds values that its text does not give back (dates, decimals)"
    );
    Fault::Sharding(why).into()
}
