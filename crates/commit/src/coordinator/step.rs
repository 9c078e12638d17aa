//! What participants are told, and what clients hear: the words of a commit.
//!
//! Owns the types only; [`super::Commit`] owns when each is said.

use crate::Verdict;
use crate::id::{Shard, Xid};
use crate::sql;

/// What a participant did in the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is proved that it only read.
    Reads,
    /// It may have written.
    Writes,
}

/// A shard in the transaction. The first one is the home and has a plain transaction; the others have branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Which shard.
    pub shard: Shard,
    /// What it did.
    pub work: Work,
}

/// When the client hears that its transaction is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// When every branch is: whoever reads later sees all of it.
    #[default]
    AfterBranches,
    /// When it is decided: a read right afterwards may see a part of it.
    AfterDecision,
}

/// What a participant is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// COMMIT of a plain transaction.
    Commit,
    /// ROLLBACK of a plain transaction.
    Rollback,
    /// The end of a branch that never promised anything, committed.
    CommitOnePhase,
    /// The end of a branch that never promised anything, rolled back.
    Discard,
    /// The promise.
    Prepare,
    /// The decision: a row of the home's transaction, and its COMMIT behind it. Only a failure of the row is an error; when
    /// COMMIT fails, nobody knows.
    Decide,
    /// The outcome, to a branch that promised.
    Finish(Verdict),
    /// That nobody may decide to commit any more.
    Fence,
    /// What was decided.
    ReadDecision,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// On the participant's own connection; `Commit::on` hears the answer. A connection whose step failed must not be
    /// used again.
    Run {
        /// Which participant.
        at: usize,
        /// What it is told.
        step: Step,
    },
    /// On any other connection to the home's primary, after a pause; `Commit::on` hears the answer as the home's. The
    /// home's own connection is to be closed first.
    AskHome {
        /// What it is told.
        step: Step,
        /// The pause.
        after_ms: u64,
    },
    /// To the client; once.
    Answer(Outcome),
    /// Nothing is left to do here.
    End {
        /// All branches have their outcome; else the resolvers see to the rest.
        finished: bool,
    },
}

/// What the client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is committed.
    Committed,
    /// Nothing of it is.
    RolledBack(Cause),
    /// Which of both cannot be found out now; the resolvers will, and it will be all or nothing.
    Unknown,
    /// Without the promise of atomicity: these participants committed and others did not.
    Partial {
        /// Which did.
        committed: Vec<usize>,
        /// The first that did not, and why.
        failed: Cause,
    },
}

/// Why a transaction was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server of a participant refused with this error.
    Refused {
        /// Which participant.
        at: usize,
        /// The server's error.
        code: u16,
    },
    /// The connection of a participant was lost.
    Lost {
        /// Which participant.
        at: usize,
    },
    /// A resolver took it for abandoned.
    Fenced,
    /// It took so long that deciding was forbidden.
    TooLate,
    /// The home's transaction was gone.
    HomeGone,
}

/// The texts of every step but the decision.
#[must_use]
pub fn texts(xid: &Xid, step: &Step) -> Vec<String> {
    match step {
        Step::Commit => vec![sql::COMMIT.to_owned()],
        Step::Rollback => vec!["ROLLBACK".to_owned()],
        Step::CommitOnePhase => vec![sql::end(xid), sql::commit_one_phase(xid)],
        Step::Discard => vec![sql::end(xid), sql::finish(xid, Verdict::Rollback)],
        Step::Prepare => vec![sql::end(xid), sql::prepare(xid)],
        Step::Decide => vec![sql::decide(&xid.gtrid, &[])],
        Step::Finish(verdict) => vec![sql::finish(xid, *verdict)],
        Step::Fence => vec![sql::fence_in_time(&xid.gtrid)],
        Step::ReadDecision => vec![sql::read_decision_in_time(&xid.gtrid)],
    }
}
