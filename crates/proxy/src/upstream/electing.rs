//! The election of a service's primary, and what must be on the disk before it holds.
//!
//! Owns the carrying out of `election::decide`: who is deposed, who is fenced, what is written down first. It must never let
//! two servers take writes, nor one write before it is known for good who must not. Input: what the monitor saw, the state
//! file.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dbmesh_model::topology::Role;

use super::{Member, Seen, Upstream};
use crate::control::Signals;
use crate::election::{Decision, Place, Report, decide, is_fenced};
use crate::recall::{Known, Recall, name_of};

/// A promise that is on its way to the disk, or there.
#[derive(Debug, Default)]
pub(super) struct Promised {
    known: Option<Known>,
    kept: bool,
}

/// How long the first election waits for servers that have not said anything yet.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long a server waits to be the primary for a disk that does not answer.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

impl Upstream {
    /// Decides who is the primary, from what the servers report. The one confirmed first stays until it cannot be reached
    /// or does not take writes any more; others that would take them are fenced meanwhile. One that lost its place without
    /// giving it up stays fenced until it has reported that it takes no writes: it may miss what was written since.
    ///
    /// It looks at everybody each time: whoever looked before may have looked for an upstream that is no more.
    pub fn judge(&self, seen: Seen) {
        let elected = self.reports_roles() && !self.is_retired() && self.elect();
        if elected || seen == Seen::Changed {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    /// Who is the primary or was it last, and who lost its place; none where roles are not reported.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        if !self.reports_roles() {
            return None;
        }
        let last = self.primary.lock().last;
        let deposed = self.members.iter().filter(|m| m.pool.standing.is_deposed());
        Some(Known {
            primary: last
                .and_then(|at| self.members.get(at))
                .map(|m| name_of(&m.endpoint)),
            deposed: deposed.map(|m| name_of(&m.endpoint)).collect(),
        })
    }

    /// The same, from before a restart. It makes nobody the primary.
    pub fn recall(&self, known: &Known) {
        if !self.reports_roles() {
            return;
        }
        let place = |name: &String| {
            let mut members = self.members.iter();
            members.position(|m| name_of(&m.endpoint) == *name)
        };
        for name in &known.deposed {
            if let Some(member) = place(name).and_then(|at| self.members.get(at)) {
                tracing::warn!(endpoint = %member.endpoint.name, "it lost the place of the primary before this start");
                member.pool.standing.depose();
            }
        }
        let primary = known.primary.as_ref();
        self.primary.lock().last = primary.and_then(place);
    }

    fn report(&self, at: usize) -> Option<Report> {
        let standing = &self.members.get(at)?.pool.standing;
        Some(Report {
            writable: standing.is_up() && standing.role() == Some(Role::Primary),
            deposed: standing.is_deposed(),
            was_writable: standing.last_role() == Some(Role::Primary),
        })
    }

    /// From now on, who is deposed is written down there first.
    pub fn write_down_in(&self, recall: &Arc<Recall>) {
        if self.reports_roles() {
            let _ = self.recall.set(recall.clone());
        }
    }

    /// Whether it is on the disk that `new` is the primary and who was deposed; sees to it if not. A disk that fails keeps
    /// nobody from being the primary: that is in the log.
    fn is_written_down(&self, new: &Member) -> bool {
        let Some(recall) = self.recall.get() else {
            return true;
        };
        let deposed = self.members.iter().filter(|m| m.pool.standing.is_deposed());
        let known = Known {
            primary: Some(name_of(&new.endpoint)),
            deposed: deposed.map(|m| name_of(&m.endpoint)).collect(),
        };
        let mut promised = self.promised.lock();
        if promised.known.as_ref() == Some(&known) {
            return promised.kept;
        }
        *promised = Promised {
            known: Some(known.clone()),
            kept: false,
        };
        let (recall, label) = (recall.clone(), self.service.label());
        let (promise, suspicion) = (self.promised.clone(), self.suspicion.clone());
        tokio::spawn(async move {
            let text = known.clone();
            let writing = tokio::task::spawn_blocking(move || recall.promise(&label, &text));
            if tokio::time::timeout(DISK_PATIENCE, writing).await.is_err() {
                tracing::error!("the disk of the state file does not answer: it is not waited for");
            }
            let mut promised = promise.lock();
            if promised.known == Some(known) {
                promised.kept = true;
            }
            drop(promised);
            suspicion.send_modify(|n| *n += 1);
        });
        false
    }

    /// Whether the first election is too early: servers have not said yet what they are, and who has which transactions.
    fn is_early(&self) -> bool {
        self.begun.elapsed() < FIRST_LOOK
            && self.members.iter().any(|m| !m.pool.standing.was_probed())
    }

    /// Says whether another one is the primary now, or none.
    fn elect(&self) -> bool {
        let mut primary = self.primary.lock();
        let before = *primary;
        if before == Place::default() && self.is_early() {
            return false;
        }
        let standing = |at: usize| self.members.get(at).map(|m| &m.pool.standing);
        let covers = |one, other| standing(one)?.has_all_of(standing(other)?);
        let decision = decide(before, |at| self.report(at), self.members.len(), covers);
        *primary = decision.place;
        if let Some(member) = decision.depose.and_then(|at| self.members.get(at)) {
            member.pool.standing.depose();
            let new = decision.place.now.and_then(|at| self.members.get(at));
            if new.is_some_and(|new| !self.is_written_down(new)) {
                // Nobody writes before it is on the disk that the other one must not.
                *primary = Place {
                    now: None,
                    last: before.last,
                };
            }
        }
        if self.diverged.swap(decision.diverged, Ordering::Relaxed) != decision.diverged
            && decision.diverged
        {
            let service = &self.service.database;
            tracing::error!(%service, "several servers take writes, and each has transactions that another one lacks: none is the primary");
        }
        self.fence_others(&decision);
        if primary.now != before.now {
            self.elections.fetch_add(1, Ordering::Relaxed);
            match primary.now.and_then(|at| self.members.get(at)) {
                Some(new) => {
                    // What was known of it is from before it had caught up.
                    new.pool.standing.forget_known();
                    tracing::info!(endpoint = %new.endpoint.name, "this is the primary now");
                }
                None => tracing::warn!(service = %self.service.database, "there is no primary"),
            }
        }
        primary.now != before.now
    }

    fn fence_others(&self, decision: &Decision) {
        for (at, member) in self.members.iter().enumerate() {
            if let Some(report) = self.report(at) {
                self.fence(member, is_fenced(decision, at, report));
            }
        }
    }

    fn fence(&self, member: &Member, fenced: bool) {
        let standing = &member.pool.standing;
        if !standing.set_fenced(fenced) {
            return;
        }
        let endpoint = &member.endpoint.name;
        if fenced {
            tracing::warn!(%endpoint, "fenced: another server is the primary");
            // What it answers from now on was not seen by the primary.
            self.registry.say_at(standing, Signals::FENCED);
        } else {
            tracing::info!(%endpoint, "no longer fenced");
        }
    }

    /// Whether several take writes, and none has all transactions of the others.
    pub(crate) fn is_diverged(&self) -> bool {
        self.diverged.load(Ordering::Relaxed)
    }
}
