//! What is left of a transaction whose COMMIT was answered when it was decided: the other nodes hear of it meanwhile.
//!
//! Owns the task that tells them, which the end of the process waits for, and the session's memory of it: before the
//! session's next statement at such a node it waits until that node has committed, so that a session sees its own work. It
//! must never keep a session for longer than a step of a commit may take. Input: a commit that is decided.

use std::sync::Arc;
use std::time::Duration;

use dbmesh_commit::{Action, Answers, Commit};
use tokio::sync::oneshot;

use super::super::super::Session;
use super::ending::{Driven, drive, give_back, reports};
use super::{Part, sharded_place};
use crate::backend::Flavor;
use crate::position::Position;
use crate::state::Warnings;
use crate::upstream::Upstream;

/// How long a statement waits for the session's own commit; beyond it, a resolver finishes what is left.
const LEFT_TIMEOUT: Duration = Duration::from_secs(10);

/// Nodes that hear of a decision.
#[derive(Debug)]
pub(in super::super) struct Left {
    /// Which; none after their numbers may have changed: then it is waited for wherever the session goes.
    sources: Option<Vec<usize>>,
    /// What they reported, when all of them have answered.
    told: oneshot::Receiver<Vec<(usize, String)>>,
}

impl Left {
    /// After a reload.
    pub fn anywhere(mut self) -> Self {
        self.sources = None;
        self
    }

    fn concerns(&self, source: usize) -> bool {
        let sources = self.sources.as_ref();
        sources.is_none_or(|sources| sources.contains(&source))
    }
}

impl Session {
    /// It is decided, and the client is told; the branches hear it meanwhile. When the process dies before they do, a
    /// resolver tells them.
    pub(super) fn leave_decided(
        &mut self,
        commit: Commit,
        actions: Vec<Action>,
        mut parts: Vec<Part>,
        upstreams: Vec<Arc<Upstream>>,
    ) {
        for (source, gtid) in reports(&mut parts) {
            self.note_written_at(source, &gtid);
        }
        let sources: Vec<usize> = parts.iter().skip(1).map(|part| part.source).collect();
        // Their commits have no names yet: until they have, reads that must see them ask the primary.
        for source in &sources {
            self.note_position_at(*source, &Position::Unknown);
        }
        self.note_ends(|ends| &ends.committed);
        self.state.diagnostics.warnings = Warnings::None;
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        let atomic = sharded.home.atomic.clone();
        let (tell, told) = oneshot::channel();
        // As many as there are nodes at most: this transaction has waited for what an earlier one had left at its own.
        let sources = Some(sources);
        sharded.left.push(Left { sources, told });
        let gtrid = *commit.gtrid();
        // The end of the process waits for it as for a session.
        let guard = self.process.sessions_drain.guard();
        tokio::spawn(async move {
            let _guard = guard;
            let to_the_end = Answers::AfterBranches;
            let driven = drive(commit, actions, &mut parts, &upstreams, to_the_end).await;
            let finished = matches!(driven, Driven::Ended { finished: true, .. });
            // Where a resolver commits what is left, the promise's name says nothing of that.
            let reported = match finished {
                true => reports(&mut parts),
                false => Vec::new(),
            };
            give_back(parts);
            for (source, gtid) in &reported {
                let mut position = Position::Start;
                position.note(gtid.as_bytes(), Flavor::MySql);
                if let Some(upstream) = upstreams.get(*source) {
                    upstream.note_written(&position);
                }
            }
            if let Some(atomic) = atomic.filter(|_| finished) {
                atomic.note_finished(gtrid);
            }
            // Nobody listens when the session has ended.
            let _ = tell.send(reported);
        });
    }

    /// Whether the session's place has yet to hear of a commit of the session.
    pub(in super::super::super) fn has_left(&self) -> bool {
        self.sharded.as_ref().is_some_and(|sharded| {
            let mut left = sharded.left.iter();
            left.any(|left| left.concerns(sharded.source))
        })
    }

    /// Waits until it has.
    pub(in super::super::super) async fn await_left(&mut self) {
        let here = sharded_place(self);
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        let (due, rest) = std::mem::take(&mut sharded.left)
            .into_iter()
            .partition(|left| left.concerns(here));
        sharded.left = rest;
        let due: Vec<Left> = due;
        let until = tokio::time::Instant::now() + LEFT_TIMEOUT;
        for left in due {
            let told = tokio::time::timeout_at(until, left.told).await;
            let (Ok(Ok(reported)), Some(_)) = (told, left.sources) else {
                continue;
            };
            for (source, gtid) in reported {
                self.note_written_at(source, &gtid);
            }
        }
    }
}
