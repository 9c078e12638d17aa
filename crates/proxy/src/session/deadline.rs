//! The deadline of the statement at hand, while a server works on it.
//!
//! Owns the KILL QUERY that goes out when the time is up, and what the client is told. The aim is held until the KILL has
//! arrived, so that it hits this statement or nothing; a KILL that may still be on its way costs the connection. Input: the
//! relaying of an answer, whenever it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_wire::relay::Outcome;

use super::Session;
use super::demand::{Deadline, LateAnswer};
use super::exchange::Lost;
use crate::backend::BackendError;
use crate::fault::{Fault, Overdue};
use crate::registry::SessionHandle;
use crate::vector::Vector;

/// How long a KILL may take to arrive, and then the server to end the statement.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long after the deadline the connection is given up.
const GIVE_UP: Duration = Duration::from_secs(5);

/// ER_QUERY_INTERRUPTED.
pub(super) const INTERRUPTED: u16 = 1317;
/// ER_QUERY_TIMEOUT.
const QUERY_TIMEOUT: u16 = 3024;

impl Session {
    /// What came of a command, with what the client was told in place of its server's answer.
    pub(super) fn tell_overdue(
        &mut self,
        watch: &Watch,
        result: Result<Outcome, Lost>,
    ) -> Result<Outcome, Lost> {
        let mut outcome = result?;
        watch.doubt()?;
        if watch.is_speaking() {
            outcome.error = Some(QUERY_TIMEOUT);
            outcome.rows = 0;
            let fault = watch.fault();
            self.serving.metrics.overdue(&fault);
            self.told_overdue = Some(fault);
        }
        Ok(outcome)
    }

    /// SHOW WARNINGS lists what the client was told.
    pub(super) fn note_overdue(&mut self, outcome: &Outcome) {
        if outcome.error == Some(QUERY_TIMEOUT)
            && let Some(overdue) = self.told_overdue.take()
        {
            self.state.note_fault(&overdue);
        }
    }
}

/// Watches the clock while an answer comes.
#[derive(Debug)]
pub(super) struct Watch {
    deadline: Option<Deadline>,
    late: LateAnswer,
    handle: Arc<SessionHandle>,
    vector: Arc<Vector>,
    struck: Option<Struck>,
    /// The client is told that the time was up, instead of what the server says.
    speaks: bool,
}

/// A KILL that went out.
#[derive(Debug)]
struct Struck {
    give_up: Instant,
    /// It may not have arrived, or may arrive later.
    doubtful: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn new(
        deadline: Option<Deadline>,
        late: LateAnswer,
        handle: &Arc<SessionHandle>,
        vector: &Arc<Vector>,
    ) -> Self {
        Self {
            deadline,
            late,
            handle: handle.clone(),
            vector: vector.clone(),
            struck: None,
            speaks: false,
        }
    }

    /// How long an answer may be waited for.
    pub(super) fn limit(&self) -> Option<Duration> {
        let until = match (&self.struck, self.deadline) {
            (Some(struck), _) => struck.give_up,
            (None, Some(deadline)) => deadline.at,
            (None, None) => return None,
        };
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// The limit has passed; `told` says whether the client has part of the answer.
    pub(super) fn strike(&mut self, told: bool) -> Result<(), Lost> {
        if self.struck.is_some() {
            return Err(Lost::Overdue);
        }
        self.speaks = !told && self.late == LateAnswer::Dropped;
        let doubtful = Arc::new(AtomicBool::new(false));
        self.struck = Some(Struck {
            give_up: Instant::now() + GIVE_UP,
            doubtful: doubtful.clone(),
        });
        if let Some(aim) = self.handle.aim() {
            let vector = self.vector.clone();
            tokio::spawn(async move {
                let sql = format!("KILL QUERY {}", aim.thread_id);
                let killed =
                    tokio::time::timeout(KILL_TIMEOUT, aim.pool.run_aside(&vector, &sql)).await;
                if !matches!(killed, Ok(Ok(()))) {
                    doubtful.store(true, Ordering::Release);
                }
                drop(aim);
            });
        }
        Ok(())
    }

    /// Whether what the server says is not for the client.
    pub(super) fn is_speaking(&self) -> bool {
        self.speaks
    }

    /// If the server ended the statement as it was told to, and the client has nothing of an answer, it hears why.
    pub(super) fn speak_for(&mut self, error: Option<u16>, told: bool) {
        self.speaks |= !told && self.struck.is_some() && error == Some(INTERRUPTED);
    }

    /// What the client is told.
    pub(super) fn fault(&self) -> Fault {
        Fault::Overdue {
            limit_ms: self.deadline.map_or(0, |d| d.limit_ms),
            when: Overdue::Ended,
        }
    }

    /// Whether a KILL may still be on its way; known once none is aimed at the statement any more.
    pub(super) fn doubt(&self) -> Result<(), Lost> {
        let struck = self.struck.as_ref();
        if struck.is_some_and(|s| s.doubtful.load(Ordering::Acquire)) {
            let why = std::io::Error::other("a KILL may still be on its way to it");
            return Err(Lost::Cut(BackendError::Lost(why)));
        }
        Ok(())
    }
}
