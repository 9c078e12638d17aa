//! The step of a statement that a server has at the moment, for who kills the statement.
//!
//! Owns the time in which a KILL QUERY goes to the step's connection. Must never leave one on its way: it would end what the
//! connection is used for next. Input: the connection, and what came of the step.

use std::sync::Arc;

use dbmesh_wire::command::{CommandCode, Parameter};
use dbmesh_wire::relay::{Outcome, Shape};

use super::super::deadline::INTERRUPTED;
use super::super::{Failure, Session};
use super::bound;
use super::gather::broken;
use crate::backend::{Answer, Backend};
use crate::fault::Fault;
use crate::pool::Lease;
use crate::registry::{Begun, SessionHandle};

/// A step at work.
#[derive(Debug)]
pub(super) struct Aimed(Arc<SessionHandle>);

impl Aimed {
    /// The step on this connection begins; not if the statement was interrupted before.
    pub fn begin(handle: &Arc<SessionHandle>, lease: &mut Lease) -> Result<Self, Failure> {
        let pool = lease.pool().clone();
        let backend = lease.backend().map_err(broken)?;
        match handle.begin_execution(&pool, backend.thread_id) {
            Begun::Runs => Ok(Self(handle.clone())),
            Begun::Interrupted => Err(Fault::Interrupted.into()),
        }
    }

    /// The step ended with this error of its server's, if any.
    pub async fn end(self, backend: &mut Backend, error: Option<u16>) -> Result<(), Failure> {
        let struck = self.0.end_execution().await;
        if !struck || error == Some(INTERRUPTED) {
            return Ok(());
        }
        if backend.is_idle() {
            // A KILL that came too late for the step would end the next: a ping takes it.
            let ping = [CommandCode::Ping as u8];
            let _ = backend.run(&ping, Shape::Single).await.map_err(broken)?;
        }
        Err(Fault::Interrupted.into())
    }
}

impl Session {
    /// Runs a statement at the connection at hand, where a KILL QUERY reaches it.
    pub(super) async fn run_step(
        &mut self,
        sql: &[u8],
        values: &[Parameter<'_>],
    ) -> Result<Answer<(Outcome, Vec<u8>)>, Failure> {
        let handle = self.handle().clone();
        let gone = || Failure::from(Fault::NoEndpoint("the connection is gone".into()));
        let lease = self.lease.as_mut().ok_or_else(gone)?;
        let aimed = Aimed::begin(&handle, lease)?;
        let backend = lease.backend().map_err(broken)?;
        let answer = bound::run(backend, sql, values).await;
        let error = answer.as_ref().ok();
        let error = error.and_then(|answer| answer.as_ref().err().map(|error| error.code));
        let ended = aimed.end(backend, error).await;
        let answer = answer.map_err(broken)?;
        ended.map(|()| answer)
    }
}

/// The server's error, of what came of a step.
pub(super) fn error_of<T>(done: &Result<T, Failure>) -> Option<u16> {
    match done {
        Err(Failure::Fault(Fault::Server { code, .. })) => Some(*code),
        _ => None,
    }
}
