//! A transaction that touches several nodes: its connections, and its one end.
//!
//! Owns the connections of a transaction at nodes other than the session's place, and what each was told. The first node has
//! the session's plain transaction; later ones join with a branch, or a plain transaction where nothing is promised. It must
//! never end at one node without ending at all: what is not ended is closed. Input: statements of the session.

mod ending;
mod enlist;
mod implied;
mod left;
mod spread;
mod words;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dbmesh_commit::promise::PARTICIPANTS_MAX;
use dbmesh_commit::{Commit, Gtrid, Savepoints, Work, Xid, sql};
use dbmesh_model::topology::sharding::AcrossSources;
use dbmesh_sql::{Facts, Statement, Verb};
use dbmesh_wire::status::Status;

use super::super::{Executed, Failure, Flow, Session};
use super::characteristics::Characteristics;
use crate::atomic::{Atomic, Readiness, run_step};
use crate::fault::Fault;
use crate::pool::Lease;
use crate::state::Warnings;
use crate::upstream::Member;

pub(super) use implied::Implied;

pub(super) use left::Left;

/// Errors after which a server has rolled a whole transaction back, or a branch can only be: deadlock, and its likes.
const DOOMS: [u16; 3] = [1213, 1613, 1614];

/// How a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    /// With a plain transaction.
    Plain,
    /// With a branch.
    Branch,
}

/// A node in the transaction.
#[derive(Debug)]
struct Part {
    source: usize,
    joined: Joined,
    work: Work,
    /// None while it is the session's own.
    lease: Option<Lease>,
    member: Option<Arc<Member>>,
    /// What its server said that it committed.
    written: Vec<String>,
}

/// What a session keeps of a transaction that touches several nodes.
#[derive(Debug, Default)]
pub(super) struct Across {
    /// In the order of first touch; none while it touched one node at most.
    parts: Vec<Part>,
    gtrid: Option<Gtrid>,
    savepoints: Savepoints,
    /// How the transaction runs, or the next one.
    pub begun: Characteristics,
    /// What was done where the session is, while that is the only node.
    here: Option<Work>,
    doomed: bool,
}

impl Across {
    /// Whether several nodes take part.
    pub fn is_open(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Everything ended.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A server refused something with this error.
    pub fn note_error(&mut self, code: u16) {
        self.doomed |= DOOMS.contains(&code);
    }

    fn part(&mut self, source: usize) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.source == source)
    }
}

impl Session {
    /// Whether the session's transaction has connections that are parked.
    pub(in super::super) fn is_across(&self) -> bool {
        self.sharded
            .as_ref()
            .is_some_and(|sharded| sharded.across.is_open())
    }

    fn across(&mut self) -> Option<&mut Across> {
        self.sharded.as_mut().map(|sharded| &mut sharded.across)
    }

    /// What became of a statement at the session's place.
    pub(super) fn note_work(&mut self, statement: &Statement) {
        // A transaction that may not write does not, whatever was tried.
        let writes = !statement.is_read_only() && !self.is_read_only();
        let work = match writes {
            true => Work::Writes,
            false => Work::Reads,
        };
        let open = self.state.in_transaction();
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        let across = &mut sharded.across;
        let known = match across
            .parts
            .iter_mut()
            .find(|part| part.source == sharded.source)
        {
            Some(part) => &mut part.work,
            None if open => across.here.get_or_insert(Work::Reads),
            // The transaction has ended: nothing of it is left.
            None => return across.clear(),
        };
        if work == Work::Writes {
            *known = Work::Writes;
        }
    }

    fn is_read_only(&self) -> bool {
        self.state.status.contains(Status::IN_TRANS_READONLY)
    }

    /// After a statement that asked nothing of a table.
    pub(super) fn note_session_statement(&mut self) {
        if !self.state.in_transaction() {
            self.drop_parts();
        }
    }

    /// Leaves the connection at hand in the transaction, and joins another node or goes back to it; false if the session
    /// may not.
    pub(super) async fn cross_to(&mut self, source: usize) -> Result<bool, Failure> {
        let Some(sharded) = &self.sharded else {
            return Ok(false);
        };
        let policy = sharded.sharding().map(|sharding| sharding.across);
        let refused = policy.is_none_or(|policy| policy == AcrossSources::Refuse);
        // Its own characteristics bind a transaction to nothing: those that join hear them as well.
        if refused || !self.state.in_transaction() || self.has_own_state() || self.chains() {
            return Ok(false);
        }
        self.recall().await;
        let begun = self.characteristics();
        if let Some(across) = self.across() {
            across.begun = begun;
        }
        let joined = self.joined();
        let here = sharded_place(self);
        self.park(here);
        let known = self
            .across()
            .is_some_and(|across| across.part(source).is_some());
        if !known && let Err(refused) = self.join(source, joined).await {
            self.unpark();
            return Err(refused);
        }
        Ok(true)
    }

    /// How the next node joins.
    fn joined(&self) -> Joined {
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let atomic = sharding.is_some_and(|sharding| sharding.across == AcrossSources::Atomic);
        match atomic && !self.is_read_only() {
            true => Joined::Branch,
            false => Joined::Plain,
        }
    }

    fn park(&mut self, here: usize) {
        let (lease, member) = (self.lease.take(), self.member.take());
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        let across = &mut sharded.across;
        if across.parts.is_empty() {
            let work = across.here.take().unwrap_or(Work::Writes);
            let joined = Joined::Plain;
            let written = Vec::new();
            across.parts.push(Part {
                source: here,
                joined,
                work,
                lease,
                member,
                written,
            });
            return;
        }
        match across.part(here) {
            Some(part) if lease.is_some() => {
                part.lease = lease;
                part.member = member;
            }
            // It never joined.
            _ => across
                .parts
                .retain(|part| part.source != here || part.lease.is_some()),
        }
        sharded.prologue = super::begin::Prologue::default();
    }

    /// Makes a node a part, whose connection is still to be taken.
    async fn join(&mut self, source: usize, joined: Joined) -> Result<(), Failure> {
        let Some(sharded) = &self.sharded else {
            return Ok(());
        };
        let across = &sharded.across;
        if across.parts.len() >= PARTICIPANTS_MAX {
            let why = format!("a transaction may touch {PARTICIPANTS_MAX} nodes at most");
            return Err(Fault::Sharding(why).into());
        }
        let home = across.parts.first().map_or(source, |part| part.source);
        let atomic = sharded
            .home
            .atomic
            .clone()
            .filter(|_| joined == Joined::Branch);
        if let Some(atomic) = &atomic {
            let first = across.parts.first().and_then(|part| part.member.clone());
            self.must_be_ready(atomic, home, first.as_deref()).await?;
            // Which server that is, is known when it has a connection.
            self.must_be_ready(atomic, source, None).await?;
        }
        let Some(across) = self.across() else {
            return Ok(());
        };
        if let Some(atomic) = &atomic
            && across.gtrid.is_none()
        {
            across.gtrid = atomic.name(home);
        }
        let branch = atomic.as_ref().and_then(|atomic| atomic.shard(source));
        let xid = across
            .gtrid
            .zip(branch)
            .map(|(gtrid, branch)| Xid { gtrid, branch });
        let texts = words::joining(across.begun, xid.as_ref(), &across.savepoints);
        across.parts.push(Part {
            source,
            joined,
            work: Work::Reads,
            lease: None,
            member: None,
            written: Vec::new(),
        });
        if let Some(sharded) = &mut self.sharded {
            sharded.prologue.join(texts);
        }
        Ok(())
    }

    /// Refuses a node that is not seen to keep an atomic commit, with this endpoint as its primary.
    async fn must_be_ready(
        &self,
        atomic: &Arc<Atomic>,
        source: usize,
        member: Option<&Member>,
    ) -> Result<(), Fault> {
        let name = atomic
            .shard(source)
            .and_then(|shard| atomic.source_name(shard));
        let node = name.unwrap_or_default();
        let endpoint = member.map(|member| member.endpoint.name.to_string());
        let why = match atomic.ready(source, endpoint.as_deref()).await {
            Readiness::Ready => return Ok(()),
            Readiness::Unknown => {
                format!("node {node} could not be asked whether it keeps an atomic commit")
            }
            Readiness::Short(shortfalls) => {
                let all: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
                format!(
                    "node {node} cannot keep an atomic commit: {}",
                    all.join(", ")
                )
            }
        };
        Err(Fault::Sharding(why))
    }

    /// Takes up the parked connection of the session's place.
    pub(super) fn unpark(&mut self) {
        let here = sharded_place(self);
        let taken = self.across().and_then(|across| {
            let part = across.part(here)?;
            Some((part.lease.take()?, part.member.take()))
        });
        if let Some((lease, member)) = taken {
            self.lease = Some(lease);
            self.member = member;
        }
    }

    /// A branch begins only at a server that is seen to keep the promise.
    async fn joins_ready(&mut self) -> Result<(), Failure> {
        let here = sharded_place(self);
        let joins = |sharded: &super::ShardSession| {
            let mut parts = sharded.across.parts.iter();
            let part = parts.find(|part| part.source == here)?;
            let atomic = sharded.home.atomic.clone()?;
            (part.joined == Joined::Branch).then_some(atomic)
        };
        let Some(atomic) = self.sharded.as_deref().and_then(joins) else {
            return Ok(());
        };
        let Err(refused) = self
            .must_be_ready(&atomic, here, self.member.as_deref())
            .await
        else {
            return Ok(());
        };
        // Nothing may run here as if it were part of the transaction.
        self.lease = None;
        Box::pin(self.roll_back_across()).await;
        Err(Fault::RolledBack(format!("a node could not join it: {refused}")).into())
    }

    /// Runs on a new connection what makes it part of the transaction.
    pub(super) async fn run_joining(&mut self, texts: &[String]) -> Result<(), Failure> {
        // Rare, and no part of every session's task.
        Box::pin(self.joins_ready()).await?;
        let backend = self.backend()?;
        for text in texts {
            let reply = run_step(backend, std::slice::from_ref(text)).await;
            let what = match reply {
                dbmesh_commit::Reply::Done(_) => continue,
                dbmesh_commit::Reply::Error(code) => format!("server error {code}"),
                dbmesh_commit::Reply::Lost => "its connection was lost".to_owned(),
            };
            // Nothing may run here as if it were part of the transaction.
            self.lease = None;
            Box::pin(self.roll_back_across()).await;
            let why = format!("a node could not join it: {what}");
            return Err(Fault::RolledBack(why).into());
        }
        Ok(())
    }

    /// What a statement means for a transaction over several nodes, before it is planned; an answer ends it.
    pub(super) async fn cross(
        &mut self,
        text: &[u8],
        statement: &Statement,
    ) -> Result<Option<Executed>, Failure> {
        if !self.is_across() {
            if statement.verb == Verb::Savepoint {
                self.begin_for_savepoint().await;
            }
            self.note_savepoint(text, statement)?;
            if let Some(across) = self.across().filter(|_| statement.facts.has(Facts::CHAIN)) {
                // What it begins has nothing of the one that ends.
                (across.savepoints, across.here) = Default::default();
            }
            return Ok(None);
        }
        let ended = self.characteristics();
        match statement.verb {
            _ if statement.statements > 1 => {
                let why = "several statements at once, in a transaction over several nodes";
                Err(Fault::Sharding(why.into()).into())
            }
            Verb::Commit => {
                self.means_something(text, statement).await?;
                self.commit_across().await?;
                self.end_with(statement, ended).await.map(Some)
            }
            Verb::Rollback => {
                self.means_something(text, statement).await?;
                self.roll_back_across().await;
                self.end_with(statement, ended).await.map(Some)
            }
            Verb::Savepoint | Verb::RollbackTo | Verb::ReleaseSavepoint => {
                self.savepoint_across(text, statement).await.map(Some)
            }
            Verb::Xa | Verb::LockTables => {
                let why = "XA and LOCK TABLES in a transaction over several nodes";
                Err(Fault::Sharding(why.into()).into())
            }
            _ => match self.implied(text, statement) {
                Implied::Nothing => Ok(None),
                Implied::Commit => {
                    self.will_be_done(text, statement).await?;
                    self.commit_across().await?;
                    Ok(None)
                }
                Implied::Unclear => {
                    let why = "whether it ends the transaction over several nodes is for a server to say: SET autocommit alone, to 0 or 1";
                    Err(Fault::Sharding(why.into()).into())
                }
            },
        }
    }

    async fn end_with(
        &mut self,
        statement: &Statement,
        ended: Characteristics,
    ) -> Result<Executed, Failure> {
        if statement.facts.has(Facts::CHAIN) {
            self.begin_alike(ended);
        }
        self.answer_done().await?;
        let releases = statement.facts.has(Facts::RELEASE);
        Ok(Executed {
            flow: if releases { Flow::Quit } else { Flow::Continue },
            ..Executed::LOCAL
        })
    }

    pub(super) async fn answer_done(&mut self) -> Result<(), Failure> {
        self.state.set_row_count(0);
        if !matches!(self.state.diagnostics.warnings, Warnings::Kept { .. }) && !self.is_mariadb() {
            self.state.diagnostics.warnings = Warnings::None;
        }
        self.answer_ok().await?;
        Ok(())
    }

    /// Without autocommit a savepoint may be the first of a transaction, which has to be one wherever it goes.
    async fn begin_for_savepoint(&mut self) {
        if self.state.in_transaction() || self.state.status.contains(Status::AUTOCOMMIT) {
            return;
        }
        if self.lease.is_some() {
            if self.is_bound() {
                return;
            }
            self.give_up_hold().await;
        }
        self.begin_own();
    }

    /// A transaction of one node so far: its savepoints, for those that join later.
    fn note_savepoint(&mut self, text: &[u8], statement: &Statement) -> Result<(), Failure> {
        let verb = statement.verb;
        if !matches!(
            verb,
            Verb::Savepoint | Verb::RollbackTo | Verb::ReleaseSavepoint
        ) || !self.state.in_transaction()
        {
            return Ok(());
        }
        let name = words::savepoint(text).map_err(Fault::Sharding)?;
        let Some(across) = self.across() else {
            return Ok(());
        };
        match verb {
            Verb::Savepoint => across
                .savepoints
                .set(&name)
                .map_err(|_| words::too_many())?,
            Verb::RollbackTo => drop(across.savepoints.roll_back_to(&name)),
            _ => drop(across.savepoints.release(&name)),
        }
        Ok(())
    }

    async fn savepoint_across(
        &mut self,
        text: &[u8],
        statement: &Statement,
    ) -> Result<Executed, Failure> {
        let name = words::savepoint(text).map_err(Fault::Sharding)?;
        let Some(across) = self.across() else {
            return Ok(Executed::LOCAL);
        };
        let known = match statement.verb {
            Verb::Savepoint => {
                across
                    .savepoints
                    .set(&name)
                    .map_err(|_| words::too_many())?;
                true
            }
            Verb::RollbackTo => across.savepoints.roll_back_to(&name),
            _ => across.savepoints.release(&name),
        };
        if !known {
            return Err(words::no_savepoint(&name).into());
        }
        let text = words::of_savepoint(statement.verb, &name);
        if !self.run_everywhere(&text).await {
            self.roll_back_across().await;
            let why = "a node of the transaction was lost; all of it is rolled back";
            return Err(Fault::RolledBack(why.into()).into());
        }
        self.answer_done().await?;
        Ok(Executed::LOCAL)
    }

    /// After a statement: whether a server has given the transaction up, which gives it up everywhere.
    pub(super) async fn follow_doom(&mut self) {
        let doomed = self
            .across()
            .is_some_and(|across| across.doomed && across.is_open());
        if doomed {
            self.roll_back_across().await;
        } else if let Some(across) = self.across() {
            across.doomed = false;
        }
    }

    /// The session ends, or forgets its state: parked connections are closed, which rolls back.
    pub(in super::super) fn drop_parts(&mut self) {
        if let Some(across) = self.across() {
            across.clear();
        }
    }

    fn note_ends(&self, count: impl Fn(&crate::atomic::Ends) -> &std::sync::atomic::AtomicU64) {
        if let Some(sharded) = &self.sharded {
            count(&sharded.home.metrics.ends).fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn sharded_place(session: &Session) -> usize {
    session.sharded.as_ref().map_or(0, |sharded| sharded.source)
}

/// Rolls a part back in its own way.
fn undoing(part: &Part, xid: Option<&Xid>) -> Vec<String> {
    match (part.joined, xid) {
        (Joined::Branch, Some(xid)) => vec![
            sql::end(xid),
            sql::finish(xid, dbmesh_commit::Verdict::Rollback),
        ],
        _ => vec!["ROLLBACK".to_owned()],
    }
}

/// The commit's machine, for these parts.
fn machine(
    parts: &[Part],
    gtrid: Option<Gtrid>,
    atomic: Option<&Arc<Atomic>>,
    home_in_transaction: bool,
    answers: dbmesh_commit::Answers,
) -> (Commit, Vec<dbmesh_commit::Action>) {
    let number = |part: &Part| {
        let shard = atomic.and_then(|atomic| atomic.shard(part.source));
        shard.unwrap_or(dbmesh_commit::Shard(
            u32::try_from(part.source).unwrap_or(u32::MAX),
        ))
    };
    let participant = |part: &Part| dbmesh_commit::Participant {
        shard: number(part),
        work: part.work,
    };
    let participants: Vec<_> = parts.iter().map(participant).collect();
    let branches = parts.iter().any(|part| part.joined == Joined::Branch);
    match gtrid.filter(|_| branches) {
        Some(gtrid) => Commit::atomic(gtrid, &participants, home_in_transaction, answers),
        None => Commit::best_effort(words::NOBODY, &participants),
    }
}
