//! One question of the protocol to one server, and what its answer means.
//!
//! Owns the translation between the machines' values and a connection. It must never take an answer that did not come for a
//! "no": that is [`Reply::Lost`]. Input: texts of `dbmesh_commit::sql`.

use std::time::Duration;

use dbmesh_commit::promise::{SETTINGS, Shortfall, shortfalls};
use dbmesh_commit::{Ack, Ask, Decision, Event, Gtrid, Listed, Reply, Undone, Xid, sql};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec;
use dbmesh_wire::command::{MultiStatements, put_set_option};
use dbmesh_wire::relay::{Outcome, Shape};
use dbmesh_wire::status::Status;
use dbmesh_wire::track::{self, Item};

use crate::backend::{Backend, BackendError, Cell, ConnectError, Flavor};
use crate::pool::Pool;

/// How long a step of a commit may take; then its connection is given up.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Error of a server for somebody who may not list prepared branches.
const XAER_RMERR_NO_RIGHT: u16 = 1401;
/// How long a question of the resolver may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection for the protocol's own questions, beside the pool.
pub(crate) async fn connect(pool: &Pool) -> Result<Backend, ConnectError> {
    let mut backend = pool.connect_aside().await?;
    let ready = backend.query(sql::RESOLVER_SESSION.as_bytes()).await;
    match ready {
        Ok(Ok(_)) => Ok(backend),
        Ok(Err(e)) => Err(ConnectError::Refused {
            code: e.code,
            message: e.message,
        }),
        Err(e) => Err(ConnectError::Unreachable(e.to_string())),
    }
}

/// Runs the texts of a step, sent at once. The first error counts.
pub(crate) async fn run_step(backend: &mut Backend, texts: &[String]) -> Reply {
    match tokio::time::timeout(STEP_TIMEOUT, run_all(backend, texts)).await {
        Ok(Ok(reply)) => reply,
        _ => Reply::Lost,
    }
}

/// Runs a text of several statements, of which a server executes none behind one that failed. Only the error of the first
/// is an error: behind it, nobody knows what came of the rest.
pub(crate) async fn run_chain(backend: &mut Backend, text: &str) -> Reply {
    match tokio::time::timeout(STEP_TIMEOUT, chained(backend, text)).await {
        Ok(Ok(reply)) => reply,
        _ => Reply::Lost,
    }
}

/// In one write: several statements are allowed, and forbidden again where they were before.
async fn chained(backend: &mut Backend, text: &str) -> Result<Reply, BackendError> {
    let allowed = backend.flags.0.contains(Capabilities::MULTI_STATEMENTS);
    let mut packets = Vec::new();
    let mut put = |payload: &[u8]| codec::put_packet(&mut packets, &mut 0, payload);
    let switch = |to| {
        let mut payload = Vec::new();
        put_set_option(&mut payload, to);
        payload
    };
    if !allowed {
        put(&switch(MultiStatements::On));
    }
    put(&backend.query_payload(text.as_bytes()));
    if !allowed {
        put(&switch(MultiStatements::Off));
    }
    backend.send(&packets).await?;
    if !allowed && let Err(e) = backend.read_answer(Shape::Single).await? {
        return Ok(Reply::Error(e.code));
    }
    // An error behind the first answer is none of this form: that is as good as no answer.
    let reply = match backend.read_answer(Shape::Results).await? {
        Ok((outcome, bytes)) => Reply::Done(ack(&outcome, &bytes)),
        Err(e) => Reply::Error(e.code),
    };
    if !allowed && backend.read_answer(Shape::Single).await?.is_err() {
        return Ok(Reply::Lost);
    }
    Ok(reply)
}

async fn run_all(backend: &mut Backend, texts: &[String]) -> Result<Reply, BackendError> {
    let mut packets = Vec::new();
    for text in texts {
        let payload = backend.query_payload(text.as_bytes());
        codec::put_packet(&mut packets, &mut 0, &payload);
    }
    backend.send(&packets).await?;
    let mut reply = Reply::Done(Ack::default());
    for _ in texts {
        let answer = backend.read_answer(Shape::Results).await?;
        if matches!(reply, Reply::Error(_)) {
            continue;
        }
        reply = match answer {
            Ok((outcome, bytes)) => Reply::Done(ack(&outcome, &bytes)),
            Err(e) => Reply::Error(e.code),
        };
    }
    Ok(reply)
}

fn ack(outcome: &Outcome, bytes: &[u8]) -> Ack {
    let gtid = track::items(&outcome.tracked).find_map(|item| match item {
        Ok(Item::Gtids(gtid)) => String::from_utf8(gtid.to_vec()).ok(),
        _ => None,
    });
    let rows = match outcome.result_sets {
        0 => Vec::new(),
        _ => crate::backend::rows_of(bytes).unwrap_or_default(),
    };
    Ack {
        affected: outcome.affected_rows,
        in_transaction: outcome.status.is_some_and(|s| s.contains(Status::IN_TRANS)),
        gtid,
        decision: number(&rows).and_then(Decision::of),
    }
}

/// Asks what the resolver wants to know.
pub(super) async fn ask(backend: &mut Backend, ask: &Ask) -> Event {
    match tokio::time::timeout(ASK_TIMEOUT, asked(backend, ask)).await {
        Ok(Ok(event)) => event,
        _ => Event::Lost,
    }
}

async fn asked(backend: &mut Backend, ask: &Ask) -> Result<Event, BackendError> {
    let text = match ask {
        Ask::Undone(_) => return undone(backend).await,
        Ask::Fence { gtrid, clock_s } => {
            return insert(backend, &sql::fence(gtrid, *clock_s)).await;
        }
        Ask::Recover(_) => sql::RECOVER.to_owned(),
        Ask::Read(gtrid) => sql::read_decision(gtrid),
        Ask::Finish(_, xid, verdict) => sql::finish(xid, *verdict),
        Ask::Holds(_, _, gtid) => sql::holds(gtid),
        Ask::Done(_, gtrids) => sql::done(gtrids),
    };
    let rows = match backend.query(text.as_bytes()).await? {
        Ok(rows) => rows,
        Err(e) => return Ok(Event::Error(e.code)),
    };
    Ok(match ask {
        Ask::Recover(_) => Event::Listed(Listed {
            branches: rows.iter().filter_map(|row| listed(row)).collect(),
        }),
        Ask::Read(_) => Event::Decision(number(&rows).and_then(Decision::of)),
        Ask::Holds(..) => Event::Holds(number(&rows) == Some(1)),
        _ => Event::Done,
    })
}

/// An insert that the server's clock may refuse: then it made no row, and nothing is known.
pub(super) async fn insert(backend: &mut Backend, text: &str) -> Result<Event, BackendError> {
    let payload = backend.query_payload(text.as_bytes());
    Ok(match backend.run(&payload, Shape::Results).await? {
        Ok((outcome, _)) if outcome.affected_rows == 1 => Event::Done,
        Ok(_) => Event::Lost,
        Err(e) => Event::Error(e.code),
    })
}

async fn undone(backend: &mut Backend) -> Result<Event, BackendError> {
    let clock = match backend.query(sql::CLOCK.as_bytes()).await? {
        Ok(rows) => number(&rows),
        Err(e) => return Ok(Event::Error(e.code)),
    };
    let text = sql::undone(dbmesh_commit::GRACE_MS);
    let rows = match backend.query(text.as_bytes()).await? {
        Ok(rows) => rows,
        Err(e) => return Ok(Event::Error(e.code)),
    };
    let row = |row: &Vec<Cell>| {
        Some(Undone {
            gtrid: Gtrid::from_hex(text_of(row, 0)?).ok()?,
            participants: sql::participants_of(text_of(row, 1)?),
        })
    };
    Ok(clock.map_or(Event::Lost, |clock_s| Event::Undone {
        clock_s,
        rows: rows.iter().filter_map(row).collect(),
    }))
}

fn listed(row: &[Cell]) -> Option<Xid> {
    let cell = |at| text_of(row, at);
    Xid::listed(cell(0)?, cell(1)?, cell(2)?, cell(3)?).ok()
}

pub(super) fn text_of(row: &[Cell], at: usize) -> Option<&str> {
    std::str::from_utf8(row.get(at)?.as_deref()?).ok()
}

fn number(rows: &[Vec<Cell>]) -> Option<u64> {
    text_of(rows.first()?, 0)?.parse().ok()
}

/// Removes some rows that are old enough; says whether there may be more.
pub(super) async fn purge(
    backend: &mut Backend,
    retention_hours: u64,
) -> Result<bool, BackendError> {
    let old = sql::purgeable(retention_hours);
    let Ok(rows) = backend.query(old.as_bytes()).await? else {
        return Ok(false);
    };
    let gtrid = |row: &Vec<Cell>| Gtrid::from_hex(text_of(row, 0)?).ok();
    let old: Vec<Gtrid> = rows.iter().filter_map(gtrid).collect();
    if !old.is_empty() {
        let _ = backend.query(sql::purge(&old).as_bytes()).await?;
    }
    Ok(old.len() >= sql::ROWS_PER_SWEEP_MAX)
}

/// What a server's settings and the account's rights lack for an atomic commit; it writes nothing.
pub(crate) async fn lacks(backend: &mut Backend) -> Result<Vec<Shortfall>, BackendError> {
    if backend.facts.flavor == Flavor::MariaDb {
        return Ok(vec![Shortfall::MariaDb]);
    }
    let mut found = match backend.query(SETTINGS.as_bytes()).await? {
        Ok(rows) => {
            let row = rows.first().map(Vec::as_slice).unwrap_or_default();
            let cells: Vec<&str> = (0..row.len())
                .map(|at| text_of(row, at).unwrap_or_default())
                .collect();
            shortfalls(&cells)
        }
        // A variable that it does not have: too old.
        Err(_) => vec![Shortfall::OldVersion],
    };
    if let Err(e) = backend.query(sql::RECOVER.as_bytes()).await?
        && e.code == XAER_RMERR_NO_RIGHT
    {
        found.push(Shortfall::NoXaRecoverAdmin);
    }
    Ok(found)
}

/// How many rows the prepared branches of a server hold.
pub(super) async fn locked_rows(backend: &mut Backend) -> Result<Option<u64>, BackendError> {
    let rows = backend.query(sql::LOCKED_ROWS.as_bytes()).await?;
    Ok(rows.ok().and_then(|rows| number(&rows)))
}

/// Whether a server has the table of decisions.
pub(crate) async fn has_schema(backend: &mut Backend) -> Result<bool, BackendError> {
    let rows = backend.query(sql::SCHEMA_PRESENT.as_bytes()).await?;
    let rows = rows.unwrap_or_default();
    Ok(rows.first().and_then(|row| text_of(row, 0)) == Some("1"))
}
