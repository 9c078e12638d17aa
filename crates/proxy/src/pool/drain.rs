//! How a pool lets its connections go: for good, or while an operator drains the endpoint.
//!
//! Owns the two ways to empty a pool. It must never close a connection under a session: idle ones go at once, those that are
//! merely held are asked for, leased ones follow when they come back. Input: reloads, the admin page.
#![allow(
    clippy::vec_box,
    reason = "the pool keeps boxes, which move from hand to hand"
)]

use std::sync::atomic::Ordering;

use super::{Backend, Inner, Pool};
use crate::control::Signals;
use crate::standing::AdminState;

impl Pool {
    /// Lets idle connections go; leased ones follow when they come back.
    pub fn retire(&self) {
        let idle = {
            let mut inner = self.inner.lock();
            inner.retired = true;
            inner.let_go()
        };
        self.quit_all(idle);
    }

    /// Whether the pool was retired.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.inner.lock().retired
    }

    /// Whether an operator keeps it from new statements.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.standing.admin_state() == AdminState::Draining
    }

    /// From now on nobody gets a connection. Who waits for one looks for another endpoint.
    pub fn drain(&self) {
        // Before the lock: whoever holds it and has not seen this leaves an idle connection that is taken out now.
        self.standing.set_admin_state(AdminState::Draining);
        let (idle, waiters) = {
            let mut inner = self.inner.lock();
            (inner.let_go(), std::mem::take(&mut inner.waiters))
        };
        drop(waiters);
        self.quit_all(idle);
    }

    /// Closes the connections that nobody leases.
    pub fn shed_idle(&self) {
        let idle = self.inner.lock().let_go();
        self.quit_all(idle);
    }

    /// Connections are leased again.
    pub fn undrain(&self) {
        self.standing.set_admin_state(AdminState::Active);
    }

    fn quit_all(&self, idle: Vec<Box<Backend>>) {
        self.counters
            .closed
            .fetch_add(idle.len() as u64, Ordering::Relaxed);
        for backend in idle {
            tokio::spawn(backend.quit());
        }
    }
}

impl Inner {
    /// Takes out what is idle, and asks for what is merely held.
    fn let_go(&mut self) -> Vec<Box<Backend>> {
        let idle = std::mem::take(&mut self.idle);
        let count = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        self.total = self.total.saturating_sub(count);
        for (_, control) in self.held.drain(..) {
            control.say(Signals::RECLAIM);
        }
        idle
    }
}
