//! Commit across shards, without I/O: who says what to which server, and what the answers mean.
//!
//! Owns the protocol: two phases with presumed abort, in which the decision is a row that commits together with the work of
//! the transaction's first shard, and the primary key of that row is what makes the decision one. It must never decide twice,
//! never guess an outcome, and never say "committed" before the decision is durable. Input: what servers answered, as
//! values; the data plane sends the texts of [`sql`] and knows nothing else of the protocol.
//!
//! - [`Commit`]: one transaction's end, from COMMIT to the answer.
//! - [`Resolver`]: what any proxy does about branches that nobody finished.
//! - [`Savepoints`]: those that a shard gets when a transaction reaches it late.
//! - [`promise`]: what a server's settings allow to promise.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod broken;
mod coordinator;
mod id;
pub mod promise;
mod resolver;
mod savepoint;
#[cfg(test)]
mod sim;
pub mod sql;

pub use coordinator::{Action, Answers, Cause, Commit, Outcome, Participant, Step, Work};
pub use id::{FORMAT_ID, Gtrid, NotOurs, Shard, Xid, mesh};
pub use resolver::{Ask, Doubt, Event, GRACE_MS, Listed, Resolver, Tally, Undone, Why};
pub use savepoint::{Savepoints, TooMany};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// All statements of the step succeeded.
    Done(Ack),
    /// A statement failed with this error; of a [`Step::Decide`], the first one, so that the second was not executed.
    Error(u16),
    /// The connection broke, the time was over, or COMMIT itself failed: it may or may not have happened, now or later.
    Lost,
}

/// What a success said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// Rows that the last statement changed.
    pub affected: u64,
    /// Whether the session is in a transaction now.
    pub in_transaction: bool,
    /// The global transaction id that the server gave, where it tells.
    pub gtid: Option<String>,
    /// What the row of [`sql::read_decision`] says.
    pub decision: Option<Decision>,
}

/// What became of a distributed transaction, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It is committed; branches may be left to commit.
    Commit,
    /// It is rolled back.
    Abort,
    /// It is committed on every shard.
    Done,
}

impl Decision {
    /// The number in the row.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Abort => 2,
            Self::Done => 3,
        }
    }

    /// From the number in the row.
    #[must_use]
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Commit),
            2 => Some(Self::Abort),
            3 => Some(Self::Done),
            _ => None,
        }
    }

    /// What a branch is told.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Commit | Self::Done => Verdict::Commit,
            Self::Abort => Verdict::Rollback,
        }
    }
}

/// What a prepared branch is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// XA COMMIT.
    Commit,
    /// XA ROLLBACK.
    Rollback,
}

/// Errors of servers that the protocol reads.
pub mod code {
    /// A column cannot be NULL: what the text of a decision makes of its being too late.
    pub const BAD_NULL: u16 = 1048;
    /// A key is there already.
    pub const DUP_ENTRY: u16 = 1062;
    /// No branch of that name.
    pub const XAER_NOTA: u16 = 1397;
}
