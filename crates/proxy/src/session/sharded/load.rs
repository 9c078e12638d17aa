//! LOAD DATA LOCAL over several shards: the client's file, record by record to the shards.
//!
//! Owns the records that wait for their shard, which are bounded, and the numbers by which warnings name them. The file is read to
//! its end whatever happens, as the protocol wants it. Input: the planner's word on the file, connections to all sources.

mod left;
mod made;
mod said;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbmesh_merge::{Share, SharedMemory};
use dbmesh_plan::Route;
use dbmesh_plan::shard::{Clock, Load, LoadFault, Records};
use dbmesh_sql::Statement;
use dbmesh_wire::codec::{self, HEADER_BYTES, Header, MAX_PAYLOAD};
use dbmesh_wire::relay::{Names, Outcome, Progress, Relay, Shape};
use dbmesh_wire::reply::LOCAL_INFILE_MARKER;

use super::super::exchange::{Done, guarded};
use super::super::infile::Infile;
use super::super::{Executed, Failure, Session};
use super::answers::{Answers, Spread};
use super::rows::memory_short;
use super::work::{Around, Broken, Ended, Work, copy, place, warnings};
use crate::backend::{Backend, BackendError};
use crate::fault::Fault;
use crate::state::Warning;
pub(super) use made::Made;
use said::{Loaded, is_violation, renumber};

/// Bytes of one shard's records that go in one statement.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes that are kept of a record besides its own.
const RECORD_BYTES: usize = size_of::<u64>() + size_of::<usize>();
/// Bytes of all shards' records that wait.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Bytes of an error packet before its message: the marker, the number, the SQLSTATE with its own.
const ERROR_HEAD_BYTES: usize = 9;
/// How long a client has for the rest of a file whose statement is overdue.
const REST_OF_FILE: Duration = Duration::from_secs(10);
/// Most warnings of a statement that are kept, as servers do.
const WARNINGS_MAX: usize = 1_024;

/// Records that wait for their shard.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Their numbers in the file.
    numbers: Vec<u64>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Chunk {
    /// The records before one of the file.
    fn before(mut self, record: u64) -> Self {
        let count = self.numbers.partition_point(|number| *number < record);
        let end = count.checked_sub(1).and_then(|last| self.ends.get(last));
        self.bytes.truncate(end.copied().unwrap_or(0));
        self.numbers.truncate(count);
        self.ends.truncate(count);
        self
    }
}

struct Loading<'a> {
    load: &'a Load,
    names: &'a Names,
    records: Records,
    chunks: Vec<Chunk>,
    waiting: usize,
    /// What is kept of the file, of what all sessions may keep.
    share: Share,
    warnings: Vec<(u64, Warning)>,
    /// The record for which a server refused the statement.
    refused_at: Option<u64>,
    /// Keys of records that have none.
    made: Made,
    /// The shard of the last record that was read.
    last: usize,
}

impl Session {
    /// LOAD DATA LOCAL over several shards, as one change.
    pub(super) async fn load(
        &mut self,
        statement: &Statement,
        load: Box<Load>,
        route: Route,
    ) -> Result<Executed, Failure> {
        if self.infile(statement) == Infile::Refused {
            return Err(Fault::LocalInfileRefused.into());
        }
        if let Some(sharded) = &mut self.sharded {
            // Of these, the last record's values remain.
            sharded
                .unassigned
                .retain(|name| !load.variables.contains(name));
        }
        let spread = Spread {
            nodes: load.statements.clone(),
            answers: Answers::Loaded(load),
            clock: Clock::Read,
            bound: None,
        };
        self.spread(statement, spread, route).await
    }
}

/// Asks the client for its file and loads it.
pub(super) async fn run(
    work: &mut Work<'_>,
    load: &Load,
    around: &mut Around<'_>,
    (names, memory, made): (&Names, &Arc<SharedMemory>, Made),
) -> Result<(), Broken> {
    work.legs.iter_mut().for_each(|leg| leg.queue.clear());
    work.ended.clear();
    let charset = match &load.charset {
        Some(charset) => charset.clone(),
        None => charset(work).await?,
    };
    let mut loading = Loading {
        load,
        names,
        records: load.records(&charset).map_err(refused)?,
        chunks: work.nodes.iter().map(|_| Chunk::default()).collect(),
        waiting: 0,
        share: Share::of(memory.clone()),
        warnings: Vec::new(),
        refused_at: None,
        made,
        last: 0,
    };
    let request = [&[LOCAL_INFILE_MARKER], load.file.as_slice()].concat();
    let asked = around.client.packet(&request).await;
    asked.map_err(|_| Broken::ClientGone)?;
    if let Err(broken) = loading.all(work, around).await {
        return Err(loading.earliest(work, around, broken).await);
    }
    work.loaded.first_key = loading.made.first();
    loading.warnings.sort_by_key(|(record, _)| *record);
    let kept = loading.warnings.into_iter().take(WARNINGS_MAX);
    if let Some(Some(first)) = work.ended.first_mut() {
        first.warnings = kept.map(|(_, warning)| warning).collect();
    }
    Ok(())
}

fn refused(fault: LoadFault) -> Broken {
    Broken::Fault(Fault::Sharding(fault.to_string()))
}

/// The character set of files that say none.
async fn charset(work: &mut Work<'_>) -> Result<String, Broken> {
    let Some(leg) = work.legs.first_mut() else {
        return Ok(String::new());
    };
    let endpoint = leg.endpoint().to_owned();
    let answer = match leg.backend() {
        Ok(backend) => backend.query(b"SELECT @@character_set_database").await,
        Err(error) => Err(error),
    };
    let rows = answer.map_err(|error| Broken::Lost { endpoint, error })?;
    let rows = rows.unwrap_or_default();
    let name = rows.first().and_then(|row| row.first()?.as_deref());
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}

impl Loading<'_> {
    async fn all(&mut self, work: &mut Work<'_>, around: &mut Around<'_>) -> Result<(), Broken> {
        self.read(work, around).await?;
        self.records.finish();
        self.take(work, around).await?;
        let last = self.last;
        for shard in (0..self.chunks.len()).filter(|shard| *shard != last) {
            self.flush(work, around, shard).await?;
        }
        // What its variables are in the end, the last record says.
        self.flush(work, around, last).await?;
        if work.ended.is_empty() {
            // A server says how many records there were also when there were none.
            self.send(work, around, last, &Chunk::default()).await?;
        }
        self.learn(work, last).await
    }

    /// The variables of the file as the server of a shard has them now.
    async fn learn(&self, work: &mut Work<'_>, shard: usize) -> Result<(), Broken> {
        let names = &self.load.variables;
        let source = work.nodes.get(shard).map(|node| node.source);
        let leg = work.legs.iter_mut().find(|leg| Some(leg.source) == source);
        let Some(leg) = leg.filter(|_| !names.is_empty()) else {
            return Ok(());
        };
        let endpoint = leg.endpoint().to_owned();
        let learned = match leg.backend() {
            Ok(backend) => backend.left_by_file(names).await,
            Err(error) => Err(error),
        };
        let learned = learned.map_err(|error| Broken::Lost { endpoint, error })?;
        let Ok(Some(assigned)) = learned else {
            let why = "a user variable's value in the last record is one that other nodes cannot be given";
            return Err(Fault::Sharding(why.into()).into());
        };
        work.loaded.assigned = Some(assigned);
        Ok(())
    }

    /// The error that one server would have given, which takes records in their order: of one that a server refused, or of one
    /// before it that still waits for its shard.
    async fn earliest(
        &mut self,
        work: &mut Work<'_>,
        around: &Around<'_>,
        mut broken: Broken,
    ) -> Broken {
        let Some(mut first) = self.refused_at.take() else {
            return broken;
        };
        for shard in 0..self.chunks.len() {
            let chunk = self.chunks.get_mut(shard).map(std::mem::take);
            let chunk = chunk.unwrap_or_default().before(first);
            if chunk.bytes.is_empty() {
                continue;
            }
            if let Err(earlier) = self.send(work, around, shard, &chunk).await {
                broken = earlier;
                match self.refused_at.take() {
                    Some(record) => first = record,
                    None => return broken,
                }
            }
        }
        broken
    }

    /// Reads the file to its end; what went wrong meanwhile comes then.
    async fn read(&mut self, work: &mut Work<'_>, around: &mut Around<'_>) -> Result<(), Broken> {
        let mut broken = None;
        let mut expected = around.client.seq;
        let mut until = around.deadline;
        loop {
            let header = loop {
                match header(around, expected, until).await? {
                    Some(header) => break header,
                    None => overdue(&mut broken, &mut until, around.deadline)?,
                }
            };
            expected = expected.wrapping_add(1);
            let mut left = header.len as usize;
            if left == 0 {
                around.client.seq = expected;
                return broken.map_or(Ok(()), Err);
            }
            while left > 0 {
                let channel = &mut around.client.channel;
                let unread = channel.inbox().unread();
                let take = left.min(unread.len());
                if broken.is_none() {
                    self.records.push(unread.get(..take).unwrap_or_default());
                }
                channel.consume(take);
                left -= take;
                if broken.is_none() {
                    broken = self.take(work, around).await.err();
                }
                while left > 0 && !fill(around, until).await? {
                    overdue(&mut broken, &mut until, around.deadline)?;
                }
            }
        }
    }

    /// Gives every record that is whole to its shard.
    async fn take(&mut self, work: &mut Work<'_>, around: &Around<'_>) -> Result<(), Broken> {
        let long = |_| {
            let why = "a record of the file is longer than 64 MiB".to_owned();
            Broken::Fault(Fault::Sharding(why))
        };
        while self.records.advance().map_err(long)? {
            let key = self.made.key(self.load, &self.records).await?;
            let shard = self.load.shard(&self.records, key.as_ref());
            let shard = shard.map_err(refused)?;
            let full = |chunk: &Chunk| chunk.bytes.len() >= CHUNK_BYTES;
            if self.chunks.get(shard).is_some_and(full) {
                self.flush(work, around, shard).await?;
            }
            let Some(chunk) = self.chunks.get_mut(shard) else {
                continue;
            };
            let before = chunk.bytes.len();
            self.load.put(&self.records, key.as_ref(), &mut chunk.bytes);
            chunk.numbers.push(self.records.number());
            chunk.ends.push(chunk.bytes.len());
            self.waiting += chunk.bytes.len() - before + RECORD_BYTES;
            self.last = shard;
            if self.waiting >= WAITING_BYTES_MAX {
                self.flush_largest(work, around).await?;
            }
        }
        // Where others have the memory, less waits for its shard.
        while !self.share.resize(self.waiting + self.records.kept_bytes()) {
            let before = self.waiting;
            self.flush_largest(work, around).await?;
            if self.waiting == before {
                return Err(memory_short(&self.share.refuse()).into());
            }
        }
        Ok(())
    }

    async fn flush_largest(
        &mut self,
        work: &mut Work<'_>,
        around: &Around<'_>,
    ) -> Result<(), Broken> {
        let chunks = self.chunks.iter().enumerate();
        let kept = |shard: usize| !self.load.variables.is_empty() && shard == self.last;
        // The last record is to be the last that its server hears of, if the file ends here.
        let largest = chunks
            .filter(|(_, chunk)| !chunk.bytes.is_empty())
            .max_by_key(|(shard, chunk)| (!kept(*shard), chunk.bytes.len()));
        match largest.map(|(shard, _)| shard) {
            Some(largest) => self.flush(work, around, largest).await,
            None => Ok(()),
        }
    }

    /// Sends what waits for a shard.
    async fn flush(
        &mut self,
        work: &mut Work<'_>,
        around: &Around<'_>,
        shard: usize,
    ) -> Result<(), Broken> {
        let chunk = self.chunks.get_mut(shard).map(std::mem::take);
        let Some(chunk) = chunk.filter(|chunk| !chunk.bytes.is_empty()) else {
            return Ok(());
        };
        self.send(work, around, shard, &chunk).await?;
        let waited = chunk.bytes.len() + chunk.numbers.len() * RECORD_BYTES;
        self.waiting = self.waiting.saturating_sub(waited);
        Ok(())
    }

    /// Keeps what a server said of these records. It numbers those that it counts.
    fn heed(&mut self, numbers: &[u64], said: Vec<Warning>) {
        let mut last = numbers.first().copied().unwrap_or(0);
        let mut left_out = 0;
        for mut warning in said {
            let counted = numbers.get(left_out..).unwrap_or_default();
            if let Some(record) = renumber(&mut warning.message, counted) {
                last = record;
            }
            if is_violation(&warning) {
                left_out += 1;
            }
            self.warnings.push((last, warning));
        }
    }

    async fn send(
        &mut self,
        work: &mut Work<'_>,
        around: &Around<'_>,
        shard: usize,
        chunk: &Chunk,
    ) -> Result<(), Broken> {
        let Some(node) = work.nodes.get(shard) else {
            return Ok(());
        };
        let leg = work.legs.iter_mut().find(|leg| leg.source == node.source);
        let Some(leg) = leg else {
            return Err(Fault::NoEndpoint("the connection is gone".into()).into());
        };
        let place = place(leg, Some(node));
        let lost = |error, endpoint: &str| Broken::Lost {
            endpoint: endpoint.to_owned(),
            error,
        };
        let endpoint = leg.endpoint().to_owned();
        let sent = match leg.backend() {
            // Without its answer, the connection is closed, and its server told to end the statement.
            Ok(backend) => {
                let loading = pin!(load(backend, &node.sql, &chunk.bytes));
                around.watched(loading).await?
            }
            Err(error) => Err(error),
        };
        let (outcome, mut end) = sent.map_err(|error| lost(error, &endpoint))?;
        if outcome.error.is_some() {
            let mut message = end.split_off(ERROR_HEAD_BYTES.min(end.len()));
            self.refused_at = renumber(&mut message, &chunk.numbers);
            end.append(&mut message);
            // Its variables are those of the record that was refused, as far as they can be known.
            if let Err(broken @ Broken::Lost { .. }) = self.learn(work, shard).await {
                return Err(broken);
            }
            return Err(Broken::Refused {
                payload: end,
                place,
                names: Box::new(self.names.clone()),
            });
        }
        let said = match outcome.warnings {
            0 => Vec::new(),
            _ => warnings(leg, self.names).await?,
        };
        if !Loaded::of(&end).is_some_and(|loaded| loaded.explains(chunk.numbers.len(), &said)) {
            // Nothing is kept that was cut into other records there.
            let why = "a server found other records in a part of the file than there are";
            return Err(Fault::Sharding(why.into()).into());
        }
        self.heed(&chunk.numbers, said);
        work.ended.push(Some(Ended {
            outcome,
            end,
            warnings: Vec::new(),
            source: leg.source,
            place,
        }));
        Ok(())
    }
}

/// The statement's time is up while its client sends the file: that is said when the file is read. Who stops sending is not waited
/// for much longer.
fn overdue(
    broken: &mut Option<Broken>,
    until: &mut Option<Instant>,
    deadline: Option<Instant>,
) -> Result<(), Broken> {
    if *until != deadline {
        return Err(Broken::ClientGone);
    }
    broken.get_or_insert(Broken::Overdue);
    *until = Some(Instant::now() + REST_OF_FILE);
    Ok(())
}

/// The next packet of the client's file; none if it takes too long.
async fn header(
    around: &mut Around<'_>,
    expected: u8,
    until: Option<Instant>,
) -> Result<Option<Header>, Broken> {
    let control = around.control;
    let limit = until.map(|at| at.saturating_duration_since(Instant::now()));
    let done = {
        let reading = pin!(around.client.channel.read_header());
        guarded(control, limit, reading).await
    };
    match done {
        Done::Io(Ok(Some(header))) if header.seq == expected => {
            around.client.channel.consume(HEADER_BYTES);
            Ok(Some(header))
        }
        Done::TooSlow => Ok(None),
        Done::Stopped => Err(Broken::Stopped),
        // In the middle of a file, only the end of the connection stops the client.
        Done::Io(_) => Err(Broken::ClientGone),
    }
}

/// Reads more of the client's file; false if it takes too long.
async fn fill(around: &mut Around<'_>, until: Option<Instant>) -> Result<bool, Broken> {
    let control = around.control;
    let limit = until.map(|at| at.saturating_duration_since(Instant::now()));
    let filling = pin!(around.client.channel.fill());
    match guarded(control, limit, filling).await {
        Done::Io(Ok(n)) if n > 0 => Ok(true),
        Done::TooSlow => Ok(false),
        Done::Stopped => Err(Broken::Stopped),
        Done::Io(_) => Err(Broken::ClientGone),
    }
}

/// Loads records at one connection; gives what came of it and the packet that says so.
async fn load(
    backend: &mut Backend,
    sql: &[u8],
    records: &[u8],
) -> Result<(Outcome, Vec<u8>), BackendError> {
    let mut packets = Vec::new();
    codec::put_packet(&mut packets, &mut 0, &backend.query_payload(sql));
    backend.send(&packets).await?;
    let mut relay = Relay::new(Shape::Results, backend.own_hops());
    let mut answer = Vec::new();
    loop {
        let (taken, progress) = relay.feed(backend.channel().inbox().unread(), &mut answer)?;
        backend.channel().consume(taken);
        match progress {
            Progress::Done => break,
            Progress::LocalInfile(_) => {
                let (own, theirs) = relay.sequence();
                // A server that compresses counts by its frames.
                let mut seq = backend.channel().frame_sequence().unwrap_or(own);
                packets.clear();
                for piece in records.chunks(MAX_PAYLOAD - 1) {
                    codec::put_packet(&mut packets, &mut seq, piece);
                }
                codec::put_packet(&mut packets, &mut seq, &[]);
                backend.channel().write(&packets).await?;
                relay.set_sequence(seq, theirs);
            }
            Progress::More => {
                if backend.channel().fill().await? == 0 {
                    return Err(BackendError::Lost(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
    let outcome = copy(relay.outcome());
    backend.answered(outcome.status);
    let mut last = answer.as_slice();
    while let Some(header) = Header::first(last) {
        match last.get(HEADER_BYTES + header.len as usize..) {
            Some(rest) if !rest.is_empty() => last = rest,
            _ => break,
        }
    }
    let end = last.get(HEADER_BYTES..).unwrap_or_default().to_vec();
    Ok((outcome, end))
}
