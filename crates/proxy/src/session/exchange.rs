//! One command to the server and its answer back to the client.
//!
//! Owns the relaying of an answer: one write to the client per read from the server, nothing decoded that need not be.
//! It must never leave a connection marked usable unless the answer was read to its end. Input: a command in packets.

use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use dbmesh_model::topology::Consistency;
use dbmesh_wire::command::CommandCode;
use dbmesh_wire::relay::{Hops, Outcome, Progress, Relay, Shape};
use dbmesh_wire::status::Status;
use dbmesh_wire::track::{self, Item};

use super::Session;
use super::deadline::{INTERRUPTED, Watch};
use super::infile::{Infile, pass_file};
use super::leave::{Leave, TurnedAway};
use super::sharded::Told;
use super::writing::{write, write_in_turn};
use crate::backend::{Backend, BackendError, Flavor, LAST_GTID};
use crate::breaker::{Fate, is_of_server};
use crate::channel::{output_buffer, return_buffer};
use crate::client::Client;
use crate::control::{Control, Signals};
use crate::fault::Fault;
use crate::mirror::Tally;
use crate::position::Position;
use crate::registry::Begun;
use crate::replay::{Fingerprint, Journal};
use crate::turns::Lane;
use crate::upstream::{Member, Upstream};

/// How a command's exchange broke.
#[derive(Debug)]
pub(super) enum Lost {
    /// The client went away.
    Client,
    /// The client went away while the server was at work, which is of no use to anybody any more.
    ClientGone,
    /// The session was told to end.
    Stopped,
    /// KILL QUERY came before anything was sent.
    Interrupted,
    /// The statement's time was up, and its server did not end it.
    Overdue,
    /// The connection broke; an error can be sent.
    Backend {
        /// How.
        error: BackendError,
        /// Whether the client has seen part of the answer, or the server may have more than begun.
        came: bool,
    },
    /// The connection broke in the middle of a packet to the client.
    Cut(BackendError),
    /// The server takes no writes and said so at once; the client has not been told.
    TurnedAway(TurnedAway),
    /// The server lost the place of the primary before the command was sent.
    NotSent,
    /// The exchange was refused half-way: the connection is closed, the client told.
    Refused(Fault),
}

impl Lost {
    /// Before anything came back.
    pub(super) fn before(error: BackendError) -> Self {
        Self::Backend { error, came: false }
    }

    /// Whether nothing of the answer came.
    pub(super) fn nothing_came(&self) -> bool {
        matches!(
            self,
            Self::Backend {
                error: BackendError::Lost(_),
                came: false
            }
        )
    }
}

/// A command as it goes to the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'a> {
    /// In packets: one write.
    Packets(&'a [u8]),
    /// The payload alone, too large to copy.
    Payload(&'a [u8]),
}

/// Payloads from this size on are not copied, in bytes.
pub(super) const LARGE_BYTES: usize = 1 << 20;

impl Session {
    /// Sends a command and relays its answer.
    pub(super) async fn exchange(
        &mut self,
        command: Command<'_>,
        shape: Shape,
        infile: &Infile,
        leave: Leave,
    ) -> Result<Outcome, Lost> {
        self.assure_place()?;
        let away = self.is_away();
        let (Some(lease), Some(member)) = (&mut self.lease, &self.member) else {
            return Err(Lost::Refused(Fault::NoEndpoint("no connection".into())));
        };
        let pool = lease.pool().clone();
        let handle = self.registered.handle.clone();
        let backend = lease.backend().map_err(Lost::before)?;
        if handle.begin_execution(&pool, backend.thread_id) == Begun::Interrupted {
            return Err(Lost::Interrupted);
        }
        let mut watch = Watch::new(
            self.demand.deadline,
            self.demand.late,
            &handle,
            &self.state.vector,
        );
        // Whoever fences it later sees this statement under way.
        if pool.standing.is_fenced() {
            handle.end_execution().await;
            return Err(Lost::NotSent);
        }
        if let Some(tally) = &mut self.tally {
            tally.restart();
        }
        let (work, started) = (member.begin(), Instant::now());
        let warnings = u16::try_from(self.governed.warned.len()).unwrap_or(u16::MAX);
        let parts = Parts {
            backend,
            warnings,
            lane: &self.serving.lane,
            client: &mut self.client,
            control: &handle.control,
            leave,
            witness: (self.serving.upstream.splitting())
                .filter(|s| s.consistency == Consistency::Global && !away)
                .map(|_| &*self.serving.upstream),
            watch: &mut watch,
            tally: self.tally.as_deref_mut(),
            fingerprint: (self.replay.as_deref_mut()).and_then(Journal::begin_exchange),
            told: self.sharded.as_ref().map(|s| s.told()).unwrap_or_default(),
        };
        let result = relay(parts, self.state.status, command, shape, infile).await;
        let ended = Instant::now();
        self.answered = ended;
        self.noted.executed(member, started..ended, &result);
        let seen = |tally: &Tally| Some(tally.seen(result.as_ref().ok()?, ended - started));
        self.seen = self.tally.as_deref().and_then(seen);
        drop(work);
        let struck = handle.end_execution().await;
        if struck && spared(&result) {
            // A KILL that came too late for this statement would end the next one: a ping takes it.
            let ping = backend.run(&[CommandCode::Ping as u8], Shape::Single);
            let _ = ping.await.map_err(Lost::before)?;
            self.state.diagnostics.row_count_only_here = true;
        }
        // A busy connection is never shared again, so that this KILL can hit nobody else.
        if abandoned(&result) && !backend.is_idle() {
            // A closed socket does not end a statement on the server.
            self.kill_connection();
        }
        self.tell_overdue(&watch, result)
    }
}

/// Tells the balancer and the breaker.
pub(super) fn note_fate(member: &Member, result: &Result<Outcome, Lost>, took: Duration) {
    member.took(took);
    if let Some(fate) = fate(result, took) {
        member.pool.note(fate);
        member.pool.health.breaker.note(fate);
    }
}

/// What the exchange says of its server; nothing if it ended for another's sake.
fn fate(result: &Result<Outcome, Lost>, took: Duration) -> Option<Fate> {
    match result {
        Ok(outcome) if outcome.error.is_some_and(is_of_server) => Some(Fate::Failed),
        Ok(outcome) if outcome.error == Some(INTERRUPTED) => None,
        Ok(_) => Some(Fate::Answered(took)),
        Err(Lost::Backend { .. } | Lost::Cut(_) | Lost::Overdue) => Some(Fate::Failed),
        Err(_) => None,
    }
}

/// Whether a KILL that was aimed at the command has not hit it.
fn spared(result: &Result<Outcome, Lost>) -> bool {
    match result {
        Ok(outcome) => outcome.error != Some(INTERRUPTED),
        Err(Lost::TurnedAway(_)) => true,
        Err(_) => false,
    }
}

/// Whether nobody waits for the answer any more.
fn abandoned(result: &Result<Outcome, Lost>) -> bool {
    use Lost::{ClientGone, Overdue, Stopped};
    matches!(result, Err(ClientGone | Stopped | Overdue))
}

/// Who takes part in an exchange.
struct Parts<'a> {
    backend: &'a mut Backend,
    /// Warnings that the answer counts beside the server's.
    warnings: u16,
    client: &'a mut Client,
    /// The turns that a long answer takes.
    lane: &'a Lane,
    control: &'a Control,
    leave: Leave,
    /// Who must know of a write before the client does.
    witness: Option<&'a Upstream>,
    /// Sees to the statement's deadline.
    watch: &'a mut Watch,
    /// Sums up the rows, for a copy to be compared with.
    tally: Option<&'a mut Tally>,
    /// Takes the fingerprint of the answer, for its transaction to be executed again.
    fingerprint: Option<&'a mut Fingerprint>,
    /// What the client is told otherwise than the server says it.
    told: Told,
}

async fn relay(
    mut parts: Parts<'_>,
    status: Status,
    command: Command<'_>,
    shape: Shape,
    infile: &Infile,
) -> Result<Outcome, Lost> {
    let limit = parts.watch.limit();
    let Parts {
        backend,
        warnings,
        client,
        control,
        told,
        ..
    } = &mut parts;
    let sending = async {
        match command {
            Command::Packets(packets) => backend.send(packets).await,
            Command::Payload(payload) => backend.send_large(payload).await,
        }
    };
    sent(guarded(control, limit, pin!(sending)).await)?;
    let mut relay = Relay::new(
        shape,
        Hops {
            backend: backend.capabilities,
            client: client.capabilities,
            backend_seq: backend.answer_seq(),
            client_seq: client.seq,
            status,
            numbering: backend.channel().numbering(),
            filter: client.tracking.filter(),
            more: status.intersection(Status::MORE_RESULTS),
            names: told.names.take(),
        },
    );
    relay.add_warnings(*warnings);
    relay.set_insert_id(told.insert_id);
    let mut out = output_buffer();
    let first_seq = client.seq;
    let result = pump(&mut parts, &mut relay, &mut out, infile).await;
    return_buffer(out);
    parts.client.seq = match result {
        Err(Lost::TurnedAway(_)) => first_seq,
        _ if parts.watch.is_speaking() => first_seq,
        _ => relay.sequence().1,
    };
    match result {
        Ok(()) => {
            if parts.watch.is_speaking() {
                let told = parts.client.fault(&parts.watch.fault()).await;
                told.map_err(|_| Lost::Client)?;
            }
            Ok(relay.into_outcome())
        }
        Err(Lost::Overdue) if !relay.at_boundary() && !parts.watch.is_speaking() => {
            let slow = io::ErrorKind::TimedOut.into();
            Err(Lost::Cut(BackendError::Lost(slow)))
        }
        Err(Lost::Backend { error, .. }) if !relay.at_boundary() => Err(Lost::Cut(error)),
        Err(Lost::Backend { error, came }) => Err(Lost::Backend {
            error,
            came: came || relay.started(),
        }),
        Err(other) => Err(other),
    }
}

/// What came of sending a command.
fn sent(done: Done<Result<(), BackendError>>) -> Result<(), Lost> {
    match done {
        Done::Io(sent) => sent.map_err(Lost::before),
        Done::Stopped => Err(Lost::Stopped),
        // A server that has only a part of a command does not execute it.
        Done::TooSlow => Err(Lost::Overdue),
    }
}

/// How an I/O that others may stop came out.
pub(super) enum Done<T> {
    /// It ended by itself.
    Io(T),
    /// The session was killed, or the drain's time is up.
    Stopped,
    /// It took too long.
    TooSlow,
}

/// Runs an I/O until it ends, the session is told to end, or the time is up. Costs nothing while the I/O is ready. It comes
/// pinned: a future handed on by value would take its room in the session twice more.
pub(super) async fn guarded<T>(
    control: &Control,
    limit: Option<Duration>,
    mut io: Pin<&mut impl Future<Output = T>>,
) -> Done<T> {
    let mut timer: Option<std::pin::Pin<Box<tokio::time::Sleep>>> = None;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = io.as_mut().poll(cx) {
            return Poll::Ready(Done::Io(done));
        }
        if control
            .poll(Signals::KILL.and(Signals::CLOSE), cx)
            .is_ready()
        {
            return Poll::Ready(Done::Stopped);
        }
        if let Some(limit) = limit {
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Done::TooSlow);
            }
        }
        Poll::Pending
    })
    .await
}

/// Runs an I/O until it ends; `None` when the session was told to end before.
pub(super) async fn unless_stopped<T>(
    control: &Control,
    io: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    match guarded(control, None, io).await {
        Done::Io(done) => Some(done),
        Done::Stopped | Done::TooSlow => None,
    }
}

/// What came first while an answer was due.
enum Waited {
    /// Something of the server.
    Filled(io::Result<usize>),
    /// The client went away.
    ClientGone,
    /// The server is not to be waited for any more.
    Cut,
}

async fn pump(
    parts: &mut Parts<'_>,
    relay: &mut Relay,
    out: &mut Vec<u8>,
    infile: &Infile,
) -> Result<(), Lost> {
    let (leave, witness) = (parts.leave, parts.witness);
    let Parts {
        backend,
        client,
        control,
        watch,
        tally,
        lane,
        fingerprint,
        ..
    } = parts;
    let (mut told, mut witnessed, mut passed) = (false, 0, 0);
    loop {
        let channel = backend.channel();
        let fed = relay.feed(channel.inbox().unread(), out);
        let (taken, progress) = match fed {
            Ok(fed) => fed,
            Err(e) => {
                // What went before the broken packet is the client's: only behind it stands an error at its place.
                write(client, control, out).await?;
                return Err(Lost::Backend {
                    error: e.into(),
                    came: true,
                });
            }
        };
        channel.consume(taken);
        if progress == Progress::Done {
            // The answer is whole: the connection is good whatever becomes of the client.
            backend.answered(relay.outcome().status);
            if !told && let Some(turned) = leave.turned_away(relay.outcome(), out) {
                return Err(Lost::TurnedAway(turned));
            }
            watch.speak_for(relay.outcome().error, told);
        }
        if let Some(upstream) = witness {
            witnessed = witness_writes(upstream, backend, relay.outcome(), witnessed);
            if progress == Progress::Done && leave.unreported(relay.outcome(), backend) {
                upstream.note_written(&Position::Unknown);
            }
        }
        told |= meant_for_client(watch, (tally.as_deref_mut(), fingerprint), out);
        write_in_turn((client, lane), control, out, &mut passed).await?;
        match progress {
            Progress::Done => return Ok(()),
            Progress::More => {}
            Progress::LocalInfile(name) => {
                let limit = watch.limit();
                pass_file(backend, client, control, limit, (relay, &name, infile)).await?;
                told = true;
            }
        }
        let limit = watch.limit();
        if limit == Some(Duration::ZERO) {
            watch.strike(told)?;
            continue;
        }
        let cut_by = match relay.started() || told {
            true => Signals::FENCED,
            false => leave.cut_by(),
        };
        more(backend, client, control, cut_by, limit).await?;
    }
}

/// Leaves in `out` what the client gets, and says whether that is anything.
fn meant_for_client(
    watch: &Watch,
    (tally, fingerprint): (Option<&mut Tally>, &mut Option<&mut Fingerprint>),
    out: &mut Vec<u8>,
) -> bool {
    if watch.is_speaking() {
        out.clear();
    }
    if let Some(tally) = tally {
        tally.feed(out);
    }
    if let Some(fingerprint) = fingerprint {
        fingerprint.feed(out);
    }
    !out.is_empty()
}

/// Waits for more of an answer.
async fn more(
    backend: &mut Backend,
    client: &mut Client,
    control: &Control,
    cut_by: Signals,
    limit: Option<Duration>,
) -> Result<(), Lost> {
    let answer = std::future::poll_fn(|cx| {
        if let Poll::Ready(filled) = backend.channel().poll_fill(cx) {
            return Poll::Ready(Waited::Filled(filled));
        }
        if client.channel.poll_gone(cx).is_ready() {
            return Poll::Ready(Waited::ClientGone);
        }
        control.poll(cut_by, cx).map(|_| Waited::Cut)
    });
    let error = match guarded(control, limit, pin!(answer)).await {
        Done::Io(Waited::Filled(Ok(filled))) if filled > 0 => return Ok(()),
        Done::Io(Waited::Filled(Ok(_))) => io::ErrorKind::UnexpectedEof.into(),
        Done::Io(Waited::Filled(Err(e))) => e,
        Done::Io(Waited::Cut) => io::ErrorKind::ConnectionAborted.into(),
        Done::Io(Waited::ClientGone) => return Err(Lost::ClientGone),
        Done::Stopped => return Err(Lost::Stopped),
        // Who watches the clock says what comes of it.
        Done::TooSlow => return Ok(()),
    };
    Err(Lost::before(BackendError::Lost(error)))
}

/// Lets everybody know of what was written, before the client does; gives how much of the report was taken in.
fn witness_writes(upstream: &Upstream, backend: &Backend, outcome: &Outcome, from: usize) -> usize {
    if !backend.facts.tracks_gtids {
        upstream.note_written(&Position::Unknown);
    }
    let mut position = Position::Start;
    for item in track::items(outcome.tracked.get(from..).unwrap_or_default()) {
        match item {
            Ok(Item::Gtids(gtids)) => position.note(gtids, Flavor::MySql),
            Ok(Item::SystemVariable { name, value }) if name == LAST_GTID.as_bytes() => {
                position.note(value, Flavor::MariaDb);
            }
            Ok(_) => {}
            Err(_) => position = Position::Unknown,
        }
    }
    upstream.note_written(&position);
    outcome.tracked.len()
}
