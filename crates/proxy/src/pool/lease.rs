//! A connection in a session's hands.
//!
//! Owns the connection until it is given back: dropped otherwise, it is closed. Input: the pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pool, Want};
use crate::backend::{Backend, BackendError};
use crate::control::{Control, Signals};
use crate::fault::Fault;

/// A connection leased from its pool.
#[derive(Debug)]
pub struct Lease {
    pub(super) pool: Arc<Pool>,
    pub(super) backend: Option<Box<Backend>>,
    /// The session that holds it until somebody asks.
    pub(super) held: Option<u64>,
}

impl Lease {
    /// The pool it came from.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The connection.
    ///
    /// # Errors
    /// When it was closed under this lease.
    pub fn backend(&mut self) -> Result<&mut Backend, BackendError> {
        self.backend
            .as_deref_mut()
            .ok_or_else(|| BackendError::Lost(std::io::ErrorKind::NotConnected.into()))
    }

    /// Gives the connection back, to be used by others.
    pub fn give_back(mut self) {
        if let Some(backend) = self.backend.take() {
            self.pool.put_back(backend);
        }
    }

    /// Opens another connection in place of this one.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub async fn replace(mut self, want: &Want<'_>, wait: Duration) -> Result<Self, Fault> {
        let pool = self.pool.clone();
        if let Some(old) = self.backend.take() {
            pool.counters.closed.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(old.quit());
        }
        pool.open(want, wait).await
    }

    /// Holds the connection only until somebody else needs it: the session is told to give it back.
    pub fn hold(&mut self, session: u64, control: &Arc<Control>) {
        self.held = Some(session);
        let mut inner = self.pool.inner.lock();
        if inner.waiters.is_empty() && !self.pool.is_draining() {
            inner.held.push_back((session, control.clone()));
        } else {
            control.say(Signals::RECLAIM);
        }
    }

    /// Whoever waits asks the next session that merely holds a connection.
    fn end_hold(&mut self) {
        let Some(session) = self.held.take() else {
            return;
        };
        let mut inner = self.pool.inner.lock();
        inner.held.retain(|(id, _)| *id != session);
        if !inner.waiters.is_empty()
            && let Some((_, next)) = inner.held.pop_front()
        {
            next.say(Signals::RECLAIM);
        }
    }

    /// Ends [`Self::hold`]: the session uses the connection again.
    pub fn unhold(&mut self, session: u64, control: &Arc<Control>) {
        if self.held.is_some_and(|holder| holder == session) {
            self.end_hold();
            control.clear(Signals::RECLAIM);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end_hold();
        if let Some(backend) = self.backend.take() {
            self.pool.close(backend);
        }
    }
}
