//! The end of a transaction over several nodes: the machine's steps on the parts' connections.
//!
//! Owns the connections while they are told; each is given back, or closed if a step failed on it. It must never go on with a
//! step before all of the one before it were answered. Input: `dbmesh_commit::Commit`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dbmesh_commit::{Action, Answers, Cause, Commit, Outcome, Reply, Step, Xid};
use dbmesh_model::topology::sharding;
use dbmesh_wire::status::Status;

use super::super::super::{Failure, Session};
use super::{Joined, Part, machine, sharded_place, undoing};
use crate::atomic::{run_chain, run_step};
use crate::backend::{Backend, Flavor};
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::position::Position;
use crate::state::{Warning, Warnings};
use crate::upstream::{Need, Upstream};

pub(super) type Telling<'a> = Pin<Box<dyn Future<Output = (usize, Reply)> + Send + 'a>>;

impl Session {
    /// Takes all connections of the transaction, the session's own among them; it is over for the session then.
    fn take_parts(&mut self) -> (Vec<Part>, Option<dbmesh_commit::Gtrid>) {
        let here = sharded_place(self);
        let (lease, member) = (self.lease.take(), self.member.take());
        let open = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
        self.state.status = self.state.status.difference(open);
        // What its servers said of it is said of no other.
        self.state.pins.announce(b"");
        let Some(sharded) = &mut self.sharded else {
            return (Vec::new(), None);
        };
        sharded.prologue = Default::default();
        let across = std::mem::take(&mut sharded.across);
        let mut parts = across.parts;
        if let Some(part) = parts
            .iter_mut()
            .find(|part| part.source == here && part.lease.is_none())
        {
            part.lease = lease;
            part.member = member;
        }
        // A node that never came to join has nothing to end; one that wrote and is gone ends all of it.
        let home = parts.first().map(|part| part.source);
        parts.retain(|part| part.lease.is_some() || writes(part) || Some(part.source) == home);
        (parts, across.gtrid)
    }

    /// COMMIT.
    pub(in super::super) async fn commit_across(&mut self) -> Result<(), Failure> {
        let (mut parts, gtrid) = self.take_parts();
        let atomic = self
            .sharded
            .as_ref()
            .and_then(|sharded| sharded.home.atomic.clone());
        let upstreams = self.upstreams();
        let writers = parts.iter().filter(|part| writes(part)).count();
        let home_open = parts.first_mut().is_some_and(is_open);
        let answers = self.answers();
        let (commit, actions) = machine(&parts, gtrid, atomic.as_ref(), home_open, answers);
        let (outcome, finished) =
            match drive(commit, actions, &mut parts, &upstreams, answers).await {
                Driven::Ended { outcome, finished } => (outcome, finished),
                Driven::Decided(commit, actions) => {
                    self.leave_decided(commit, actions, parts, upstreams);
                    return Ok(());
                }
            };
        let promised = parts.iter().any(|part| part.joined == Joined::Branch);
        for (source, gtid) in reports(&mut parts) {
            self.note_written_at(source, &gtid);
        }
        if !finished && outcome == Outcome::Committed {
            // A resolver commits what is left, and what it is called then nobody knows yet.
            for part in parts.iter().filter(|part| writes(part)) {
                self.note_position_at(part.source, &Position::Unknown);
            }
        }
        self.give_back_all(parts);
        if let (Some(atomic), Some(gtrid)) = (&atomic, gtrid)
            && promised
            && writers > 1
            && finished
            && outcome == Outcome::Committed
        {
            atomic.note_finished(gtrid);
        }
        self.state.diagnostics.warnings = Warnings::None;
        match outcome {
            Outcome::Committed if promised && writers > 1 => {
                self.note_ends(|ends| &ends.committed);
                Ok(())
            }
            Outcome::Committed => {
                if writers > 1 {
                    self.warn_best_effort(writers);
                }
                Ok(())
            }
            other => Err(self.failed(&other, gtrid).into()),
        }
    }

    fn answers(&self) -> Answers {
        if self.has_own_state() {
            // Its connection is needed, once the end is done there.
            return Answers::AfterBranches;
        }
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        match sharding.map(|sharding| sharding.answers) {
            Some(sharding::Answers::AfterDecision) => Answers::AfterDecision,
            _ => Answers::AfterBranches,
        }
    }

    /// Every source's servers.
    pub(super) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let home = self.sharded.as_ref().map(|sharded| &sharded.home);
        let sources = home.iter().flat_map(|home| &home.sources);
        sources.map(|part| part.upstream.clone()).collect()
    }

    pub(super) fn failed(&self, outcome: &Outcome, gtrid: Option<dbmesh_commit::Gtrid>) -> Fault {
        match outcome {
            Outcome::RolledBack(cause) => {
                self.note_ends(|ends| &ends.rolled_back);
                let why = match cause {
                    Cause::Refused { code, .. } => format!("a node refused with error {code}"),
                    Cause::Lost { .. } => "the connection to a node was lost".to_owned(),
                    Cause::Fenced => "another proxy took it for abandoned".to_owned(),
                    Cause::TooLate => "it took too long".to_owned(),
                    Cause::HomeGone => "its first node had rolled back".to_owned(),
                };
                Fault::RolledBack(format!("{why}; nothing of it is committed on any node"))
            }
            Outcome::Partial { committed, .. } => self.committed_in_part(committed.len()),
            Outcome::Unknown | Outcome::Committed => {
                self.note_ends(|ends| &ends.unknown);
                let name = gtrid.map(|gtrid| format!(" (transaction {gtrid})"));
                Fault::CommitUnknown(format!("the first node{}", name.unwrap_or_default()))
            }
        }
    }

    fn warn_best_effort(&mut self, writers: usize) {
        let Some(row) = self.best_effort(writers) else {
            return;
        };
        self.state.diagnostics.warning_count = 1;
        self.state.diagnostics.warnings = Warnings::Kept {
            rows: vec![row],
            count: 1,
        };
    }

    /// The note of a commit on several nodes that were not promised to be one, which is counted; `None` in a session without notes.
    pub(in super::super) fn best_effort(&self, writers: usize) -> Option<Warning> {
        self.note_ends(|ends| &ends.best_effort);
        if !self.wants_notes() {
            return None;
        }
        let message = format!(
            "dbmesh: committed on {writers} nodes one after the other, without a promise of all or none"
        );
        Some(Warning {
            level: b"Note".to_vec(),
            code: b"1105".to_vec(),
            message: message.into_bytes(),
        })
    }

    /// That a commit failed behind others that were done; it is counted.
    pub(in super::super) fn committed_in_part(&self, count: usize) -> Fault {
        self.note_ends(|ends| &ends.partial);
        Fault::Server {
            code: 1180,
            sqlstate: "HY000".to_owned(),
            message: format!("dbmesh: {count} nodes committed, and others did not"),
        }
    }

    pub(super) fn note_written_at(&mut self, source: usize, gtid: &str) {
        let here = sharded_place(self);
        if source == here {
            self.state.note_position(gtid.as_bytes(), Flavor::MySql);
        }
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        let mut reported = crate::position::Position::Start;
        reported.note(gtid.as_bytes(), Flavor::MySql);
        if source != here
            && let Some(position) = sharded.positions.get_mut(source)
        {
            position.follow(&reported);
        }
        if let Some(part) = sharded.home.sources.get(source) {
            part.upstream.note_written(&reported);
        }
    }

    /// ROLLBACK, or what a server's rolling back means for the others.
    pub(in super::super) async fn roll_back_across(&mut self) {
        let (mut parts, gtrid) = self.take_parts();
        let atomic = self
            .sharded
            .as_ref()
            .and_then(|sharded| sharded.home.atomic.clone());
        let xid = |part: &Part| {
            let branch = atomic.as_ref()?.shard(part.source)?;
            Some(Xid {
                gtrid: gtrid?,
                branch,
            })
        };
        let texts: Vec<Vec<String>> = parts
            .iter()
            .map(|part| undoing(part, xid(part).as_ref()))
            .collect();
        let mut telling: Vec<Telling<'_>> = Vec::new();
        for (at, (part, texts)) in parts.iter_mut().zip(texts).enumerate() {
            telling.push(Box::pin(async move {
                (at, tell(part, &Words::Each(texts)).await)
            }));
        }
        drop(all(telling).await);
        self.give_back_all(parts);
    }

    /// Gives back the connections of a transaction that is over, but for the session's own if something of it is there: a
    /// temporary table is nobody else's.
    fn give_back_all(&mut self, mut parts: Vec<Part>) {
        let here = sharded_place(self);
        if self.has_own_state()
            && let Some(part) = parts.iter_mut().find(|part| part.source == here)
        {
            self.lease = part.lease.take().and_then(|mut lease| {
                let ended = lease.backend().is_ok_and(|backend| is_over(backend));
                ended.then_some(lease)
            });
            self.member = part.member.take();
        }
        give_back(parts);
    }

    /// Whether only its connection has something of the session, besides what its transaction is like.
    pub(super) fn has_own_state(&self) -> bool {
        self.state.pins.bits() & !(1 << (PinReason::NextTransaction as u8)) != 0
    }

    /// Runs a text on every connection of the transaction; false if one failed.
    pub(super) async fn run_everywhere(&mut self, text: &str) -> bool {
        let texts = Words::Each(vec![text.to_owned()]);
        let mut telling: Vec<Telling<'_>> = Vec::new();
        if let Some(lease) = &mut self.lease {
            let texts = &texts;
            telling.push(Box::pin(async move {
                let reply = match lease.backend() {
                    Ok(backend) => texts.run(backend).await,
                    Err(_) => Reply::Lost,
                };
                (usize::MAX, reply)
            }));
        }
        let parts = self.sharded.iter_mut();
        let parked = parts
            .flat_map(|sharded| &mut sharded.across.parts)
            .filter(|part| part.lease.is_some());
        for (at, part) in parked.enumerate() {
            let texts = &texts;
            telling.push(Box::pin(async move { (at, tell(part, texts).await) }));
        }
        let replies = all(telling).await;
        replies
            .iter()
            .all(|(_, reply)| matches!(reply, Reply::Done(_)))
    }
}

fn writes(part: &Part) -> bool {
    part.work == dbmesh_commit::Work::Writes
}

/// Whether the server said last that the part's transaction is open.
pub(super) fn is_open(part: &mut Part) -> bool {
    let backend = part.lease.as_mut().and_then(|lease| lease.backend().ok());
    backend.is_some_and(|backend| backend.status.contains(Status::IN_TRANS))
}

/// How the texts of a step are sent.
enum Words {
    /// Each by itself, all at once.
    Each(Vec<String>),
    /// As one, which ends at what fails.
    Chain(String),
}

impl Words {
    fn of(commit: &Commit, at: usize, step: &Step) -> Self {
        let texts = commit.texts(at, step);
        match step {
            Step::Decide => Self::Chain(texts.concat()),
            _ => Self::Each(texts),
        }
    }

    async fn run(&self, backend: &mut Backend) -> Reply {
        match self {
            Self::Each(texts) => run_step(backend, texts).await,
            Self::Chain(text) => run_chain(backend, text).await,
        }
    }
}

/// Tells a part; a connection on which that failed is closed.
async fn tell(part: &mut Part, words: &Words) -> Reply {
    let fenced = |lease: &crate::pool::Lease| lease.pool().standing.is_fenced();
    if part.lease.as_ref().is_some_and(fenced) {
        // Another server is the primary now: what this one would still commit is lost.
        part.lease = None;
    }
    let backend = part.lease.as_mut().and_then(|lease| lease.backend().ok());
    let reply = match backend {
        Some(backend) => words.run(backend).await,
        None => Reply::Lost,
    };
    if !matches!(reply, Reply::Done(_)) {
        part.lease = None;
    }
    reply
}

/// How far a commit came.
pub(super) enum Driven {
    /// To its end.
    Ended {
        outcome: Outcome,
        /// Every node has it.
        finished: bool,
    },
    /// To its decision, which the client may hear; this is left.
    Decided(Commit, Vec<Action>),
}

/// Does what the machine says until it ends, or until the client may hear that it is decided.
pub(super) async fn drive(
    mut commit: Commit,
    mut actions: Vec<Action>,
    parts: &mut [Part],
    upstreams: &[Arc<Upstream>],
    answers: Answers,
) -> Driven {
    let mut outcome = Outcome::Unknown;
    loop {
        let decided = actions.contains(&Action::Answer(Outcome::Committed));
        let ends = |action: &Action| matches!(action, Action::End { .. });
        if answers == Answers::AfterDecision && decided && !actions.iter().any(ends) {
            actions.retain(|action| !matches!(action, Action::Answer(_)));
            return Driven::Decided(commit, actions);
        }
        let mut steps: Vec<Option<Words>> = parts.iter().map(|_| None).collect();
        let mut replies = Vec::new();
        let mut finished = None;
        for action in actions {
            match action {
                Action::Run { at, step } => {
                    if let Some(slot) = steps.get_mut(at) {
                        *slot = Some(Words::of(&commit, at, &step));
                    }
                }
                Action::AskHome { step, after_ms } => {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    replies.push((0, ask_home(&commit, &step, parts, upstreams).await));
                }
                Action::Answer(said) => outcome = said,
                Action::End { finished: all } => finished = Some(all),
            }
        }
        if let Some(finished) = finished {
            return Driven::Ended { outcome, finished };
        }
        let mut telling: Vec<Telling<'_>> = Vec::new();
        for (at, (part, words)) in parts.iter_mut().zip(steps).enumerate() {
            if let Some(words) = words {
                telling.push(Box::pin(
                    async move { (at, tell_noting(part, &words).await) },
                ));
            }
        }
        replies.extend(all(telling).await);
        actions = Vec::new();
        for (at, reply) in replies {
            actions.extend(commit.on(at, reply));
        }
    }
}

async fn tell_noting(part: &mut Part, words: &Words) -> Reply {
    let reply = tell(part, words).await;
    if let Reply::Done(ack) = &reply
        && let Some(gtid) = &ack.gtid
    {
        part.written.push(gtid.clone());
    }
    reply
}

/// A question to the home's primary, on a connection of its own.
async fn ask_home(
    commit: &Commit,
    step: &Step,
    parts: &mut [Part],
    upstreams: &[Arc<Upstream>],
) -> Reply {
    let Some(home) = parts.first_mut() else {
        return Reply::Lost;
    };
    home.lease = None;
    let primary = upstreams
        .get(home.source)
        .and_then(|u| u.choose(Need::Primary, None, &[], || 0));
    let Some(member) = primary else {
        return Reply::Lost;
    };
    let Ok(mut backend) = crate::atomic::connect(&member.pool).await else {
        return Reply::Lost;
    };
    let reply = run_step(&mut backend, &commit.texts(0, step)).await;
    backend.quit().await;
    reply
}

pub(super) fn reports(parts: &mut [Part]) -> Vec<(usize, String)> {
    let of = |part: &mut Part| {
        let source = part.source;
        std::mem::take(&mut part.written)
            .into_iter()
            .map(move |gtid| (source, gtid))
    };
    parts.iter_mut().flat_map(of).collect()
}

/// Connections whose transaction has ended go back; others are closed.
pub(super) fn give_back(parts: Vec<Part>) {
    for part in parts {
        let Some(mut lease) = part.lease else {
            continue;
        };
        if lease.backend().is_ok_and(|backend| is_over(backend)) {
            lease.give_back();
        }
    }
}

/// Whether nothing is open on a connection.
fn is_over(backend: &Backend) -> bool {
    backend.is_idle() && !backend.status.contains(Status::IN_TRANS)
}

/// Waits for all of them at once.
pub(super) async fn all(mut telling: Vec<Telling<'_>>) -> Vec<(usize, Reply)> {
    let mut done = Vec::with_capacity(telling.len());
    std::future::poll_fn(move |cx| {
        telling.retain_mut(|one| match one.as_mut().poll(cx) {
            Poll::Ready(reply) => {
                done.push(reply);
                false
            }
            Poll::Pending => true,
        });
        match telling.is_empty() {
            true => Poll::Ready(std::mem::take(&mut done)),
            false => Poll::Pending,
        }
    })
    .await
}
