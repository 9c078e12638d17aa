//! Several connections at work on one statement of a session.
//!
//! Owns the waiting for all of them at once, and for everything that ends it early: the client's leaving, a KILL, the
//! deadline, a shard that fails. Must never go on after one of these. Input: connections with statements to run.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use dbmesh_plan::shard::NodeStatement;
use dbmesh_wire::relay::{Names, Outcome};
use dbmesh_wire::result_set::RowFormat;
use dbmesh_wire::track::{self, Item};

use super::super::settle::warning;
use super::characteristics::Characteristics;
use super::definition::{Asking, asks_again};
use super::prepared::{Bound, bound_key, selected};
use super::said;
use super::variables::Assigned;
use crate::backend::{BackendError, LAST_GTID, server_error};
use crate::client::Client;
use crate::control::{Control, Signals};
use crate::definitions::Definition;
use crate::fault::Fault;
use crate::scatter::leg::Leg;
use crate::scatter::part::Stage;
use crate::state::Warning;

/// Most warnings of a statement that are kept, as servers do.
const WARNINGS_MAX: usize = 1024;

/// What one shard's part of a statement came to.
#[derive(Debug)]
pub(super) struct Ended {
    pub outcome: Outcome,
    /// The packet that ended it.
    pub end: Vec<u8>,
    pub warnings: Vec<Warning>,
    pub source: usize,
    /// Where, in words.
    pub place: String,
}

/// What ends the work early.
#[derive(Debug)]
pub(super) enum Broken {
    /// A shard's server refused its part.
    Refused {
        payload: Vec<u8>,
        /// Where.
        place: String,
        names: Box<Names>,
    },
    /// That refusal, of rows that one server might not have looked at; nothing was sent yet.
    Unread(Box<Self>),
    /// A connection broke.
    Lost {
        endpoint: String,
        error: BackendError,
    },
    /// The client went away.
    ClientGone,
    /// KILL QUERY.
    Interrupted,
    /// The session is told to end.
    Stopped,
    /// The statement's time is up.
    Overdue,
    /// Rows cannot be put together exactly; nothing of them was sent.
    Unmergeable(String),
    /// Its own fault.
    Fault(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What becomes of the other shards when one refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All ends.
    Ends,
    /// The others go on, as one of theirs may be the row that one server would have met first. Then all ends.
    Waits,
    /// The others go on: a definition is not undone.
    Counts,
}

/// A part of a definition that no server answered.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub number: usize,
    /// Whether the server may have done it.
    pub begun: bool,
    /// Why, in words.
    pub why: String,
}

/// Connections at work.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub legs: Vec<Leg>,
    pub nodes: Vec<NodeStatement>,
    pub ended: Vec<Option<Ended>>,
    /// Of a definition: what could not be done.
    pub unanswered: Vec<Unanswered>,
    /// Of a definition: who is told how far it is.
    pub definition: Option<Arc<Definition>>,
    /// Of a definition: how each connection waits for locks.
    pub asking: Vec<Asking>,
    pub refusal: Refusal,
    /// The row that one server would have met first of those that were refused, and its error.
    pub refused: Option<(u32, Broken)>,
    /// The connections have a clock of the statement's own.
    pub sets_clock: bool,
    /// Its servers are MariaDB's.
    pub mariadb: bool,
    /// How the statement's own transaction runs.
    pub next: Characteristics,
    /// All connections commit, or none does.
    pub as_one: bool,
    /// What a file left.
    pub loaded: Loaded,
    /// Values of a prepared statement.
    bound: Option<Bound<'a>>,
}

/// What a file leaves behind its rows.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// User variables that every connection has assigned, each as its own records said.
    pub names: Vec<Box<str>>,
    /// What they are by the last record, where that is known.
    pub assigned: Option<Vec<Assigned>>,
    /// The first key that was generated.
    pub first_key: Option<u64>,
}

/// Who may end the waiting.
pub(super) struct Around<'a> {
    pub client: &'a mut Client,
    pub control: &'a Control,
    pub deadline: Option<Instant>,
}

/// Runs out at the statement's deadline.
type Timer = Option<Pin<Box<tokio::time::Sleep>>>;

impl Around<'_> {
    fn timer(&self) -> Timer {
        let deadline = self.deadline.map(tokio::time::Instant::from_std);
        deadline.map(|at| Box::pin(tokio::time::sleep_until(at)))
    }

    /// Waits for servers, unless the statement is ended meanwhile.
    pub async fn watched<T>(&self, mut io: Pin<&mut impl Future<Output = T>>) -> Result<T, Broken> {
        let mut timer = self.timer();
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = io.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            ended(self.control, &mut timer, cx).map(Err)
        })
        .await
    }
}

/// What ends a statement: what others said, or its deadline.
fn ended(control: &Control, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<Broken> {
    if let Some(broken) = told(control, cx) {
        return Poll::Ready(broken);
    }
    match timer {
        Some(timer) => timer.as_mut().poll(cx).map(|()| Broken::Overdue),
        None => Poll::Pending,
    }
}

/// What others said that ends a statement.
fn told(control: &Control, cx: &mut Context<'_>) -> Option<Broken> {
    let ends = Signals::KILL.and(Signals::CLOSE);
    match control.poll(ends.and(Signals::INTERRUPT), cx) {
        Poll::Ready(said) if said.any(ends) => Some(Broken::Stopped),
        Poll::Ready(_) => Some(Broken::Interrupted),
        Poll::Pending => None,
    }
}

impl<'a> Work<'a> {
    pub fn new(
        legs: Vec<Leg>,
        nodes: Vec<NodeStatement>,
        (refusal, mariadb): (Refusal, bool),
        bound: Option<Bound<'a>>,
    ) -> Self {
        let ended = nodes.iter().map(|_| None).collect();
        Self {
            legs,
            nodes,
            ended,
            unanswered: Vec::new(),
            definition: None,
            asking: Vec::new(),
            refusal,
            refused: None,
            sets_clock: false,
            mariadb,
            next: Characteristics::default(),
            as_one: false,
            loaded: Loaded::default(),
            bound,
        }
    }

    /// In which protocol rows come.
    pub fn format(&self) -> RowFormat {
        match self.bound {
            Some(_) => RowFormat::Binary,
            None => RowFormat::Text,
        }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        let idle = |leg: &Leg| leg.running.is_none() && leg.queue.is_empty();
        self.legs.iter().all(idle)
    }

    /// Whether all statements are at work at once.
    pub fn is_abreast(&self) -> bool {
        self.legs.iter().all(|leg| leg.queue.is_empty())
    }

    /// Begins what can begin.
    pub async fn begin(&mut self, names: &Names) -> Result<(), Broken> {
        for at in 0..self.legs.len() {
            let idle = |leg: &&Leg| leg.running.is_none() && !leg.queue.is_empty();
            if self.legs.get(at).filter(idle).is_none() || !self.may_begin(at).await? {
                continue;
            }
            let Some(leg) = self.legs.get_mut(at) else {
                continue;
            };
            let Some(number) = leg.queue.pop_front() else {
                continue;
            };
            let Some(node) = self.nodes.get(number) else {
                continue;
            };
            let begun = match &self.bound {
                None => leg.begin(number, &node.sql).await.map(|()| None),
                Some(bound) => {
                    let own = selected(bound.values, &node.parameters);
                    let key = Arc::new(bound_key(
                        &node.sql,
                        bound.under.prepare_state(&node.sql),
                        &own,
                    ));
                    leg.begin_prepared(number, &key, &own, bound.epoch).await
                }
            };
            match begun {
                Ok(None) => {}
                Ok(Some(payload)) => {
                    return Err(Broken::Refused {
                        payload,
                        place: place(leg, Some(node)),
                        names: Box::new(names.clone()),
                    });
                }
                Err(error) => {
                    leg.queue.push_front(number);
                    self.lose(at, error)?;
                }
            }
        }
        Ok(())
    }

    /// A connection broke: that ends the work, unless others may go on.
    pub fn lose(&mut self, at: usize, error: BackendError) -> Result<(), Broken> {
        let Some(leg) = self.legs.get_mut(at) else {
            return Ok(());
        };
        let endpoint = leg.endpoint().to_owned();
        if self.refusal != Refusal::Counts {
            return Err(Broken::Lost { endpoint, error });
        }
        let why = format!("the connection to {endpoint} broke");
        let begun = leg.running.take().map(|(number, _)| number);
        drop(leg.swap_lease(None));
        let unanswered = |number, begun| Unanswered {
            number,
            begun,
            why: why.clone(),
        };
        self.unanswered
            .extend(begun.map(|number| unanswered(number, true)));
        let left = leg.queue.drain(..);
        self.unanswered
            .extend(left.map(|number| unanswered(number, false)));
        Ok(())
    }

    /// Waits until something came of a statement that `hungry` allows to be read on.
    pub async fn read(
        &mut self,
        around: &mut Around<'_>,
        hungry: impl Fn(usize) -> bool,
    ) -> Result<(), Broken> {
        let mut broken = None;
        let rest = self.rests_until().map(tokio::time::Instant::from_std);
        let mut rest = rest.map(|until| Box::pin(tokio::time::sleep_until(until)));
        let legs = &mut self.legs;
        let mut timer = around.timer();
        let Around {
            client, control, ..
        } = around;
        let read = std::future::poll_fn(|cx| {
            let mut came = false;
            for (at, leg) in legs.iter_mut().enumerate() {
                let wanted = leg
                    .running
                    .as_ref()
                    .is_some_and(|(number, part)| part.stage() != Stage::Done && hungry(*number));
                if !wanted {
                    continue;
                }
                match leg.poll_read(cx) {
                    Poll::Ready(Ok(())) => came = true,
                    Poll::Ready(Err(error)) => {
                        broken = Some((at, error));
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => {}
                }
            }
            let rested = rest
                .as_mut()
                .is_some_and(|r| r.as_mut().poll(cx).is_ready());
            if came || rested {
                return Poll::Ready(Ok(()));
            }
            if client.channel.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Broken::ClientGone));
            }
            ended(control, &mut timer, cx).map(Err)
        });
        let read = read.await;
        match broken {
            Some((at, error)) => self.lose(at, error),
            None => read,
        }
    }

    /// Takes in the answers that are whole, and gives their numbers.
    pub async fn reap(&mut self, names: &Names) -> Result<Vec<usize>, Broken> {
        let mut found = Vec::new();
        for (at, leg) in self.legs.iter_mut().enumerate() {
            let whole = leg
                .running
                .as_ref()
                .is_some_and(|(_, part)| part.stage() == Stage::Done);
            let Some((number, part)) = leg.running.take_if(|_| whole) else {
                continue;
            };
            let Some(outcome) = part.outcome() else {
                return Err(Broken::Fault(protocol(
                    leg.endpoint(),
                    "an answer without an end",
                )));
            };
            let mut ended = Ended {
                outcome: copy(outcome),
                end: part.end().to_vec(),
                warnings: Vec::new(),
                source: leg.source,
                place: place(leg, self.nodes.get(number)),
            };
            if asks_again(leg, self.asking.get_mut(at), number, &ended) {
                continue;
            }
            leg.unclean |= is_unclean(&ended.outcome);
            leg.changed |= says_changed(&ended.outcome);
            if let (Some(code), Refusal::Ends | Refusal::Waits) =
                (ended.outcome.error, self.refusal)
            {
                let (row, refused) = refused(ended, code, self.nodes.get(number), names);
                let Some(row) = row.filter(|_| self.refusal == Refusal::Waits) else {
                    return Err(refused);
                };
                // Another part may have a row that comes before.
                if self.refused.as_ref().is_none_or(|(known, _)| row < *known) {
                    self.refused = Some((row, refused));
                }
                found.push(number);
                continue;
            }
            if ended.outcome.warnings > 0 {
                match warnings(leg, names).await {
                    Ok(warnings) => ended.warnings = warnings,
                    // What a definition did is done; the connection says so when it is used next.
                    Err(Broken::Lost { .. }) if self.refusal == Refusal::Counts => {}
                    Err(broken) => return Err(broken),
                }
            }
            let done = self.definition.as_ref();
            if let Some(definition) = done.filter(|_| ended.outcome.error.is_none()) {
                definition.note_done(number);
            }
            if let Some(place) = self.ended.get_mut(number) {
                *place = Some(ended);
            }
            found.push(number);
        }
        if let Some((row, _)) = &self.refused {
            let nodes = &self.nodes;
            let before = |number: &usize| nodes.get(*number)?.rows.first().map(|first| first < row);
            for leg in &mut self.legs {
                leg.queue.retain(|number| before(number) == Some(true));
            }
        }
        Ok(found)
    }

    /// At how many sources rows were changed: a read that locks rows commits nothing.
    pub fn sources_written(&self) -> usize {
        let ended = self.ended.iter().flatten();
        let wrote = ended.filter(|ended| ended.outcome.affected_rows > 0);
        let sources: BTreeSet<usize> = wrote.map(|ended| ended.source).collect();
        sources.len()
    }

    /// What came of all parts, as it is said of the whole.
    pub fn take_ended(&mut self) -> Vec<Option<Ended>> {
        said::as_one(&mut self.ended, &self.nodes, self.mariadb);
        std::mem::take(&mut self.ended)
    }

    /// Begins a plain transaction on every connection.
    pub async fn begin_plain(&mut self) -> Result<(), Broken> {
        for text in self.next.beginning() {
            self.run_everywhere(text.as_bytes()).await?;
        }
        Ok(())
    }

    /// Runs a statement on every connection, one after the other.
    pub async fn run_everywhere(&mut self, sql: &[u8]) -> Result<Vec<(usize, Outcome)>, Broken> {
        let mut outcomes = Vec::new();
        for at in 0..self.legs.len() {
            let Some(leg) = self.legs.get_mut(at) else {
                continue;
            };
            match leg.run(sql).await {
                Ok(Ok(outcome)) => outcomes.push((leg.source, outcome)),
                Ok(Err(e)) => {
                    return Err(Broken::Fault(of_server(&e.payload, "", &Names::default())));
                }
                Err(error) => self.lose(at, error)?,
            }
        }
        Ok(outcomes)
    }
}

/// The refusal of a part, and the client's row that it is about.
fn refused(
    mut ended: Ended,
    code: u16,
    node: Option<&NodeStatement>,
    names: &Names,
) -> (Option<u32>, Broken) {
    let row = node.and_then(|node| said::failed_row(code, &ended.end, node));
    said::renumber(&mut ended.end, node.map_or(&[], |node| &node.rows));
    let refused = Broken::Refused {
        payload: ended.end,
        place: ended.place,
        names: Box::new(names.clone()),
    };
    (row, refused)
}

/// Where a part runs: its table there, and the endpoint.
pub(super) fn place(leg: &Leg, node: Option<&NodeStatement>) -> String {
    let table = node.and_then(|node| node.tables.first());
    match table {
        Some((physical, _)) => format!("{}.{physical}", leg.endpoint()),
        None => leg.endpoint().to_owned(),
    }
}

/// Whether a server says that its session changed: a part of a statement over several shards changes none.
fn is_unclean(outcome: &Outcome) -> bool {
    let explained = |item: Result<Item<'_>, _>| match item {
        Ok(Item::SystemVariable { name, .. }) => name == LAST_GTID.as_bytes(),
        Ok(Item::Schema(_)) => false,
        Ok(_) => true,
        Err(_) => false,
    };
    outcome.tracked_overflow || !track::items(&outcome.tracked).all(explained)
}

/// Whether a server says that its session changed, without saying how.
fn says_changed(outcome: &Outcome) -> bool {
    let changed = |item: Result<Item<'_>, _>| matches!(item, Ok(Item::StateChange(true)));
    track::items(&outcome.tracked).any(changed)
}

pub(super) async fn warnings(leg: &mut Leg, names: &Names) -> Result<Vec<Warning>, Broken> {
    let endpoint = leg.endpoint().to_owned();
    let rows = match leg.backend() {
        Ok(backend) => backend.query(b"SHOW WARNINGS").await,
        Err(error) => Err(error),
    };
    let rows = rows.map_err(|error| Broken::Lost { endpoint, error })?;
    let rows = rows.unwrap_or_default().into_iter().filter_map(warning);
    let renamed = rows.map(|mut row| {
        row.message = names.text(&row.message);
        row
    });
    Ok(renamed.take(WARNINGS_MAX).collect())
}

pub(super) fn copy(seen: &Outcome) -> Outcome {
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

pub(super) fn protocol(endpoint: &str, what: &str) -> Fault {
    Fault::BackendProtocol {
        endpoint: endpoint.to_owned(),
        what: what.to_owned(),
        state_lost: false,
    }
}

/// A server's error in the client's words, with the place where it happened.
pub(super) fn of_server(payload: &[u8], place: &str, names: &Names) -> Fault {
    let sqlstate = payload
        .get(4..9)
        .map(|s| String::from_utf8_lossy(s).into_owned());
    let error = server_error(payload.to_vec());
    let (code, message) = error
        .map(|e| (e.code, e.message))
        .unwrap_or((1105, String::new()));
    let message = String::from_utf8_lossy(&names.text(message.as_bytes())).into_owned();
    Fault::Server {
        code,
        sqlstate: sqlstate.unwrap_or_default(),
        message: match place {
            "" => message,
            place => format!("{message} (at {place})"),
        },
    }
}

/// A broken connection, as an error of its endpoint.
pub(super) fn lost(endpoint: String, error: BackendError, state_lost: bool) -> Fault {
    match error {
        BackendError::Protocol(what) => Fault::BackendProtocol {
            endpoint,
            what,
            state_lost,
        },
        BackendError::Lost(e) => {
            debug_assert!(e.kind() != io::ErrorKind::WouldBlock);
            Fault::BackendLost {
                endpoint,
                state_lost,
            }
        }
    }
}
