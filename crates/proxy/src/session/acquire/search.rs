//! What a statement has tried so far, on its way to a connection.
//!
//! Owns what one search remembers. Input: the choice among endpoints, and what came of each.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::Fault;
use crate::upstream::{InLine, Member, Scout, Upstream};

/// The search for a connection, for one statement.
pub(super) struct Search {
    /// How long it may wait for a connection of a pool.
    pub(super) limit: Duration,
    pub(super) left: Duration,
    pub(super) tried: Vec<Arc<Member>>,
    pub(super) stale: u32,
    /// Its place among those who wait for a primary, once it does.
    pub(super) line: Option<InLine>,
    /// How long it has waited there; this is not the pool's to count.
    pub(super) in_line: Duration,
    /// It tries a server that could not be reached, for all who wait.
    pub(super) scout: Option<Scout>,
    /// Why the last endpoint was none.
    pub(super) last: Option<Fault>,
    /// No replica was fresh enough.
    pub(super) only_primary: bool,
}

impl Search {
    /// The breaker of an endpoint is open.
    pub(super) fn spare(&mut self, member: Arc<Member>) -> Leased {
        self.last = Some(Fault::BreakerOpen(member.endpoint.name.to_string()));
        self.tried.push(member);
        Leased::NotThere
    }

    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            left: limit,
            tried: Vec::new(),
            stale: 0,
            line: None,
            in_line: Duration::ZERO,
            scout: None,
            last: None,
            only_primary: false,
        }
    }

    pub(super) fn has_tried(&self, member: &Arc<Member>) -> bool {
        self.tried.iter().any(|tried| Arc::ptr_eq(tried, member))
    }

    /// Whether the endpoint is left to another one who waits too: it could not be reached, and one attempt serves all.
    pub(super) fn leaves(&mut self, member: &Member, upstream: &Arc<Upstream>) -> bool {
        if self.line.is_none() || member.pool.health.failures() == 0 {
            return false;
        }
        self.scout = upstream.scout();
        self.scout.is_none()
    }

    /// Why there is no connection.
    pub(super) fn why(&mut self, upstream: &Upstream) -> Fault {
        let last = self.last.take();
        last.unwrap_or_else(|| Fault::NoEndpoint(upstream.why_no_primary()))
    }
}

/// Whether a lease came of an endpoint.
pub(super) enum Leased {
    Ready,
    NotThere,
    /// The statement's time is up.
    Overdue,
}
