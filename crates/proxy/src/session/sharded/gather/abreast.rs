//! Rows of several sources on their way to one place, read at all sources at the same time.
//!
//! Owns the parts of a gather that are not at home already, and the order in which their rows are written and their errors
//! told: that of the parts, as if one was read after the other. A source that answers sooner runs ahead by two batches and
//! then waits, but never so long that its server would give it up. Must never use more than one connection to a source.
//! Input: the connections of the gather, in the state in which rows are loaded.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use dbmesh_plan::shard::gather::ScratchTable;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use super::super::super::{Failure, Session};
use super::connections::{broken, refused, store};
use super::rows::{self, Rows};
use super::{BATCH_BYTES, Budget, OUTSIDE_MAX};
use crate::backend::{Backend, BackendError};

/// Bytes that run ahead, of all sources together.
const AHEAD_BYTES: usize = 4 << 20;
/// Bytes of a batch at least, however many sources there are.
const BATCH_BYTES_MIN: usize = 16 << 10;
/// How long a source may wait for its turn. Servers end a statement whose rows nobody takes for `net_write_timeout`, which
/// is 60 s by default.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// Rows of one physical table that are not at home.
pub(super) struct Part<'a> {
    pub source: usize,
    pub table: &'a ScratchTable,
    /// What clients call the table.
    pub name: &'a str,
    pub select: Vec<u8>,
}

/// What a reader says of the part with this number: a statement that stores rows, or how it ended.
type Said = (usize, Result<Option<Batch>, Failure>);

/// A statement that stores rows, and of how many of its values the server warns anyway.
type Batch = (Vec<u8>, u64);

/// A reader at work.
type Reader<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What the readers have to say.
struct Hearing<'a> {
    parts: &'a [Part<'a>],
    /// By source.
    readers: BTreeMap<usize, Receiver<Said>>,
    /// How parts ended whose turn had not come.
    ended: BTreeMap<usize, Result<(), Failure>>,
}

impl Session {
    /// Brings the rows of these parts to the home of the gather.
    pub(super) async fn pull_abreast(
        &self,
        mut sources: BTreeMap<usize, &mut Backend>,
        home: &mut Backend,
        parts: &[Part<'_>],
        budget: &Budget,
    ) -> Result<(), Failure> {
        sources.retain(|source, _| parts.iter().any(|part| part.source == *source));
        let batch_bytes = AHEAD_BYTES / (2 * sources.len().max(1));
        let batch_bytes = batch_bytes.clamp(BATCH_BYTES_MIN, BATCH_BYTES);
        let mut hearing = Hearing {
            parts,
            readers: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        let mut at_work: Vec<Option<Reader<'_>>> = Vec::new();
        for (source, from) in sources {
            let (to, receiver) = channel(1);
            hearing.readers.insert(source, receiver);
            let own = parts.iter().enumerate();
            let own: Vec<_> = own.filter(|(_, part)| part.source == source).collect();
            let reader = read_all(from, own, to, (budget, batch_bytes));
            at_work.push(Some(Box::pin(reader)));
        }
        let mut writing = pin!(self.write_in_turn(home, &mut hearing));
        poll_fn(|cx| {
            for slot in &mut at_work {
                if let Some(reader) = slot
                    && reader.as_mut().poll(cx).is_ready()
                {
                    *slot = None;
                }
            }
            writing.as_mut().poll(cx)
        })
        .await
    }

    /// Writes what is read, part by part.
    async fn write_in_turn(
        &self,
        home: &mut Backend,
        hearing: &mut Hearing<'_>,
    ) -> Result<(), Failure> {
        let mut others_turn = Instant::now() + TURN_LIMIT;
        for number in 0..hearing.parts.len() {
            let ended = loop {
                if let Some(ended) = hearing.ended.remove(&number) {
                    break ended;
                }
                let said = timeout_at(others_turn, hearing.of(number)).await;
                if let Ok(said) = said {
                    hearing.take(home, said?).await?;
                }
                // Also where the one whose turn it is always has more to say.
                if Instant::now() >= others_turn {
                    hearing.take_waiting(home).await?;
                    others_turn = Instant::now() + TURN_LIMIT;
                }
                self.may_go_on()?;
            };
            ended?;
        }
        Ok(())
    }
}

impl Hearing<'_> {
    /// What the source of a part says next.
    async fn of(&mut self, number: usize) -> Result<Said, Failure> {
        let reader = match self.parts.get(number) {
            Some(part) => self.readers.get_mut(&part.source),
            None => None,
        };
        let said = match reader {
            Some(reader) => reader.recv().await,
            None => None,
        };
        let silent = || BackendError::Protocol("a source ended without a word".to_owned());
        said.ok_or_else(|| broken(silent()))
    }

    /// Stores rows, or remembers how a part ended.
    async fn take(&mut self, home: &mut Backend, (number, said): Said) -> Result<(), Failure> {
        match said {
            Ok(Some((batch, outside))) => {
                let name = self.parts.get(number).map_or("", |part| part.name);
                store(home, &batch, name, outside).await
            }
            Ok(None) => {
                self.ended.insert(number, Ok(()));
                Ok(())
            }
            Err(failure) => {
                self.ended.insert(number, Err(failure));
                Ok(())
            }
        }
    }

    /// Takes from everybody who waits, out of turn: a server may wait no longer.
    async fn take_waiting(&mut self, home: &mut Backend) -> Result<(), Failure> {
        let readers = self.readers.values_mut();
        let waiting: Vec<Said> = readers.filter_map(|r| r.try_recv().ok()).collect();
        for said in waiting {
            self.take(home, said).await?;
        }
        Ok(())
    }
}

/// Reads the parts of one source, one after the other, up to the first that fails.
async fn read_all(
    from: &mut Backend,
    parts: Vec<(usize, &Part<'_>)>,
    to: Sender<Said>,
    (budget, batch_bytes): (&Budget, usize),
) {
    for (number, part) in parts {
        let read = read_part(from, (number, part), &to, (budget, batch_bytes)).await;
        let failed = read.is_err();
        // Nobody listens any more where another part has failed.
        if to.send((number, read.map(|()| None))).await.is_err() || failed {
            return;
        }
    }
}

async fn read_part(
    from: &mut Backend,
    (number, part): (usize, &Part<'_>),
    to: &Sender<Said>,
    (budget, batch_bytes): (&Budget, usize),
) -> Result<(), Failure> {
    let begun = Rows::begin(from, &part.select, &[]).await;
    let mut rows = begun.map_err(broken)?.map_err(refused)?;
    let mut outside = 0;
    let head = part.table.insert();
    let mut batch = head.clone();
    while rows.more(from).await.map_err(broken)?.map_err(refused)? {
        while let Some(row) = rows.next().map_err(broken)? {
            if batch.len() > head.len() {
                batch.push(b',');
            }
            let before = batch.len();
            outside += rows::push(part.table, part.name, row, &mut batch)?;
            budget.spend(batch.len() - before)?;
            if batch.len() >= batch_bytes || outside >= OUTSIDE_MAX {
                let full = std::mem::replace(&mut batch, head.clone());
                let full = (full, std::mem::take(&mut outside));
                drop(to.send((number, Ok(Some(full)))).await);
            }
        }
    }
    if batch.len() > head.len() {
        drop(to.send((number, Ok(Some((batch, outside))))).await);
    }
    Ok(())
}
