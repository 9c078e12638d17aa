//! A leased connection in the state of its session.
//!
//! Owns what becomes of one that cannot be brought there. Input: a lease fresh from its pool.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dbmesh_plan::LastInsertId;

use super::demand::in_time;
use super::exchange::Lost;
use super::leave::Repeat;
use super::replaying::AtHand;
use super::{Failure, Session};
use crate::backend::{Applied, BackendError, ServerError};
use crate::fault::Fault;
use crate::pool::{Lease, Want};
use crate::state::LastId;
use crate::vector::Vector;

/// Why a connection is not in the session's state.
pub(super) enum NotReady {
    Fault(Fault),
    /// All but the schema is ready.
    Schema(Box<Lease>, ServerError),
    /// The connection was dead: another one may not be.
    Stale(Fault),
}

/// Why a statement was not sent on the connection at hand.
pub(super) enum Unsent {
    /// The connection broke on the way; what becomes of the session is not decided.
    Lost,
    Failure(Failure),
}

impl<T: Into<Failure>> From<T> for Unsent {
    fn from(failure: T) -> Self {
        Self::Failure(failure.into())
    }
}

/// Brings a leased connection to the session's state.
pub(super) async fn make_ready(
    lease: Lease,
    want: &Want<'_>,
    wait: Duration,
) -> Result<Lease, NotReady> {
    let mut lease = bring(lease, want, wait).await?;
    let (Some(since), Some(schema)) = (want.schema_since, &want.vector.schema) else {
        return Ok(lease);
    };
    let limit = Duration::from_millis(lease.pool().policy().connect_timeout_ms);
    let name = lease.pool().endpoint().name.to_string();
    let chosen = match lease.backend() {
        Ok(backend) if backend.schema_chosen < since => {
            let choosing = Box::pin(backend.choose_schema_again(schema));
            let chosen = tokio::time::timeout(limit, choosing).await;
            chosen.unwrap_or_else(|_| Err(timed_out()))
        }
        Ok(_) => return Ok(lease),
        Err(gone) => Err(gone),
    };
    match chosen {
        Ok(Ok(())) => Ok(lease),
        Ok(Err(e)) => Err(NotReady::Schema(Box::new(lease), e)),
        Err(e) => Err(dead(e, &name)),
    }
}

fn timed_out() -> BackendError {
    BackendError::Lost(std::io::ErrorKind::TimedOut.into())
}

fn dead(error: BackendError, name: &str) -> NotReady {
    NotReady::Stale(match error {
        BackendError::Protocol(what) => Fault::BackendProtocol {
            endpoint: name.to_owned(),
            what,
            state_lost: false,
        },
        BackendError::Lost(_) => Fault::BackendLost {
            endpoint: name.to_owned(),
            state_lost: false,
        },
    })
}

async fn bring(mut lease: Lease, want: &Want<'_>, wait: Duration) -> Result<Lease, NotReady> {
    if let Ok(backend) = lease.backend()
        && Vector::same(&backend.vector, want.vector)
    {
        // The very same, so that who compares them next need not look inside.
        backend.vector = want.vector.clone();
        return Ok(lease);
    }
    let name = lease.pool().endpoint().name.to_string();
    let dead = |e: BackendError| dead(e, &name);
    let limit = Duration::from_millis(lease.pool().policy().connect_timeout_ms);
    let backend = lease.backend().map_err(&dead)?;
    let applied = tokio::time::timeout(limit, backend.apply(want.vector)).await;
    let applied = applied.unwrap_or_else(|_| Err(timed_out()));
    match applied.map_err(&dead)? {
        Ok(Applied::Done) => {
            lease
                .pool()
                .counters
                .state_changes
                .fetch_add(1, Ordering::Relaxed);
            Ok(lease)
        }
        Ok(Applied::SchemaRefused(e)) => Err(NotReady::Schema(Box::new(lease), e)),
        Ok(Applied::NeedsNewConnection) => {
            let mut lease = lease.replace(want, wait).await.map_err(NotReady::Fault)?;
            let backend = lease.backend().map_err(&dead)?;
            match backend.apply(want.vector).await.map_err(&dead)? {
                Ok(Applied::Done) => Ok(lease),
                Ok(Applied::SchemaRefused(e)) => Err(NotReady::Schema(Box::new(lease), e)),
                Ok(Applied::NeedsNewConnection) => Err(NotReady::Fault(Fault::StateReplay {
                    code: 1105,
                    message: "a new connection does not have the session's state either".into(),
                })),
                Err(e) => Err(NotReady::Fault(Fault::StateReplay {
                    code: e.code,
                    message: e.message,
                })),
            }
        }
        Err(e) => Err(NotReady::Fault(Fault::StateReplay {
            code: e.code,
            message: e.message,
        })),
    }
}

impl Session {
    /// Makes LAST_INSERT_ID() right on the connection.
    pub(super) async fn restore_insert_id(&mut self, need: LastInsertId) -> Result<(), Unsent> {
        let Some(id) = self.insert_id_to_restore(need)? else {
            return Ok(());
        };
        let set = format!("SET last_insert_id = {id}");
        let deadline = self.demand.deadline;
        let backend = self.backend()?;
        let Some(answer) = in_time(deadline, pin!(backend.query(set.as_bytes()))).await else {
            return Err(self.lost(Lost::Overdue, None).into());
        };
        let backend = self.backend()?;
        match answer {
            Ok(Ok(_)) => {
                backend.last_insert_id = Some(id);
                Ok(())
            }
            Ok(Err(e)) => Err(Fault::StateReplay {
                code: e.code,
                message: e.message,
            }
            .into()),
            Err(e) => Err(self.unsent(e)),
        }
    }

    /// The connection broke before the statement was sent.
    pub(super) fn unsent(&mut self, error: BackendError) -> Unsent {
        match error {
            BackendError::Lost(_) => Unsent::Lost,
            error => self.lost(Lost::before(error), None).into(),
        }
    }

    /// The error for a statement that was not sent, where there is no other attempt.
    pub(super) fn not_sent(&mut self, unsent: Unsent) -> Failure {
        match unsent {
            Unsent::Lost => self.lost(Lost::NotSent, None),
            Unsent::Failure(failure) => failure,
        }
    }

    /// After a statement was not sent: either clears the way for another attempt, or gives the error.
    pub(super) async fn after_unsent(
        &mut self,
        unsent: Unsent,
        attempt: u32,
        at_hand: AtHand<'_>,
    ) -> Result<(), Failure> {
        match unsent {
            Unsent::Lost => {
                let never = (Repeat::Never, attempt);
                self.recover(Lost::NotSent, never, at_hand).await
            }
            Unsent::Failure(failure) => Err(failure),
        }
    }

    /// The session's LAST_INSERT_ID(), if the connection at hand has another one and it is needed.
    pub(super) fn insert_id_to_restore(
        &mut self,
        need: LastInsertId,
    ) -> Result<Option<u64>, Failure> {
        let auto_is_null = self
            .state
            .vector
            .variables
            .get("sql_auto_is_null")
            .is_some_and(|v| !matches!(v.as_ref(), b"0" | b"'OFF'"));
        let LastId::Known(id) = self.state.last_insert_id else {
            return Ok(None);
        };
        let known = self.backend()?.last_insert_id;
        let needless = (need == LastInsertId::Unread && !auto_is_null) || known == Some(id);
        Ok((!needless).then_some(id))
    }
}
