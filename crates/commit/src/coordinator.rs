//! The end of one transaction: from COMMIT to the answer.
//!
//! Owns the order of steps: all promise, then the home decides in its own transaction, then the branches are told. It must
//! never commit a branch before the decision is durable, nor call the outcome known when the home's COMMIT got no answer:
//! then it fences, as a resolver does. Input: what the participants' servers answered, in any order.

mod step;

use crate::broken::{Broken, Rule};
use crate::id::{Gtrid, Shard, Xid};
use crate::sql::{self, Prepared};
use crate::{Ack, Decision, Reply, Verdict, code};

pub use step::{Action, Answers, Cause, Outcome, Participant, Step, Work, texts};

/// How often a coordinator asks what became of its own lost COMMIT, before the resolvers are left with it.
const ASK_ATTEMPTS_MAX: u32 = 6;
/// Milliseconds before the second question; each further one waits twice as long.
const ASK_AGAIN_MS: u64 = 100;
/// The place of the home among the participants.
pub const HOME: usize = 0;

/// Where a commit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At most one participant wrote: no promise is needed.
    Simple,
    /// One after the other, without promises.
    BestEffort,
    Preparing,
    Deciding,
    Fencing,
    Reading,
    Finishing,
    Aborting(Cause),
    Ended,
}

/// How far a participant is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Its transaction is open.
    Open,
    /// It promised.
    Prepared(Option<String>),
    /// Its last step was refused.
    Refused(u16),
    /// Its connection is gone.
    Lost,
    /// It has its outcome.
    Ended,
}

#[derive(Clone, Debug)]
struct Member {
    shard: Shard,
    work: Work,
    standing: Standing,
    waiting: bool,
}

/// A transaction that is being committed.
#[derive(Clone, Debug)]
pub struct Commit {
    gtrid: Gtrid,
    members: Vec<Member>,
    answers: Answers,
    phase: Phase,
    asked: u32,
    answered: bool,
    /// Every participant has a plain transaction, and nothing is promised.
    plain: bool,
    broken: Broken,
}

impl Commit {
    /// Atomic: the participants, the home first, whose session's last status says whether its transaction is open.
    #[must_use]
    pub fn atomic(
        gtrid: Gtrid,
        participants: &[Participant],
        home_in_transaction: bool,
        answers: Answers,
    ) -> (Self, Vec<Action>) {
        Self::begin(
            gtrid,
            participants,
            home_in_transaction,
            answers,
            Broken::default(),
        )
    }

    pub(crate) fn begin(
        gtrid: Gtrid,
        participants: &[Participant],
        home_in_transaction: bool,
        answers: Answers,
        broken: Broken,
    ) -> (Self, Vec<Action>) {
        let mut commit = Self::of(gtrid, participants, answers, broken);
        let writers = participants
            .iter()
            .filter(|p| p.work == Work::Writes)
            .count();
        let actions = if !home_in_transaction && !broken.is(Rule::HomeInTransaction) {
            commit.abort(Cause::HomeGone)
        } else if writers < 2 {
            commit.release(Phase::Simple, |_| true)
        } else {
            commit.prepare()
        };
        (commit, actions)
    }

    /// Without the promise: every participant has a plain transaction; the first writer commits alone, the rest after it.
    #[must_use]
    pub fn best_effort(gtrid: Gtrid, participants: &[Participant]) -> (Self, Vec<Action>) {
        let mut commit = Self::of(gtrid, participants, Answers::default(), Broken::default());
        commit.phase = Phase::BestEffort;
        commit.plain = true;
        let actions = commit.commit_next_plain();
        (commit, actions)
    }

    /// What ROLLBACK says to a participant of an atomic transaction. It cannot fail: a server that does not hear it rolls
    /// back when the connection closes.
    #[must_use]
    pub const fn roll_back(at: usize) -> Step {
        match at {
            HOME => Step::Rollback,
            _ => Step::Discard,
        }
    }

    fn of(gtrid: Gtrid, participants: &[Participant], answers: Answers, broken: Broken) -> Self {
        let member = |p: &Participant| Member {
            shard: p.shard,
            work: p.work,
            standing: Standing::Open,
            waiting: false,
        };
        Self {
            gtrid,
            members: participants.iter().map(member).collect(),
            answers,
            phase: Phase::Simple,
            asked: 0,
            answered: false,
            plain: false,
            broken,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn gtrid(&self) -> &Gtrid {
        &self.gtrid
    }

    /// The texts of a step, to be sent one after the other until one fails.
    #[must_use]
    pub fn texts(&self, at: usize, step: &Step) -> Vec<String> {
        let shard = self.members.get(at).map_or(self.gtrid.home, |m| m.shard);
        let xid = Xid {
            gtrid: self.gtrid,
            branch: shard,
        };
        match step {
            Step::Decide => vec![sql::decide(&self.gtrid, &self.promises())],
            other => texts(&xid, other),
        }
    }

    pub(crate) fn promises(&self) -> Vec<Prepared> {
        let promise = |m: &Member| match &m.standing {
            Standing::Prepared(gtid) => Some(Prepared {
                shard: m.shard,
                gtid: gtid.clone(),
            }),
            _ => None,
        };
        self.members.iter().filter_map(promise).collect()
    }

    /// What a participant answered to its last step.
    pub fn on(&mut self, at: usize, reply: Reply) -> Vec<Action> {
        let Some(member) = self.members.get_mut(at) else {
            return Vec::new();
        };
        if !std::mem::take(&mut member.waiting) {
            return Vec::new();
        }
        match self.phase {
            Phase::Simple => self.on_simple(at, &reply),
            Phase::BestEffort => self.on_best_effort(at, &reply),
            Phase::Preparing => self.on_prepared(at, reply),
            Phase::Deciding => self.on_decided(&reply),
            Phase::Fencing => self.on_fenced(&reply),
            Phase::Reading => self.on_read(&reply),
            Phase::Finishing => self.on_finished(at, &reply),
            Phase::Aborting(cause) => self.on_aborted(at, &reply, cause),
            Phase::Ended => Vec::new(),
        }
    }

    fn run(&mut self, at: usize, step: Step) -> Action {
        if let Some(member) = self.members.get_mut(at) {
            member.waiting = true;
        }
        Action::Run { at, step }
    }

    fn waits(&self) -> bool {
        self.members.iter().any(|m| m.waiting)
    }

    fn stand(&mut self, at: usize, standing: Standing) {
        if let Some(member) = self.members.get_mut(at) {
            member.standing = standing;
        }
    }

    fn standing(&self, at: usize) -> &Standing {
        self.members
            .get(at)
            .map_or(&Standing::Lost, |m| &m.standing)
    }

    fn answer(&mut self, outcome: Outcome) -> Option<Action> {
        let first = !std::mem::replace(&mut self.answered, true);
        first.then_some(Action::Answer(outcome))
    }

    fn end(&mut self, finished: bool) -> Action {
        self.phase = Phase::Ended;
        Action::End { finished }
    }

    /// Commits what needs no promise: those of the open participants that `which` names.
    fn release(&mut self, phase: Phase, which: fn(&Member) -> bool) -> Vec<Action> {
        self.phase = phase;
        let open = |m: &Member| m.standing == Standing::Open && which(m);
        let ends: Vec<usize> = positions(&self.members, open);
        let step = |at| match at {
            HOME => Step::Commit,
            _ => Step::CommitOnePhase,
        };
        ends.into_iter().map(|at| self.run(at, step(at))).collect()
    }

    fn on_simple(&mut self, at: usize, reply: &Reply) -> Vec<Action> {
        self.stand(at, after_end(reply));
        if self.waits() {
            return Vec::new();
        }
        let writer = self.members.iter().position(|m| m.work == Work::Writes);
        let outcome = match writer.map(|at| (at, self.standing(at))) {
            None | Some((_, Standing::Ended)) => Outcome::Committed,
            Some((at, Standing::Refused(code))) => {
                let code = *code;
                Outcome::RolledBack(Cause::Refused { at, code })
            }
            Some(_) => Outcome::Unknown,
        };
        let answer = self.answer(outcome);
        answer.into_iter().chain([self.end(true)]).collect()
    }

    /// The first writer alone, so that its failure leaves nothing; then all others.
    fn commit_next_plain(&mut self) -> Vec<Action> {
        let writer = self.members.iter().position(|m| m.work == Work::Writes);
        let first = writer.filter(|at| *self.standing(*at) == Standing::Open);
        let ends = match first {
            Some(at) => vec![at],
            None => positions(&self.members, |m| m.standing == Standing::Open),
        };
        ends.into_iter()
            .map(|at| self.run(at, Step::Commit))
            .collect()
    }

    fn on_best_effort(&mut self, at: usize, reply: &Reply) -> Vec<Action> {
        self.stand(at, after_end(reply));
        if self.waits() {
            return Vec::new();
        }
        let failed = self
            .members
            .iter()
            .enumerate()
            .find_map(|(at, m)| (m.work == Work::Writes).then(|| cause_of(at, &m.standing))?);
        let open = self.members.iter().any(|m| m.standing == Standing::Open);
        match failed {
            None if open => self.commit_next_plain(),
            None => {
                let answer = self.answer(Outcome::Committed);
                answer.into_iter().chain([self.end(true)]).collect()
            }
            // The first writer failed, and nobody else was told anything.
            Some(cause) if open => self.abort_plain(cause),
            Some(cause) => {
                let writes = |m: &Member| m.work == Work::Writes && m.standing == Standing::Ended;
                let committed = positions(&self.members, writes);
                let outcome = match cause {
                    Cause::Refused { .. } if committed.is_empty() => Outcome::RolledBack(cause),
                    _ if committed.is_empty() => Outcome::Unknown,
                    failed => Outcome::Partial { committed, failed },
                };
                let answer = self.answer(outcome);
                answer.into_iter().chain([self.end(false)]).collect()
            }
        }
    }

    fn abort_plain(&mut self, cause: Cause) -> Vec<Action> {
        self.phase = Phase::Aborting(cause);
        let open = positions(&self.members, |m| m.standing == Standing::Open);
        open.into_iter()
            .map(|at| self.run(at, Step::Rollback))
            .collect()
    }

    fn prepare(&mut self) -> Vec<Action> {
        self.phase = Phase::Preparing;
        let mut writers = positions(&self.members, |m| m.work == Work::Writes);
        writers.retain(|at| *at != HOME);
        writers
            .into_iter()
            .map(|at| self.run(at, Step::Prepare))
            .collect()
    }

    fn on_prepared(&mut self, at: usize, reply: Reply) -> Vec<Action> {
        let standing = match reply {
            Reply::Done(Ack { gtid, .. }) => Standing::Prepared(gtid),
            Reply::Error(code) => Standing::Refused(code),
            Reply::Lost => Standing::Lost,
        };
        self.stand(at, standing);
        if self.waits() {
            return Vec::new();
        }
        let failed = self
            .members
            .iter()
            .enumerate()
            .find_map(|(at, m)| cause_of(at, &m.standing));
        match failed {
            Some(cause) if !self.broken.is(Rule::AllPromiseFirst) => self.abort(cause),
            _ if self.broken.is(Rule::DecideFirst) => self.finish(),
            _ => {
                self.phase = Phase::Deciding;
                let decide = self.run(HOME, Step::Decide);
                let early = self.broken.is(Rule::AnswerAfterDecision);
                let early = early.then(|| self.answer(Outcome::Committed)).flatten();
                early.into_iter().chain([decide]).collect()
            }
        }
    }

    fn on_decided(&mut self, reply: &Reply) -> Vec<Action> {
        match reply {
            Reply::Done(_) => {
                self.stand(HOME, Standing::Ended);
                self.finish()
            }
            Reply::Error(code) if self.believes(*code) => {
                self.stand(HOME, Standing::Ended);
                self.finish()
            }
            // The row failed, and COMMIT behind it was not executed.
            Reply::Error(code::DUP_ENTRY) => self.abort(Cause::Fenced),
            Reply::Error(code::BAD_NULL) => self.abort(Cause::TooLate),
            Reply::Error(code) => self.abort(Cause::Refused {
                at: HOME,
                code: *code,
            }),
            Reply::Lost => {
                self.stand(HOME, Standing::Lost);
                if self.broken.is(Rule::AskAfterLostCommit) {
                    return self.abort(Cause::Lost { at: HOME });
                }
                self.ask_home(Phase::Fencing, Step::Fence)
            }
        }
    }

    fn believes(&self, code: u16) -> bool {
        match code {
            code::DUP_ENTRY => self.broken.is(Rule::DuplicateIsFence),
            code::BAD_NULL => self.broken.is(Rule::LateIsRefused),
            _ => false,
        }
    }

    fn ask_home(&mut self, phase: Phase, step: Step) -> Vec<Action> {
        if self.asked >= ASK_ATTEMPTS_MAX {
            return self.give_up();
        }
        let after_ms = match (self.asked, phase) {
            (0, _) | (_, Phase::Reading) => 0,
            (asked, _) => ASK_AGAIN_MS << asked.saturating_sub(1).min(6),
        };
        self.asked = self.asked.saturating_add(1);
        self.phase = phase;
        if let Some(home) = self.members.get_mut(HOME) {
            home.waiting = true;
        }
        vec![Action::AskHome { step, after_ms }]
    }

    fn give_up(&mut self) -> Vec<Action> {
        let answer = self.answer(Outcome::Unknown);
        answer.into_iter().chain([self.end(false)]).collect()
    }

    fn on_fenced(&mut self, reply: &Reply) -> Vec<Action> {
        match reply {
            // So late that the row may have been removed.
            Reply::Done(ack) if ack.affected == 0 && !self.broken.is(Rule::FenceInTime) => {
                self.give_up()
            }
            Reply::Done(_) => self.abort(Cause::Lost { at: HOME }),
            Reply::Error(code::DUP_ENTRY) => self.ask_home(Phase::Reading, Step::ReadDecision),
            _ => self.ask_home(Phase::Fencing, Step::Fence),
        }
    }

    fn on_read(&mut self, reply: &Reply) -> Vec<Action> {
        match reply {
            Reply::Done(ack) => match ack.decision.map(Decision::verdict) {
                Some(Verdict::Commit) => self.finish(),
                Some(Verdict::Rollback) => self.abort(Cause::Lost { at: HOME }),
                None => self.ask_home(Phase::Fencing, Step::Fence),
            },
            _ => self.ask_home(Phase::Reading, Step::ReadDecision),
        }
    }

    /// It is decided: the branches hear it, and those that only read end.
    fn finish(&mut self) -> Vec<Action> {
        let mut actions = self.release(Phase::Finishing, |m| m.work == Work::Reads);
        if self.broken.is(Rule::DecideFirst) && *self.standing(HOME) == Standing::Open {
            actions.push(self.run(HOME, Step::Commit));
        }
        let promised = positions(&self.members, |m| {
            matches!(m.standing, Standing::Prepared(_))
        });
        for at in promised {
            actions.push(self.run(at, Step::Finish(Verdict::Commit)));
        }
        if self.answers == Answers::AfterDecision {
            actions.extend(self.answer(Outcome::Committed));
        }
        if !self.waits() {
            actions.extend(self.finished());
        }
        actions
    }

    fn on_finished(&mut self, at: usize, reply: &Reply) -> Vec<Action> {
        self.stand(at, after_end(reply));
        if self.waits() {
            return Vec::new();
        }
        self.finished()
    }

    fn finished(&mut self) -> Vec<Action> {
        // Where a branch is unknown, another has finished it, or it was lost: a resolver looks which.
        let wrote = |m: &Member| m.work == Work::Writes && m.standing != Standing::Ended;
        let all = !self.members.iter().skip(1).any(wrote);
        let answer = self.answer(Outcome::Committed);
        answer.into_iter().chain([self.end(all)]).collect()
    }

    fn abort(&mut self, cause: Cause) -> Vec<Action> {
        self.phase = Phase::Aborting(cause);
        let mut actions = Vec::new();
        for at in 0..self.members.len() {
            let step = match (at, self.standing(at)) {
                (_, Standing::Lost | Standing::Ended) => continue,
                (HOME, _) => Step::Rollback,
                (_, Standing::Open) => Step::Discard,
                (_, Standing::Prepared(_) | Standing::Refused(_)) => {
                    Step::Finish(Verdict::Rollback)
                }
            };
            actions.push(self.run(at, step));
        }
        if actions.is_empty() {
            return self.aborted(cause);
        }
        actions
    }

    fn on_aborted(&mut self, at: usize, reply: &Reply, cause: Cause) -> Vec<Action> {
        self.stand(at, after_end(reply));
        if self.waits() {
            return Vec::new();
        }
        self.aborted(cause)
    }

    fn aborted(&mut self, cause: Cause) -> Vec<Action> {
        let lost = |m: &Member| m.standing == Standing::Lost;
        let all = !self.members.iter().any(lost);
        // Without promises, the COMMIT that got no answer may have come to pass.
        let outcome = match cause {
            Cause::Lost { .. } if self.plain => Outcome::Unknown,
            cause => Outcome::RolledBack(cause),
        };
        let answer = self.answer(outcome);
        answer.into_iter().chain([self.end(all)]).collect()
    }
}

fn after_end(reply: &Reply) -> Standing {
    match reply {
        Reply::Done(_) => Standing::Ended,
        Reply::Error(code) => Standing::Refused(*code),
        Reply::Lost => Standing::Lost,
    }
}

fn cause_of(at: usize, standing: &Standing) -> Option<Cause> {
    match standing {
        Standing::Refused(code) => Some(Cause::Refused { at, code: *code }),
        Standing::Lost => Some(Cause::Lost { at }),
        _ => None,
    }
}

fn positions(members: &[Member], which: impl Fn(&Member) -> bool) -> Vec<usize> {
    let found = members.iter().enumerate().filter(|(_, m)| which(m));
    found.map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests;
