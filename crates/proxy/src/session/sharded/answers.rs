//! What several nodes execute, and how their answers make the client's.
//!
//! Owns the parts of a statement and what is asked of their answers; must never execute one. Input: what the planner says.

use dbmesh_plan::shard::{Clock, Gives, Load, Merge, MergeSpec, NodeStatement};
use dbmesh_wire::command::Parameter;

/// How the answers of the shards make one.
#[derive(Clone, Debug)]
pub(super) enum Answers {
    /// Rows are put together, or are those of the first.
    Rows(MergeSpec, Whose),
    /// Counts are added.
    Counts,
    /// They are alike.
    Alike,
    /// Each is of its own node, which is named.
    Explained,
    /// Counts are added, of what the nodes take of a client's file.
    Loaded(Box<Load>),
}

impl From<Merge> for Answers {
    fn from(merge: Merge) -> Self {
        match merge {
            Merge::Rows(spec) => Self::Rows(spec, Whose::All),
            Merge::Affected => Self::Counts,
            Merge::Explained => Self::Explained,
        }
    }
}

impl From<Gives> for Answers {
    fn from(gives: Gives) -> Self {
        match gives {
            Gives::Counts => Self::Alike,
            Gives::Rows => Self::Rows(MergeSpec::default(), Whose::First),
        }
    }
}

/// Whose rows the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Everybody's.
    All,
    /// The first one's: the others change copies of the same rows.
    First,
}

/// A statement over several shards.
pub(super) struct Spread<'a> {
    pub nodes: Vec<NodeStatement>,
    pub answers: Answers,
    pub clock: Clock,
    /// Values of a prepared statement.
    pub bound: Option<&'a [Parameter<'a>]>,
}

impl<'a> Spread<'a> {
    pub fn new(
        nodes: Vec<NodeStatement>,
        answers: Answers,
        clock: Clock,
        bound: Option<&'a [Parameter<'a>]>,
    ) -> Self {
        Self {
            nodes,
            answers,
            clock,
            bound,
        }
    }
}
