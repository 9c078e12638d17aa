//! One connection that works on a statement's parts, one after the other.
//!
//! Owns the connection while it does. What is dropped in the middle of an answer is ended on its server as well: a closed
//! socket does not end a statement there. Input: a leased connection in the session's state.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dbmesh_wire::codec;
use dbmesh_wire::command::{Parameter, put_bound};
use dbmesh_wire::relay::Outcome;

use super::part::{Part, Stage};
use crate::backend::{Backend, BackendError};
use crate::pool::Lease;
use crate::prepared::Key;
use crate::session::prepare_on;
use crate::upstream::Member;
use crate::vector::Vector;

/// One connection at work.
#[derive(Debug)]
pub struct Leg {
    lease: Option<Lease>,
    /// Whose endpoint.
    pub member: Arc<Member>,
    /// Which source.
    pub source: usize,
    /// Numbers of the statements that it has not begun.
    pub queue: VecDeque<usize>,
    /// The statement at work, with its answer.
    pub running: Option<(usize, Part)>,
    /// Something was said of its session's state that nobody explains.
    pub unclean: bool,
    /// It was said that something of its session changed, and not what.
    pub changed: bool,
    /// From its first statement's beginning to its last answer's end, so far.
    pub worked: Option<Range<Instant>>,
    began: Instant,
    vector: Arc<Vector>,
}

impl Leg {
    /// A connection that works on these statements.
    #[must_use]
    pub fn new(lease: Lease, member: Arc<Member>, source: usize, vector: Arc<Vector>) -> Self {
        Self {
            lease: Some(lease),
            member,
            source,
            queue: VecDeque::new(),
            running: None,
            unclean: false,
            changed: false,
            worked: None,
            began: Instant::now(),
            vector,
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// When it was closed.
    pub fn backend(&mut self) -> Result<&mut Backend, BackendError> {
        match &mut self.lease {
            Some(lease) => lease.backend(),
            None => Err(BackendError::Lost(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The endpoint's name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.member.endpoint.name.as_str()
    }

    /// A statement begins now.
    fn note_beginning(&mut self) {
        drop(self.member.begin());
        self.began = Instant::now();
        self.worked.get_or_insert(self.began..self.began);
    }

    /// Begins a statement.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn begin(&mut self, number: usize, sql: &[u8]) -> Result<(), BackendError> {
        self.note_beginning();
        let backend = self.backend()?;
        let payload = backend.query_payload(sql);
        let mut packets = Vec::with_capacity(payload.len() + codec::HEADER_BYTES);
        codec::put_packet(&mut packets, &mut 0, &payload);
        backend.send(&packets).await?;
        let part = Part::of(backend);
        self.running = Some((number, part));
        Ok(())
    }

    /// Begins a prepared statement, prepared here if it is not; gives the server's refusal to prepare it.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn begin_prepared(
        &mut self,
        number: usize,
        key: &Arc<Key>,
        values: &[Parameter<'_>],
        epoch: u64,
    ) -> Result<Option<Vec<u8>>, BackendError> {
        self.note_beginning();
        let backend = self.backend()?;
        let id = match backend.statements.find_or_pin(key) {
            Some(known) => known.id,
            None => match prepare_on(backend, key, epoch).await? {
                Ok((id, _)) => id,
                Err(payload) => return Ok(Some(payload)),
            },
        };
        if let Some(known) = backend.statements.find(key) {
            // The server remembers these types now, which nobody else has to know.
            known.types = None;
            known.executed = true;
        }
        let mut payload = Vec::new();
        put_bound(&mut payload, id, values, backend.capabilities);
        let mut packets = Vec::with_capacity(payload.len() + codec::HEADER_BYTES);
        codec::put_packet(&mut packets, &mut 0, &payload);
        backend.send(&packets).await?;
        let part = Part::of(backend);
        self.running = Some((number, part));
        Ok(None)
    }

    /// Reads on in the answer of the statement at work.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BackendError>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(Err(BackendError::Lost(io::ErrorKind::NotConnected.into())));
        };
        let (Ok(backend), Some((_, part))) = (lease.backend(), &mut self.running) else {
            return Poll::Pending;
        };
        match std::task::ready!(backend.channel().poll_fill(cx)) {
            Ok(0) => Poll::Ready(Err(BackendError::Lost(io::ErrorKind::UnexpectedEof.into()))),
            Ok(_) => {
                let taken = part.take_in(backend);
                if part.stage() == Stage::Done {
                    let now = Instant::now();
                    self.member.took(now - self.began);
                    if let Some(worked) = &mut self.worked {
                        worked.end = now;
                    }
                }
                Poll::Ready(taken)
            }
            Err(e) => Poll::Ready(Err(e.into())),
        }
    }

    /// Runs a statement whose rows are of no use.
    ///
    /// # Errors
    /// When the connection breaks; the server's error is the inner one.
    pub async fn run(
        &mut self,
        sql: &[u8],
    ) -> Result<crate::backend::Answer<Outcome>, BackendError> {
        let backend = self.backend()?;
        let payload = backend.query_payload(sql);
        let answer = backend
            .run(&payload, dbmesh_wire::relay::Shape::Results)
            .await?;
        Ok(answer.map(|(outcome, _)| outcome))
    }

    /// Ends the statement at work on its server, and reads its answer to the end: what was begun before it stays. False if
    /// that takes longer, or the connection breaks.
    pub async fn calm(&mut self, limit: Duration) -> bool {
        self.queue.clear();
        if self.running.is_none() {
            return self.is_idle();
        }
        let ended = tokio::time::timeout(limit, self.break_off()).await;
        matches!(ended, Ok(Ok(()))) && self.is_idle()
    }

    async fn break_off(&mut self) -> Result<(), BackendError> {
        let backend = self.backend()?;
        if !backend.is_idle() {
            let sql = format!("KILL QUERY {}", backend.thread_id);
            let pool = self.member.pool.clone();
            let killed = pool.run_aside(&self.vector, &sql).await;
            killed.map_err(|e| BackendError::Lost(io::Error::other(e.to_string())))?;
        }
        while let Some((_, part)) = &mut self.running {
            part.take_rows();
            if part.stage() == Stage::Done {
                self.running = None;
            } else {
                std::future::poll_fn(|cx| self.poll_read(cx)).await?;
            }
        }
        // A KILL that came too late would end the next statement: this one takes it.
        let ping = [dbmesh_wire::command::CommandCode::Ping as u8];
        let backend = self.backend()?;
        let _ = backend
            .run(&ping, dbmesh_wire::relay::Shape::Single)
            .await?;
        Ok(())
    }

    /// Takes the connection out, or puts one in.
    pub fn swap_lease(&mut self, lease: Option<Lease>) -> Option<Lease> {
        std::mem::replace(&mut self.lease, lease)
    }

    /// Whether nothing of an answer is due.
    pub fn is_idle(&mut self) -> bool {
        self.backend().is_ok_and(|backend| backend.is_idle())
    }

    /// The connection, to be kept or given back: only when nothing of an answer is due.
    pub fn into_lease(mut self) -> Option<Lease> {
        if !self.is_idle() {
            return None;
        }
        if let Ok(backend) = self.backend() {
            // Its statements may have changed it.
            backend.last_insert_id = None;
        }
        self.lease.take()
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        let Some(lease) = &mut self.lease else {
            return;
        };
        let pool = lease.pool().clone();
        let Ok(backend) = lease.backend() else {
            return;
        };
        if backend.is_idle() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (sql, vector) = (format!("KILL {}", backend.thread_id), self.vector.clone());
        tokio::spawn(async move { pool.run_aside(&vector, &sql).await });
    }
}
